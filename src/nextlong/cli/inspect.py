"""``nextlong inspect``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from nextlong.cli import options
from nextlong.cli.outline import print_outline, print_text
from nextlong.cli.summary import print_dataset, print_pool
from nextlong.cli.terminal import FAILED, cell, console, name, say
from nextlong.errors import UsageError
from nextlong.execution.object_path import located
from nextlong.inspection.opened import Dataset
from nextlong.inspection.provenance import Place, chunks_with, document_named, origin, places_in, places_of
from nextlong.pool.layout import DESCRIPTION as POOL_DESCRIPTION
from nextlong.pool.pool import Pool

# Places that are printed; all of them go into --json.
_SHOWN_PLACES = 50


def inspect(
    paths: Annotated[
        list[Path], typer.Argument(help="Folders of datasets, or of a pool.", parser=located, metavar="PATH...")
    ],
    html: Annotated[
        Path | None,
        typer.Option(help="Write one page that shows the datasets side by side.", parser=located, metavar="FILE"),
    ] = None,
    gain: Annotated[
        Path | None,
        typer.Option(help="With --html: what `nextlong gain --json` has printed of them.", parser=located, metavar="FILE"),
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(help="Show one sequence: its id, or its number from 0.", metavar="ID")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="With --sequence: its text, roles in colour.")] = False,
    find: Annotated[str | None, typer.Option(help="Which sequences and tokens hold this text.", metavar="TEXT")] = None,
    document: Annotated[
        str | None, typer.Option(help="Which sequences and tokens come from this document.", metavar="ID")
    ] = None,
    pool: options.MovedPool = None,
    sample: options.SampleSize = None,
    seed: options.SampleSeed = 0,
    as_json: options.JsonOption = False,
) -> None:
    """Show what was made: a summary, a page to look at in a browser, one sequence, or where something went."""
    wanted = [option for option in (html, sequence, find, document) if option is not None]
    if len(wanted) > 1:
        raise UsageError("--html, --sequence, --find and --document show different things.", "Give one of them.")
    if gain is not None and html is None:
        raise UsageError("--gain is shown on a page only.", "Add --html report.html.")
    if text and (sequence is None or as_json):
        raise UsageError("--text is for people, of one sequence.", "Give it with --sequence, and without --json.")
    if as_json and (html is not None or not wanted):
        raise UsageError(
            "--json is what --sequence, --find and --document show, for programs.", "For figures: nextlong stats PATH."
        )
    if html is not None:
        if html.is_dir():
            raise UsageError(f"{html} is a folder.", "Name a file in it, such as report.html.")
        from nextlong.inspection.page.build import write_page

        size = write_page([Dataset(path, pool) for path in paths], html, sample, seed, gain)
        say(f"{name(html)}: {size / 1e6:.1f} MB, open it in a browser")
        return
    if len(paths) > 1:
        raise UsageError("Several datasets are shown side by side on a page only.", "Add --html report.html.")
    if (paths[0] / POOL_DESCRIPTION).exists() and not wanted:
        print_pool(Pool(paths[0]), console())
        return
    dataset = Dataset(paths[0], pool)
    if sequence is not None:
        one = dataset.named(sequence)
        if as_json:
            _print_json(places_in(dataset, one))
        elif text:
            print_text(dataset.pool, one, console())
        else:
            print_outline(dataset.pool, one, console(), whole=True)
    elif find is not None:
        chunks = chunks_with(dataset.pool, find)
        _show(f"{len(chunks):,} chunks of the pool hold it", places_of(dataset, chunks), as_json)
    elif document is not None:
        ordinal = document_named(dataset.pool, document)
        known = origin(dataset.pool, ordinal)
        said = (
            f"{known.document}: {known.source}, row {known.row:,}; {known.characters:,} characters, {known.chunks:,} chunks"
        )
        _show(said, places_of(dataset, dataset.pool.chunks_of(ordinal)), as_json)
    else:
        print_dataset(dataset, console())


def _print_json(places: Iterable[Place]) -> None:
    """A list of places, one by one: there may be more than fit into memory."""
    each = iter(places)
    try:
        say("[")
        place = next(each, None)
        while place is not None:
            following = next(each, None)
            typer.echo(json.dumps(asdict(place)) + ("" if following is None else ","))
            place = following
        say("]")
    except BrokenPipeError as error:  # whoever read it, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from error


def _show(said: str, places: Iterable[Place], as_json: bool) -> None:
    """Where chunks stand: all for programs, the first few for people."""
    if as_json:
        _print_json(places)
        return
    say(said)
    each = iter(places)
    shown = list(islice(each, _SHOWN_PLACES))
    if not shown:
        say("No sequence has any of it.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("sequence", "tokens", "role", "score", "document:chunk"):
        table.add_column(heading, no_wrap=heading != "document:chunk")
    for place in shown:
        role = f"{place.role} {place.rank}" if place.rank else place.role
        tokens, score = f"{place.token_start:,}-{place.token_end:,}", f"{place.score:.2f}" if place.rank else ""
        table.add_row(place.sequence, tokens, role, score, cell(f"{place.document}:{place.position}"))
    console().print(table)
    if more := sum(1 for _ in each):
        say(f"and {more:,} more, all of them with --json")
