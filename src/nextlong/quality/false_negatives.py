"""False negatives: chunks that contain a passage of the root document, so that the model need not look far back for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nextlong.inspection.opened import Dataset, Sample
from nextlong.mining.copies import Keys
from nextlong.mining.ngrams import NGRAM_WORDS, ngram_keys
from nextlong.pool.pool import Ordinals, Pool
from nextlong.quality.estimates import Estimate, ratio
from nextlong.quality.judged import Judged, evenly, judged_sequences

# A passage is rare if, of so many chunks drawn from the whole pool, those of no more than so many other documents have it:
# what more have, one in a thousand, is boilerplate, such as a licence or a header. Counting among the sampled sequences
# would not do: mining brings the documents that share passages together, the more of them the larger the sample is.
DRAWN_CHUNKS, RARE_DOCUMENTS = 4096, 4

# The text that is read, in bytes: a few seconds, and some 50 MB of hashes.
_MOST_BYTES = 1 << 25
# Texts that are folded together.
_TEXTS = 1 << 12

_Number = TypeVar("_Number", np.uint64, np.int64)


@dataclass(frozen=True)
class FalseNegatives:
    """How many of the judged chunks contain a passage of the root document: a run of so many words.

    Judged are the negatives; in a method of whole documents, the chunks of the other documents, against the first one.

    Attributes:
        words: of a run, folded as :mod:`nextlong.mining.ngrams` says.
        rare: how many other documents may have a rare passage, of those of the 4,096 chunks drawn from the pool.
        looked_at: how many sequences of the sample were.
        chunks: how many chunks were judged.
        share: of them that have such a passage.
        share_rare: of them that have one that is rare.
        sequences, sequences_rare: share of sequences with at least one such chunk.
        root_covered: share of the root documents' different runs that stand in a judged chunk of the sequence.
    """

    words: int
    rare: int
    looked_at: int
    chunks: int
    share: Estimate | None
    share_rare: Estimate | None
    sequences: Estimate | None
    sequences_rare: Estimate | None
    root_covered: Estimate | None


@dataclass(frozen=True, eq=False)
class _Runs:
    """The different runs of chunks.

    Attributes:
        chunks: chunk ordinals, ascending, each once.
        starts: where the runs of each begin, and the last end.
        keys: hashes, ascending within a chunk.
    """

    chunks: Ordinals
    starts: Ordinals
    keys: Keys

    def of(self, chunks: Ordinals) -> tuple[Keys, Ordinals]:
        """The runs of chunks, one behind the other, and for each its chunk's place in ``chunks``."""
        rows = np.searchsorted(self.chunks, chunks)
        parts = [self.keys[self.starts[row] : self.starts[row + 1]] for row in rows.tolist()]
        return np.concatenate([self.keys[:0], *parts]), np.arange(len(chunks)).repeat([len(part) for part in parts])


def false_negatives(
    dataset: Dataset, sample: Sample, words: int = NGRAM_WORDS, rare: int = RARE_DOCUMENTS
) -> FalseNegatives:
    """The shares of chunks that contain a passage of the root document.

    The test of the GPT-3 paper for contamination (Brown et al. 2020, appendix C), with the root document in the place of the
    evaluation data: a chunk is a false negative if it has a run of ``words`` words in common with the root document, whole,
    across the borders of its chunks. Boilerplate is such a run as well; the shares of rare passages leave it out.

    Args:
        dataset: of the sample.
        sample: the sequences. Of a large one some are looked at, spread evenly: 32 MiB of text.
        words: of a run.
        rare: how many other documents may have a rare passage, of those of 4,096 chunks drawn from the pool.
    """
    pool = dataset.pool
    looked_at = _affordable(pool, list(judged_sequences(sample)))
    roots = sorted({sequence.root for sequence in looked_at})
    root_runs = dict(zip(roots, _root_runs(pool, roots, words), strict=True))
    judged = [_others(sequence) for sequence in looked_at]
    runs = _runs(pool, np.unique(np.concatenate([np.empty(0, dtype=np.int64), *judged])), words)

    found: list[tuple[Keys, Ordinals]] = []
    for sequence, chunks in zip(looked_at, judged, strict=True):
        keys, places = runs.of(chunks)
        shared = _among(keys, root_runs[sequence.root])
        found.append((keys[shared], places[shared]))
    holders = _holders(pool, _distinct(np.concatenate([runs.keys[:0], *(keys for keys, _ in found)])), words)
    counted = np.zeros((len(looked_at), 3), dtype=np.int64)
    for row, (sequence, chunks, (keys, places)) in enumerate(zip(looked_at, judged, found, strict=True)):
        is_rare = holders.others(keys, sequence.root, pool.documents_of(chunks)[places]) <= rare
        counted[row] = len(np.unique(places)), len(np.unique(places[is_rare])), len(np.unique(keys))
    totals = [len(root_runs[sequence.root]) for sequence in looked_at]
    sizes, every = [len(chunks) for chunks in judged], np.ones(len(judged))
    return FalseNegatives(
        words,
        rare,
        len(looked_at),
        sum(sizes),
        share=ratio(counted[:, 0], sizes),
        share_rare=ratio(counted[:, 1], sizes),
        sequences=ratio(counted[:, 0] > 0, every),
        sequences_rare=ratio(counted[:, 1] > 0, every),
        root_covered=ratio(counted[:, 2], totals),
    )


