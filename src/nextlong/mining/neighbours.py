"""Candidates for hard negatives: the neighbours of a root document's meta-chunks (paper §3.1), before any filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.config import MiningConfig
from nextlong.mining.nearest import Ask, Nearest
from nextlong.mining.retrieval import by_vectors, dense_ask, most_similar, reranked, similarities
from nextlong.pool.pool import Ordinals, Pool


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
    if mining.negatives != "top" or mining.min_score is None or mining.retrieval != "dense" or mining.scorer is not None:
        return True
    return any(len(scores) and float(scores[-1]) >= mining.min_score for scores in found.scores)


def first_ask(pool: Pool, roots: Sequence[int], depth: int, mining: MiningConfig) -> Ask | None:
    """What :func:`find_neighbours` asks the index of vectors first; None where it need not ask."""
    metas, depth = _metas(pool, roots), _reached(pool, roots, depth, mining)
    if mining.negatives == "low":
        return Ask(metas, depth, -1)
    return dense_ask(pool, metas, depth, mining) if mining.negatives == "top" else None


def find_neighbours(
    pool: Pool, roots: Sequence[int], depth: int, mining: MiningConfig, seed: int, nearest: Nearest | None = None
) -> list[Neighbours]:
    """The ``depth`` first candidates of every meta-chunk of the roots; fewer only where there are no more.

    A deeper call returns the same candidates first, as long as the index is exact.

    Args:
        pool: where to look.
        roots: document ordinals.
        depth: candidates for each meta-chunk.
        mining: ``negatives`` says which: ``top`` the most similar chunks, as ``retrieval`` and ``scorer`` rank them;
            ``low`` the least similar; ``random`` chunks drawn by (seed, document id, position); ``self-repeat`` the root's
            own other chunks, in order from the meta-chunk on, again and again.
        seed: the dataset's.
        nearest: answers what is asked of the index; None searches it.
    """
    kind, nearest = mining.negatives, nearest or Nearest()
    depth = _reached(pool, roots, depth, mining)
    metas = [pool.chunks_of(root) for root in roots]
    if kind == "top":
        found = most_similar(pool, np.concatenate(metas), depth, mining, nearest)
    elif kind == "low":
        found = by_vectors(pool, Ask(np.concatenate(metas), depth, -1), nearest)
    else:
        draw = _random if kind == "random" else _own
        drawn = [
            (int(meta), draw(pool, root, position, depth, seed))
            for root, chunks in zip(roots, metas, strict=True)
            for position, meta in enumerate(chunks)
        ]
        found = [(chunks, similarities(pool, meta, chunks)) for meta, chunks in drawn]
    result, first = [], 0
    for root, chunks in zip(roots, metas, strict=True):
        own = [
            reranked(pool, int(root), int(meta), ranking, mining)
            for meta, ranking in zip(chunks, found[first : first + len(chunks)], strict=True)
        ]
        result.append(Neighbours(int(root), chunks, [row for row, _ in own], [score for _, score in own], depth))
        first += len(chunks)
    return result


def _metas(pool: Pool, roots: Sequence[int]) -> Ordinals:
    return np.concatenate([pool.chunks_of(root) for root in roots])


def _reached(pool: Pool, roots: Sequence[int], depth: int, mining: MiningConfig) -> int:
    """How deep a search for ``depth`` candidates goes."""
    if mining.negatives == "self-repeat":
        return depth
    return min(max(depth, _scored_depth(pool, roots, mining)), pool.chunks)


def _scored_depth(pool: Pool, roots: Sequence[int], mining: MiningConfig) -> int:
    """How deep a search must at least go, so that what a scorer sees does not depend on how deep it went."""
    if mining.scorer is None:
        return 0
    return mining.scorer_depth + max(len(pool.chunks_of(root)) for root in roots)


def _random(pool: Pool, root: int, position: int, depth: int, seed: int) -> Ordinals:
    # A generator of its own for each meta-chunk, so that the order of work does not matter.
    generator = np.random.default_rng([seed, int(pool.keys[root]), position])
    return generator.permutation(pool.chunks)[:depth].astype(np.int64)


def _own(pool: Pool, root: int, position: int, depth: int, seed: int) -> Ordinals:
    own = np.roll(pool.chunks_of(root), -position)[1:]
    return np.resize(own, depth)
