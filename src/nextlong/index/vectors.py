"""The vectors of a pool: float16 shards on disk, read through memory maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        rows: how many vectors each has. Then a shard is opened when it is first used: a task that needs a few does not wait
            for hundreds of thousands, nor, from an object store, fetch them. None opens all.

    Attributes:
        paths: the shards.
        count: how many vectors there are, N.
        dimensions: their width d; 0 when there is no shard.

    Raises:
        NextlongError: a shard is missing, is no NumPy file, is cut short, has another dtype, width or number of rows, or was
            made by a version that rounded vectors otherwise; raised when it is opened.
    """

    def __init__(self, paths: Sequence[Path], rows: Sequence[int] | None = None) -> None:
        self.paths = list(paths)
        self._rows = None if rows is None else list(rows)
        first = _opened(self.paths[0]) if self.paths else None
        self.dimensions = 0 if first is None else int(first.shape[1])
        self._shards: dict[int, Float16s] = {}
        if rows is None:
            rows = [len(self._shard(number)) for number in range(len(self.paths))]
        self._offsets = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self.count = int(self._offsets[-1])

    def _shard(self, number: int) -> Float16s:
        if number not in self._shards:
            path, shard = self.paths[number], _opened(self.paths[number])
            if shard.shape[1] != self.dimensions:
                width = shard.shape[1]
                raise NextlongError(
                    f"The vectors in {path} have {width} dimensions, those in {self.paths[0]} have {self.dimensions}.",
                    "Both must come from the same encoder. " + _MAKE_AGAIN,
                )
            if self._rows is not None and len(shard) != self._rows[number]:
                raise NextlongError(f"{path} has {len(shard):,} vectors, not {self._rows[number]:,}.", _MAKE_AGAIN)
            self._shards[number] = shard
        return self._shards[number]

    def __reduce__(self) -> tuple[type[VectorShards], tuple[list[Path], list[int] | None]]:
        # A memory map pickles as all its data; a worker opens the files itself instead.
        return (type(self), (self.paths, self._rows))

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
        if len(self.paths) == 1:
            return self._shard(0)[ordinals].astype(np.float32)
        found = np.empty((len(ordinals), self.dimensions), dtype=np.float32)
        home = np.searchsorted(self._offsets, ordinals, side="right") - 1
        order = np.argsort(home, kind="stable")
        borders = np.flatnonzero(np.diff(home[order])) + 1
        for rows in np.split(order, borders) if len(order) else ():
            number = int(home[rows[0]])
            found[rows] = self._shard(number)[ordinals[rows] - self._offsets[number]]
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
            low = first
            while low < last:
                number = int(np.searchsorted(self._offsets, low, side="right")) - 1  # the shard of the next vector
                start, high = int(self._offsets[number]), min(last, int(self._offsets[number + 1]))
                part = block[low - first : high - first]
                part[:] = self._shard(number)[low - start : high - start]
                _require_numbers(part, self.paths[number], low - start)
                low = high
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
