"""Joins of stored chunks in which hardly a token is touched: what each unit loses at its ends, and what comes between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.seams import Seam
from nextlong.tokenization.tokenizer import Tokens
from nextlong.tokenization.units import Packed, carrying, closed, leads, opaque

Counts = npt.NDArray[np.int64]
# Of chunks that were encoded as one text: see :meth:`Joiner.encode_run`.
Run = tuple[Tokens, int, Counts]


@dataclass(frozen=True)
class Texts:
    """What can be asked of the chunks of a join, by their positions.

    Attributes:
        whole: a chunk's text.
        tail, head: its last and its first :data:`~nextlong.tokenization.seams.EDGE` characters, or all.
    """

    whole: Callable[[int], str]
    tail: Callable[[int], str]
    head: Callable[[int], str]


@dataclass(frozen=True)
class Spliced:
    """Chunks joined, and not yet copied together.

    Attributes:
        units: of the chunks, in order.
        before, behind: how many tokens each unit loses at its beginning and at its end, int64.
        inserted: place → tokens that stand before what is left of the unit there.
        ends: where each chunk ends in the joined tokens, int32, as :meth:`Joiner.join` gives it.
    """

    units: Packed
    before: Counts
    behind: Counts
    inserted: dict[int, Tokens] = field(default_factory=dict)
    ends: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def pieces(self) -> Iterator[Tokens]:
        """The joined tokens, in pieces that are views."""
        units = self.units
        starts, stops = (units.starts + self.before).tolist(), (units.stops - self.behind).tolist()
        for place, (home, start, stop) in enumerate(zip(units.home.tolist(), starts, stops, strict=True)):
            if place in self.inserted:
                yield self.inserted[place]
            if stop > start:
                yield units.flats[home][start:stop]


def spliced(joiner: Joiner, units: Packed, texts: Texts) -> Spliced:
    """What ``joiner.join`` gives, from units in flat arrays.

    Args:
        joiner: of the units.
        units: of the chunks, in order; all are there.
        texts: asked only where a join cannot be made from the tokens alone.
    """
    if not len(units):
        return Spliced(units, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    carries = carrying(units.flags)
    cuts = joiner.cuts(carries, closed(units.flags), opaque(units.flags))
    # Where a cut does not hold, all is joined again; runs that were encoded need not be.
    encode = cache(partial(joiner.encode_run, count=len(units), text_of=texts.whole, carries=carries))
    while True:
        result = _spliced(joiner, units, texts, cuts, encode)
        if not isinstance(result, int):
            return result
        cuts[result] = False


def _spliced(
    joiner: Joiner, units: Packed, texts: Texts, cuts: npt.NDArray[np.bool_], encode: Callable[[int, int], Run | int]
) -> Spliced | int:
    """Join; or the position of a cut that an encoding showed to be wrong."""
    counts, carries = units.counts, carrying(units.flags)
    before, behind, own = (np.zeros(len(units), dtype=np.int64) for _ in range(3))
    # What a carrying unit brings along replaces the separator of the unit before it.
    brings = cuts & carries
    behind[:-1][brings[1:]] = joiner.separator_length
    own[brings] = leads(units.flags[brings])
    inserted: dict[int, Tokens] = {}
    inside: dict[int, Counts] = {}
    for first, last in _runs(np.flatnonzero(~cuts)):
        seams = _seams(joiner, units, texts, first, last)
        if seams is not None:
            for place, seam in enumerate(seams, start=first):
                behind[place - 1], before[place] = seam.before, seam.after
                own[place], inserted[place] = seam.own, seam.middle
            if (before + behind <= counts)[first - 1 : last].all():
                continue
            own[first:last] = 0
        start = max(first - 1, 0)
        encoded = encode(start, last)
        if isinstance(encoded, int):
            return encoded
        tokens, lead, inside[start] = encoded
        own[start] = lead if brings[start] else 0
        lost = int(behind[last - 1]) if last < len(units) and brings[last] else 0
        before[start:last], behind[start:last] = counts[start:last], 0
        inserted = {place: middle for place, middle in inserted.items() if not start < place < last}
        inserted[start] = tokens[: len(tokens) - lost]
    sizes = counts - before - behind
    for place, tokens in inserted.items():
        sizes[place] += len(tokens)
    totals = np.cumsum(sizes)
    ends = totals.copy()
    ends[:-1] += own[1:]
    for start, borders in inside.items():
        ends[start : start + len(borders)] = totals[start] - sizes[start] + borders
    return Spliced(units, before, behind, inserted, ends.astype(np.int32))


def _runs(places: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers: the first, and the one behind the last."""
    if len(places):
        borders = np.flatnonzero(np.diff(places) > 1) + 1
        for start, stop in pairwise([0, *borders.tolist(), len(places)]):
            yield int(places[start]), int(places[stop - 1]) + 1


def _seams(joiner: Joiner, units: Packed, texts: Texts, first: int, last: int) -> list[Seam] | None:
    """The seams before the chunks ``first`` to ``last``; None if one of them has none."""
    if first == 0 or opaque(units.flags[first - 1 : last]).any():
        return None
    found = []
    for place in range(first, last):
        seam = joiner.seams.between(texts.tail(place - 1), texts.head(place))
        if seam is None or not seam.fits(units.tokens(place - 1), units.tokens(place)):
            return None
        found.append(seam)
    return found
