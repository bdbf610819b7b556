"""``nextlong mix``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import nextlong
from nextlong.api import mix_config
from nextlong.cli import options
from nextlong.cli.export import License, print_plan, print_result
from nextlong.cli.terminal import console
from nextlong.exporting.request import mix_request

_SIZE = "Size"


def mix(
    out: options.Out,
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATASET[:WEIGHT]...",
            help="Folders of finished datasets, each with its share of the rows. (default: the recipe's; weight 1)",
            show_default=False,
        ),
    ] = None,
    recipe: options.Recipe = None,
    length: Annotated[
        str | None,
        typer.Option(
            help="Tokens of every row. A dataset with sequences of a half or an eighth of that gives two or eight to a row. "
            "(default: the longest of the datasets)",
            rich_help_panel=_SIZE,
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(help="Tokens to make, as 100M or 4B. (default: all that the weights allow)", rich_help_panel=_SIZE),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the order in which sequences are drawn. (default: 0)", rich_help_panel=_SIZE)
    ] = None,
    format: options.Format = None,
    dtype: options.Dtype = None,
    merge: options.Merge = None,
    license: License = None,
    workers: options.Workers = None,
    executor: options.Executor = "local",
    ray_address: options.RayAddress = None,
    overwrite: options.Overwrite = False,
    plan: options.Plan = False,
    quiet: options.QuietOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Mix datasets by weight to rows of one length. Shorter sequences are packed, several to a row."""
    keys: dict[str, Any] = options.given(
        {
            "length": length,
            "tokens": tokens,
            "seed": seed,
            "format": format,
            "dtype": dtype,
            "merge": merge,
            "license": license,
        }
    )
    if plan:
        print_plan(mix_request(mix_config(recipe, parts or [], keys)), out, console())
        return
    progress = options.shown(quiet, as_json)
    runs: dict[str, Any] = {"workers": workers, "executor": executor, "ray_address": ray_address, "overwrite": overwrite}
    print_result(out, nextlong.mix(parts or [], out, recipe=recipe, progress=progress, **runs, **keys), quiet, as_json)
