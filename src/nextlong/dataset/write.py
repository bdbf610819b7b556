"""Sequences → rows of tokens in the dataset's format."""

from __future__ import annotations

from itertools import pairwise
from threading import local

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextlong.composition.session import Session
from nextlong.composition.tokens import ChunkTokens
from nextlong.dataset import layout
from nextlong.errors import NextlongError
from nextlong.execution.progress import advance
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Outcome
from nextlong.formats.registry import token_dtype
from nextlong.formats.shards import write_shard
from nextlong.records import ROW_SCHEMA, SEQUENCE_SCHEMA

VERSION = 2

# Of each thread, the rows that it wrote last.
_MEMORY = local()


def write(session: Session, batch: str) -> Outcome:
    """Write the rows of ``sequences/<batch>.parquet`` to ``tokens/<batch>`` with the format's suffixes."""
    table = read_table(session.folder / layout.SEQUENCES / f"{batch}.parquet", SEQUENCE_SCHEMA)
    tokenizer, config, tokens = session.joiner().tokenizer, session.config, ChunkTokens(session)
    spans = table.column("spans").combine_chunks()
    chunks = spans.flatten().field("chunk").to_numpy()
    rows = _room(len(table), config.length)
    sequences = [chunks[start:stop] for start, stop in pairwise(spans.offsets.to_pylist())]
    for filled in tokens.put_rows(sequences, rows):
        if filled < config.length:
            raise NextlongError(
                f"A sequence of {session.folder} has {filled:,} tokens, not {config.length:,}: what the pool "
                f"{session.pool_folder} holds is not what the sequence was made from.",
                f"See what is damaged: nextlong verify {session.pool_folder}",
            )
        advance(1)
    first, last = len(session.bos), config.length - len(session.eos)
    return write_shard(
        session.folder / layout.TOKENS,
        config.format,
        batch,
        row_table(table, config.length),
        rows,
        token_dtype(config.format, config.dtype, tokenizer.vocabulary_size),
        lambda row: tokenizer.decode(row[first:last]),
    )


def _room(count: int, length: int) -> npt.NDArray[np.int32]:
    """Memory for so many rows, that of the last batch if it had as many: to clear new memory takes as long as to fill it."""
    rows: npt.NDArray[np.int32] | None = getattr(_MEMORY, "rows", None)
    if rows is None or rows.shape != (count, length):
        rows = _MEMORY.rows = np.empty((count, length), dtype=np.int32)
    return rows


def row_table(sequences: pa.Table, length: int) -> pa.Table:
    """Rows of one sequence each, ``ROW_SCHEMA``."""
    ids = sequences.column("id").to_pylist()
    indices = pa.array([[[0, length]]] * len(ids), type=ROW_SCHEMA.field("indices").type)
    own = pa.array([[identity] for identity in ids], type=ROW_SCHEMA.field("sequences").type)
    columns = [sequences.column("id"), sequences.column("method"), indices, own, sequences.column("spans")]
    return pa.table(columns, schema=ROW_SCHEMA)


def used_chunks(table: pa.Table) -> npt.NDArray[np.int64]:
    """The distinct chunk ordinals that sequences use, sorted."""
    return np.unique(table.column("spans").combine_chunks().flatten().field("chunk").to_numpy())
