"""Candidates → sequences: the canonical table of references, one row a sequence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.composition.nextlong import OutOfCandidates, Placed, add_to_last, arranged, choose_k, choose_to_fill
from nextlong.composition.session import Session
from nextlong.dataset import layout
from nextlong.dataset.mine import DEEPER, read_neighbours
from nextlong.dataset.roots import negatives_in_paper_mode
from nextlong.errors import NextlongError
from nextlong.execution.files import atomic
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.mining.filters import OPTIONAL_REASONS, REASONS, Negative, SequenceFilter
from nextlong.mining.neighbours import Neighbours, find_neighbours, may_hold_more
from nextlong.records import SEQUENCE_SCHEMA
from nextlong.sizes import format_count
from nextlong.tokenization.store import TokenStore

VERSION = 1

# Similarity by rank is recorded up to this rank, for the summary.
_RANKS = 512


@dataclass(frozen=True)
class _Composed:
    """A sequence, and its figures."""

    root: int
    order: list[Placed]
    ends: npt.NDArray[np.int32]  # of each chunk, in content tokens, not yet cut
    passed_over: Counter[str]
    searches: int


def compose(session: Session, batch: str, first: int, usage_of: tuple[tuple[Path, str], ...] | None) -> Outcome:
    """Compose the sequences of a batch of roots and write ``sequences/<batch>.parquet``.

    Args:
        session: the dataset.
        batch: name of the batch.
        first: number of the batch's first sequence.
        usage_of: with ``max_reuse``, the sequence files that come before, each with its checksum; else None.

    Raises:
        NextlongError: the pool has not enough text for a sequence.
    """
    store = session.store()
    usage = _usage(usage_of) if usage_of is not None else Counter()
    rows: list[dict[str, Any]] = []
    passed_over: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    rank_sums, rank_counts = np.zeros(_RANKS), np.zeros(_RANKS, dtype=np.int64)
    info: Counter[str] = Counter()
    for found in read_neighbours(session.folder / layout.NEIGHBOURS / f"{batch}.arrow"):
        composed = _compose_root(session, store, found, usage)
        passed_over.update(composed.passed_over if composed else {})
        if composed is None:
            info["discarded"] += 1
        else:
            row = _row(session, composed, first + len(rows))
            placed = composed.order[: len(row["spans"])]
            negatives = [place for place in placed if place.role == "negative"]
            if usage_of is not None:
                usage.update(place.chunk for place in negatives)
            ranks = np.array([min(place.rank, _RANKS) - 1 for place in negatives], dtype=np.int64)
            np.add.at(rank_sums, ranks, [place.score for place in negatives])
            np.add.at(rank_counts, ranks, 1)
            info["meta_chunks"] += len(placed) - len(negatives)
            info["negatives"] += len(negatives)
            info["searched_deeper"] += composed.searches > 0
            rows.append(row)
        advance(1)
    path = session.folder / layout.SEQUENCES / f"{batch}.parquet"
    with atomic(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SEQUENCE_SCHEMA), temporary, compression="zstd")
    return Outcome(
        [path],
        len(rows),
        {
            **{name: info[name] for name in ("discarded", "meta_chunks", "negatives", "searched_deeper")},
            "passed_over": dict(passed_over),
            "rank_scores": [[round(float(total), 6), int(n)] for total, n in zip(rank_sums, rank_counts, strict=True)],
        },
    )


def _compose_root(session: Session, store: TokenStore, found: Neighbours, usage: Counter[int]) -> _Composed | None:
    """One sequence; None if paper mode discards it."""
    pool, config = session.pool(), session.config
    searches = 0
    while True:
        candidates = SequenceFilter(pool, found, config.mining, usage)
        all_seen = not may_hold_more(pool, found, config.mining)
        try:
            if config.composition.mode == "paper":
                order, ends = _paper(session, store, found, candidates, all_seen)
            else:
                order, ends = _token_exact(session, store, found, candidates)
            break
        except OutOfCandidates as error:
            if all_seen:
                raise _pool_exhausted(session, found, candidates, error.tokens) from error
            depth = found.depth * DEEPER
            (found,) = find_neighbours(pool, [found.root], depth, config.mining.negatives, config.seed)
            searches += 1
    if ends[-1] < session.content:
        return None
    return _Composed(found.root, order, ends, candidates.passed_over, searches)


def _token_exact(
    session: Session, store: TokenStore, found: Neighbours, candidates: SequenceFilter
) -> tuple[list[Placed], npt.NDArray[np.int32]]:
    everything = np.unique(np.concatenate([found.meta_chunks, *found.chunks]))
    lengths = dict(zip(everything.tolist(), store.stored_lengths(everything).tolist(), strict=True))

    def length_of(chunk: int) -> int:
        if lengths[chunk] < 0:
            lengths[chunk] = int(store.lengths(np.array([chunk]))[0])
        return int(lengths[chunk])

    meta_lengths = [length_of(meta) for meta in found.meta_chunks.tolist()]
    chosen = choose_to_fill(candidates, meta_lengths, length_of, session.content)
    while True:
        order = _arranged(session, found, chosen, cut_last=True)
        ends = _joined(session, store, order)[1]
        if ends[-2] >= session.content:  # joining added tokens that the lengths had not counted
            chosen[-1].pop()
            if not chosen[-1]:
                root = session.pool().document_ids(np.array([found.root]))[0]
                raise NextlongError(f"Root document {root!r} leaves no room for a negative.", "Lower max_root_fraction.")
        elif ends[-1] >= session.content:
            return order, ends
        else:
            add_to_last(candidates, chosen, session.content - int(ends[-1]))


def _paper(
    session: Session, store: TokenStore, found: Neighbours, candidates: SequenceFilter, all_seen: bool
) -> tuple[list[Placed], npt.NDArray[np.int32]]:
    k = negatives_in_paper_mode(session.pool(), found.root, session.config)
    chosen = choose_k(candidates, len(found.meta_chunks), k, fewer=all_seen)
    order = _arranged(session, found, chosen, cut_last=False)
    return order, _joined(session, store, order)[1]


def _arranged(session: Session, found: Neighbours, chosen: list[list[Negative]], cut_last: bool) -> list[Placed]:
    key = (session.config.seed, int(session.pool().keys[found.root]))
    return arranged(found.meta_chunks.tolist(), chosen, session.config.composition.position, key, cut_last)


def _joined(session: Session, store: TokenStore, order: list[Placed]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    return joined(session, store, np.array([place.chunk for place in order], dtype=np.int64))


def joined(
    session: Session, store: TokenStore, chunks: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The tokens of chunks joined, and where each chunk ends in them."""
    pool = session.pool()
    return session.joiner().join(store.units(chunks), lambda place: pool.texts(chunks[place : place + 1])[0])


