"""``nextlong export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import nextlong
from nextlong.api import export_config
from nextlong.cli import options
from nextlong.cli.summary import print_stages
from nextlong.cli.terminal import cell, console, name, say
from nextlong.dataset.layout import sequences_per_shard
from nextlong.execution.object_path import located
from nextlong.exporting.request import Request, export_request, rows_taken
from nextlong.sizes import format_length

_OUTPUT = "Output"

License = Annotated[
    str | None, typer.Option(help="Licence for the data card. (default: that of the datasets)", rich_help_panel=_OUTPUT)
]


def export(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of a finished dataset.", parser=located)],
    out: options.Out,
    format: options.Format = None,
    length: Annotated[
        str | None,
        typer.Option(
            help="Tokens of a row: n times the dataset's length packs n sequences to a row. With another tokenizer, the new "
            "length of a sequence. (default: the dataset's)",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Another tokenizer. (default: the dataset's)", rich_help_panel=_OUTPUT, show_default=False),
    ] = None,
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
    """Write the rows of a dataset anew: in another format, packed, or for another tokenizer."""
    keys: dict[str, Any] = options.given(
        {
            "format": format,
            "length": length,
            "tokenizer": tokenizer,
            "dtype": dtype,
            "merge": merge,
            "license": license,
        }
    )
    if plan:
        print_plan(export_request(dataset, export_config(keys)), out, console())
        return
    progress = options.shown(quiet, as_json)
    card = nextlong.export(
        dataset,
        out,
        workers=workers,
        executor=executor,
        ray_address=ray_address,
        overwrite=overwrite,
        progress=progress,
        **keys,
    )
    print_result(out, card, quiet, as_json)


def print_plan(request: Request, out: Path, console: Console) -> None:
    """What would be made; of another tokenizer only the most that there can be."""
    available = [source.sequences for source in request.sources]
    parts = rows_taken(request, available)
    at_most = "at most " if any(source.retokenized for source in request.sources) else ""
    rows_of = f"{at_most}{len(parts):,} rows of {format_length(request.length)}"
    table = _table(f"Plan of {out}: {rows_of}, {len(parts) * request.length:,} tokens")
    for source, count in zip(request.sources, request.per_row, strict=True):
        rows = parts.count(source.number)
        _add(table, source.name, source.length, count, source.weight, rows, rows * count, source.sequences - rows * count)
    console.print(table)
    shards = -(-len(parts) // sequences_per_shard(request.length))
    console.print(f"{shards:,} shards in the format {request.config.format}. Nothing was written.")


def print_result(out: Path, card: dict[str, Any], quiet: bool, as_json: bool) -> None:
    """What is printed when an export is done."""
    if as_json:
        typer.echo(json.dumps(card))
    elif not quiet:
        print_export(out, card, console())
        say(f"\nNext: nextlong verify {name(out)}")


def print_export(folder: Path, card: dict[str, Any], console: Console) -> None:
    """Rows, tokens, what each part gave, what is in no row, what was cut off, what the stages took."""
    counts, config = card["counts"], card["config"]
    table = _table(
        f"Export {folder}: {counts['rows']:,} rows of {format_length(config['length'])}, {counts['tokens']:,} tokens, "
        f"{config['format']}"
    )
    for part in card["parts"]:
        own = part["counts"]
        unused = own["too_short"] + own["left_over"]
        of_part = (part["sequence_length"], part["sequences_per_row"], part["weight"], own["rows"], own["used"], unused)
        _add(table, part["name"], *of_part)
    console.print(table)
    for amount, what in _remarks(card):
        if amount:
            console.print(f"{amount:>12,}  {what}", highlight=False)
    if not card["tokenizer"]["exact_joins"]:
        console.print(
            "joins are NOT exact for this tokenizer: tokens at some chunk borders differ from encoding the whole text"
        )
    print_stages(folder, console)


def _remarks(card: dict[str, Any]) -> list[tuple[int, str]]:
    counts, parts = card["counts"], card["parts"]
    short, left = (sum(part["counts"][name] for part in parts) for name in ("too_short", "left_over"))
    left_over = "sequences not drawn" if card["kind"] == "mix" else "sequences dropped: they fill no row"
    return [
        (short, "sequences dropped: too few tokens with this tokenizer; they are listed in rejects/"),
        (left, left_over),
        (counts["tokens_wasted"], "tokens wasted: cut off at the ends of sequences"),
        (counts["meta_chunks_cut"], "meta-chunks cut, or cut off"),
    ]


def _table(title: str) -> Table:
    table = Table(title=cell(title, "bold"), title_justify="left", box=None, pad_edge=False)
    table.add_column("part", style="dim")
    for heading in ("length", "in a row", "weight", "rows", "sequences", "in no row"):
        table.add_column(heading, justify="right")
    return table


def _add(table: Table, name: str, length: int, per_row: int, weight: float, rows: int, used: int, unused: int) -> None:
    shown = (format_length(length), f"{per_row:,}", f"{weight:g}", f"{rows:,}", f"{used:,}", f"{unused:,}")
    table.add_row(cell(name), *shown)
