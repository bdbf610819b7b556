"""Which chunks of a sequence the measures judge, and against what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.inspection.opened import META, NEGATIVE, Sample, Spans
from nextlong.pool.pool import Ordinals


@dataclass(frozen=True, eq=False)
class Judged:
    """A sequence as the measures see it.

    Attributes:
        spans: its chunks.
        whole: it has no meta-chunks: it puts documents together.
        root: ordinal of the document that it is about: that of its meta-chunks; without any, the first one.
        places: of the judged chunks among the spans: the negatives; where there are no meta-chunks, all.
        metas: of each judged one the chunk ordinal of the meta-chunk it stands with; -1 for none.
    """

    spans: Spans
    whole: bool
    root: int
    places: Ordinals
    metas: Ordinals


def judged_sequences(sample: Sample) -> Iterator[Judged]:
    """Every sequence of a sample."""
    for number in range(len(sample)):
        spans = sample.spans.of(number)
        if len(spans.chunks):
            yield _judged(spans)


def _judged(spans: Spans) -> Judged:
    metas = np.flatnonzero(spans.roles == META)
    if not len(metas):
        places = np.arange(len(spans.chunks))
        return Judged(spans, True, int(spans.documents[0]), places, np.full(len(places), -1))
    places = np.flatnonzero(spans.roles == NEGATIVE)
    by_group = np.full(int(spans.groups.max()) + 1, -1)
    by_group[spans.groups[metas]] = spans.chunks[metas]
    return Judged(spans, False, int(spans.documents[metas[0]]), places, by_group[spans.groups[places]])


def evenly(count: int, most: int) -> npt.NDArray[np.int64]:
    """So many of ``count`` places, spread evenly; all, where there are no more."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
