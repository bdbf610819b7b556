"""Units → sequences: the canonical table of references, one row a sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

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
from nextlong.dataset.sequences import Kept, sequence_table
from nextlong.execution.files import atomic
from nextlong.execution.progress import advance
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Outcome
from nextlong.mining.candidates import REASONS
from nextlong.mining.nearest import Parts
from nextlong.mining.neighbours import Neighbours
from nextlong.records import ROLES, SEQUENCE_SCHEMA, Order

VERSION = 2

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
    found: Sequence[Neighbours | None] = [None] * len(units)
    if method.SEARCHES:
        found = read_neighbours(session.folder / layout.NEIGHBOURS / f"{batch}.arrow")
    method.prepare(units, found)
    kept: list[Kept] = []
    passed_over: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    info: Counter[str] = Counter()
    measured: set[int] = set()
    for unit, candidates in zip(units, found, strict=True):
        made = 0
        for draft in islice(method.compose(unit, candidates), unit.sequences):
            passed_over.update(draft.passed_over)
            info["tokens_wasted"] += int(method.tokens.lengths(draft.dropped).sum()) if len(draft.dropped) else 0
            info["searched_deeper"] += draft.searched_deeper
            measured.update(draft.measured)
            if draft.ends[-1] < session.content:
                info["tokens_wasted"] += int(draft.ends[-1])
                continue
            kept.append(_kept(session, method.tokens, draft))
            info["tokens_wasted"] += int(draft.ends[-1]) - session.content
            if usage_of is not None:
                order = kept[-1].order
                method.usage.update(order.chunks[order.roles == ROLES.index("negative")].tolist())
            made += 1
            advance(1)
        info["discarded"] += unit.sequences - made
    path = session.folder / layout.SEQUENCES / f"{batch}.parquet"
    table, figures = sequence_table(session, kept, first)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    figures = {**info, **figures}
    counted = {name: figures.get(name, 0) for name in COUNTED}
    others = {"passed_over": dict(passed_over), "rank_scores": figures["rank_scores"], "measured": sorted(measured)}
    return Outcome([path], len(kept), {**counted, **others})


def _kept(session: Session, tokens: ChunkTokens, draft: Draft) -> Kept:
    """The part of a draft that stands in its row."""
    order = Order.of(draft.order)
    kept = 1 + int(np.count_nonzero(draft.ends[:-1] < session.content))
    # Rows are written from the chunks that are kept. Without those behind them they may have fewer tokens, where a separator
    # and what follows it share one; a chunk more is then kept, of which no token is.
    while (ends := tokens.ends(order.chunks[:kept]) if kept < len(order) else draft.ends)[-1] < session.content:
        kept += 1
    return Kept(order[:kept] if kept < len(order) else order, ends, draft.root, draft.topic)


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
