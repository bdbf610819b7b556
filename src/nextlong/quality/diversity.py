"""How many sources and documents a sequence is made of, and how evenly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextlong.inspection.opened import Dataset, Sample, Spans
from nextlong.pool.pool import Ordinals
from nextlong.quality.estimates import Estimate, mean


@dataclass(frozen=True)
class Spread:
    """Means over sequences of how their tokens are spread over files or documents.

    Attributes:
        number: how many there are.
        effective: how many there would be if all had equally many tokens.
        largest: the share of tokens of the largest one.
    """

    number: Estimate | None
    effective: Estimate | None
    largest: Estimate | None


@dataclass(frozen=True)
class Diversity:
    """How diverse sequences are.

    Attributes:
        sequences: how many were looked at.
        files: of the corpus; a table of many documents is one file.
        documents: those that chunks come from.
    """

    sequences: int
    files: Spread
    documents: Spread


def diversity(dataset: Dataset, sample: Sample) -> Diversity:
    """The spread of each sequence over files and documents.

    ``effective`` is the Hill number of order 1 (Hill 1973), exp(−Σ p ln p), of the shares p of the tokens.

    Args:
        dataset: of the sample.
        sample: the sequences.
    """
    documents, rows = np.unique(sample.spans.documents, return_inverse=True)
    codes = dataset.pool.document_column(documents, "source").dictionary_encode().indices.to_numpy(zero_copy_only=False)
    of_files = codes.astype(np.int64)[rows] if len(rows) else rows
    return Diversity(len(sample), _spread(sample.spans, of_files), _spread(sample.spans, rows))


def _spread(spans: Spans, owners: Ordinals) -> Spread:
    """The spread over what owns each span, given as numbers from 0 on."""
    sequences = len(spans.starts) - 1
    many = int(owners.max(initial=0)) + 1
    pairs, places = np.unique(spans.sequences * many + owners, return_inverse=True)
    tokens = np.bincount(places, weights=spans.tokens, minlength=len(pairs))
    rows = pairs // many
    shares = tokens / np.bincount(rows, weights=tokens, minlength=sequences)[rows]
    # An owner of no token, of which the cut has left nothing, takes no part in the entropy.
    terms = -shares * np.log(np.where(shares > 0, shares, 1))
    largest = np.zeros(sequences)
    np.maximum.at(largest, rows, shares)
    return Spread(
        number=mean(np.bincount(rows, minlength=sequences)),
        effective=mean(np.exp(np.bincount(rows, weights=terms, minlength=sequences))),
        largest=mean(largest),
    )
