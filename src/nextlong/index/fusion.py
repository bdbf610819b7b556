"""One ranking of two: reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009) that deeper searches only extend."""

from __future__ import annotations

import numpy as np

from nextlong.index.vectors import Ordinals

# Raised when the same rankings would give another one.
VERSION = 1

# A chunk's score changes with its rank in either ranking, so a fusion of all that a search of depth k finds would change
# with k. Only the first ranks count instead, always as many: beyond rank 1,000 a rank adds less than 1 / 1,060, and
# moves a chunk only among others as deep; a 128K sequence takes about 130 negatives.
WINDOW = 1000
# The constant of the paper, where it was the best on four collections and little else made a difference.
RANK_CONSTANT = 60


def search_depth(k: int, chunks: int) -> int:
    """How deep both rankings must be searched for the first k of their fusion, in a pool of ``chunks``."""
    return min(chunks, max(k, WINDOW))


def fused(dense: Ordinals, lexical: Ordinals, window: int = WINDOW) -> Ordinals:
    """Fuse two rankings of one query.

    First come the chunks within the first ``window`` ranks of either, by descending score, the sum of 1 / (60 + rank)
    over both (ranks from 1, nothing for a chunk that is not within them), equal ones in ascending order of ordinals.
    Behind them comes what is left of both, by rank, of one rank the dense one first, without what came before.

    The fusion of the first d ranks of both is the beginning of any deeper one, if d is at least ``window``. A ranking may
    be shorter than that where it has no more.

    Args:
        dense: chunk ordinals by vectors, best first, int64 ``(n,)``; what is -1 is left out.
        lexical: the same by words, int64 ``(m,)``.
        window: how many ranks count.

    Returns:
        Every ordinal of the two once, int64, at most ``n + m`` of them and at least as many as the longer has.
    """
    rankings = [ranking[ranking >= 0] for ranking in (dense, lexical)]
    first = [ranking[:window] for ranking in rankings]
    candidates, places = np.unique(np.concatenate(first), return_inverse=True)
    scores = np.zeros(len(candidates))
    for part, ranking in zip(np.split(places, [len(first[0])]), first, strict=True):
        scores[part] += 1 / (RANK_CONSTANT + np.arange(1, len(ranking) + 1))
    # Candidates are in ascending order, and the sort is stable.
    best = candidates[np.argsort(-scores, kind="stable")]
    rest = [ranking[window:] for ranking in rankings]
    turns = np.concatenate([2 * np.arange(len(rest[0])), 2 * np.arange(len(rest[1])) + 1])
    everything = np.concatenate([best, np.concatenate(rest)[np.argsort(turns)]])
    _, occurrences = np.unique(everything, return_index=True)
    return everything[np.sort(occurrences)]
