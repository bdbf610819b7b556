"""Units: what a chunk is once it is tokenised, and how units lie in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.tokenization.tokenizer import Tokens

# Flags of a packed unit, one byte: three bits, and above them `lead`.
_CARRIES, _CLOSED, _OPAQUE = 1, 2, 4
_LEAD_SHIFT = 3
MAX_LEAD = 31


@dataclass(frozen=True, slots=True)
class Unit:
    """A chunk's tokens, as they are between two other chunks.

    Attributes:
        tokens: the tokens of the chunk and of the separator after it; of a carrying unit also those of the separator
            before it.
        carries: the chunk's head may change how the separator before it is tokenised (leading white space, say), so the
            unit brings the tokens of that separator along.
        closed: the separator after the chunk has the same tokens as between plain words, and keeps them apart from the
            chunk whatever comes next; so a carrying unit can replace them.
        opaque: the chunk cannot be joined by its tokens at all.
        lead: of a carrying unit, how many of its first tokens lie wholly in the separator before the chunk.
    """

    tokens: Tokens
    carries: bool
    closed: bool
    opaque: bool = False
    lead: int = 0


def pack(units: Sequence[Unit]) -> tuple[Tokens, npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Units as flat arrays.

    Returns:
        The tokens of all units (int32), where each unit begins with the total at the end (int64, one more than units),
        and a byte of flags per unit.
    """
    offsets = np.zeros(len(units) + 1, dtype=np.int64)
    np.cumsum([len(unit.tokens) for unit in units], out=offsets[1:])
    flat = np.concatenate([unit.tokens for unit in units]) if units else np.empty(0, dtype=np.int32)
    kinds = np.array([(unit.carries, unit.closed, unit.opaque, unit.lead) for unit in units], dtype=np.int64).reshape(-1, 4)
    return flat.astype(np.int32, copy=False), offsets, flags_of(*kinds.T)


def flags_of(
    carries: npt.NDArray[Any], closed: npt.NDArray[Any], opaque: npt.NDArray[Any], leads: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """The bytes of flags of units: of each, the attributes of :class:`Unit` by these names."""
    flags = np.asarray(carries * _CARRIES + closed * _CLOSED + opaque * _OPAQUE + (leads << _LEAD_SHIFT))
    return flags.astype(np.uint8)


def unpack(tokens: Tokens, flags: int) -> Unit:
    """A unit from its slice of the flat tokens (not copied) and its byte of flags."""
    flags = int(flags)
    return Unit(tokens, bool(flags & _CARRIES), bool(flags & _CLOSED), bool(flags & _OPAQUE), flags >> _LEAD_SHIFT)


def carrying(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which packed units carry the separator before them."""
    return (flags & _CARRIES).astype(bool)


def closed(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which packed units keep the separator after them apart."""
    return (flags & _CLOSED).astype(bool)


def opaque(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which packed units cannot be joined by their tokens."""
    return (flags & _OPAQUE).astype(bool)


def leads(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """``lead`` of packed units."""
    return (flags >> _LEAD_SHIFT).astype(np.int64)


@dataclass(frozen=True)
class Packed:
    """Packed units of many chunks, wherever their tokens lie; nothing is copied.

    Attributes:
        flats: flat arrays of tokens.
        home: for each unit the number of its flat array, int32; -1 where there is no unit.
        starts, stops: where it lies there, int64.
        flags: its byte of flags.
    """

    flats: list[Tokens]
    home: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.home)

    def take(self, places: npt.NDArray[np.int64]) -> Packed:
        """The units at these places."""
        return Packed(self.flats, self.home[places], self.starts[places], self.stops[places], self.flags[places])

    def tokens(self, place: int) -> Tokens:
        """The tokens of one unit."""
        found: Tokens = self.flats[self.home[place]][self.starts[place] : self.stops[place]]
        return found

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many tokens each has."""
        return self.stops - self.starts
