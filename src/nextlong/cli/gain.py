"""``nextlong gain``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.table import Table

from nextlong.cli import options
from nextlong.cli.terminal import cell, console, name, say
from nextlong.errors import UsageError
from nextlong.execution.object_path import located
from nextlong.mining.language_model import Dtype
from nextlong.quality.estimates import Estimate
from nextlong.quality.gain import gain as gain_of
from nextlong.quality.long_range_gain import USUAL_SAMPLE, Gain, LongRangeGain


def gain(
    paths: Annotated[list[Path], typer.Argument(help="Folders of datasets.", parser=located, metavar="DATASET...")],
    model: Annotated[
        str, typer.Option(help="Folder of a causal language model with its tokenizer, or its name on the Hugging Face hub.")
    ],
    local: Annotated[
        int | None,
        typer.Option(
            help="Tokens right before a chunk that are not far. (default: 4096, or an eighth of the shortest sequences)",
            min=1,
        ),
    ] = None,
    pool: options.MovedPool = None,
    sample: Annotated[int, typer.Option(help="Sequences of a dataset to look at.", min=1)] = USUAL_SAMPLE,
    seed: Annotated[int, typer.Option(help="Which sequences and chunks are drawn.", min=0)] = 0,
    dtype: Annotated[str, typer.Option(help="Of the model: float32 or bfloat16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="cuda, cpu, … (default: a GPU where there is one)")] = None,
    quiet: options.QuietOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Measure how much a small language model gains from what stands far back in the sequences of datasets."""
    if dtype not in get_args(Dtype):
        raise UsageError(f"--dtype {dtype} is no type of a model here.", f"Give {' or '.join(get_args(Dtype))}.")
    shown, of_model = options.shown(quiet, as_json), cast(Dtype, dtype)
    results = gain_of(
        paths, model, sample=sample, local=local, dtype=of_model, device=device, pool=pool, seed=seed, progress=shown
    )
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in results]))
    else:
        print_gains(results, console())


def print_gains(results: Sequence[LongRangeGain], console: Console) -> None:
    """A line for all chunks of each dataset, and for each distance."""
    table = Table(box=None, pad_edge=False)
    table.add_column("dataset", no_wrap=True)
    for heading in ("distance", "chunks", "tokens", "loss", "gain over local", "over replaced", "key tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in results:
        rows: list[tuple[str, Gain | None]] = [("all", each.same_document)]
        rows += [(f"{bin.low:,}-{bin.high - 1:,}", bin.gain) for bin in each.by_distance]
        rows.append(("other documents", each.other_documents))
        title = cell(f"{each.dataset} ({each.method})")
        for distance, found in rows:
            if found is not None:
                table.add_row(title, distance, *_cells(found))
                title = cell("")
    console.print(table)
    say(
        f"Nats a token, with 95 % intervals; the local context is {results[0].local:,} tokens. Of chunks with text of their "
        "own document beyond it, by the distance of the nearest."
    )
    for each in results:
        if each.without:
            none = f"{each.without:,} of {each.sequences:,} sequences of {name(each.dataset)} have no such chunk"
            say(f"{none} in the first {each.window:,} tokens.")


def _cells(found: Gain) -> list[str]:
    key = "" if found.key_tokens is None else f"{found.key_tokens.value:.2%}"
    return [
        f"{found.chunks:,}",
        f"{found.tokens:,}",
        f"{found.loss:.3f}",
        _estimate(found.over_local),
        _estimate(found.over_replaced),
        key,
    ]


def _estimate(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
