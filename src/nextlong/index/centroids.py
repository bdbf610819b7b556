"""The coarse half of an inverted-file index: centroids, and which of them are near.

FAISS's own k-means works in float32, where sums depend on the library, the number of threads and the batch. Here centroids
are rounded like vectors, so their products with vectors are exact (see `protocol.Index`), and sums of vectors are exact in
float64: the same pool gives the same index.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from nextlong.index.threads import row_threads
from nextlong.index.vectors import Float32s, Ordinals
from nextlong.records import VECTOR_STEP

Numbers = npt.NDArray[np.int32]

# Lloyd iterations. With ten, in twice the time, a query among 141,708 vectors looks at 4 % fewer for the same recall.
ITERATIONS = 5
# Scores held at once by one thread: 2^20 float32 are 4 MiB.
_SCORES = 1 << 20
# Scores ranked at once by one thread: 2^18 float32 are 1 MiB, which stays in the processor's cache; but enough rows for
# the matrix product to be at its speed.
_RANKED = 1 << 18
_RANKED_ROWS = 64


def trained_centroids(sample: Float32s, lists: int, rng: np.random.Generator, threads: int) -> Float32s:
    """Spherical k-means: at most ``lists`` centroids of a sample of vectors, float32 ``(≤ lists, d)``, rounded like them.

    There are fewer than asked when the sample has fewer distinct vectors. The result depends on the sample and the state
    of ``rng`` only.
    """
    centroids = _distinct(sample, lists, rng)
    nearest = np.full(len(sample), -1, dtype=np.int32)
    for _ in range(ITERATIONS):
        before = nearest
        nearest, scores = assigned(sample, centroids, threads)
        if np.array_equal(nearest, before):
            break
        centroids = _means(sample, nearest, scores, centroids, threads)
    return np.unique(centroids, axis=0)


def assigned(vectors: Float32s, centroids: Float32s, threads: int) -> tuple[Numbers, Float32s]:
    """The nearest centroid of each vector, int32 ``(n,)``, of equally near ones the first; and their inner products."""
    nearest = np.empty(len(vectors), dtype=np.int32)
    scores = np.empty(len(vectors), dtype=np.float32)

    def part(rows: slice) -> None:
        products = vectors[rows] @ centroids.T
        best = products.argmax(axis=1)
        nearest[rows], scores[rows] = best, products[np.arange(len(best)), best]

    with row_threads(threads) as each:
        each(part, slices(len(vectors), max(1, _SCORES // len(centroids))))
    return nearest, scores


def nearest_lists(
    queries: Float32s, centroids: Float32s, sizes: Ordinals, probes: int, wanted: int, threads: int
) -> tuple[Numbers, Float32s]:
    """The lists that each query may look into, nearest first, of equally near ones the lower number first.

    Each query takes ``probes`` lists, and goes on until its lists hold ``wanted`` vectors together or there are no more.

    Args:
        queries: float32 ``(q, d)``.
        centroids: float32 ``(lists, d)``.
        sizes: vectors per list, int64 ``(lists,)``.
        probes: how many lists, at least 1.
        wanted: how many vectors, at least.
        threads: how many to use.

    Returns:
        List numbers, int32 ``(q, ≥ probes)``, -1 after the last list of a query that needs fewer than the others; and
        their scores, float32 of the same shape, in units of the product of both arguments' units.
    """
    probes = min(probes, len(centroids))
    columns = np.ascontiguousarray(centroids.T)

    def part(rows: slice) -> tuple[Numbers, Float32s]:
        products = queries[rows] @ columns
        near = _best_columns(products, probes)
        short = np.flatnonzero(sizes[near].sum(axis=1) < wanted)
        if len(short) and probes < len(centroids):
            near = _extended(products, near, short, sizes, wanted)
        return near.astype(np.int32), np.take_along_axis(products, np.maximum(near, 0), axis=1)

    with row_threads(threads) as each:
        found = each(part, slices(len(queries), max(_RANKED_ROWS, _RANKED // len(centroids))))
    width = max((near.shape[1] for near, _ in found), default=probes)
    numbers = np.full((len(queries), width), -1, dtype=np.int32)
    scores = np.full((len(queries), width), -np.inf, dtype=np.float32)
    first = 0
    for near, score in found:
        rows = slice(first, first + len(near))
        numbers[rows, : near.shape[1]], scores[rows, : near.shape[1]] = near, score
        first += len(near)
    return numbers, scores


def _best_columns(scores: Float32s, k: int) -> Ordinals:
    """The columns of the k largest scores of each row, best first, of equal ones the lower column first."""
    rows, columns = scores.shape
    if k == columns:
        chosen = np.broadcast_to(np.arange(columns), scores.shape)
    else:
        bar = np.partition(scores, columns - k, axis=1)[:, columns - k, None]
        places = np.flatnonzero(scores >= bar)
        if len(places) > rows * k:  # several are level with the last
            level = scores == bar
            room = k - (scores > bar).sum(axis=1, keepdims=True)
            places = np.flatnonzero((scores > bar) | (level & (np.cumsum(level, axis=1) <= room)))
        chosen = (places % columns).reshape(rows, k)
    order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def _extended(products: Float32s, near: Ordinals, short: Ordinals, sizes: Ordinals, wanted: int) -> Ordinals:
    """``near`` with as many more lists for its rows ``short`` as hold ``wanted`` vectors."""
    probes = near.shape[1]
    ranked = np.argsort(-products[short], axis=1, kind="stable")
    before = np.cumsum(sizes[ranked], axis=1) - sizes[ranked]
    needed = np.maximum((before < wanted).sum(axis=1), probes)
    found = np.full((len(near), int(needed.max())), -1, dtype=np.int64)
    found[:, :probes] = near
    found[short] = np.where(np.arange(found.shape[1]) < needed[:, None], ranked[:, : found.shape[1]], -1)
    return found


def _distinct(sample: Float32s, lists: int, rng: np.random.Generator) -> Float32s:
    """Up to ``lists`` different vectors of the sample, drawn at random."""
    # Real pools hold 15 % copies; twice as many draws as lists leave enough different ones even where half are copies.
    drawn = sample[rng.permutation(len(sample))[: 2 * lists]]
    _, first = np.unique(drawn, axis=0, return_index=True)
    return drawn[np.sort(first)[:lists]]


def _means(sample: Float32s, nearest: Numbers, scores: Float32s, old: Float32s, threads: int) -> Float32s:
    """New centroids: the direction of the mean of each list; an empty list moves to a vector that is badly served."""
    order = np.argsort(nearest, kind="stable")
    sizes = np.bincount(nearest, minlength=len(old))
    used = np.flatnonzero(sizes)
    ends = np.cumsum(sizes[used])
    starts = ends - sizes[used]
    sums = np.empty((len(used), sample.shape[1]))

    def part(rows: slice) -> None:
        low = starts[rows.start]
        members = sample[order[low : ends[rows.stop - 1]]]
        sums[rows] = np.add.reduceat(members, starts[rows] - low, axis=0, dtype=np.float64)

    with row_threads(threads) as each:
        each(part, slices(len(used), 64))
    norms = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    centroids = old.copy()
    means = np.rint(sums / (np.maximum(norms, np.finfo(np.float64).tiny) * VECTOR_STEP)) * VECTOR_STEP
    centroids[used] = np.where(norms > 0, means, old[used])
    empty = np.flatnonzero(sizes == 0)
    centroids[empty] = sample[np.argsort(scores, kind="stable")[: len(empty)]]
    return centroids


def slices(count: int, rows: int) -> Iterable[slice]:
    """``range(count)`` in parts of ``rows``, the last one shorter."""
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]
