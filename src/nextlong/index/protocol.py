"""What a vector index is, and the one way in which all of them score."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from nextlong.errors import UsageError
from nextlong.index.vectors import Float32s, Ordinals
from nextlong.records import VECTOR_STEP

# How far a score that is computed again, by whatever means, may be from the recorded one, which is exact.
SCORE_TOLERANCE = 1e-4

# A shard of an index has at most so many vectors: 2 GiB of float16 of 256 dimensions. What a task of the search grid reads
# and a machine must hold; more shards make more partial results, a query's k of each.
SHARD_VECTORS = 1 << 22

# Above the squared length of every rounded vector of length one, and far below where sums are not exact.
_LONGEST = 1.5


@runtime_checkable
class Index(Protocol):
    """Finds the chunks whose vectors have the largest inner product with a query.

    The answer for a query is a function of the query, k and the pool alone. It does not depend on the other queries of
    the call, on the number of threads, on the processor, or on how many workers share the work, because scores are *exact*:
    every element is a multiple of `VECTOR_STEP` = 2^-11, so every product of two is a multiple of 2^-22, and as long as
    |q|·|v| < 4 all partial sums fit the 24 bits of a float32. Neither the order of summation nor fused multiplication can
    matter. Equal scores are ordered by ordinal.

    This needs queries that are such vectors too: rows of the pool, or their negatives (which find the *least* similar).

    An index consists of shards, so that no machine must hold all of it: a search is a grid of parts, one for each shard,
    that `merged` puts together.

    """

    @property
    def shards(self) -> int:
        """How many there are, at least one; together they hold every chunk once."""
        ...

    @property
    def exact(self) -> bool:
        """Whether a search never misses a chunk, so that a deeper one finds the same first."""
        ...

    def search_shard(self, shard: int, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """The k best chunks of each query among those of one shard, else like :meth:`search`.

        Args:
            shard: its number, 0-based.
            queries: as for :meth:`search`.
            k: as for :meth:`search`; may be more than the shard holds.
        """
        ...

    def search(self, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """The k best chunks of each query, best first, equal scores in ascending order of ordinals.

        The same as the k best of what :meth:`search_shard` finds in all shards.

        Args:
            queries: float32 ``(q, d)``, multiples of `VECTOR_STEP` of length one (or zero).
            k: how many to find, at least 1; may be more than the index holds.

        Returns:
            Scores, float32 ``(q, k)``, and chunk ordinals, int64 ``(q, k)``; rows end in -inf and -1 where the index
            yields fewer than k. A query that is itself a chunk of the pool finds itself like any other chunk.

        Raises:
            UsageError: the queries have another width than the index or are no such vectors, or k is below 1.
        """
        ...


def shards_for(count: int) -> int:
    """How many shards an index of ``count`` vectors gets: none holds more than `SHARD_VECTORS`."""
    return max(1, -(-count // SHARD_VECTORS))


def shard_ranges(count: int, shards: int) -> list[range]:
    """The ordinals of each of ``shards`` shards of ``count`` vectors: consecutive, and as even as can be."""
    return [range(first, stop) for first, stop in pairwise(count * number // shards for number in range(shards + 1))]


def merged(parts: Iterable[tuple[Float32s, Ordinals]], k: int) -> tuple[Float32s, Ordinals]:
    """The k best of what was found in several shards for the same queries; lazy parts are held one at a time.

    Args:
        parts: at least one: scores, float32 ``(q, any)``, and ordinals, int64 of the same shape, as `Index.search_shard`
            gives them. No ordinal is in two of them, except -1.
        k: how many to keep.

    Returns:
        Scores, float32 ``(q, k)``, and ordinals, int64 ``(q, k)``, as `Index.search` gives them.
    """
    each = iter(parts)
    scores, ordinals = next(each)  # which are in order already
    for other_scores, other_ordinals in each:
        scores, ordinals = np.hstack([scores, other_scores]), np.hstack([ordinals, other_ordinals])
        order = np.lexsort((ordinals, -scores), axis=-1)[:, :k]
        scores, ordinals = np.take_along_axis(scores, order, axis=1), np.take_along_axis(ordinals, order, axis=1)
    lacking = ((0, 0), (0, max(0, k - scores.shape[1])))
    return (
        np.pad(scores[:, :k], lacking, constant_values=-np.inf),
        np.pad(ordinals[:, :k], lacking, constant_values=-1),
    )


def checked(queries: Float32s, k: int, dimensions: int) -> Float32s:
    """The queries as a contiguous float32 array, or an error when they or k make no sense for an index of this width.

    Raises:
        UsageError: as `Index.search` says.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimensions:
        raise UsageError(
            f"The queries have shape {queries.shape}, the index holds vectors of {dimensions} dimensions.",
            "Queries and pool must come from the same encoder.",
        )
    if not (_on_steps(queries) and np.einsum("qd,qd->q", queries, queries).max(initial=0.0) < _LONGEST):
        raise UsageError(
            "The queries are no vectors of a pool: their elements must be multiples of 2^-11, and their length one.",
            "Take them from a pool's vectors; those of an encoder go through `embedding.vectors.to_unit_float16`.",
        )
    if k < 1:
        raise UsageError(f"Cannot search for the {k} nearest chunks; ask for 1 or more.")
    return queries


def _on_steps(queries: Float32s) -> bool:
    steps = queries * np.float32(1 / VECTOR_STEP)
    return np.array_equal(steps, np.rint(steps))
