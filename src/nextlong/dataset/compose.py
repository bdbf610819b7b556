"""Units → sequences: the canonical table of references, one row a sequence."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.composition.method import Draft, Unit
from nextlong.composition.registry import make_method
from nextlong.composition.session import Session
from nextlong.composition.tokens import ChunkTokens
from nextlong.dataset import layout
from nextlong.dataset.mine import read_neighbours
from nextlong.dataset.search import answered
from nextlong.execution.files import atomic
from nextlong.execution.progress import advance
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Outcome
from nextlong.mining.filters import REASONS
from nextlong.mining.nearest import Parts
from nextlong.records import SEQUENCE_SCHEMA

VERSION = 2

# Similarity by rank is recorded up to this rank, for the summary.
_RANKS = 512

# What is counted of each sequence; receipts hold the sums.
COUNTED = ("discarded", "meta_chunks", "negatives", "documents", "searched_deeper", "tokens_wasted")


def compose(
    session: Session,
    batch: str,
    units: list[Unit],
    first: int,
    usage_of: tuple[tuple[Path, str], ...] | None,
    parts: Parts | None,
) -> Outcome:
    """Compose the sequences of a batch of units and write ``sequences/<batch>.parquet``.

    Args:
        session: the dataset.
        batch: name of the batch.
        units: what to compose.
        first: number of the batch's first sequence.
        usage_of: for a method that works in order, the sequence files that come before, each with its checksum; else None.
        parts: what a grid of tasks has found for the batch, where its candidates do not suffice; None where there was none.

    Raises:
        NextlongError: the pool has not enough text for a sequence.
    """
    method = answered(make_method(session), units, parts)
    method.usage = _usage(usage_of) if usage_of is not None else Counter()
    found = (
        read_neighbours(session.folder / layout.NEIGHBOURS / f"{batch}.arrow") if method.SEARCHES else [None] * len(units)
    )
    rows: list[dict[str, Any]] = []
    passed_over: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    rank_sums, rank_counts = np.zeros(_RANKS), np.zeros(_RANKS, dtype=np.int64)
    info: Counter[str] = Counter()
    for unit, candidates in zip(units, found, strict=True):
        made = 0
        for draft in islice(method.compose(unit, candidates), unit.sequences):
            passed_over.update(draft.passed_over)
            info["tokens_wasted"] += int(method.tokens.lengths(draft.dropped).sum()) if len(draft.dropped) else 0
            info["searched_deeper"] += draft.searched_deeper
            if draft.ends[-1] < session.content:
                info["tokens_wasted"] += int(draft.ends[-1])
                continue
            row = _row(session, method.tokens, draft, first + len(rows))
            placed = draft.order[: len(row["spans"])]
            info["tokens_wasted"] += int(draft.ends[-1]) - session.content
            info["meta_chunks"] += sum(place.role == "meta" for place in placed)
            info["negatives"] += sum(place.role == "negative" for place in placed)
            info["documents"] += len({span["document"] for span in row["spans"]})
            negatives = [place for place in placed if place.role == "negative"]
            if usage_of is not None:
                method.usage.update(place.chunk for place in negatives)
            ranks = np.array([min(place.rank, _RANKS) - 1 for place in negatives], dtype=np.int64)
            np.add.at(rank_sums, ranks, [place.score for place in negatives])
            np.add.at(rank_counts, ranks, 1)
            rows.append(row)
            made += 1
            advance(1)
        info["discarded"] += unit.sequences - made
    path = session.folder / layout.SEQUENCES / f"{batch}.parquet"
    with atomic(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SEQUENCE_SCHEMA), temporary, compression="zstd")
    return Outcome(
        [path],
        len(rows),
        {
            **{name: info[name] for name in COUNTED},
            "passed_over": dict(passed_over),
            "rank_scores": [[round(float(total), 6), int(n)] for total, n in zip(rank_sums, rank_counts, strict=True)],
        },
    )


def _row(session: Session, tokens: ChunkTokens, draft: Draft, number: int) -> dict[str, Any]:
    pool, offset, method = session.pool(), len(session.bos), session.config.composition.method
    chunks = np.array([place.chunk for place in draft.order], dtype=np.int64)
    kept = 1 + int(np.count_nonzero(draft.ends[:-1] < session.content))
    # Rows are written from the chunks that are kept. Without those behind them they may have fewer tokens, where a separator
    # and what follows it share one; a chunk more is then kept, of which no token is.
    while (ends := tokens.ends(chunks[:kept]) if kept < len(chunks) else draft.ends)[-1] < session.content:
        kept += 1
    chunks, order = chunks[:kept], draft.order[:kept]
    ends = np.minimum(ends, session.content) + offset
    starts = np.concatenate([[offset], ends[:-1]])
    documents = pool.document_ids(pool.documents_of(chunks))
    positions = pool.positions_of(chunks).tolist()
    return {
        "id": f"{method}-{number:08d}",
        "method": method,
        "length": session.config.length,
        "root": pool.document_ids(np.array([draft.root]))[0],
        "topic": draft.topic,
        "spans": [
            {
                "role": place.role,
                "document": document,
                "position": position,
                "chunk": place.chunk,
                "group": place.group,
                "rank": place.rank,
                "score": place.score,
                "token_start": start,
                "token_end": end,
            }
            for place, document, position, start, end in zip(
                order, documents, positions, starts.tolist(), ends.tolist(), strict=True
            )
        ],
    }


# The files last counted in this process, and their sum: the next batch has one file more.
_COUNTED_FILES: tuple[tuple[tuple[Path, str], ...], Counter[int]] = ((), Counter())


def _usage(files: tuple[tuple[Path, str], ...]) -> Counter[int]:
    """How often the sequences of these files use each chunk as a negative.

    The checksum tells a file from one that lay at the same path before, when another dataset was made there.
    """
    global _COUNTED_FILES
    known, total = _COUNTED_FILES
    if files[: len(known)] != known:
        known, total = (), Counter()
    for path, _ in files[len(known) :]:
        spans = read_table(path, SEQUENCE_SCHEMA, ["spans"]).column("spans").combine_chunks().flatten()
        negatives = spans.filter(pa.compute.equal(spans.field("role"), "negative"))
        total.update(negatives.field("chunk").to_pylist())
    _COUNTED_FILES = files, total
    return total.copy()
