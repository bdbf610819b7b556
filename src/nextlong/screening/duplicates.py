"""Copies over a whole pool: which chunks to drop so that no two are left that are copies of each other.

A chunk is dropped if it is a copy of an earlier chunk that is kept, by the definition of copies that mining has
(:mod:`nextlong.mining.copies`): equal after white-space folding, or so many equal places of two signatures. What is
dropped itself makes no other chunk a copy, so everything dropped has its copy among what is kept, and chains of copies
of copies do not grow.

Not all pairs are compared: signatures are cut into bands, and only chunks with an equal band are (locality-sensitive
hashing). Two signatures that differ in d places at most are equal in at least one of d + 1 bands, wherever they differ.
There are so many bands, so no copy is missed, but in the one case that :data:`MOST_IN_A_BUCKET` bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.mining.copies import PERMUTATIONS, Keys, required_matches
from nextlong.screening.signatures import Signatures, differing_bits, equal_places, sketches

Ordinals = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Of chunks that share a band and are no copies of each other, only so many are compared with later ones: a million pages of
# one template would else be compared each with each. What a copy shares beyond the template finds it all the same.
MOST_IN_A_BUCKET = 2048
# Chunks judged in one step: those of a step are compared with each other, too.
_STEP = 512
# Pairs that are looked at together: some 40 bytes each, which the second-level cache holds.
_PAIRS = 1 << 16
# Of pairs that are compared in full: 2 MiB a side.
_COMPARED = 1 << 13
# So many places are one number as they are; more are mixed.
_WHOLE_PLACES = 4
_MIX = np.uint64(0x9E3779B97F4A7C15)


def _nobody(_: int) -> None:
    """Where nobody wants to know."""


@dataclass(frozen=True, eq=False)
class Copies:
    """Chunks that are copies of others, in ascending order.

    Attributes:
        chunks: int64.
        kept: of each, the earliest kept chunk that it is a copy of; int64.
        matches: how many of the 128 places of their signatures are equal; uint8.
        repeated: whether an earlier chunk is equal after white-space folding. That one may be dropped as a copy itself;
            then ``kept`` is what it was dropped for.
    """

    chunks: Ordinals
    kept: Ordinals
    matches: npt.NDArray[np.uint8]
    repeated: Flags

    def __len__(self) -> int:
        return len(self.chunks)


def find_copies(
    keys: Keys,
    signatures: Signatures,
    max_jaccard: float,
    left_out: Flags | None = None,
    done: Callable[[int], None] = _nobody,
) -> Copies:
    """Which chunks are copies of an earlier one that is kept.

    Args:
        keys: of all chunks in the order of the pool, uint64 of shape ``(n,)``: :func:`nextlong.mining.copies.fold_keys`.
        signatures: of the same chunks.
        max_jaccard: an estimated Jaccard similarity of this or more makes a copy.
        left_out: chunks that are not there: neither copies nor kept; bool of shape ``(n,)``.
        done: told of so many more chunks that are done; in all, of ``n``.
    """
    every = np.arange(len(keys), dtype=np.int64)
    there = every if left_out is None else np.flatnonzero(~left_out)
    first = every.copy()
    first[there] = there[_first_of_equals(keys[there])]
    own = there[first[there] == there]
    done(len(keys) - len(own))
    kept = _near(signatures, own, required_matches(max_jaccard), done)
    chunks = np.flatnonzero((first != every) | (kept[first] >= 0))
    original = first[chunks]
    # The copy of a chunk that is dropped itself is one of what that was dropped for: equal texts have equal signatures.
    target = np.where(kept[original] >= 0, kept[original], original)
    matches = np.full(len(chunks), PERMUTATIONS, dtype=np.uint8)
    near = np.flatnonzero(kept[original] >= 0)
    for part in _parts(len(near), _COMPARED):
        rows = near[part]
        matches[rows] = equal_places(signatures.take(chunks[rows]), signatures.take(target[rows]))
    return Copies(chunks, target, matches, original != chunks)


def _first_of_equals(keys: Keys) -> Ordinals:
    """Of each chunk, the first that has its key."""
    order = np.argsort(keys, kind="stable")
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = keys[order[1:]] != keys[order[:-1]]
    first = np.empty(len(keys), dtype=np.int64)
    first[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))]
    return first


def _near(signatures: Signatures, own: Ordinals, required: int, done: Callable[[int], None]) -> Ordinals:
    """Of each of all chunks, the earliest kept one of ``own`` that is near, if it is in ``own`` itself; else -1."""
    result = np.full(len(signatures), -1, dtype=np.int64)
    buckets = _buckets(signatures, own, required)
    # Chunks that share a band with none are no copies, and make none.
    alone = len(own) - len(np.unique(buckets.members))
    done(alone)
    judge = _Judge(signatures, own, required, buckets)
    for start, stop in judge.steps():
        done(judge.take(start, stop))
    near = np.flatnonzero(judge.kept >= 0)
    result[own[near]] = own[judge.kept[near]]
    return result


@dataclass(frozen=True, eq=False)
class _Buckets:
    """Chunks with an equal band: of each bucket its members in ascending order, one bucket behind the other.

    Attributes:
        members: places in ``own``.
        starts: where each bucket begins, int64 of shape ``(buckets + 1,)``.
    """

    members: npt.NDArray[Any]
    starts: Ordinals


def _buckets(signatures: Signatures, own: Ordinals, required: int) -> _Buckets:
    """The buckets with more than one member, of all bands."""
    bands = PERMUTATIONS - required + 1
    width = PERMUTATIONS // bands
    kind = _kind(len(own))
    members: list[npt.NDArray[Any]] = [np.empty(0, dtype=kind)]
    sizes = [np.empty(0, dtype=np.int64)]
    for band in range(bands):
        values = _band(signatures, own, band * width, width)
        order = np.argsort(values, kind="stable").astype(kind)
        values = values[order]
        begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        size = np.diff(begins, append=len(values))
        several = size > 1
        members.append(order[np.repeat(several, size)])
        sizes.append(size[several])
    return _Buckets(np.concatenate(members), np.concatenate([[0], np.cumsum(np.concatenate(sizes))]))


def _band(signatures: Signatures, own: Ordinals, first: int, width: int) -> Keys:
    """So many places of the signatures as one number each; different ones may rarely be the same number."""
    result = np.zeros(len(signatures), dtype=np.uint64)
    at = 0
    for columns in signatures.places(first, width):
        part = result[at : at + len(columns)]
        for column in columns.T:
            part[:] = (part << np.uint64(16) | column) if width <= _WHOLE_PLACES else (part ^ column) * _MIX
        at += len(columns)
    return result[own]


class _Judge:
    """Takes chunks in ascending order, some at a time, and says which are copies of what was kept."""

    def __init__(self, signatures: Signatures, own: Ordinals, required: int, buckets: _Buckets) -> None:
        self._signatures, self._own, self._most = signatures, own, PERMUTATIONS - required
        self._starts = buckets.starts
        order = np.argsort(buckets.members, kind="stable")
        # A line for each time that a chunk is in a bucket, in the order of chunks.
        self._chunks = buckets.members[order]
        bucket = np.arange(len(buckets.starts) - 1, dtype=_kind(len(buckets.starts)))
        self._buckets = np.repeat(bucket, np.diff(buckets.starts))[order]
        # The kept members of each bucket, at the beginning of its part.
        self._present = np.empty(len(order), dtype=buckets.members.dtype)
        self._count = np.zeros(len(buckets.starts) - 1, dtype=np.int32)
        self._sketches = sketches(signatures, own)
        self.kept = np.full(len(own), -1, dtype=np.int64)

    def steps(self) -> list[tuple[int, int]]:
        """Where the lines of a step begin and end: those of some chunks each."""
        begins = np.flatnonzero(np.diff(self._chunks, prepend=-1))[::_STEP]
        return list(pairwise([*begins.tolist(), len(self._chunks)]))

    def take(self, start: int, stop: int) -> int:
        """Judge the chunks of some lines, and return how many they are."""
        chunks, buckets = (lines[start:stop].astype(np.int64) for lines in (self._chunks, self._buckets))
        judged = len(np.unique(chunks))
        counts = np.minimum(self._count[buckets], MOST_IN_A_BUCKET).astype(np.int64)
        for part in _parts_of_sums(counts, _PAIRS):
            of = counts[part]
            at = np.repeat(self._starts[buckets[part]] - (np.cumsum(of) - of), of) + np.arange(of.sum())
            self._drop(np.repeat(chunks[part], of), self._present[at].astype(np.int64))
        self._among_themselves(chunks, buckets)
        lines = self.kept[chunks] < 0
        chunks, buckets = chunks[lines], buckets[lines]
        order = np.argsort(buckets, kind="stable")
        chunks, buckets = chunks[order], buckets[order]
        rank = _ranks(buckets)
        self._present[self._starts[buckets] + self._count[buckets] + rank] = chunks
        np.add.at(self._count, buckets, 1)
        return judged

    def _drop(self, later: Ordinals, earlier: Ordinals) -> None:
        """Drop what is near to an earlier kept one, the earliest."""
        later, earlier = self._near(later, earlier)
        order = np.lexsort((earlier, later))[::-1]
        known = self.kept[later[order]]
        better = np.where(known < 0, earlier[order], np.minimum(known, earlier[order]))
        self.kept[later[order]] = better  # of several, the last counts: the earliest

    def _among_themselves(self, chunks: Ordinals, buckets: Ordinals) -> None:
        """Drop chunks of one step that are near to one of the same step."""
        open_ = self.kept[chunks] < 0
        chunks, buckets = chunks[open_], buckets[open_]
        order = np.argsort(buckets, kind="stable")
        chunks, buckets = chunks[order], buckets[order]
        rank = _ranks(buckets)  # of each line, how many lines of the same bucket are before it
        found = [np.empty((0, 2), dtype=np.int64)]
        for part in _parts_of_sums(rank, _PAIRS):
            of = rank[part]
            lines = np.arange(part.start, part.start + len(of))
            at = np.repeat(lines - rank[part] - (np.cumsum(of) - of), of) + np.arange(of.sum())
            found.append(np.stack(self._near(np.repeat(chunks[part], of), chunks[at]), axis=1))
        for later, earlier in sorted(set(map(tuple, np.concatenate(found).tolist()))):
            if self.kept[later] < 0 and self.kept[earlier] < 0:
                self.kept[later] = earlier

    def _near(self, one: Ordinals, other: Ordinals) -> tuple[Ordinals, Ordinals]:
        """Those pairs that are copies."""
        # The same pair comes from several buckets; to tell them apart takes longer than to look at their sketches.
        maybe = np.flatnonzero(differing_bits(self._sketches[one], self._sketches[other]) <= self._most)
        if not len(maybe):
            return one[maybe], other[maybe]
        pairs = np.unique(one[maybe] * len(self._own) + other[maybe])
        one, other = np.divmod(pairs, len(self._own))
        equal = np.empty(len(one), dtype=np.int64)
        for part in _parts(len(one), _COMPARED):
            pair = (self._signatures.take(self._own[side[part]]) for side in (one, other))
            equal[part] = equal_places(*pair)
        enough = equal >= PERMUTATIONS - self._most
        return one[enough], other[enough]


def _ranks(buckets: Ordinals) -> Ordinals:
    """Of each place, how many before it have the same value; equal ones stand together."""
    begins = np.ones(len(buckets), dtype=bool)
    begins[1:] = buckets[1:] != buckets[:-1]
    places = np.arange(len(buckets))
    return places - np.maximum.accumulate(np.where(begins, places, 0))


def _kind(count: int) -> type[np.int32 | np.int64]:
    """What holds so many numbers."""
    return np.int32 if count < 1 << 31 else np.int64


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _parts_of_sums(counts: Ordinals, most: int) -> list[slice]:
    """Cut so that the counts of a part add up to so many at most, or to one count alone that is more."""
    if not len(counts):
        return []
    number = (np.cumsum(counts) - counts) // most
    begins = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(counts)]
    return [slice(start, stop) for start, stop in pairwise(begins)]
