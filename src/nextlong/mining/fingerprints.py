"""What tells copies apart, of all candidates of some sequences: fetched from the pool once, and compared many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from nextlong.mining.copies import PERMUTATIONS, required_matches
from nextlong.pool.pool import Ordinals, Pool

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Sketches = npt.NDArray[np.uint8]

# Signatures of so many pairs are compared at once: 256 KiB a side, which the second-level cache holds.
_PAIRS_AT_ONCE = 1 << 10
# Rows that are judged in one step, of all that is asked together, and of each that is asked.
_STEP, _SHORTEST_STEP, _LONGEST_STEP = 1 << 12, 32, 64

# Signatures that are sketched at once: 256 KiB.
_SKETCHED = 1 << 10

_ONE_IN_EACH_BYTE, _HIGHEST_BYTE = np.uint64(0x0101010101010101), np.uint64(56)


class Fingerprints:
    """Fingerprints of chunks, in rows in the order of the chunks' ordinals.

    Two chunks are copies if they are equal after white-space folding or, with a threshold, if at least so many places of
    their signatures are equal; equal texts have equal signatures. To compare all places of all pairs would take too long. So
    a *sketch* has the lowest bit of each place: two sketches differ in no more bits than the signatures do in places, and
    those of unlike chunks in some half of all bits. Only pairs whose sketches come near enough are compared in full.

    Attributes:
        chunks: chunk ordinals, int64, ascending.
    """

    def __init__(self, pool: Pool, chunks: Ordinals, max_jaccard: float | None) -> None:
        """Fetch them.

        Args:
            pool: of the chunks.
            chunks: chunk ordinals, each once, ascending.
            max_jaccard: the threshold; None for none.
        """
        self.chunks, self._max_jaccard = chunks, max_jaccard
        if max_jaccard is None:
            self._keys = pool.fold_keys(self.chunks)
        else:
            self._most_differing = PERMUTATIONS - required_matches(max_jaccard)
            self._signatures = pool.signatures(self.chunks)
            self._sketches = sketches(self._signatures)

    def __len__(self) -> int:
        return len(self.chunks)

    def rows(self, chunks: Ordinals) -> Rows:
        """The row of each chunk; all are there."""
        return np.searchsorted(self.chunks, chunks)

    def copies(self, asked: Sequence[tuple[Rows, Rows]]) -> list[Flags]:
        """Which chunks are copies: for each pair of ``rows`` and ``others`` of one of the others, or of one before them.

        What is a copy itself does not make another chunk one. The pairs do not see each other.
        """
        results = [np.zeros(len(rows), dtype=bool) for rows, _ in asked]
        present = [others for _, others in asked]
        # Of many copies of each other only the first counts, and most of the others need not be compared. So rows are judged
        # in steps, and those of a step compared with what is no copy; short steps cost more calls where few are asked for.
        step = min(max(_STEP // max(len(asked), 1), _SHORTEST_STEP), _LONGEST_STEP)
        for start in range(0, max((len(rows) for rows, _ in asked), default=0), step):
            here = [number for number, (rows, _) in enumerate(asked) if len(rows) > start]
            parts = [asked[number][0][start : start + step] for number in here]
            judged = self._judged(parts, [present[number] for number in here])
            for number, part, flags in zip(here, parts, judged, strict=True):
                results[number][start : start + step] = flags
                if start + step < len(results[number]):
                    present[number] = np.concatenate([present[number], part[~flags]])
        return results

    def _judged(self, parts: list[Rows], others: list[Rows]) -> list[Flags]:
        """:meth:`copies` of few rows each."""
        rows = np.concatenate(parts)
        result = np.zeros(len(rows), dtype=bool)
        result[self._copies(parts, others)[0]] = True
        # Those that are left may be copies of each other: of one before them that is no copy itself.
        stops = list(accumulate(map(len, parts)))
        left = (~result).nonzero()[0]
        borders = left.searchsorted(stops).tolist()
        kept = rows.take(left)
        open_ = [kept[start:stop] for start, stop in zip([0, *borders], borders, strict=False)]
        copies: set[int] = set()
        for one, other in zip(*(places.tolist() for places in self._copies(open_, open_, before=True)), strict=True):
            if other not in copies:
                copies.add(one)
        result[left[list(copies)]] = True
        return [result[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]

    def _copies(self, parts: list[Rows], others: list[Rows], before: bool = False) -> tuple[Rows, Rows]:
        """Pairs of copies of a row and one of its others, as places in all parts and in all others, by the first.

        Args:
            parts, others: as there.
            before: only pairs of which the second place is lower than the first.
        """
        sizes, widths = [len(part) for part in parts], [len(other) for other in others]
        rows, against = np.concatenate(parts), np.concatenate(others)
        # A table for each part, one behind the other: a line for each row, a column for each of the others.
        places = self._near(rows, sizes, against, widths)
        width = np.array(widths)
        ends = width.repeat(sizes).cumsum()
        amounts = places.searchsorted(ends)
        amounts[1:] -= amounts[:-1].copy()
        # From a place in the tables to one among all others: where the others of a line's part begin, less where it does.
        shift = (width.cumsum() - width).repeat(sizes) + width.repeat(sizes) - ends
        line, column = np.arange(len(rows)).repeat(amounts), shift.repeat(amounts)
        column += places
        if before:
            lower = (column < line).nonzero()[0]
            line, column = line.take(lower), column.take(lower)
        equal = self._equal(rows.take(line), against.take(column)).nonzero()[0]
        return line.take(equal), column.take(equal)

    def _near(self, rows: Rows, sizes: list[int], others: Rows, widths: list[int]) -> Rows:
        """Pairs that may be copies, as places in tables of so many rows times so many others, one behind the other."""
        if self._max_jaccard is None:
            own, theirs = self._keys.take(rows), self._keys.take(others)
            near = [(own[a:b, None] == theirs[c:d]).ravel() for (a, b), (c, d) in _parts(sizes, widths)]
            return np.concatenate(near).nonzero()[0]
        counts = _differing_bits(self._sketches.take(rows, axis=0), sizes, self._sketches.take(others, axis=0), widths)
        return (counts <= self._most_differing).nonzero()[0]

    def _equal(self, rows: Rows, others: Rows) -> Flags:
        """Which pairs of chunks are copies, of those that may be."""
        if self._max_jaccard is None:
            return np.ones(len(rows), dtype=bool)
        equal = np.empty(len(rows), dtype=np.uint64)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            places = self._signatures.take(rows[part], axis=0) == self._signatures.take(others[part], axis=0)
            # Counted in eight bytes at once, each of which stays below 256, as does their sum.
            equal[part] = (np.einsum("ij->i", places.view(np.uint64)) * _ONE_IN_EACH_BYTE) >> _HIGHEST_BYTE
        return equal >= PERMUTATIONS - self._most_differing


def sketches(signatures: npt.NDArray[np.uint16]) -> Sketches:
    """The lowest bit of each place of signatures of shape ``(n, 128)``: uint8 of shape ``(n, 16)``."""
    parts = [signatures[start : start + _SKETCHED] for start in range(0, len(signatures), _SKETCHED)]
    empty = np.empty((0, PERMUTATIONS // 8), dtype=np.uint8)
    return np.concatenate([empty, *(np.packbits((part & 1).astype(bool), axis=1) for part in parts)])


def differing_bits(one: Sketches, other: Sketches) -> npt.NDArray[np.int32]:
    """In how many bits each sketch differs from each other one: int32 of shape ``(len(one), len(other))``."""
    return _differing_bits(one, [len(one)], other, [len(other)]).reshape(len(one), len(other))


def _differing_bits(one: Sketches, sizes: list[int], other: Sketches, widths: list[int]) -> npt.NDArray[np.int32]:
    """:func:`differing_bits` of parts of such sizes, one table behind the other."""
    import faiss  # takes long to import

    one, other = np.ascontiguousarray(one), np.ascontiguousarray(other)
    counts = np.empty(sum(size * width for size, width in zip(sizes, widths, strict=True)), dtype=np.int32)
    at = 0
    for (start, stop), (first, last) in _parts(sizes, widths):
        area = (stop - start) * (last - first)
        if area:
            pointers = [faiss.swig_ptr(part) for part in (one[start:stop], other[first:last])]
            count = faiss.swig_ptr(counts[at : at + area])
            faiss.hammings(*pointers, stop - start, last - first, one.shape[1], count)  # type: ignore[attr-defined]
        at += area
    return counts


def _parts(sizes: list[int], widths: list[int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where parts of such sizes begin and end."""
    yield from zip(pairwise(accumulate(sizes, initial=0)), pairwise(accumulate(widths, initial=0)), strict=True)
