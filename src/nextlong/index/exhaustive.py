"""Exact search without a shortcut: every score in float64. Slower than FAISS, right whatever the ties."""

from __future__ import annotations

from functools import partial

import numpy as np

from nextlong.index.threads import row_threads
from nextlong.index.vectors import Float32s, Float64s, Ordinals, VectorShards

# Vectors scored at once. Larger blocks need fewer merges; with _GROUP queries a score block is 16 MiB a thread.
_BLOCK = 1 << 12
_GROUP = 512
# Queries that share one pass over the vectors on disk, and the most neighbours kept in that pass (20 bytes each, sorted
# in copies, so ~0.5 GiB at worst).
_PASS = 1 << 14
_KEPT = 1 << 23


def exhaustive_search(
    queries: Float32s, vectors: VectorShards, k: int, threads: int, within: range
) -> tuple[Float32s, Ordinals]:
    """The k nearest vectors by (descending score, ascending ordinal), exactly.

    Args:
        queries: float32 ``(q, d)``, float16-exact.
        vectors: where to look.
        k: how many, in [1, ``len(within)``].
        threads: how many to use.
        within: the ordinals of the vectors to look at.

    Returns:
        Scores, float32 ``(q, k)``, and ordinals, int64 ``(q, k)``.
    """
    scores = np.empty((len(queries), k), dtype=np.float32)
    ordinals = np.empty((len(queries), k), dtype=np.int64)
    rows = max(1, min(_PASS, _KEPT // k, len(queries)))
    group = min(_GROUP, -(-rows // threads))
    for start in range(0, len(queries), rows):
        end = min(start + rows, len(queries))
        groups = [(low, min(low + group, end)) for low in range(start, end, group)]
        nearest = [_Nearest(queries[low:high], k) for low, high in groups]
        with row_threads(threads) as each:
            for first, block in vectors.blocks(_BLOCK, within):
                each(partial(_Nearest.see, first=first, columns=block.astype(np.float64).T), nearest)
            each(_Nearest.merge, nearest)
        for (low, high), one in zip(groups, nearest, strict=True):
            scores[low:high], ordinals[low:high] = one.scores, one.ordinals
    return scores, ordinals


class _Nearest:
    """The nearest vectors of a few queries, among the vectors seen so far; vectors must come in ordinal order."""

    def __init__(self, queries: Float32s, k: int) -> None:
        self._queries: Float64s = queries.astype(np.float64)
        self._k = k
        self._rows = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0, dtype=np.float32)
        self._ordinals = np.empty(0, dtype=np.int64)
        self._new: list[tuple[Ordinals, Float32s, Ordinals]] = []
        self._bar = np.full((len(queries), 1), -np.inf)

    @property
    def scores(self) -> Float32s:
        return self._scores.reshape(len(self._queries), -1)

    @property
    def ordinals(self) -> Ordinals:
        return self._ordinals.reshape(len(self._queries), -1)

    def see(self, first: int, columns: Float64s) -> None:
        """Take the vectors ``columns``, float64 ``(d, n)``, of the ordinals from ``first`` on."""
        exact = self._queries @ columns
        if self._k < exact.shape[1] and np.isneginf(self._bar).all():
            # The k-th best of the first block is a bar for all others; a step lower, not to lose what rounds to it.
            kth = np.partition(exact, -self._k, axis=1)[:, -self._k, None].astype(np.float32)
            self._bar = np.nextafter(kth, np.float32(-np.inf)).astype(np.float64)
        # A vector must beat the k-th best strictly: at an equal score the one seen before has the lower ordinal. A score
        # that rounds to more than the bar is more than the bar before rounding too, so nothing is missed here.
        places = np.flatnonzero(exact > self._bar)
        rows, offsets = np.divmod(places, exact.shape[1])
        self._new.append((rows, exact.ravel()[places].astype(np.float32) + np.float32(0.0), first + offsets))
        # Sorting costs more than carrying a few surplus candidates along.
        if sum(len(rows) for rows, _, _ in self._new) >= len(self._queries) * self._k:
            self.merge()

    def merge(self) -> None:
        """Reduce what was seen to the k best of each query, and raise the bar."""
        rows = np.concatenate([self._rows, *(new[0] for new in self._new)])
        scores = np.concatenate([self._scores, *(new[1] for new in self._new)])
        ordinals = np.concatenate([self._ordinals, *(new[2] for new in self._new)])
        self._new = []
        # Among equal scores the order so far is kept (the sort is stable), and that is the order of ordinals.
        order = np.lexsort((-scores, rows))
        sizes = np.bincount(rows, minlength=len(self._queries))
        rank = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        order = order[rank < self._k]
        self._rows, self._scores, self._ordinals = rows[order], scores[order], ordinals[order]
        full = sizes >= self._k
        ends = np.cumsum(np.minimum(sizes, self._k)) - 1
        self._bar[full, 0] = self._scores[ends[full]]
