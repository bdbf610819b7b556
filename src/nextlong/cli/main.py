"""The command ``nextlong``."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

import nextlong
from nextlong.cli.demo import demo
from nextlong.cli.export import export
from nextlong.cli.gain import gain
from nextlong.cli.index import index
from nextlong.cli.inspect import inspect
from nextlong.cli.methods import methods
from nextlong.cli.mix import mix
from nextlong.cli.options import friendly
from nextlong.cli.stats import stats
from nextlong.cli.synthesize import synthesize
from nextlong.cli.terminal import FAILED, Command, Group, end_like_interrupted, say_unexpected
from nextlong.cli.verify import verify
from nextlong.errors import is_panic

app = typer.Typer(
    name="nextlong",
    help="Long-context training data from short documents, by negative document extension (NExtLong).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    cls=Group,
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


app.command(cls=Command)(friendly(index))
app.command(cls=Command)(friendly(synthesize))
app.command(cls=Command)(friendly(export))
app.command(cls=Command)(friendly(mix))
app.command(cls=Command)(friendly(verify))
app.command(cls=Command)(friendly(inspect))
app.command(cls=Command)(friendly(stats))
app.command(cls=Command)(friendly(gain))
app.command(cls=Command)(friendly(demo))
app.command(cls=Command)(friendly(methods))


def main() -> None:
    """Entry point."""
    end_like_interrupted()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be in letters that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise  # an exit, or an interrupt
        say_unexpected(error)
        sys.exit(FAILED)
