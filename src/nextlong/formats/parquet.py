"""Parquet rows of ``input_ids`` with their spans: for Hugging Face trainers, TRL, axolotl, torchtitan and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.formats.protocol import Tokens
from nextlong.records import SPAN_TYPE

SUFFIX = ".parquet"
HOLDS_TOKENS = True
COLUMNS = {
    "id": "the sequence's id; the same row of `sequences/` has everything about it",
    "input_ids": "list of int32: exactly `length` tokens, begin and end tokens included",
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
        pa.field("spans", pa.list_(SPAN_TYPE), nullable=False),
    ]
)


def write(path: Path, sequences: pa.Table, rows: Sequence[Tokens], decode: Callable[[Tokens], str]) -> None:
    """See :class:`~nextlong.formats.protocol.Format`."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    flat = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
    tokens = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=_SCHEMA.field("input_ids").type)
    spans = sequences.column("spans").combine_chunks()
    table = pa.table([sequences.column("id").combine_chunks(), tokens, spans], schema=_SCHEMA)
    longest = max((len(row) for row in rows), default=1)
    pq.write_table(
        table,
        path,
        row_group_size=max(1, _ROW_GROUP_TOKENS // longest),
        compression="zstd",
        use_dictionary=["id"],  # tokens have too many values for a dictionary, and trying costs time
    )


def read(path: Path) -> Iterator[tuple[str, Tokens | str, list[dict[str, Any]]]]:
    """See :class:`~nextlong.formats.protocol.Format`."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            columns = (
                table.column("id").to_pylist(),
                table.column("input_ids").combine_chunks(),
                table.column("spans").to_pylist(),
            )
            for identity, row, spans in zip(*columns, strict=True):
                yield identity, row.values.to_numpy(), spans