def _row(session: Session, composed: _Composed, number: int) -> dict[str, Any]:
    pool, offset = session.pool(), len(session.bos)
    ends = np.minimum(composed.ends, session.content) + offset
    starts = np.concatenate([[offset], ends[:-1]])
    kept = int(np.count_nonzero(starts < session.content + offset))
    order = composed.order[:kept]
    chunks = np.array([place.chunk for place in order], dtype=np.int64)
    documents = pool.document_ids(pool.documents_of(chunks))
    positions = pool.positions_of(chunks).tolist()
    return {
        "id": f"{session.config.composition.method}-{number:08d}",
        "method": session.config.composition.method,
        "length": session.config.length,
        "root": pool.document_ids(np.array([composed.root]))[0],
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
                order, documents, positions, starts[:kept].tolist(), ends[:kept].tolist(), strict=True
            )
        ],
    }


# The files last counted in this process, and their sum: the next batch has one file more.
_COUNTED: tuple[tuple[tuple[Path, str], ...], Counter[int]] = ((), Counter())


def _usage(files: tuple[tuple[Path, str], ...]) -> Counter[int]:
    """How often the sequences of these files use each chunk as a negative.

    The checksum tells a file from one that lay at the same path before, when another dataset was made there.
    """
    global _COUNTED
    known, total = _COUNTED
    if files[: len(known)] != known:
        known, total = (), Counter()
    for path, _ in files[len(known) :]:
        spans = pq.read_table(path, columns=["spans"]).column("spans").combine_chunks().flatten()
        negatives = spans.filter(pa.compute.equal(spans.field("role"), "negative"))
        total.update(negatives.field("chunk").to_pylist())
    _COUNTED = files, total
    return total.copy()


def _pool_exhausted(session: Session, found: Neighbours, candidates: SequenceFilter, tokens: int) -> NextlongError:
    pool = session.pool()
    root = pool.document_ids(np.array([found.root]))[0]
    lengths = session.store().lengths(found.meta_chunks)
    characters = tokens * pool.characters_of(found.root) / max(1, int(lengths.sum()))
    passed_over = [(name, amount) for name, amount in candidates.passed_over.most_common() if amount]
    why = ", ".join(f"{amount:,} {REASONS[name]}" for name, amount in passed_over)
    loosen = [name for name, _ in passed_over if name in OPTIONAL_REASONS]
    return NextlongError(
        f"The pool has run out: the sequence of root document {root!r} lacks {tokens:,} of {session.config.length:,} "
        f"tokens, about {format_count(characters)} characters of text (passed over: {why or 'nothing'}).",
        (f"Loosen {' and '.join(loosen)}, or add" if loosen else "Add")
        + " that much text to the corpus, or ask for a shorter length.",
    )
