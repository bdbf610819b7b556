"""The command ``nextlong``."""

from __future__ import annotations

from typing import Annotated

import typer

import nextlong
from nextlong.cli.demo import demo
from nextlong.cli.export import export
from nextlong.cli.index import index
from nextlong.cli.methods import methods
from nextlong.cli.mix import mix
from nextlong.cli.options import friendly
from nextlong.cli.synthesize import synthesize
from nextlong.cli.verify import verify

app = typer.Typer(
    name="nextlong",
    help="Long-context training data from short documents, by negative document extension (NExtLong).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nextlong {nextlong.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    pass


app.command()(friendly(index))
app.command()(friendly(synthesize))
app.command()(friendly(export))
app.command()(friendly(mix))
app.command()(friendly(verify))
app.command()(friendly(demo))
app.command()(friendly(methods))


def main() -> None:
    """Entry point."""
    app()
