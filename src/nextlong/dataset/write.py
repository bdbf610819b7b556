"""Sequences → rows of tokens in the dataset's format."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.dataset import layout
from nextlong.dataset.compose import joined
from nextlong.dataset.session import Session
from nextlong.execution.files import atomic
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.formats.registry import FORMATS
from nextlong.tokenization.store import TokenStore

VERSION = 1


def write(session: Session, batch: str) -> Outcome:
    """Write the rows of ``sequences/<batch>.parquet`` to ``tokens/<batch>`` with the format's suffix."""
    form = FORMATS[session.config.format]
    table = pq.read_table(session.folder / layout.SEQUENCES / f"{batch}.parquet")
    store = session.store()
    spans = table.column("spans").combine_chunks()
    chunks = spans.flatten().field("chunk").to_numpy()
    rows = []
    for start, stop in zip(spans.offsets[:-1].to_pylist(), spans.offsets[1:].to_pylist(), strict=True):
        rows.append(row_tokens(session, store, chunks[start:stop]))
        advance(1)
    path = session.folder / layout.TOKENS / f"{batch}{form.SUFFIX}"
    first, last = len(session.bos), session.config.length - len(session.eos)
    with atomic(path) as temporary:
        form.write(temporary, table, rows, lambda row: session.joiner().tokenizer.decode(row[first:last]))
    return Outcome([path], len(rows), {"tokens": sum(len(row) for row in rows)})


def row_tokens(session: Session, store: TokenStore, chunks: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """The tokens of a whole row: the begin token, the chunks joined and cut to length, the end token. int32."""
    tokens = joined(session, store, chunks)[0][: session.content]
    return np.concatenate([session.bos, tokens, session.eos]).astype(np.int32)


def used_chunks(table: pa.Table) -> npt.NDArray[np.int64]:
    """The distinct chunk ordinals that sequences use, sorted."""
    return np.unique(table.column("spans").combine_chunks().flatten().field("chunk").to_numpy())
