"""What pools of a million, a hundred million and a billion chunks take: arithmetic with the constants that were measured.

    python benchmarks/scaling.py [--table docs/scaling.md]

`benchmarks/scaling_constants.py` measures the constants. Change `CASES` for a pool of your own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown import write_table
from scaling_constants import CONSTANTS

from nextlong.index.build import default_lists
from nextlong.index.protocol import SHARD_VECTORS
from nextlong.sizes import format_bytes, format_count

HOUR = 3600
# Sustained, in bfloat16, of an encoder on one data-centre GPU; an assumption, of which nothing here was measured.
GPU_FLOPS = 1e14
# Parameters of an encoder's layers, without its table of tokens: each costs two operations for a token.
ENCODERS = {
    "a small one (MiniLM-L6)": 11e6,
    "a base one (BERT-base)": 86e6,
    "a large one (XLM-R-large, as jina-embeddings-v3)": 303e6,
}


@dataclass(frozen=True)
class Case:
    """A pool, the data that is made from it once, and what does it.

    Attributes:
        chunks: of the pool.
        tokens: of the dataset.
        machines, cores: how many machines, and the cores of each.
    """

    chunks: float
    tokens: float
    machines: int
    cores: int

    def sequences(self, known: dict[str, Any]) -> float:
        """How many sequences of the measured length."""
        return self.tokens / known["length"]

    def queries(self, known: dict[str, Any]) -> float:
        """How many vectors are searched for."""
        return self.sequences(known) * known["queries_per_sequence"]

    @property
    def shards(self) -> int:
        """Of the index."""
        return max(1, -(-int(self.chunks) // SHARD_VECTORS))


CASES = (Case(1e6, 1e8, 1, 2), Case(1e8, 4e9, 1, 32), Case(1e9, 4e9, 16, 32))


def main() -> None:
    """Print the tables, or write them into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a Markdown file; the tables in it are replaced")
    options = parser.parse_args()
    text = report(json.loads(CONSTANTS.read_text(encoding="utf-8")))
    print(text)
    if options.table:
        write_table(options.table, Path(__file__).name, text)


def report(known: dict[str, Any]) -> str:
    """All tables, in Markdown."""
    parts = (_sizes(), _disk(known), _time(known), _search(known), _memory(known), _gpus(known))
    constants = f"Constants (`benchmarks/scaling.json`): {known['chunks']:,} chunks, {known['on']}."
    return "\n\n".join([*parts, constants])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _columns() -> list[str]:
    return [f"{format_count(case.chunks)} chunks" for case in CASES]


def _sizes() -> str:
    rows = [
        ["dataset, tokens", *(format_count(case.tokens) for case in CASES)],
        ["machines × cores", *(f"{case.machines} × {case.cores}" for case in CASES)],
        ["shards of the index", *(f"{case.shards:,}" for case in CASES)],
    ]
    return "### The cases\n\n" + _table(["", *_columns()], rows)


def _disk(known: dict[str, Any]) -> str:
    rows = []
    for folder, each in [*known["bytes_per_chunk"].items(), ("index, if approximate", known["index_bytes_per_chunk"])]:
        rows.append(
            [
                f"pool: `{folder}`" if " " not in folder else f"pool: {folder}",
                f"{each:,.1f} a chunk",
                *(format_bytes(int(each * case.chunks)) for case in CASES),
            ]
        )
    stored = [min(case.chunks, case.sequences(known) * known["tokenized_per_sequence"]) for case in CASES]
    each = known["bytes_per_tokenized_chunk"]
    rows.append(
        ["pool: `tokens`, at most", f"{each:,.0f} a chunk used", *(format_bytes(int(each * amount)) for amount in stored)]
    )
    for folder, each in known["bytes_per_token"].items():
        rows.append(
            [f"dataset: `{folder}`", f"{each:,.4f} a token", *(format_bytes(int(each * case.tokens)) for case in CASES)]
        )
    found = [12 * case.queries(known) * known["neighbours_per_query"] * case.shards for case in CASES]
    rows.append(
        [
            "dataset: `search`, for a time",
            "12 × queries × neighbours × shards",
            *(format_bytes(int(amount)) for amount in found),
        ]
    )
    return "### Disk\n\n" + _table(["folder", "bytes", *_columns()], rows)


def _hours(case: Case, known: dict[str, Any]) -> dict[str, float]:
    """Core-hours by stage, with an approximate index."""
    chunk, sequence = known["seconds_per_chunk"], known["seconds_per_sequence"]
    used = min(case.chunks, case.sequences(known) * known["tokenized_per_sequence"])
    seconds = {
        **{stage: each * case.chunks for stage, each in chunk.items() if stage != "index"},
        "search, approximate, at most": known["index_search_seconds_per_query"]
        / known["chunks"]
        * case.chunks
        * case.queries(known),
        **{f"index: {stage}": each for stage, each in _built(case, known).items()},
        "tokenize": used * known["tokenize_seconds_per_chunk"],
        **{stage: each * case.sequences(known) for stage, each in sequence.items()},
        "planning, in one process": known["driver_seconds_per_sequence"] * case.sequences(known),
    }
    return {stage: each / HOUR for stage, each in seconds.items()}


