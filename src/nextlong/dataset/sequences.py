"""The canonical table of sequences, from the columns of their chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nextlong.composition.session import Session
from nextlong.pool.pool import Ordinals
from nextlong.records import ROLES, SEQUENCE_SCHEMA, SPAN_TYPE, Ends, Order

# Similarity by rank is recorded up to this rank, for the summary.
_RANKS = 512


@dataclass(frozen=True)
class Kept:
    """A sequence as it will stand in its row.

    Attributes:
        order: its chunks.
        ends: where each ends in the joined tokens; the last one at the end of the content, or behind.
        root, topic: as in :class:`~nextlong.composition.method.Draft`.
    """

    order: Order
    ends: Ends
    root: int
    topic: str


def sequence_table(session: Session, kept: Sequence[Kept], first: int) -> tuple[pa.Table, dict[str, Any]]:
    """The table of sequences, ``SEQUENCE_SCHEMA``, and figures of them.

    Args:
        session: the dataset.
        kept: the sequences.
        first: number of the first one.

    Returns:
        The table; ``meta_chunks``, ``negatives``, ``documents`` of all sequences, and ``rank_scores``: for each rank the sum
        of the negatives' similarities and how many there are.
    """
    config, pool = session.config, session.pool()
    counts = np.array([len(one.order) for one in kept], dtype=np.int64)
    order = Order.joined([one.order for one in kept])
    chunks, roles = order.chunks, order.roles
    documents = pool.documents_of(chunks)
    # Where a sequence begins, its first chunk does; every other chunk where the one before it ends.
    every_end = np.concatenate([np.empty(0, dtype=np.int32), *(one.ends for one in kept)])
    ends = np.minimum(every_end, session.content) + len(session.bos)
    borders = np.cumsum(counts)
    starts = np.concatenate([ends[:0], [len(session.bos)], ends[:-1]])[: len(ends)]
    starts[borders[:-1]] = len(session.bos)
    columns = {
        "role": pa.DictionaryArray.from_arrays(pa.array(roles.astype(np.int8)), pa.array(ROLES)).cast(pa.string()),
        "document": pool.document_id_column(documents),
        "position": (chunks - pool.first_chunk[documents]).astype(np.int32),
        "chunk": chunks,
        "group": order.groups,
        "rank": order.ranks,
        "score": order.scores,
        "token_start": starts.astype(np.int32),
        "token_end": ends.astype(np.int32),
    }
    spans = pa.StructArray.from_arrays([pa.array(columns[field.name]) for field in SPAN_TYPE], fields=list(SPAN_TYPE))
    offsets = pa.array(np.concatenate([[0], borders]).astype(np.int32))
    method = config.composition.method
    table = pa.table(
        [
            pa.array([f"{method}-{first + number:08d}" for number in range(len(kept))], type=pa.string()),
            pa.array([method] * len(kept), type=pa.string()),
            pa.array(np.full(len(kept), config.length, dtype=np.int32)),
            pool.document_id_column(np.array([one.root for one in kept], dtype=np.int64)),
            pa.array([one.topic for one in kept], type=pa.string()),
            pa.ListArray.from_arrays(offsets, spans, type=SEQUENCE_SCHEMA.field("spans").type),
        ],
        schema=SEQUENCE_SCHEMA,
    )
    negative = roles == ROLES.index("negative")
    rank = np.minimum(order.ranks[negative], _RANKS).astype(np.int64) - 1
    sums = np.bincount(rank, weights=order.scores[negative].astype(np.float64), minlength=_RANKS)
    amounts = np.bincount(rank, minlength=_RANKS)
    return table, {
        "meta_chunks": int(np.count_nonzero(roles == ROLES.index("meta"))),
        "negatives": int(np.count_nonzero(negative)),
        "documents": _distinct(documents, np.repeat(np.arange(len(kept)), counts)),
        "rank_scores": [[round(total, 6), amount] for total, amount in zip(sums.tolist(), amounts.tolist(), strict=True)],
    }


def _distinct(documents: Ordinals, sequences: Ordinals) -> int:
    """How many different documents stand in each sequence, all together."""
    both = sequences * (documents.max(initial=0) + 1) + documents
    both.sort()
    return int(np.count_nonzero(np.diff(both))) + (len(both) > 0)
