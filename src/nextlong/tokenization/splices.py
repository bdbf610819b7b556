"""Joins of stored chunks in which hardly a token is touched: what each unit loses at its ends, and what comes between."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.seams import Seam
from nextlong.tokenization.tokenizer import Tokens
from nextlong.tokenization.units import Packed, carrying, closed, leads, opaque

Counts = npt.NDArray[np.int64]


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
    """The chunks of texts joined, and not yet copied together.

    Attributes:
        units: of the chunks, in order.
        borders: where among them each text begins, and where the last one ends.
        before, behind: how many tokens each unit loses at its beginning and at its end, int64.
        inserted: place → tokens that stand before what is left of the unit there.
        ends: where each chunk ends in the joined tokens of its text, int32, as :meth:`Joiner.join` gives it.
    """

    units: Packed
    borders: Sequence[int]
    before: Counts
    behind: Counts
    inserted: dict[int, Tokens] = field(default_factory=dict)
    ends: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def pieces(self) -> list[list[Tokens]]:
        """The joined tokens of each text, in pieces that are views."""
        units, flats = self.units, self.units.flats
        starts, stops = (units.starts + self.before).tolist(), (units.stops - self.behind).tolist()
        own = [flats[home][start:stop] for home, start, stop in zip(units.home.tolist(), starts, stops, strict=True)]
        texts = [own[first:last] for first, last in pairwise(self.borders)]
        for place in sorted(self.inserted, reverse=True):  # so that none moves those that are still to come
            text = bisect_right(self.borders, place) - 1
            texts[text].insert(place - self.borders[text], self.inserted[place])
        return texts


def spliced(joiner: Joiner, units: Packed, texts: Texts, borders: Sequence[int] | None = None) -> Spliced:
    """What ``joiner.join`` gives, from units in flat arrays, of many texts at once.

    Args:
        joiner: of the units.
        units: of the chunks, in order; all are there.
        texts: asked only where a join cannot be made from the tokens alone.
        borders: where among the units each text begins, and where the last one ends; none is empty.
            None for one text.
    """
    borders = [0, len(units)] if borders is None else borders
    if not len(units):
        return Spliced(units, [0], np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    cuts = joiner.cuts(carrying(units.flags), closed(units.flags), opaque(units.flags), borders[:-1])
    while True:  # where a cut does not hold, all is joined again
        result = _spliced(joiner, units, texts, borders, cuts)
        if not isinstance(result, int):
            return result
        cuts[result] = False


def _spliced(
    joiner: Joiner, units: Packed, texts: Texts, borders: Sequence[int], cuts: npt.NDArray[np.bool_]
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
    seams_at = _SeamsAt(joiner, units, texts)
    for begin, end, first, last in _runs((~cuts).nonzero()[0].tolist(), borders):
        seams = seams_at.places(first, last) if first > begin else None
        if seams is not None:
            for place, seam in enumerate(seams, start=first):
                behind[place - 1], before[place] = seam.before, seam.after
                own[place], inserted[place] = seam.own, seam.middle
            if all(before[place] + behind[place] <= counts[place] for place in range(first - 1, last)):
                continue
            own[first:last] = 0
        start = max(first - 1, begin)
        whole = partial(_whole, texts, begin)
        encoded = joiner.encode_run(start - begin, last - begin, end - begin, whole, carries[begin:end])
        if isinstance(encoded, int):
            return begin + encoded
        tokens, lead, inside[start] = encoded
        own[start] = lead if brings[start] else 0
        taken = int(behind[last - 1]) if last < end and brings[last] else 0
        before[start:last], behind[start:last] = counts[start:last], 0
        inserted = {place: middle for place, middle in inserted.items() if not start < place < last}
        inserted[start] = tokens[: len(tokens) - taken]
    sizes = counts - before - behind
    for place, tokens in inserted.items():
        sizes[place] += len(tokens)
    totals = np.cumsum(sizes)
    ends = totals.copy()
    ends[:-1] += own[1:]
    for start, within in inside.items():
        ends[start : start + len(within)] = totals[start] - sizes[start] + within
    starts = np.array(borders[:-1], dtype=np.int64)
    ends -= (totals[starts] - sizes[starts]).repeat(np.diff(borders))
    return Spliced(units, borders, before, behind, inserted, ends.astype(np.int32))


def _whole(texts: Texts, begin: int, place: int) -> str:
    return texts.whole(begin + place)


def _runs(places: list[int], borders: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Runs of consecutive places in a text: its beginning and end, the run's first place, and the one behind its last."""
    at = 0
    while at < len(places):
        first = places[at]
        text = bisect_right(borders, first) - 1
        stop = at + 1
        while stop < len(places) and places[stop] == first + stop - at < borders[text + 1]:
            stop += 1
        yield borders[text], borders[text + 1], first, first + stop - at
        at = stop


class _SeamsAt:
    """The seams of units. Numbers of lists are found quicker than those of arrays, and here one is asked for at a time."""

    def __init__(self, joiner: Joiner, units: Packed, texts: Texts) -> None:
        self._between, self._texts, self._flats = joiner.seams.between, texts, units.flats
        self._home, self._opaque = units.home.tolist(), opaque(units.flags).tolist()
        self._starts, self._stops = units.starts.tolist(), units.stops.tolist()

    def places(self, first: int, last: int) -> list[Seam] | None:
        """Those before the chunks ``first`` to ``last``, all inside of a text; None if one of them has none."""
        if any(self._opaque[first - 1 : last]):
            return None
        found = []
        for place in range(first, last):
            seam = self._between(self._texts.tail(place - 1), self._texts.head(place))
            if seam is None or not seam.fits(self._tokens(place - 1), self._tokens(place)):
                return None
            found.append(seam)
        return found

    def _tokens(self, place: int) -> Tokens:
        tokens: Tokens = self._flats[self._home[place]][self._starts[place] : self._stops[place]]
        return tokens
