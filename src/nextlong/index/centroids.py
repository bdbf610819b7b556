"""The coarse half of an inverted-file index: centroids, and which of them are near.

FAISS's own k-means and assignment work in float32, where sums depend on the library, the number of threads and the batch.
Here everything that decides is exact, so the same pool gives the same index: centroids are rounded to float16, which makes
their products with vectors exact in float64 (see `protocol.Index`), and sums of float16 vectors are exact in float64 for
up to 2^29 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from nextlong.index.protocol import rounding_error
from nextlong.index.threads import row_threads
from nextlong.index.vectors import Float32s, Float64s, Ordinals

Item = TypeVar("Item")
Result = TypeVar("Result")
RowMap = Callable[[Callable[[slice], Result], Iterable[slice]], list[Result]]

# Lloyd iterations. On 150,000 × 256 clustered vectors the recall at a given number of probes no longer moves after ten.
ITERATIONS = 10
# Scores held at once by one thread: 2^21 float32 are 8 MiB.
_SCORES = 1 << 21


def trained_centroids(sample: Float32s, lists: int, rng: np.random.Generator, threads: int) -> Float32s:
    """Spherical k-means: at most ``lists`` centroids of a sample of vectors, float32 ``(≤ lists, d)``, float16-exact.

    There are fewer than asked when the sample has fewer distinct vectors. The result depends on the sample and the state
    of ``rng`` only.
    """
    centroids = _distinct(sample, lists, rng)
    nearest = np.full(len(sample), -1, dtype=np.int64)
    for _ in range(ITERATIONS):
        before = nearest
        nearest, scores = assigned(sample, centroids, threads)
        if np.array_equal(nearest, before):
            break
        centroids = _means(sample, nearest, scores, centroids, threads)
    return np.unique(centroids, axis=0)


def assigned(vectors: Float32s, centroids: Float32s, threads: int) -> tuple[Ordinals, Float32s]:
    """The nearest centroid of each vector by inner product, int64 ``(n,)``, and its score to within a few 1e-5, float32.

    The choice is exact: of equally near centroids the first. A float32 product screens, and vectors for which another
    centroid comes within the largest error that float32 can make are decided in float64.
    """
    nearest = np.empty(len(vectors), dtype=np.int64)
    scores = np.empty(len(vectors), dtype=np.float32)
    margin = 2 * rounding_error(vectors, centroids)

    def part(rows: slice) -> None:
        products = vectors[rows] @ centroids.T
        best = products.argmax(axis=1)
        top = products[np.arange(len(best)), best]
        unsure = np.flatnonzero((products >= (top - margin)[:, None]).sum(axis=1) > 1)
        if len(unsure):
            exact = vectors[rows][unsure].astype(np.float64) @ centroids.T.astype(np.float64)
            best[unsure] = exact.argmax(axis=1)
        nearest[rows], scores[rows] = best, top

    with row_threads(threads) as each:
        each(part, _slices(len(vectors), max(1, _SCORES // len(centroids))))
    return nearest, scores


def nearest_lists(queries: Float32s, centroids: Float64s, sizes: Ordinals, probes: int, wanted: int) -> Ordinals:
    """The lists that each query looks into, nearest first, of equally near ones the lower number first.

    Each query takes ``probes`` lists, and goes on until its lists hold ``wanted`` vectors together or there are no more.

    Args:
        queries: float32 ``(q, d)``, float16-exact.
        centroids: float64 ``(lists, d)``, float16-exact.
        sizes: vectors per list, int64 ``(lists,)``.

    Returns:
        List numbers, int64 ``(q, ≥ probes)``, -1 after the last list of a query that needs fewer than the others.
    """
    products = queries.astype(np.float64) @ centroids.T
    lists = len(centroids)
    probes = min(probes, lists)
    near = _best_columns(products, probes)
    held = sizes[near].sum(axis=1)
    short = np.flatnonzero(held < wanted)
    if not len(short) or probes == lists:
        return near
    ranked = np.argsort(-products[short], axis=1, kind="stable")
    before = np.cumsum(sizes[ranked], axis=1) - sizes[ranked]
    needed = np.maximum((before < wanted).sum(axis=1), probes)
    found = np.full((len(queries), int(needed.max())), -1, dtype=np.int64)
    found[:, :probes] = near
    found[short] = np.where(np.arange(found.shape[1]) < needed[:, None], ranked[:, : found.shape[1]], -1)
    return found


def _best_columns(scores: Float64s, k: int) -> Ordinals:
    """The columns of the k largest scores of each row, best first, of equal ones the lower column first."""
    if k < scores.shape[1]:
        bar = np.partition(scores, -k, axis=1)[:, -k, None]
        above, level = scores > bar, scores == bar
        room = k - above.sum(axis=1, keepdims=True)
        chosen = above | (level & (np.cumsum(level, axis=1) <= room))
        columns = np.nonzero(chosen)[1].reshape(len(scores), k)
    else:
        columns = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _distinct(sample: Float32s, lists: int, rng: np.random.Generator) -> Float32s:
    """Up to ``lists`` different vectors of the sample, drawn at random."""
    # Real pools hold 15 % copies; twice as many draws as lists leave enough different ones even where half are copies.
    drawn = sample[rng.permutation(len(sample))[: 2 * lists]]
    _, first = np.unique(drawn, axis=0, return_index=True)
    return drawn[np.sort(first)[:lists]]


def _means(sample: Float32s, nearest: Ordinals, scores: Float32s, old: Float32s, threads: int) -> Float32s:
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
        each(part, _slices(len(used), 64))
    norms = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    centroids = old.copy()
    centroids[used] = np.where(norms > 0, sums / np.maximum(norms, np.finfo(np.float64).tiny), old[used])
    centroids = centroids.astype(np.float16).astype(np.float32)
    empty = np.flatnonzero(sizes == 0)
    centroids[empty] = sample[np.argsort(scores, kind="stable")[: len(empty)]]
    return centroids


def _slices(count: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]
