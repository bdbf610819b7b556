"""Shards in the format numpy, of rows or lines that are given."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa

from nextlong.formats.shards import join_shards, write_shard
from nextlong.records import ROW_SCHEMA


def write_rows(folder: Path, name: str, tokens, dtype: str, ends=None, first: int = 0) -> Path:
    """Write rows as a shard; returns its main file.

    Args:
        folder: of the shards.
        name: the shard's.
        tokens: int32, ``(rows, length)``.
        dtype: what to write them as.
        ends: where each sequence of each row ends; None for a sequence a row.
        first: the number of the first row, for its id.
    """
    numbers = range(first, first + len(tokens))
    ends = ends or [[len(row)] for row in tokens]
    columns = {
        "id": [f"row-{number}" for number in numbers],
        "domain": ["test"] * len(tokens),
        "indices": [list(zip([0, *own[:-1]], own, strict=True)) for own in ends],
        "sequences": [[f"seq-{number}-{at}" for at in range(len(own))] for number, own in zip(numbers, ends, strict=True)],
        "spans": [[]] * len(tokens),
    }
    return write_shard(folder, "numpy", name, pa.table(columns, schema=ROW_SCHEMA), list(tokens), dtype, str).files[0]


def join(folder: Path, names, rows: int) -> Path:
    """Join shards; returns the joined main file."""
    return join_shards(folder.parent, folder.name, "numpy", names, rows).files[0]


def offsets_of(path: Path) -> Path:
    """The file of offsets beside an array."""
    return path.with_suffix(".csv.gz")


def rewrite_offsets(path: Path, lines, name: str = "tokens.uint16.csv") -> None:
    """Put these lines into the offsets of a shard, and a name into the header."""
    packed = io.BytesIO()
    with gzip.GzipFile(name, "wb", 9, packed, mtime=0) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    offsets_of(path).write_bytes(packed.getvalue())
