"""Candidates for hard negatives: the neighbours of a root document's meta-chunks (paper §3.1), before any filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nextlong.config import MiningConfig
from nextlong.pool.pool import Ordinals, Pool

Kind = Literal["top", "random", "low", "self-repeat"]


@dataclass(frozen=True)
class Neighbours:
    """The candidates of one root document.

    Attributes:
        root: its document ordinal.
        meta_chunks: int64, shape ``(p,)``: its chunk ordinals, in order.
        chunks: for each meta-chunk the candidates' chunk ordinals, int64, best first.
        scores: for each meta-chunk the candidates' cosine similarities, float32.
        depth: how many candidates were asked for; one of the pool's size has all there are.
    """

    root: int
    meta_chunks: Ordinals
    chunks: list[Ordinals]
    scores: list[npt.NDArray[np.float32]]
    depth: int


def may_hold_more(pool: Pool, found: Neighbours, mining: MiningConfig) -> bool:
    """Whether a deeper search could find candidates that the filters let through."""
    if mining.negatives == "self-repeat":
        return True
    own = len(found.meta_chunks)  # they have no rank
    deepest = pool.chunks if mining.range_max is None else min(pool.chunks, mining.range_max + own)
    if found.depth >= deepest:
        return False
    if mining.negatives != "top" or mining.min_score is None:
        return True
    return any(len(scores) and float(scores[-1]) >= mining.min_score for scores in found.scores)


def find_neighbours(pool: Pool, roots: Sequence[int], depth: int, kind: Kind, seed: int) -> list[Neighbours]:
    """The ``depth`` first candidates of every meta-chunk of the roots; fewer only where there are no more.

    A deeper call returns the same candidates first, as long as the index is exact.

    Args:
        pool: where to look.
        roots: document ordinals.
        depth: candidates for each meta-chunk.
        kind: ``top`` the most similar chunks; ``low`` the least similar; ``random`` chunks drawn by (seed, document id,
            position); ``self-repeat`` the root's own other chunks, in order from the meta-chunk on, again and again.
        seed: the dataset's.
    """
    depth = min(depth, pool.chunks) if kind != "self-repeat" else depth
    metas = [pool.chunks_of(root) for root in roots]
    if kind in ("top", "low"):
        queries = pool.vectors.take(np.concatenate(metas))
        sign = np.float32(1 if kind == "top" else -1)
        scores, ordinals = pool.index.search(sign * queries, depth)
        found = [(row[row >= 0], sign * score[row >= 0]) for row, score in zip(ordinals, scores, strict=True)]
    else:
        draw = _random if kind == "random" else _own
        found = [
            _scored(pool, int(meta), draw(pool, root, position, depth, seed))
            for root, chunks in zip(roots, metas, strict=True)
            for position, meta in enumerate(chunks)
        ]
    result, first = [], 0
    for root, chunks in zip(roots, metas, strict=True):
        own = found[first : first + len(chunks)]
        result.append(Neighbours(int(root), chunks, [row for row, _ in own], [score for _, score in own], depth))
        first += len(chunks)
    return result


def _random(pool: Pool, root: int, position: int, depth: int, seed: int) -> Ordinals:
    # A generator of its own for each meta-chunk, so that the order of work does not matter.
    generator = np.random.default_rng([seed, int(pool.keys[root]), position])
    return generator.permutation(pool.chunks)[:depth].astype(np.int64)


def _own(pool: Pool, root: int, position: int, depth: int, seed: int) -> Ordinals:
    own = np.roll(pool.chunks_of(root), -position)[1:]
    return np.resize(own, depth)


def _scored(pool: Pool, meta: int, chunks: Ordinals) -> tuple[Ordinals, npt.NDArray[np.float32]]:
    vectors = pool.vectors.take(np.concatenate([[meta], chunks])).astype(np.float64)
    return chunks, (vectors[1:] @ vectors[0]).astype(np.float32)