def _others(sequence: Judged) -> Ordinals:
    """The judged chunks; of whole documents only those of other documents than the first."""
    places = sequence.places
    if sequence.whole:
        places = places[sequence.spans.documents[places] != sequence.root]
    return sequence.spans.chunks[places]


def _affordable(pool: Pool, sequences: Sequence[Judged]) -> list[Judged]:
    """As many sequences as the text that may be read allows, spread evenly; at least one of any."""
    sizes = np.array([int(pool.bytes_of(sequence.spans.chunks).sum()) for sequence in sequences], dtype=np.int64)
    most = max(1, int(_MOST_BYTES / max(1.0, float(sizes.mean())))) if len(sizes) else 1
    return [sequences[place] for place in evenly(len(sequences), most).tolist()] if len(sizes) else []


def _root_runs(pool: Pool, roots: Sequence[int], words: int) -> list[Keys]:
    """The different runs of whole documents, ascending."""
    result: list[Keys] = []
    for root in roots:
        # White space between chunks separates words as a newline does, whatever stood there.
        keys, _ = ngram_keys(["\n".join(pool.texts(pool.chunks_of(root)))], words)
        result.append(_distinct(keys))
    return result


def _runs(pool: Pool, chunks: Ordinals, words: int) -> _Runs:
    parts: list[Keys] = [np.empty(0, dtype=np.uint64)]
    amounts: list[int] = []
    for start in range(0, len(chunks), _TEXTS):
        keys, runs = ngram_keys(pool.texts(chunks[start : start + _TEXTS]), words)
        for own in np.split(keys, np.cumsum(runs)[:-1]):
            parts.append(_distinct(own))
            amounts.append(len(parts[-1]))
    starts = np.concatenate([[0], np.cumsum(np.array(amounts, dtype=np.int64))])
    return _Runs(chunks, starts, np.concatenate(parts))


@dataclass(frozen=True, eq=False)
class _Holders:
    """Which documents have which runs, of the drawn chunks.

    Attributes:
        keys: hashes, ascending, each once.
        counts: how many documents have each.
        pairs: key's place × documents of the pool + document, ascending.
        documents: of the pool.
    """

    keys: Keys
    counts: Ordinals
    pairs: Ordinals
    documents: int

    def others(self, keys: Keys, root: int, own: Ordinals) -> Ordinals:
        """For each of some runs, all known, how many have it that are neither the root document nor its own."""
        places = np.searchsorted(self.keys, keys)
        of_root, of_own = (_among(places * self.documents + document, self.pairs) for document in (root, own))
        others: Ordinals = self.counts[places] - of_root - (of_own & (own != root))
        return others


def _holders(pool: Pool, shared: Keys, words: int) -> _Holders:
    drawn = np.random.default_rng(0).choice(pool.chunks, min(DRAWN_CHUNKS, pool.chunks), replace=False)
    keys, amounts = ngram_keys(pool.texts(drawn), words)
    places = np.searchsorted(shared, keys)
    known = _among(keys, shared)
    documents = pool.documents_of(drawn).repeat(amounts)
    pairs = _distinct(places[known] * pool.documents + documents[known])
    counts = np.bincount(pairs // pool.documents, minlength=len(shared))
    return _Holders(shared, counts, pairs, pool.documents)


def _distinct(values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """The different values, ascending: as :func:`numpy.unique`, which takes ten times as long since it hashes."""
    ordered = np.sort(values)
    first = np.concatenate([np.ones(min(1, len(ordered)), dtype=bool), ordered[1:] != ordered[:-1]])
    distinct: npt.NDArray[_Number] = ordered[first]
    return distinct


def _among(values: npt.NDArray[_Number], known: npt.NDArray[_Number]) -> npt.NDArray[np.bool_]:
    """Which values are among the known ones, which ascend."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    found: npt.NDArray[np.bool_] = known.take(np.searchsorted(known, values), mode="clip") == values
    return found
