"""The exact index: every query against every vector. The oracle that the others are measured against."""

from __future__ import annotations

from functools import partial

import numpy as np

from nextlong.index.centroids import rounding_error
from nextlong.index.protocol import checked
from nextlong.index.threads import row_threads, thread_count
from nextlong.index.vectors import Float32s, Ordinals, VectorShards

# Vectors scored at once. Larger blocks need fewer merges; with _GROUP queries a score block is 8 MiB a thread.
_BLOCK = 1 << 12
# Scoring single pairs in float64 costs about this many times as much per pair as the product of whole blocks.
_DENSE = 32
_GROUP = 512
# Queries that share one pass over the vectors on disk, and the most neighbours kept in that pass (20 bytes each, sorted
# in copies, so ~0.5 GiB at worst).
_PASS = 1 << 14
_KEPT = 1 << 23


class FlatIndex:
    """Exact search by streaming the vectors; it needs no file of its own and no memory beyond the results and ~100 MiB
    a thread.

    The answer is exact including its ties: the k chunks that come first by descending float32 score, then by ascending
    ordinal, however many copies of a vector the pool has. A float32 matrix product screens; whatever comes within its
    largest possible error of the k best so far is scored in float64, where scores are exact (see `protocol.Index`).

    Args:
        vectors: the pool's vectors.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.
    """

    def __init__(self, vectors: VectorShards, threads: int | None = None) -> None:
        self.vectors = vectors
        self._threads = threads

    def search(self, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """See `protocol.Index.search`."""
        queries = checked(queries, k, self.vectors.dimensions)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        ordinals = np.full((len(queries), k), -1, dtype=np.int64)
        kept = min(k, self.vectors.count)
        if not kept:
            return scores, ordinals
        threads = thread_count(self._threads)
        rows = max(1, min(_PASS, _KEPT // kept, len(queries)))
        group = min(_GROUP, -(-rows // threads))
        for start in range(0, len(queries), rows):
            end = min(start + rows, len(queries))
            groups = [(low, min(low + group, end)) for low in range(start, end, group)]
            nearest = [_Nearest(queries[low:high], kept) for low, high in groups]
            with row_threads(threads) as each:
                for first, block in self.vectors.blocks(_BLOCK):
                    each(partial(_Nearest.see, first=first, block=block), nearest)
                each(_Nearest.merge, nearest)
            for (low, high), one in zip(groups, nearest, strict=True):
                scores[low:high, :kept] = one.scores
                ordinals[low:high, :kept] = one.ordinals
        return scores, ordinals


class _Nearest:
    """The nearest vectors of a few queries, among the vectors seen so far; vectors must come in ordinal order."""

    def __init__(self, queries: Float32s, k: int) -> None:
        self._queries = queries
        self._k = k
        self._rows = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0, dtype=np.float32)
        self._ordinals = np.empty(0, dtype=np.int64)
        self._new: list[tuple[Ordinals, Float32s, Ordinals]] = []
        self._bar = np.full((len(queries), 1), -np.inf, dtype=np.float32)

    @property
    def scores(self) -> Float32s:
        return self._scores.reshape(len(self._queries), -1)

    @property
    def ordinals(self) -> Ordinals:
        return self._ordinals.reshape(len(self._queries), -1)

    def see(self, first: int, block: Float32s) -> None:
        """Take the vectors ``block``, float32 ``(n, d)``, of the ordinals from ``first`` on."""
        near = self._queries @ block.T
        margin = rounding_error(self._queries, block)
        if self._k < len(block) and np.isneginf(self._bar).all():
            # The first block has no k best before it; its own k-th, less what the screen and float32 may be off, will do.
            kth = np.partition(near, -self._k, axis=1)[:, -self._k, None]
            self._bar = np.nextafter(kth.astype(np.float64) - margin, -np.inf).astype(np.float32)
            self._bar = np.nextafter(self._bar, np.float32(-np.inf))
        # One step down, for the rounding of the difference itself.
        places = np.flatnonzero(near > np.nextafter(self._bar - np.float32(margin), np.float32(-np.inf)))
        rows, offsets = np.divmod(places, len(block))
        if len(places) * _DENSE > near.size:
            exact = (self._queries.astype(np.float64) @ block.astype(np.float64).T).ravel()[places]
        else:
            exact = np.einsum("nd,nd->n", self._queries[rows], block[offsets], dtype=np.float64)
        scores = exact.astype(np.float32) + np.float32(0.0)
        # A vector must beat the k-th best strictly: at an equal score the one seen before has the lower ordinal.
        better = np.flatnonzero(scores > self._bar[rows, 0])
        self._new.append((rows[better], scores[better], first + offsets[better]))
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
