"""The vectors of a pool: float16 shards on disk, read through memory maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextlong.errors import NextlongError
from nextlong.records import VECTOR_STEP

Float16s = npt.NDArray[np.float16]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Ordinals = npt.NDArray[np.int64]

# Rows of a shard that are looked at when it is opened.
_LOOKED_AT = 8

_MAKE_AGAIN = "Delete the file and run `nextlong index` again: it makes the missing vectors anew."


class VectorShards:
    """The vectors of all chunks of a pool, in chunk order: a chunk's ordinal is its row over all shards.

    Args:
        paths: the ``*.npy`` shards in pool order: float16, shape ``(n_i, d)``, C order, rows of length one, elements
            multiples of `VECTOR_STEP`.

    Attributes:
        paths: the shards.
        count: how many vectors there are, N.
        dimensions: their width d; 0 when there is no shard.

    Raises:
        NextlongError: a shard is missing, is no NumPy file, is cut short, has another dtype or width, or was made by a
            version that rounded vectors otherwise.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._shards = [_opened(path) for path in self.paths]
        self.dimensions = int(self._shards[0].shape[1]) if self._shards else 0
        for path, shard in zip(self.paths, self._shards, strict=True):
            width = shard.shape[1]
            if width != self.dimensions:
                raise NextlongError(
                    f"The vectors in {path} have {width} dimensions, those in {self.paths[0]} have {self.dimensions}.",
                    "Both must come from the same encoder. " + _MAKE_AGAIN,
                )
        self._offsets = np.concatenate([[0], np.cumsum([len(shard) for shard in self._shards])]).astype(np.int64)
        self.count = int(self._offsets[-1])

    def __reduce__(self) -> tuple[type[VectorShards], tuple[list[Path]]]:
        # A memory map pickles as all its data; a worker opens the files itself instead.
        return (type(self), (self.paths,))

    def __len__(self) -> int:
        return self.count

    def take(self, ordinals: Ordinals) -> Float32s:
        """The vectors of these chunks, in any order and repeated as asked: float32 ``(len(ordinals), d)``.

        Raises:
            IndexError: an ordinal is negative or not below ``count``.
        """
        ordinals = np.asarray(ordinals, dtype=np.int64)
        if len(ordinals) and not (ordinals.min() >= 0 and ordinals.max() < self.count):
            raise IndexError(f"chunk ordinals must be in [0, {self.count}), got {ordinals.min()} to {ordinals.max()}")
        if len(self._shards) == 1:
            return self._shards[0][ordinals].astype(np.float32)
        found = np.empty((len(ordinals), self.dimensions), dtype=np.float32)
        home = np.searchsorted(self._offsets, ordinals, side="right") - 1
        order = np.argsort(home, kind="stable")
        bounds = np.searchsorted(home[order], np.arange(len(self._shards) + 1))
        for number in np.flatnonzero(np.diff(bounds)):
            rows = order[bounds[number] : bounds[number + 1]]
            found[rows] = self._shards[number][ordinals[rows] - self._offsets[number]]
        return found

    def blocks(self, rows: int, within: range | None = None) -> Iterator[tuple[int, Float32s]]:
        """Vectors in chunk order, ``rows`` at a time whatever the shards' sizes; the last block may be shorter.

        Args:
            rows: how many at a time.
            within: the ordinals of those asked for; None for all.

        Yields:
            The ordinal of the block's first vector, and the block: float32 ``(≤ rows, d)``, a new array each time.

        Raises:
            NextlongError: a vector has an element that is no number from -1 to 1.
        """
        within = range(self.count) if within is None else within
        for first in range(within.start, within.stop, rows):
            last = min(first + rows, within.stop)
            block = np.empty((last - first, self.dimensions), dtype=np.float32)
            for path, shard, (start, end) in zip(self.paths, self._shards, pairwise(self._offsets.tolist()), strict=True):
                low, high = max(first, start), min(last, end)
                if low < high:
                    part = block[low - first : high - first]
                    part[:] = shard[low - start : high - start]
                    _require_numbers(part, path, low - start)
            yield first, block


def _require_numbers(block: Float32s, path: Path, first: int) -> None:
    # Two passes without a copy; both ends are NaN where an element is.
    if not (block.min(initial=0.0) >= -1 and block.max(initial=0.0) <= 1):
        row = first + int(np.flatnonzero(~(np.abs(block) <= 1).all(axis=1))[0])
        raise NextlongError(
            f"The vector in row {row} (from 0) of {path} has an element that is no number from -1 to 1.", _MAKE_AGAIN
        )


def _opened(path: Path) -> Float16s:
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise NextlongError(f"The vectors {path} are missing.", "Run `nextlong index` again: it makes them.") from error
    except (OSError, ValueError, EOFError) as error:
        raise NextlongError(f"Cannot read the vectors {path}: {error}", _MAKE_AGAIN) from error
    if not isinstance(shard, np.ndarray) or shard.dtype != np.float16 or shard.ndim != 2:
        what = f"{shard.dtype} of shape {shard.shape}" if isinstance(shard, np.ndarray) else "an archive"
        raise NextlongError(f"The vectors {path} are {what}, not float16 of shape (n, d).", _MAKE_AGAIN)
    steps = shard[:_LOOKED_AT].astype(np.float32) / np.float32(VECTOR_STEP)
    if not np.array_equal(steps[np.isfinite(steps)], np.rint(steps[np.isfinite(steps)])):
        raise NextlongError(
            f"The vectors {path} were made by a version of nextlong that rounded them otherwise.",
            "Run the same `nextlong index` command again: it makes the vectors anew, from the chunks that are there.",
        )
    return shard
