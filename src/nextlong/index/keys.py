"""A score and an ordinal in one integer, so that sorting puts the best first and equal scores in order of ordinals.

Scores are exact: whole numbers of `UNIT` (see `protocol.Index`). Sorting and partitioning int64 is what NumPy does fastest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.index.vectors import Float32s, Ordinals
from nextlong.records import VECTOR_STEP

Keys = npt.NDArray[np.int64]

# Every inner product of two vectors is a multiple of this.
UNIT = VECTOR_STEP**2
# Bits of a key for the ordinal, and a score above all scores: 2^37 chunks, and a key is positive.
_ORDINAL_BITS = 37
_ABOVE = 1 << 24
# In place of a chunk where there is none; comes last.
NONE = np.int64(2**63 - 1)
# Rows sorted together: their keys, some hundred each, stay in the processor's cache.
_ROWS = 128


def packed(units: Float32s, ordinals: Ordinals) -> Keys:
    """Keys of scores in `UNIT`s (float32, whole numbers) and of ordinals, of the same shape: the better, the smaller."""
    keys = units.astype(np.int64)
    np.subtract(_ABOVE, keys, out=keys)
    keys <<= _ORDINAL_BITS
    keys |= ordinals
    return keys


def unpacked(keys: Keys) -> tuple[Float32s, Ordinals]:
    """Scores, float32, and ordinals, int64; -inf and -1 for `NONE`."""
    none = keys == NONE
    scores = (_ABOVE - (keys >> _ORDINAL_BITS)).astype(np.float32) * np.float32(UNIT)
    scores[none] = -np.inf
    return scores, np.where(none, -1, keys & ((1 << _ORDINAL_BITS) - 1))


def smallest(keys: Keys, widths: Ordinals, k: int) -> Keys:
    """The k smallest keys of each row, ascending, int64 ``(rows, k)``; `NONE` where a row has fewer.

    Args:
        keys: of all rows, one row after the other.
        widths: how many keys each row has, int64 ``(rows,)``.
        k: how many to keep.
    """
    best = np.full((len(widths), k), NONE)
    for rows, padded in _by_width(keys, widths, NONE):
        if padded.shape[1] > k:
            padded.partition(k - 1, axis=1)
        kept = np.sort(padded[:, :k], axis=1)
        best[rows, : kept.shape[1]] = kept
    return best


def kth_largest(scores: Float32s, widths: Ordinals, k: int) -> Float32s:
    """The k-th largest score of each row, float32 ``(rows,)``; -inf where a row has fewer. See `smallest`."""
    kth = np.full(len(widths), -np.inf, dtype=np.float32)
    for rows, padded in _by_width(scores, widths, np.float32(-np.inf)):
        width = padded.shape[1]
        if width >= k:
            padded.partition(width - k, axis=1)
            kth[rows] = padded[:, width - k]
    return kth


def _by_width(values: npt.NDArray[Any], widths: Ordinals, fill: Any) -> Iterator[tuple[Ordinals, npt.NDArray[Any]]]:
    """Rows as matrices, rows of about the same width together: their numbers, and their values padded with ``fill``."""
    starts = np.cumsum(widths) - widths
    order = np.argsort(widths, kind="stable")
    for first in range(0, len(order), _ROWS):
        rows = order[first : first + _ROWS]
        width = widths[rows]
        padded = np.full((len(rows), int(width.max())), fill)
        ends = np.cumsum(width)
        places = np.arange(ends[-1]) + np.repeat(starts[rows] - (ends - width), width)
        padded[np.arange(padded.shape[1]) < width[:, None]] = values[places]
        yield rows, padded
