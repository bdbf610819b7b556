"""How often the same chunk stands in several sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextlong.inspection.opened import Dataset, Sample

# Chunks that are named.
_MOST_USED = 5


@dataclass(frozen=True)
class Used:
    """A chunk that many sequences have.

    Attributes:
        chunk: its ordinal in the pool.
        document: the id of its document.
        position: in the document, 0-based.
        sequences: how many have it.
    """

    chunk: int
    document: str
    position: int
    sequences: int


@dataclass(frozen=True)
class Reuse:
    """How often chunks are used: in how many sequences each stands that stands in any.

    Attributes:
        exact: these are all sequences of the dataset; of a sample the figures are too low.
        sequences: how many were looked at.
        chunks: how many different chunks stand in them.
        by_uses: number of sequences → how many chunks stand in so many, ascending.
        mean: number of sequences of a chunk.
        repeated: share of the uses that are not the first one of their chunk: what of the dataset is seen again.
        most_used: some of the chunks with the most, in descending order; none that is used once.
    """

    exact: bool
    sequences: int
    chunks: int
    by_uses: dict[int, int]
    mean: float
    repeated: float
    most_used: list[Used]


def reuse(dataset: Dataset, sample: Sample) -> Reuse:
    """Count uses; a chunk that stands twice in a sequence counts once there.

    ``repeated`` is 1 − chunks / uses. That documents come again in other sequences is what In-Context Pretraining (Shi et
    al., ICLR 2024) holds against nearest neighbours; hard negatives come again where root documents are alike.

    Args:
        dataset: of the sample.
        sample: the sequences; :attr:`~nextlong.inspection.opened.Sample.whole` where the figures shall be exact.
    """
    chunks, rows = np.unique(sample.spans.chunks, return_inverse=True)
    many = max(1, len(chunks))
    uses = np.bincount(np.unique(sample.spans.sequences * many + rows) % many, minlength=len(chunks))
    amounts, counts = np.unique(uses, return_counts=True)
    most = np.argsort(-uses, kind="stable")[:_MOST_USED]
    most = most[uses[most] > 1]
    pool, total = dataset.pool, int(uses.sum())
    named = zip(
        chunks[most].tolist(),
        pool.document_ids(pool.documents_of(chunks[most])),
        pool.positions_of(chunks[most]).tolist(),
        uses[most].tolist(),
        strict=True,
    )
    return Reuse(
        sample.whole,
        len(sample),
        len(chunks),
        dict(zip(amounts.tolist(), counts.tolist(), strict=True)),
        mean=total / many,
        repeated=1 - len(chunks) / total if total else 0.0,
        most_used=[Used(*each) for each in named],
    )
