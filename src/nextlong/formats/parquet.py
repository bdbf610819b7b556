"""Parquet rows of ``input_ids`` with their spans: for Hugging Face trainers, TRL, axolotl, torchtitan and the like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.errors import NextlongError
from nextlong.execution.tables import read_groups
from nextlong.formats.protocol import Borders, Merges, Rows, WrittenRow
from nextlong.records import ROW_SCHEMA, SPAN_TYPE

SUFFIXES = (".parquet",)
INDEX = None
DTYPES = ("int32",)
BORDERS: Borders = "recorded"
MERGES: Merges = "on request"
COLUMNS = {
    "id": "the row's id",
    "input_ids": "list of int32: exactly `length` tokens, begin and end tokens included",
    "indices": "where each sequence of the row begins and ends: attention stays within; one pair means no mask",
    "spans": "what stands where: list of {role, document, position, chunk, group, rank, score, token_start, token_end}",
}
LOADING = """from datasets import load_dataset

rows = load_dataset("parquet", data_files="{folder}/tokens/*.parquet", split="train")
print(len(rows[0]["input_ids"]))"""

# A row group is what a reader decodes at once: 4 Mi tokens are 16 MiB.
_ROW_GROUP_TOKENS = 1 << 22

_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("input_ids", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
        ROW_SCHEMA.field("indices"),
        pa.field("spans", pa.list_(SPAN_TYPE), nullable=False),
    ]
)


def write(paths: Sequence[Path], rows: Rows) -> dict[str, Any]:
    """See :class:`~nextlong.formats.protocol.Format`."""
    lengths = [len(row) for row in rows.tokens]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    whole = rows.tokens if isinstance(rows.tokens, np.ndarray) else np.concatenate([np.empty(0, np.int32), *rows.tokens])
    flat = whole.reshape(-1)
    tokens = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=_SCHEMA.field("input_ids").type)
    columns = [rows.table.column(name).combine_chunks() for name in ("id", "indices", "spans")]
    table = pa.table([columns[0], tokens, *columns[1:]], schema=_SCHEMA)
    longest = max(lengths, default=1)
    with _writer(paths[0]) as writer:
        writer.write_table(table, row_group_size=max(1, _ROW_GROUP_TOKENS // longest))
    return {}


def _writer(path: Path) -> pq.ParquetWriter:
    # Only ids profit from a dictionary: tokens have too many values for one, and trying costs time.
    return pq.ParquetWriter(path, _SCHEMA, compression="zstd", use_dictionary=["id"])


def read(path: Path, first: int = 0) -> Iterator[WrittenRow]:
    """See :class:`~nextlong.formats.protocol.Format`."""
    for number, table in read_groups(path, _SCHEMA, first):
        columns = (
            table.column("id").to_pylist(),
            table.column("input_ids").combine_chunks(),
            table.column("indices").to_pylist(),
            table.column("spans").to_pylist(),
        )
        for row, (identity, tokens, indices, spans) in enumerate(zip(*columns, strict=True), start=number):
            content = tokens.values.to_numpy()
            if content.min(initial=0) < 0:
                raise NextlongError(
                    f"{path} is damaged: in row {row} {content.min()} is no token.", "Run the command that made it again."
                )
            yield WrittenRow(content, identity, indices, spans)


def merge(shards: Sequence[Path], paths: Sequence[Path]) -> None:
    """See :class:`~nextlong.formats.protocol.Format`."""
    with _writer(paths[0]) as writer:
        for shard in shards:
            with pq.ParquetFile(shard) as file:
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))
