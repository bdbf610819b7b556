"""A hash table from short strings of bytes to numbers that looks up a whole array at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]

_FIRST_BITS = 12

# Odd, with well-mixed bits: the fractions of the golden ratio and of the square root of 2.
_SPREAD, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x6A09E667F3BCC909)
_HALF, _FOLD = np.uint64(32), np.uint64(29)

# The lowest bytes of a word, by how many.
_LOWEST = np.array([(1 << (8 * count)) - 1 for count in range(9)], dtype=np.uint64)


def keys_of(memory: Words, starts: Numbers, sizes: Numbers, width: int) -> list[Words]:
    """Keys of strings: their bytes in words of eight, zeros behind, and the size plus one in the last byte.

    Different strings have different keys, and no key's last word is zero.

    Args:
        memory: the eight bytes from each byte of the text on; there are ``8 * width`` bytes behind the last string.
        starts, sizes: of the strings, all shorter than ``8 * width`` bytes.
        width: words in a key.
    """
    keys = [memory[starts + 8 * i] & _LOWEST[np.clip(sizes - 8 * i, 0, 8)] for i in range(width)]
    keys[-1] |= (sizes + 1).astype(np.uint64) << np.uint64(56)
    return keys


def different(keys: list[Words]) -> tuple[Numbers, Numbers]:
    """The position of one of each of the different keys, and which of these each key is."""
    order = np.lexsort(keys)
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    which = np.empty(len(order), dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    return order[new], which


class SegmentTable:
    """Numbers by key: open addressing with linear probing, at most half full.

    Args:
        width: words in a key.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._count = 0
        self._allocate(_FIRST_BITS)

    def find(self, keys: list[Words]) -> tuple[Numbers, Numbers]:
        """The number of each key (anything where there is none), and the positions of the keys that have none."""
        slots = self._slots(keys)
        found = self._numbers[slots]
        open_ones = np.flatnonzero(~self._match(slots, keys))
        slots, lacking = slots[open_ones], []
        while len(open_ones):
            empty = self._keys[-1][slots] == 0
            lacking.append(open_ones[empty])
            open_ones, slots = open_ones[~empty], (slots[~empty] + 1) & self._last_slot
            match = self._match(slots, [key[open_ones] for key in keys])
            found[open_ones[match]] = self._numbers[slots[match]]
            open_ones, slots = open_ones[~match], slots[~match]
        return found, np.concatenate(lacking) if lacking else np.empty(0, dtype=np.int64)

    def insert(self, keys: list[Words], numbers: Numbers) -> None:
        """Add keys, all different and none in the table."""
        self._count += len(numbers)
        bits = self._bits
        while 2 * self._count > 1 << bits:
            bits += 1
        if bits > self._bits:
            held = np.flatnonzero(self._keys[-1])
            old_keys, old_numbers = [key[held] for key in self._keys], self._numbers[held]
            self._allocate(bits)
            self._put(old_keys, old_numbers)
        self._put(keys, numbers)

    def _allocate(self, bits: int) -> None:
        self._bits, self._last_slot = bits, (1 << bits) - 1
        self._keys = [np.zeros(1 << bits, dtype=np.uint64) for _ in range(self._width)]
        self._numbers = np.zeros(1 << bits, dtype=np.int64)

    def _put(self, keys: list[Words], numbers: Numbers) -> None:
        slots, left = self._slots(keys), np.arange(len(numbers))
        while len(left):
            here = slots[left]
            free = self._keys[-1][here] == 0
            # Of several for one free slot the last one written has it.
            self._numbers[here[free]] = left[free]
            won = free & (self._numbers[here] == left)
            for column, key in zip(self._keys, keys, strict=True):
                column[here[won]] = key[left[won]]
            self._numbers[here[won]] = numbers[left[won]]
            left = left[~won]
            slots[left] = (slots[left] + 1) & self._last_slot

    def _slots(self, keys: list[Words]) -> Numbers:
        mixed: Words = keys[0] * _SPREAD
        for key in keys[1:]:
            mixed ^= mixed >> _HALF
            mixed ^= key
            mixed *= _SPREAD
        mixed ^= mixed >> _FOLD
        mixed *= _MIX
        return (mixed >> np.uint64(64 - self._bits)).astype(np.int64)

    def _match(self, slots: Numbers, keys: list[Words]) -> npt.NDArray[np.bool_]:
        match: npt.NDArray[np.bool_] = self._keys[-1][slots] == keys[-1]
        for column, key in zip(self._keys[:-1], keys[:-1], strict=True):
            match &= column[slots] == key
        return match
