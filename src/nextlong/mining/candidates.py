"""Candidates as flat arrays: what of them does not depend on which others are taken is found for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.config import MiningConfig
from nextlong.mining.fingerprints import Fingerprints, Rows
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.pool import Ordinals, Pool

# Why a candidate is passed over, in the order in which the reasons are looked at.
REASONS = {
    "own_document": "of the root document itself",
    "no_vector": "the encoder gave it a zero vector",
    "range_min": "nearer than range_min allows",
    "range_max": "farther than range_max allows",
    "max_score": "more similar than max_score allows",
    "min_score": "less similar than min_score allows",
    "relative_margin": "closer than relative_margin allows",
    "used": "already in the sequence",
    "max_reuse": "used max_reuse times in the dataset",
    "copy": "copies of a chunk of the root document or of a negative in the sequence",
}
# Those that a user has asked for, by the option of the same name.
OPTIONAL_REASONS = ("range_min", "range_max", "max_score", "min_score", "relative_margin", "max_reuse")
# A reason by its number; 0 is none.
REASON_NAMES = ["", *REASONS]
CODES = {name: code for code, name in enumerate(REASON_NAMES)}


# A table of all chunks of the pool is quicker than sorting until it has so many times the chunks that are sorted.
_SPARSE = 16

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Group:
    """The first candidates of a meta-chunk, best first.

    Attributes:
        chunks, scores: as in :class:`~nextlong.mining.neighbours.Neighbours`.
        ranks: among the neighbours outside the root document, 1-based, int64.
        rows: of their fingerprints.
        reasons: the first reason not to take each that does not depend on the sequence so far, a number of :data:`CODES`; or
            0, uint8.
        whole: there are no more of them.
    """

    chunks: Ordinals
    scores: npt.NDArray[np.float32]
    ranks: Ordinals
    rows: Rows
    reasons: npt.NDArray[np.uint8]
    whole: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked up of the candidates of a root document.

    Attributes:
        groups: one for each meta-chunk.
        metas: rows of the meta-chunks' fingerprints.
        fingerprints: of all of them, and maybe of others.
    """

    groups: list[Group]
    metas: Rows
    fingerprints: Fingerprints


def look_up(
    pool: Pool, found: Sequence[Neighbours], most: Sequence[int], config: MiningConfig, others: Ordinals = _NONE
) -> list[Looked]:
    """What of the candidates of some root documents does not depend on which of them are taken, for all at once.

    Args:
        pool: where they come from.
        found: for each root its candidates.
        most: for each root how many candidates of each meta-chunk to look up.
        config: the filters.
        others: chunks whose fingerprints are needed, too.
    """
    heads = [chunks[:count] for one, count in zip(found, most, strict=True) for chunks in one.chunks]
    whole = [len(chunks) <= count for one, count in zip(found, most, strict=True) for chunks in one.chunks]
    chunks = np.concatenate([_NONE, *heads])
    scores = np.concatenate(
        [_NONE.astype(np.float32), *(row[:count] for one, count in zip(found, most, strict=True) for row in one.scores)]
    )
    sizes = np.array([len(head) for head in heads], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    places = np.arange(len(chunks)) - np.repeat(starts, sizes)
    metas = np.concatenate([_NONE, *(one.meta_chunks for one in found)])
    distinct, every_row = _distinct(np.concatenate([chunks, metas, others]), pool.chunks)
    fingerprints = Fingerprints(pool, distinct, config.max_jaccard)
    rows, meta_rows = every_row[: len(chunks)], every_row[len(chunks) :]
    if config.negatives == "self-repeat":
        ranks, reasons = places + 1, np.zeros(len(chunks), dtype=np.uint8)
    else:
        per_root = [len(one.meta_chunks) for one in found]
        first, last = (np.repeat([one.meta_chunks[end] for one in found], per_root) for end in (0, -1))
        own = (chunks >= np.repeat(first, sizes)) & (chunks <= np.repeat(last, sizes))
        own_before = np.concatenate([[0], np.cumsum(own)])
        ranks = places + 1 - (own_before[:-1] - np.repeat(own_before[starts], sizes))
        reasons = _reasons(pool, config, chunks, scores, ranks)
        if config.relative_margin is not None:
            too_close = scores > np.repeat(_margins(pool, found, config.relative_margin), sizes)
            reasons[(reasons == 0) & too_close] = CODES["relative_margin"]
        reasons[own] = CODES["own_document"]
    groups = [
        Group(chunks[part], scores[part], ranks[part], rows[part], reasons[part], all_)
        for part, all_ in zip(map(slice, starts.tolist(), (starts + sizes).tolist()), whole, strict=True)
    ]
    result, at = [], 0
    for one in found:
        stop = at + len(one.meta_chunks)
        result.append(Looked(groups[at:stop], meta_rows[at:stop], fingerprints))
        at = stop
    return result


def _distinct(chunks: Ordinals, count: int) -> tuple[Ordinals, Rows]:
    """The different ones of chunks of a pool with so many, ascending, and for each chunk its row among them."""
    if count > _SPARSE * len(chunks):
        # With the rows asked for, NumPy sorts; without, it makes a table of hashes, which takes five times as long.
        return np.unique(chunks, return_inverse=True)
    there = np.zeros(count, dtype=bool)
    there[chunks] = True
    distinct = there.nonzero()[0]
    row = np.empty(count, dtype=np.int64)
    row[distinct] = np.arange(len(distinct))
    return distinct, row.take(chunks)


def _reasons(
    pool: Pool, config: MiningConfig, chunks: Ordinals, scores: npt.NDArray[np.float32], ranks: Ordinals
) -> npt.NDArray[np.uint8]:
    """Reasons that are the same for all groups, but that a chunk is the root document's."""
    reasons = np.zeros(len(chunks), dtype=np.uint8)
    # From the last one that is looked at to the first.
    if config.min_score is not None:
        reasons[scores < config.min_score] = CODES["min_score"]
    if config.max_score is not None:
        reasons[scores > config.max_score] = CODES["max_score"]
    if config.range_max is not None:
        reasons[ranks > config.range_max] = CODES["range_max"]
    if config.range_min:
        reasons[ranks <= config.range_min] = CODES["range_min"]
    zero = np.flatnonzero(scores == 0)  # orthogonal to the meta-chunk, or nothing at all
    if len(zero):
        reasons[zero[~pool.vectors.take(chunks[zero]).any(axis=1)]] = CODES["no_vector"]
    return reasons


def _margins(pool: Pool, found: Sequence[Neighbours], relative_margin: float) -> list[float]:
    """For each meta-chunk the similarity that is too close to that of its document's own closest chunk."""
    margins = []
    for one in found:
        vectors = pool.vectors.take(one.meta_chunks).astype(np.float64)
        for place, vector in enumerate(vectors):
            margins.append(float(np.delete(vectors @ vector, place).max()) * (1 - relative_margin))
    return margins
