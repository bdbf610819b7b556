"""Copies in sequences: chunks that say again what stands there already, or what the root document says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.inspection.opened import Dataset, Sample
from nextlong.mining.copies import required_matches
from nextlong.pool.pool import Ordinals, Pool
from nextlong.quality.estimates import Estimate, ratio
from nextlong.quality.judged import Judged, judged_sequences

# Equal after white-space folding; what mining calls a copy unless told otherwise; and what a reader would still call one.
SIMILARITIES = (1.0, 0.8, 0.5)

# Signatures that are compared at once with one other: each pair takes 256 bytes.
_PAIRS = 1 << 14

_KINDS = ("of_meta_chunk", "of_root", "of_earlier", "of_any")


@dataclass(frozen=True)
class Copies:
    """How many of the judged chunks are copies: the negatives, or, in a method of whole documents, all chunks.

    Attributes:
        similarity: the least estimated Jaccard similarity of a copy's 5-word shingles; 1.0: equal after white-space folding.
        chunks: how many were judged.
        of_meta_chunk: share of copies of the meta-chunk that they stand with; None where there are no meta-chunks.
        of_root: share of copies of any chunk of the root document, whether or not that stands in the sequence. The root
            document of a method of whole documents is the first one of a sequence, whose chunks are no copies of themselves.
        of_earlier: share of copies of a chunk that stands before them in the sequence.
        of_any: share of those that are any of these.
        sequences: share of sequences that have at least one of these.
    """

    similarity: float
    chunks: int
    of_meta_chunk: Estimate | None
    of_root: Estimate | None
    of_earlier: Estimate | None
    of_any: Estimate | None
    sequences: Estimate | None


def copies(dataset: Dataset, sample: Sample, similarities: Sequence[float] = SIMILARITIES) -> list[Copies]:
    """The shares of copies, for each similarity.

    A copy is what mining drops as one (docs/method.md): the MinHash estimate of Broder (1997), J(A, B) = |A ∩ B| / |A ∪ B|
    of two chunks' sets of 5-word shingles, from 128 values a chunk with a standard error of at most 0.044, is compared with
    the similarity. The share is copies over judged chunks, of all sequences together.

    Args:
        dataset: of the sample; its pool has the fingerprints.
        sample: the sequences.
        similarities: above 0, at most 1.
    """
    counts: list[npt.NDArray[np.int64]] = []
    judged: list[int] = []
    with_metas = False
    for sequence in judged_sequences(sample):
        judged.append(len(sequence.places))
        with_metas |= not sequence.whole
        counts.append(_counted(dataset.pool, sequence, similarities))
    table = np.array(counts, dtype=np.int64).reshape(len(judged), len(similarities), len(_KINDS))
    results = []
    for column, similarity in enumerate(similarities):
        shares = {kind: ratio(table[:, column, place], judged) for place, kind in enumerate(_KINDS)}
        if not with_metas:
            shares["of_meta_chunk"] = None
        some = ratio(table[:, column, -1] > 0, np.ones(len(judged)))
        results.append(Copies(similarity, sum(judged), **shares, sequences=some))
    return results


def _counted(pool: Pool, sequence: Judged, similarities: Sequence[float]) -> npt.NDArray[np.int64]:
    """How many judged chunks are copies, by similarity and kind: int64 of shape ``(similarities, kinds)``."""
    root = pool.chunks_of(sequence.root)
    known = np.unique(np.concatenate([root, sequence.spans.chunks]))
    signatures, keys = pool.signatures(known), pool.fold_keys(known)
    rows = np.searchsorted(known, sequence.spans.chunks)
    own, theirs = rows[sequence.places], np.searchsorted(known, root)
    judged = sequence.spans.chunks[sequence.places]
    with_root = _matches(signatures, own, theirs)
    with_before = _matches(signatures, own, rows)
    # A chunk of a document is no copy of itself; a negative that is a chunk of the root document repeats it.
    same = sequence.whole & (judged[:, None] == root[None, :])
    before = np.arange(len(rows))[None, :] < sequence.places[:, None]
    with_meta = np.where(sequence.metas[:, None] == root[None, :], with_root, -1)
    result = np.zeros((len(similarities), len(_KINDS)), dtype=np.int64)
    for row, similarity in enumerate(similarities):
        if similarity == 1.0:
            equal = keys[own][:, None] == keys[theirs][None, :]
            of_root, of_meta = equal & ~same, equal & (with_meta >= 0)
            of_before = (keys[own][:, None] == keys[rows][None, :]) & before
        else:
            least = required_matches(similarity)
            of_root, of_meta, of_before = (with_root >= least) & ~same, with_meta >= least, (with_before >= least) & before
        kinds = [table.any(axis=1) for table in (of_meta, of_root, of_before)]
        result[row] = [int(kind.sum()) for kind in (*kinds, kinds[0] | kinds[1] | kinds[2])]
    return result


def _matches(signatures: npt.NDArray[np.uint16], rows: Ordinals, others: Ordinals) -> npt.NDArray[np.int64]:
    """How many places of the signatures of each pair are equal: int64 of shape ``(rows, others)``."""
    result = np.empty((len(rows), len(others)), dtype=np.int64)
    at_once = max(1, _PAIRS // max(1, len(others)))
    against = signatures[others][None]
    for start in range(0, len(rows), at_once):
        part = signatures[rows[start : start + at_once]][:, None]
        result[start : start + at_once] = np.count_nonzero(part == against, axis=2)
    return result
