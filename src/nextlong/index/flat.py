"""The exact index: every query against every vector. The oracle that the others are measured against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nextlong.index.cuvs import BLOCK_BYTES, nearest_on_gpu
from nextlong.index.exhaustive import exhaustive_search
from nextlong.index.keys import UNIT, packed, unpacked
from nextlong.index.protocol import checked, merged, shard_ranges, shards_for
from nextlong.index.threads import faiss_threads, thread_count
from nextlong.index.vectors import Float32s, Ordinals, VectorShards

# The k best of a block for each query: scores and rows, ties in any order.
Nearest = Callable[[Float32s, Float32s, int], tuple[Float32s, Ordinals]]

# Memory for one block of vectors. FAISS is at its full speed from some thousand vectors on.
_BLOCK_BYTES = 1 << 26
# Queries that share one pass over the vectors on disk, and the most candidates kept in that pass (12 bytes each, and as
# much again for the block at hand).
_PASS = 1 << 14
_CANDIDATES = 1 << 23
# Candidates fetched beyond k: ties at rank k of up to so many are put in order without a second search.
_EXTRA = 64
# Above this share of a shard FAISS's heaps cost more than scoring everything at once.
_DEEP = 1 / 8


class FlatIndex:
    """Exact search by streaming the vectors; it needs no file of its own, and ~400 MiB of memory beside the results.

    The answer is exact including its ties: the k chunks that come first by descending score, then by ascending ordinal,
    however many copies of a vector the pool has. FAISS finds the k + 64 best, in any order of ties; where even the last of
    them is level with rank k, an equal chunk may have been left out, and the query is searched again without FAISS.

    Args:
        vectors: the pool's vectors.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.
        shards: into how many ranges of ordinals the vectors are divided; None for what their number needs.
        on_gpu: find the candidates on a GPU, with cuVS.
    """

    def __init__(
        self, vectors: VectorShards, threads: int | None = None, shards: int | None = None, on_gpu: bool = False
    ) -> None:
        self.vectors = vectors
        self._threads = threads
        self._nearest: Nearest = nearest_on_gpu if on_gpu else _nearest_by_faiss
        self._block_bytes = BLOCK_BYTES if on_gpu else _BLOCK_BYTES
        self._ranges = shard_ranges(vectors.count, shards or shards_for(vectors.count))

    @property
    def exact(self) -> bool:
        """See `protocol.Index`."""
        return True

    @property
    def shards(self) -> int:
        """See `protocol.Index`."""
        return len(self._ranges)

    def search(self, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """See `protocol.Index.search`."""
        return merged((self.search_shard(shard, queries, k) for shard in range(self.shards)), k)

    def search_shard(self, shard: int, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """See `protocol.Index.search_shard`."""
        within = self._ranges[shard]
        queries = checked(queries, k, self.vectors.dimensions)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        ordinals = np.full((len(queries), k), -1, dtype=np.int64)
        kept = min(k, len(within))
        if not kept or not len(queries):
            return scores, ordinals
        threads = thread_count(self._threads)
        fetched = kept + _EXTRA
        if fetched > len(within) * _DEEP:
            scores[:, :kept], ordinals[:, :kept] = exhaustive_search(queries, self.vectors, kept, threads, within)
            return scores, ordinals
        step = min(_PASS, max(1, _CANDIDATES // fetched))
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            found, candidates = self._candidates(queries[rows], fetched, threads, within)
            keys = np.sort(packed(found * np.float32(1 / UNIT), candidates), axis=1)[:, :k]
            scores[rows], ordinals[rows] = unpacked(keys)
            unsure = start + np.flatnonzero(found.min(axis=1) >= scores[rows, -1])
            if len(unsure):
                scores[unsure], ordinals[unsure] = exhaustive_search(queries[unsure], self.vectors, k, threads, within)
        return scores, ordinals

    def _candidates(self, queries: Float32s, fetched: int, threads: int, within: range) -> tuple[Float32s, Ordinals]:
        """The best of each query, in no promised order: scores, float32 ``(q, fetched)``, and ordinals, int64."""
        import faiss

        best: Any = faiss.ResultHeap(len(queries), fetched, keep_max=True)
        with faiss_threads(threads):
            for first, block in self.vectors.blocks(max(1024, self._block_bytes // (4 * self.vectors.dimensions)), within):
                found = self._nearest(queries, block, min(fetched, len(block)))
                best.add_result(found[0], found[1] + first)
            best.finalize()
        return best.D, best.I


def _nearest_by_faiss(queries: Float32s, block: Float32s, k: int) -> tuple[Float32s, Ordinals]:
    import faiss

    scores, rows = faiss.knn(queries, block, k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, rows
