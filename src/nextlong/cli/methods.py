"""``nextlong methods``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from nextlong.cli import options
from nextlong.cli.summary import console
from nextlong.composition.method import Method
from nextlong.composition.registry import method_class, method_names
from nextlong.config import CompositionConfig, MiningConfig, Part


def methods(
    name: Annotated[str | None, typer.Argument(metavar="METHOD", help="The one to show with its options.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the ways of making sequences, or show the options of one."""
    shown = {each: _described(method_class(each)) for each in ([name] if name else method_names())}
    if as_json:
        typer.echo(json.dumps(shown))
    elif name:
        _print_one(name, shown[name])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for each, described in shown.items():
            table.add_row(each, described["summary"])
        console().print(table)
        typer.echo("\nOptions of one: nextlong methods NAME")


def _described(method: type[Method]) -> dict[str, Any]:
    sections: dict[str, type[Part]] = {"mining": MiningConfig, "composition": CompositionConfig}
    own = {key: _field(field, "--option") for key, field in method.Options.model_fields.items()}
    shared = {
        key: _field(field, "")
        for section, part in sections.items()
        for key, field in part.model_fields.items()
        if f"{section}.{key}" in method.READS and key != "method"
    }
    return {"summary": method.SUMMARY, "about": (method.Options.__doc__ or "").strip(), "options": own, "reads": shared}


def _field(field: Any, flag: str) -> dict[str, Any]:
    return {"default": field.default, "flag": flag}


def _print_one(name: str, described: dict[str, Any]) -> None:
    typer.echo(f"{name}: {described['summary']}\n")
    if described["options"]:
        typer.echo("Its own options, given as --option NAME=VALUE or in the recipe's section `options`:")
        for key, field in described["options"].items():
            typer.echo(f"  {key}={field['default']}")
        typer.echo("\n" + "\n".join(line.strip() for line in described["about"].splitlines()) + "\n")
    else:
        typer.echo("It has no options of its own.\n")
    if described["reads"]:
        typer.echo("It reads, of the sections `mining` and `composition` (see nextlong synthesize --help):")
        typer.echo("  " + ", ".join(described["reads"]))
