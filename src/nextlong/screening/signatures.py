"""MinHash signatures of many chunks, wherever they lie, and the comparison of pairs of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from nextlong.mining.copies import PERMUTATIONS, Keys

Ordinals = npt.NDArray[np.int64]
Stored = npt.NDArray[np.uint16]

# Signatures that are sketched together: 2 MiB.
_SKETCHED = 1 << 13
_BITS = tuple(np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
_ONE_IN_EACH_BYTE = np.uint64(0x0101010101010101)


class Signatures:
    """The signatures of all chunks in some arrays one behind the other, which may be memory-mapped."""

    def __init__(self, parts: Sequence[Stored]) -> None:
        """Of uint16 arrays of shape ``(n, 128)`` each."""
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, chunks: Ordinals) -> Stored:
        """The signatures of some chunks."""
        numbers = np.searchsorted(self._ends, chunks, side="right")
        if len(self._parts) == 1:
            return self._parts[0][chunks]
        result = np.empty((len(chunks), PERMUTATIONS), dtype=np.uint16)
        order = np.argsort(numbers, kind="stable")
        borders = np.flatnonzero(np.diff(numbers[order], prepend=-1)).tolist()
        for start, stop in zip(borders, [*borders[1:], len(order)], strict=True):
            places = order[start:stop]
            part = self._parts[int(numbers[places[0]])]
            result[places] = part[chunks[places] - (int(self._ends[int(numbers[places[0]])]) - len(part))]
        return result

    def places(self, first: int, width: int) -> Iterator[Stored]:
        """Some places of the signatures of each array in turn."""
        for part in self._parts:
            yield np.ascontiguousarray(part[:, first : first + width])


def sketches(signatures: Signatures, own: Ordinals) -> Keys:
    """The lowest bit of each place, as uint64 of shape ``(n, 2)``: they differ in no more bits than signatures in places."""
    result = np.empty((len(own), 2), dtype=np.uint64)
    for start in range(0, len(own), _SKETCHED):
        part = slice(start, start + _SKETCHED)
        result[part] = np.packbits((signatures.take(own[part]) & 1).astype(bool), axis=1).view(np.uint64)
    return result


def differing_bits(one: Keys, other: Keys) -> Keys:
    """In how many bits the sketches of each pair differ."""
    bits = one ^ other
    pairs, fours, bytes_ = _BITS
    bits -= (bits >> np.uint64(1)) & pairs
    bits = (bits & fours) + ((bits >> np.uint64(2)) & fours)
    bits = (bits + (bits >> np.uint64(4))) & bytes_
    bits = (bits * _ONE_IN_EACH_BYTE) >> np.uint64(56)
    return bits[:, 0] + bits[:, 1]


def equal_places(one: Stored, other: Stored) -> npt.NDArray[np.int64]:
    """How many places of each pair of signatures are equal: int64 of shape ``(n,)``."""
    equal: npt.NDArray[np.int64] = np.count_nonzero(one == other, axis=1)
    return equal
