"""Exact search without a shortcut, for deep searches and long ties: slower than FAISS, right whatever the ties."""

from __future__ import annotations

from functools import partial

import numpy as np

from nextlong.index.keys import UNIT, Keys, packed, smallest, unpacked
from nextlong.index.threads import row_threads
from nextlong.index.vectors import Float32s, Ordinals, VectorShards

# Vectors scored at once. Larger blocks need fewer merges; with _GROUP queries a score block is 8 MiB a thread.
_BLOCK = 1 << 12
_GROUP = 512
# Queries that share one pass over the vectors on disk, and the most neighbours kept in that pass (8 bytes each, sorted in
# copies, so ~0.5 GiB at worst).
_PASS = 1 << 14
_KEPT = 1 << 23


def exhaustive_search(
    queries: Float32s, vectors: VectorShards, k: int, threads: int, within: range
) -> tuple[Float32s, Ordinals]:
    """The k nearest vectors by (descending score, ascending ordinal).

    Args:
        queries: float32 ``(q, d)``, as `protocol.Index` wants them.
        vectors: where to look.
        k: how many, in [1, ``len(within)``].
        threads: how many to use.
        within: the ordinals of the vectors to look at.

    Returns:
        Scores, float32 ``(q, k)``, and ordinals, int64 ``(q, k)``.
    """
    keys = np.empty((len(queries), k), dtype=np.int64)
    rows = max(1, min(_PASS, _KEPT // k, len(queries)))
    group = min(_GROUP, -(-rows // threads))
    for start in range(0, len(queries), rows):
        end = min(start + rows, len(queries))
        groups = [(low, min(low + group, end)) for low in range(start, end, group)]
        nearest = [_Nearest(queries[low:high], k) for low, high in groups]
        with row_threads(threads) as each:
            for first, block in vectors.blocks(_BLOCK, within):
                each(partial(_Nearest.see, first=first, columns=block.T), nearest)
            each(_Nearest.merge, nearest)
        for (low, high), one in zip(groups, nearest, strict=True):
            keys[low:high] = one.keys
    return unpacked(keys)


class _Nearest:
    """The nearest vectors of a few queries, among the vectors seen so far; vectors must come in ordinal order."""

    def __init__(self, queries: Float32s, k: int) -> None:
        self.keys: Keys = np.empty((len(queries), 0), dtype=np.int64)
        self._queries: Float32s = queries * np.float32(1 / UNIT)
        self._k = k
        self._new: list[tuple[Ordinals, Keys]] = []
        self._held = 0
        self._bar: Float32s = np.full((len(queries), 1), -np.inf, dtype=np.float32)

    def see(self, first: int, columns: Float32s) -> None:
        """Take the vectors ``columns``, float32 ``(d, n)``, of the ordinals from ``first`` on."""
        units: Float32s = self._queries @ columns
        count = units.shape[1]
        if self._k < count and np.isneginf(self._bar).all():
            # The k-th best of the first block is a bar for all others; what is level with it in this block counts still.
            self._bar[:, 0] = np.partition(units, count - self._k, axis=1)[:, count - self._k] - 1
        # A vector must beat the k-th best strictly: at an equal score the one seen before has the lower ordinal.
        places = np.flatnonzero(units > self._bar)
        rows = places // count
        self._new.append((rows, packed(units.ravel()[places], first + places - rows * count)))
        self._held += len(rows)
        # Sorting costs more than carrying a few surplus candidates along.
        if self._held >= len(self._queries) * self._k:
            self.merge()

    def merge(self) -> None:
        """Reduce what was seen to the k best of each query, and raise the bar."""
        count, kept = self.keys.shape
        rows = np.concatenate([np.repeat(np.arange(count), kept), *(new[0] for new in self._new)])
        keys = np.concatenate([self.keys.ravel(), *(new[1] for new in self._new)])
        self._new, self._held = [], 0
        widths = np.bincount(rows, minlength=count)
        # A group has fewer than 2^16 rows, and NumPy sorts two-byte integers in one go.
        self.keys = smallest(keys[np.argsort(rows.astype(np.uint16), kind="stable")], widths, self._k)
        full = widths >= self._k
        self._bar[full, 0] = unpacked(self.keys[full, -1])[0] * np.float32(1 / UNIT)
