"""The fine half of an inverted-file index: the best vectors in the lists near each query, many queries at a time.

A list is read once for all queries of a batch that look into it, and scored by one matrix product; so the cost of a query
falls with the number of queries, until the product itself is what remains. Scores are exact, and nothing is scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nextlong.index.keys import Keys, kth_largest, packed, smallest
from nextlong.index.threads import row_threads
from nextlong.index.vectors import Float32s, Ordinals

Result = TypeVar("Result")

# Vectors that the nearest lists of a query must hold for each neighbour asked for, before the k-th best of them says how
# good the rest must be. With fewer the bar is low and too many pass it; with more, setting it costs more than it saves.
SCANNED_PER_NEIGHBOUR = 4
# A longer list (of copies) is scanned in parts: so many vectors in float32 are 16 MiB at 1,024 dimensions.
_SEGMENT = 1 << 12
# Scores computed at once by one thread: 16 MiB.
_SCORES = 1 << 22
# Scores kept at once to find the bars of a batch: 64 MiB.
_BAR_SCORES = 1 << 24
# Of more survivors in one product only those are kept that can still be among the k best: ties in long runs of copies.
_SURVIVORS = 1 << 18
# Parts of the work for each thread: lists differ in size.
_PARTS = 8


@dataclass(frozen=True)
class ListShard:
    """The vectors of a range of ordinals, list by list.

    Attributes:
        first: the first ordinal of the range.
        steps: int16 ``(n, d)``, the vectors in units of `VECTOR_STEP`, all of the first list first; memory-mapped.
        offsets: uint32 ``(n,)``, the ordinal of each, less ``first``; ascending within a list.
        starts: int64 ``(lists + 1,)``, where each list begins.
    """

    first: int
    steps: npt.NDArray[np.int16]
    offsets: npt.NDArray[np.uint32]
    starts: Ordinals

    @cached_property
    def sizes(self) -> Ordinals:
        """Vectors in each list, int64 ``(lists,)``."""
        return np.diff(self.starts)

    @cached_property
    def segments(self) -> tuple[Ordinals, Ordinals]:
        """Where each segment begins (and the last ends), and the first segment of each list (and behind the last list)."""
        counts = -(-self.sizes // _SEGMENT)
        first = np.concatenate([[0], np.cumsum(counts)])
        within = np.arange(first[-1]) - np.repeat(first[:-1], counts)
        starts = np.repeat(self.starts[:-1], counts) + within * _SEGMENT
        return np.concatenate([starts, self.starts[-1:]]), first


@dataclass(frozen=True)
class _Pairs:
    """Which queries look into which segments, by segment.

    Attributes:
        rows: the query of each pair, segment by segment.
        order: where each of these pairs stands when they are sorted by query.
        bounds: where the pairs of each segment begin, ``(segments + 1,)``.
    """

    rows: Ordinals
    order: Ordinals
    bounds: Ordinals


def scan(
    shard: ListShard, queries: Float32s, lists: npt.NDArray[np.int32], scores: Float32s, k: int, margin: float, threads: int
) -> Keys:
    """The k best of each query, as keys of offsets in the shard, int64 ``(q, k)``.

    A query looks into its nearest lists until they hold 4·k vectors of this shard, and into those of the others whose
    centroid scores no less than ``margin`` below the k-th best vector seen there.

    Args:
        shard: where to look.
        queries: float32 ``(q, d)``, in units of `VECTOR_STEP`.
        lists: list numbers of each query, nearest first, ``(q, p)``; -1 for none.
        scores: of these lists, in units of its square.
        k: how many.
        margin: in the same units.
        threads: how many to use.
    """
    sizes = np.where(lists >= 0, shard.sizes[lists], 0)
    first = (np.cumsum(sizes, axis=1) - sizes < k * SCANNED_PER_NEIGHBOUR) & (sizes > 0)
    work = np.cumsum(np.where(first, sizes, 0).sum(axis=1))
    found: list[Keys] = []
    start = 0
    while start < len(queries):
        done = work[start - 1] if start else 0
        rows = slice(start, max(start + 1, int(np.searchsorted(work, done + _BAR_SCORES))))
        bars = _bars(shard, queries[rows], lists[rows], first[rows], k, threads)
        looked = first[rows] | ((scores[rows] >= bars[:, None] - np.float32(margin)) & (sizes[rows] > 0))
        found.append(_best(shard, queries[rows], lists[rows], looked, bars, k, threads))
        start = rows.stop
    return np.concatenate(found) if found else np.empty((0, k), dtype=np.int64)


def _bars(
    shard: ListShard, queries: Float32s, lists: npt.NDArray[np.int32], chosen: npt.NDArray[np.bool_], k: int, threads: int
) -> Float32s:
    """The k-th best score of each query in its chosen lists, float32 ``(q,)``; -inf where they hold fewer."""
    starts, _ = shard.segments
    pairs = _pairs(shard, lists, chosen)
    lengths = np.empty(len(pairs.rows), dtype=np.int64)
    lengths[pairs.order] = np.repeat(np.diff(starts), np.diff(pairs.bounds))
    begins = (np.cumsum(lengths) - lengths)[pairs.order]
    flat = np.empty(int(lengths.sum()), dtype=np.float32)

    def part(segments: Ordinals) -> None:
        for segment in segments:
            low, high = starts[segment], starts[segment + 1]
            columns = shard.steps[low:high].astype(np.float32).T
            for rows in _tiles(pairs.bounds[segment], pairs.bounds[segment + 1], high - low):
                products = queries.take(pairs.rows[rows], axis=0) @ columns
                flat[begins[rows, None] + np.arange(high - low)] = products

    _each_segment(part, pairs, threads)
    widths = np.where(chosen, shard.sizes[lists], 0).sum(axis=1)
    return kth_largest(flat, widths, k)


def _best(
    shard: ListShard,
    queries: Float32s,
    lists: npt.NDArray[np.int32],
    chosen: npt.NDArray[np.bool_],
    bars: Float32s,
    k: int,
    threads: int,
) -> Keys:
    """The k best of each query in its chosen lists that score no less than its bar; keys, int64 ``(q, k)``."""
    starts, _ = shard.segments
    pairs = _pairs(shard, lists, chosen)
    counts = np.zeros(len(pairs.rows), dtype=np.int64)

    def part(segments: Ordinals) -> list[Keys]:
        kept: list[Keys] = []
        for segment in segments:
            low, high = starts[segment], starts[segment + 1]
            columns = shard.steps[low:high].astype(np.float32).T
            offsets = shard.offsets[low:high]
            for rows in _tiles(pairs.bounds[segment], pairs.bounds[segment + 1], high - low):
                own = pairs.rows[rows]
                products = queries.take(own, axis=0) @ columns
                places = np.flatnonzero(products >= bars.take(own)[:, None])
                numbers = places // (high - low)
                keys = packed(products.take(places), offsets.take(places - numbers * (high - low)))
                widths = np.bincount(numbers, minlength=len(own))
                if len(keys) > _SURVIVORS:
                    keys = smallest(keys, widths, k)[np.arange(k) < widths[:, None]]
                    widths = np.minimum(widths, k)
                counts[rows] = widths
                kept.append(keys)
        return kept

    parts = _each_segment(part, pairs, threads)
    keys = np.concatenate([keys for part_keys in parts for keys in part_keys] or [np.empty(0, dtype=np.int64)])
    # From the order of segments to that of queries.
    by_query = np.empty_like(counts)
    by_query[pairs.order] = counts
    begins = np.cumsum(by_query) - by_query
    moved = np.empty_like(keys)
    moved[np.arange(len(keys)) + np.repeat(begins[pairs.order] - (np.cumsum(counts) - counts), counts)] = keys
    widths = np.bincount(pairs.rows, weights=counts, minlength=len(queries)).astype(np.int64)
    return smallest(moved, widths, k)


def _pairs(shard: ListShard, lists: npt.NDArray[np.int32], chosen: npt.NDArray[np.bool_]) -> _Pairs:
    starts, first = shard.segments
    numbers = lists[chosen]
    counts = first[numbers + 1] - first[numbers]
    rows = np.repeat(np.nonzero(chosen)[0], counts)
    segments = np.repeat(first[numbers] - (np.cumsum(counts) - counts), counts) + np.arange(len(rows))
    segment_count = len(starts) - 1
    # NumPy sorts two-byte integers in one go.
    order = np.argsort(segments.astype(np.uint16) if segment_count <= 1 << 16 else segments, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(segments, minlength=segment_count))])
    return _Pairs(rows[order], order, bounds)


def _tiles(start: int, stop: int, width: int) -> Iterator[slice]:
    """Pairs of one segment of ``width`` vectors, as many at a time as memory should hold scores of."""
    rows = max(1, _SCORES // int(width))
    for first in range(int(start), int(stop), rows):
        yield slice(first, min(first + rows, int(stop)))


def _each_segment(part: Callable[[Ordinals], Result], pairs: _Pairs, threads: int) -> list[Result]:
    """Call ``part`` with all segments that have pairs, in ascending order, some at a time; the results in that order."""
    used = np.flatnonzero(np.diff(pairs.bounds))
    with row_threads(threads) as each:
        return each(part, np.array_split(used, min(max(1, len(used)), threads * _PARTS)))
