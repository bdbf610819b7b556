"""What a dataset is like, in numbers: what ``nextlong stats`` prints and the page of ``nextlong inspect`` shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from nextlong.execution.run import read_metrics
from nextlong.inspection.distribution import Distribution, of_amounts
from nextlong.inspection.opened import META, NEGATIVE, Dataset, Sample, Spans
from nextlong.mining.candidates import REASONS
from nextlong.pool.pool import Ordinals, Pool
from nextlong.public_text import redacted
from nextlong.quality.measures import Quality, quality
from nextlong.records import ROLES

# Counts of a pool's description that its screening adds.
_SCREENED = {
    "copies": "chunks with the words of an earlier one",
    "near_copies": "chunks with nearly the words of an earlier one",
    "contaminated_chunks": "chunks that share runs of words with evaluation data",
    "contaminated_documents": "documents with such chunks",
    "dropped_chunks": "chunks dropped",
    "dropped_documents": "documents dropped",
}

# Sources that are listed by themselves.
_MOST_SOURCES = 20


@dataclass(frozen=True)
class RankBin:
    """Similarity of the negatives of some ranks, ``first`` to ``last``, to what they were found for.

    Attributes:
        first, last: ranks, both included, 1-based.
        negatives: how many.
        mean, low, median, high: of their cosine similarities; ``low`` and ``high`` are the quantiles 0.1 and 0.9.
    """

    first: int
    last: int
    negatives: int
    mean: float
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Source:
    """How much of the sequences comes from a file of the corpus."""

    source: str
    documents: int
    chunks: int
    tokens: int


@dataclass(frozen=True)
class Stage:
    """What a stage took, together in all runs of the configuration with which it last had something to do.

    Attributes:
        folder: ``pool`` or ``dataset``.
        stage, unit: its name, and what it counts.
        done: how many.
        seconds: of wall time.
        per_second: done a second.
        peak_memory: bytes that all processes owned.
    """

    folder: str
    stage: str
    unit: str
    done: int
    seconds: float
    per_second: float
    peak_memory: int


@dataclass(frozen=True)
class DatasetFigures:
    """A dataset in numbers.

    All but the counts, what was passed over and the stages is of the sequences that were looked at.

    Attributes:
        kind: ``dataset``.
        folder, id, nextlong, method, tokenizer: what it is; which version made it.
        length: tokens of a sequence.
        counts: of the whole dataset, as in ``dataset.yaml``.
        looked_at: how many sequences were looked at.
        whole: these are all.
        tokens_by_role: role → tokens, separators included.
        similarity_by_rank: of negatives with a rank; doubling bins.
        distance: tokens from the end of a meta-chunk to the beginning of the next one; where there are no meta-chunks, of
            neighbouring chunks of any document.
        chunk_tokens: role → tokens of a chunk.
        documents_per_sequence: different documents in a sequence.
        document_chunks, document_characters: of the different documents that were used.
        sources: where tokens come from, the most first; the last entry may hold all others, as ``""``.
        source_count: different sources.
        candidates_passed_over, documents_passed_over: reason in words → how many.
        rejected: rows of the corpus that became no document, by reason.
        screened: what the screening of the pool found and dropped; empty where it was off.
        quality: how many chunks are copies or false negatives, how diverse sequences are, how often chunks are reused.
        stages: of the pool and the dataset.
    """

    kind: str
    folder: str
    id: str
    nextlong: str
    method: str
    tokenizer: str
    length: int
    counts: dict[str, int]
    looked_at: int
    whole: bool
    tokens_by_role: dict[str, int]
    similarity_by_rank: list[RankBin]
    distance: Distribution
    chunk_tokens: dict[str, Distribution]
    documents_per_sequence: Distribution
    document_chunks: Distribution
    document_characters: Distribution
    sources: list[Source]
    source_count: int
    candidates_passed_over: dict[str, int]
    documents_passed_over: dict[str, int]
    rejected: dict[str, int]
    screened: dict[str, int]
    quality: Quality
    stages: list[Stage]


def dataset_figures(dataset: Dataset, sample: Sample) -> DatasetFigures:
    """The figures of a dataset.

    Args:
        dataset: which.
        sample: the sequences to look at.
    """
    card, spans, pool = dataset.card, sample.spans, dataset.pool
    documents = np.unique(spans.documents)
    sources, source_count = _sources(pool, spans)
    present = [place for place in range(len(ROLES)) if (spans.roles == place).any()]
    return DatasetFigures(
        kind="dataset",
        folder=redacted(str(dataset.folder)),
        id=card["id"],
        nextlong=card["nextlong"],
        method=dataset.method,
        tokenizer=redacted(str(card["tokenizer"]["name"])),
        length=dataset.config.length,
        counts={name: int(amount) for name, amount in card["counts"].items()},
        looked_at=len(sample),
        whole=sample.whole,
        tokens_by_role={ROLES[place]: int(spans.tokens[spans.roles == place].sum()) for place in present},
        similarity_by_rank=_similarity_by_rank(spans),
        distance=of_amounts(distances(spans)),
        chunk_tokens={ROLES[place]: of_amounts(spans.tokens[spans.roles == place]) for place in present},
        documents_per_sequence=of_amounts(_documents_per_sequence(spans)),
        document_chunks=of_amounts(pool.first_chunk[documents + 1] - pool.first_chunk[documents]),
        document_characters=of_amounts(pool.document_column(documents, "characters").to_numpy(zero_copy_only=False)),
        sources=sources,
        source_count=source_count,
        candidates_passed_over={REASONS.get(name, name): amount for name, amount in card["candidates_passed_over"].items()},
        documents_passed_over=dict(card["documents_passed_over"]),
        rejected=dict(pool.description["rejected"]),
        screened=screened(pool),
        quality=quality(dataset, sample),
        stages=[*stages("pool", pool.folder), *stages("dataset", dataset.folder)],
    )


def screened(pool: Pool) -> dict[str, int]:
    """What the screening of a pool found and dropped, by what it is called in words."""
    counts = pool.description["counts"]
    return {words: int(counts[name]) for name, words in _SCREENED.items() if name in counts}


def distances(spans: Spans) -> Ordinals:
    """Tokens between neighbouring parts of a document: from the end of one to the beginning of the next, int64.

    The parts are the meta-chunks of a sequence; where a method has none, the chunks of each document in a sequence.
    """
    of = np.flatnonzero(spans.roles == META) if (spans.roles == META).any() else np.arange(len(spans.chunks))
    sequences, documents, starts = spans.sequences[of], spans.documents[of], spans.token_starts[of]
    order = np.lexsort((starts, documents, sequences))
    same = (np.diff(sequences[order]) == 0) & (np.diff(documents[order]) == 0)
    gaps = starts[order][1:].astype(np.int64) - spans.token_ends[of][order][:-1]
    found: Ordinals = gaps[same]
    return found


def _similarity_by_rank(spans: Spans) -> list[RankBin]:
    ranked = (spans.roles == NEGATIVE) & (spans.ranks > 0)
    ranks, scores = spans.ranks[ranked], spans.scores[ranked]
    bins: list[RankBin] = []
    first = 1
    while first <= ranks.max(initial=0):
        last = 2 * first - 1
        own = scores[(ranks >= first) & (ranks <= last)]
        if len(own):
            low, median, high = np.quantile(own, (0.1, 0.5, 0.9)).tolist()
            bins.append(RankBin(first, last, len(own), float(own.mean(dtype=np.float64)), low, median, high))
        first = last + 1
    return bins


def _documents_per_sequence(spans: Spans) -> Ordinals:
    pairs = np.unique(np.stack([spans.sequences, spans.documents]), axis=1)
    return np.bincount(pairs[0], minlength=len(spans.starts) - 1)


def _sources(pool: Pool, spans: Spans) -> tuple[list[Source], int]:
    documents, own = np.unique(spans.documents, return_inverse=True)
    encoded = pc.dictionary_encode(pool.document_column(documents, "source"))
    shown = [redacted(name) for name in encoded.dictionary.to_pylist()]
    names = sorted(set(shown))  # without their secrets, addresses may be the same
    place = {name: number for number, name in enumerate(names)}
    of_document = np.array([place[name] for name in shown], dtype=np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
    of_span = of_document[own]
    chunks = np.bincount(of_span, minlength=len(names))
    tokens = np.bincount(of_span, weights=spans.tokens, minlength=len(names)).astype(np.int64)
    counts = np.bincount(of_document, minlength=len(names))
    order = sorted(range(len(names)), key=lambda place: (-int(tokens[place]), names[place]))
    listed, others = order[:_MOST_SOURCES], order[_MOST_SOURCES:]
    found = [Source(names[place], int(counts[place]), int(chunks[place]), int(tokens[place])) for place in listed]
    if others:
        found.append(Source("", int(counts[others].sum()), int(chunks[others].sum()), int(tokens[others].sum())))
    return found, len(names)


def stages(name: str, folder: Path) -> Iterator[Stage]:
    """What the stages of a pool or a dataset took.

    Args:
        name: what ``folder`` is.
        folder: of the pool or the dataset.
    """
    lines = read_metrics(folder)
    # What earlier configurations took, before --overwrite, is not of what lies there now.
    last = {line["stage"]: line.get("plan") for line in lines}
    merged: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line.get("plan") != last[line["stage"]]:
            continue
        known = merged.setdefault(line["stage"], {**line, "rows": 0, "seconds": 0.0, "peak_memory": 0})
        known["rows"] += line["rows"]
        known["seconds"] += line["seconds"]
        known["peak_memory"] = max(known["peak_memory"], line["peak_memory"])
    for stage, line in merged.items():
        rate = line["rows"] / max(line["seconds"], 1e-9)
        yield Stage(name, stage, line["unit"], line["rows"], line["seconds"], rate, line["peak_memory"])
