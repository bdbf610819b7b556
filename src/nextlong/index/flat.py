"""The exact index: every query against every vector. The oracle that the others are measured against."""

from __future__ import annotations

from typing import Any

import numpy as np

from nextlong.index.exhaustive import exhaustive_search
from nextlong.index.protocol import checked, merged, rescored, rounding_error, shard_ranges, shards_for
from nextlong.index.threads import faiss_threads, thread_count
from nextlong.index.vectors import Float32s, Ordinals, VectorShards

# Memory for one block of vectors. FAISS is at its full speed from some thousand vectors on.
_BLOCK_BYTES = 1 << 26
# Queries that share one pass over the vectors on disk, and the most candidates kept in that pass (12 bytes each, and as
# much again for the block at hand).
_PASS = 1 << 14
_CANDIDATES = 1 << 23
# Candidates fetched before exact scoring. Few are needed to prove an answer complete; more make long ties pass as well.
_EXTRA_FACTOR = 1.25
_EXTRA = 32
# Above this share of a shard the heaps cost more than scoring everything exactly at once.
_DEEP = 1 / 8


class FlatIndex:
    """Exact search by streaming the vectors; it needs no file of its own, and ~400 MiB of memory beside the results.

    The answer is exact including its ties: the k chunks that come first by descending float32 score, then by ascending
    ordinal, however many copies of a vector the pool has. FAISS finds 1.25·k + 32 candidates in float32, which are scored
    exactly. The largest error that float32 can make then tells whether a vector outside the candidates could belong to the
    k best; the queries for which it could, mostly those with long ties at rank k, are searched again in float64.

    Args:
        vectors: the pool's vectors.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.
        shards: into how many shards, ranges of the vectors, the search is divided; None as `shards_for` says.
    """

    def __init__(self, vectors: VectorShards, threads: int | None = None, shards: int | None = None) -> None:
        self.vectors = vectors
        self._threads = threads
        self._ranges = shard_ranges(vectors.count, shards or shards_for(vectors.count))

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
        fetched = int(kept * _EXTRA_FACTOR) + _EXTRA
        if fetched > len(within) * _DEEP:
            scores[:, :kept], ordinals[:, :kept] = exhaustive_search(queries, self.vectors, kept, threads, within)
            return scores, ordinals
        step = min(_PASS, max(1, _CANDIDATES // fetched))
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            candidates, missed = self._candidates(queries[rows], fetched, threads, within)
            scores[rows], ordinals[rows] = rescored(queries[rows], candidates, self.vectors, k, threads)
            # At an equal score a missed vector may have the lower ordinal, so "less" must hold strictly.
            unsure = start + np.flatnonzero(~(missed < scores[rows, -1]))
            if len(unsure):
                scores[unsure], ordinals[unsure] = exhaustive_search(queries[unsure], self.vectors, k, threads, within)
        return scores, ordinals

    def _candidates(self, queries: Float32s, fetched: int, threads: int, within: range) -> tuple[Ordinals, Float32s]:
        """Candidates, int64 ``(q, fetched)``, and the most that any other vector's float32 score can be, ``(q,)``."""
        import faiss

        best: Any = faiss.ResultHeap(len(queries), fetched, keep_max=True)
        error = 0.0
        with faiss_threads(threads):
            for first, block in self.vectors.blocks(max(1024, _BLOCK_BYTES // (4 * self.vectors.dimensions)), within):
                found = faiss.knn(queries, block, min(fetched, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
                best.add_result(found[0], found[1] + first)
                error = max(error, rounding_error(queries, block))
            best.finalize()
        return best.I, (best.D[:, -1].astype(np.float64) + error).astype(np.float32)
