"""Vectors to search in: clustered as embeddings are, with copies as real pools have."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nextlong.embedding.vectors import to_unit_float16
from nextlong.index.vectors import VectorShards


def clustered(count: int, dimensions: int = 32, topics: int = 40, copies: float = 0.15, seed: int = 0):
    """Vectors of a pool, float16 ``(count, dimensions)``; a share of ``copies`` repeats another row exactly."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((topics, dimensions))
    vectors = centres[rng.integers(0, topics, count)] + 0.9 * rng.standard_normal((count, dimensions))
    repeated = rng.random(count) < copies
    vectors[repeated] = vectors[rng.integers(0, count, int(repeated.sum()))]
    return to_unit_float16(vectors, str)


def shards(folder: Path, vectors, sizes: list[int] | None = None) -> VectorShards:
    """The vectors written as shards of these sizes; one shard without."""
    paths = []
    for number, part in enumerate(np.split(vectors, np.cumsum(sizes)[:-1] if sizes else [])):
        paths.append(folder / f"{number:05d}.npy")
        np.save(paths[-1], part)
    return VectorShards(paths)


def brute_force(vectors, queries, k: int):
    """The definition: exact scores, descending, equal ones by ascending ordinal."""
    exact = queries.astype(np.float64) @ vectors.astype(np.float64).T
    scores = exact.astype(np.float32) + np.float32(0)
    np.testing.assert_array_equal(scores, exact)
    ordinals = np.broadcast_to(np.arange(len(vectors)), scores.shape)
    order = np.lexsort((ordinals, -scores), axis=-1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), order