def _time(known: dict[str, Any]) -> str:
    hours = [_hours(case, known) for case in CASES]
    rows = [
        [f"{stage} (`{known['encoder']}`)" if stage == "embed" else stage, *(_number(each[stage]) for each in hours)]
        for stage in hours[0]
    ]
    serial = ("catalog", "planning, in one process")
    on_one = ("index: train", "index: measure recall")
    walls = []
    for case, each in zip(CASES, hours, strict=True):
        alone = sum(each[stage] for stage in serial)
        machine = sum(each[stage] for stage in on_one)
        walls.append(alone + machine / case.cores + (sum(each.values()) - alone - machine) / (case.machines * case.cores))
    rows += [
        ["all", *(_number(sum(each.values())) for each in hours)],
        ["wall time, if all cores are busy", *map(_number, walls)],
    ]
    return "### Processor time\n\n" + _table(["core-hours", *_columns()], rows)


def _exact(case: Case, known: dict[str, Any]) -> float:
    return case.queries(known) * case.chunks * float(known["search_seconds_per_query_and_vector"])


def _built(case: Case, known: dict[str, Any]) -> dict[str, float]:
    """Seconds of building an approximate index, by stage."""
    seconds, lists = known["index_seconds"], default_lists(int(case.chunks)) / known["index_lists"]
    return {
        "train": seconds["train"] * lists**2,  # as many vectors for each list, each compared with all lists
        "fill": seconds["fill"] * lists * case.chunks / known["chunks"],
        "measure recall": seconds["index"] * case.chunks / known["chunks"],  # against exact search, always as many queries
    }


def _search(known: dict[str, Any]) -> str:
    each = known["index_search_seconds_per_query"] / known["chunks"]
    exact = known["search_seconds_per_query_and_vector"]
    built = [_built(case, known) for case in CASES]
    found = [each * case.chunks * case.queries(known) for case in CASES]
    pays = [sum(stages.values()) / (case.chunks * (exact - each)) for case, stages in zip(CASES, built, strict=True)]
    rows = [
        ["queries", *(format_count(case.queries(known)) for case in CASES)],
        ["exact: search", *(_number(_exact(case, known) / HOUR) for case in CASES)],
        *([f"approximate: {stage}", *(_number(stages[stage] / HOUR) for stages in built)] for stage in built[0]),
        ["approximate: search, at most", *(_number(seconds / HOUR) for seconds in found)],
        ["approximate pays from so many queries on", *(format_count(amount) for amount in pays)],
    ]
    note = (
        f"Measured in a pool of {known['chunks']:,}: {exact * 1e9:,.0f} ns for a query and vector exactly, and "
        f"{each * 1e9:,.1f} ns with an approximate index of {known['index_lists']:,} lists "
        f"(recall {known['index_recall']:.3f}, {known['index_depth']:,} neighbours a query)."
    )
    return "### Exact or approximate search\n\n" + _table(["core-hours", *_columns()], rows) + "\n\n" + note


def _memory(known: dict[str, Any]) -> str:
    each = max(known["pool_memory"], known["data_memory"])
    shard = SHARD_VECTORS * known["bytes_per_chunk"]["vectors"]
    rows = [
        ["processes, one a core", *(format_bytes(each * case.cores) for case in CASES)],
        [
            "an index shard, for each core, as file cache",
            *(format_bytes(min(shard, _vectors(case, known)) * case.cores) for case in CASES),
        ],
        [
            "BM25 while it is built, in one process",
            *(format_bytes(known["words_memory_per_chunk"] * case.chunks) for case in CASES),
        ],
    ]
    return "### Memory of each machine\n\n" + _table(["", *_columns()], rows)


def _vectors(case: Case, known: dict[str, Any]) -> float:
    return float(case.chunks * known["bytes_per_chunk"]["vectors"])


def _gpus(known: dict[str, Any]) -> str:
    tokens = known["bytes_per_tokenized_chunk"] / 4
    rows = []
    for name, parameters in ENCODERS.items():
        seconds = [2 * parameters * tokens * case.chunks / GPU_FLOPS for case in CASES]
        rows.append([name, *(f"{_number(each / HOUR)} GPU-hours" for each in seconds)])
    return "### Encoders on GPUs\n\n" + _table(["layers of", *_columns()], rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


if __name__ == "__main__":
    main()
