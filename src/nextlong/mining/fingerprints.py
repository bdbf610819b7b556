"""What tells copies apart, of all candidates of some sequences: fetched from the pool once, and compared many at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nextlong.mining.copies import PERMUTATIONS, required_matches
from nextlong.pool.pool import Ordinals, Pool

Rows = npt.NDArray[np.int64]
Sketches = npt.NDArray[np.uint8]

# Signatures of so many pairs are compared at once: 2 MiB a side.
_PAIRS_AT_ONCE = 1 << 13
# So many pairs are compared at once, whether all need be or not; each is there twice.
_FEW_PAIRS = 1 << 10

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

    def copies(self, rows: Rows, others: Rows) -> npt.NDArray[np.bool_]:
        """Which of some chunks are copies of one of ``others``, or of one before them that is no copy itself."""
        result = np.zeros(len(rows), dtype=bool)
        copy, original = np.divmod(self._near(rows, others), max(len(others), 1))
        result[copy[self._equal(rows[copy], others[original])]] = True
        open_ = (~result).nonzero()[0]
        result[open_] = self._among(rows[open_])
        return result

    def _among(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of some chunks are copies of one before them that is no copy itself."""
        near = self._near(rows, rows)
        if len(near) == len(rows):  # each is near itself
            return np.zeros(len(rows), dtype=bool)
        if len(near) > max(_FEW_PAIRS, 2 * len(rows)):
            # Many are copies of each other, and all that counts is the first: most of the others need not be compared.
            half = len(rows) // 2
            first = self._among(rows[:half])
            return np.concatenate([first, self.copies(rows[half:], rows[:half][~first])])
        copy, original = np.divmod(near, len(rows))
        before = original < copy
        copy, original = copy[before], original[before]
        equal = self._equal(rows[copy], rows[original])
        result = [False] * len(rows)
        for one, other in zip(copy[equal].tolist(), original[equal].tolist(), strict=True):
            result[one] |= not result[other]
        return np.array(result)

    def _near(self, rows: Rows, others: Rows) -> Rows:
        """Pairs that may be copies, as places in a table of ``rows`` times ``others``."""
        if self._max_jaccard is None:
            near = self._keys[rows][:, None] == self._keys[others]
        else:
            near = differing_bits(self._sketches[rows], self._sketches[others]) <= self._most_differing
        places: Rows = near.ravel().nonzero()[0]
        return places

    def _equal(self, rows: Rows, others: Rows) -> npt.NDArray[np.bool_]:
        """Which pairs of chunks are copies, of those that may be."""
        if self._max_jaccard is None:
            return np.ones(len(rows), dtype=bool)
        equal = np.empty(len(rows), dtype=np.uint64)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            places = self._signatures[rows[part]] == self._signatures[others[part]]
            # Counted in eight bytes at once, each of which stays below 256, as does their sum.
            equal[part] = (places.view(np.uint64).sum(axis=1) * _ONE_IN_EACH_BYTE) >> _HIGHEST_BYTE
        return equal >= PERMUTATIONS - self._most_differing


def sketches(signatures: npt.NDArray[np.uint16]) -> Sketches:
    """The lowest bit of each place of signatures of shape ``(n, 128)``: uint8 of shape ``(n, 16)``."""
    return np.packbits((signatures & 1).astype(bool), axis=1)


def differing_bits(one: Sketches, other: Sketches) -> npt.NDArray[np.int32]:
    """In how many bits each sketch differs from each other one: int32 of shape ``(len(one), len(other))``."""
    import faiss  # takes long to import

    counts = np.empty((len(one), len(other)), dtype=np.int32)
    pointers = (faiss.swig_ptr(np.ascontiguousarray(each)) for each in (one, other))
    faiss.hammings(*pointers, len(one), len(other), one.shape[1], faiss.swig_ptr(counts))  # type: ignore[attr-defined]
    return counts
