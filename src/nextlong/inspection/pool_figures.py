"""What a pool is like, in numbers: sizes, copies, the health of its vectors, the recall of its index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nextlong.index.flat import FlatIndex
from nextlong.index.recall import without_self
from nextlong.index.vectors import Float32s
from nextlong.inspection.dataset_figures import Stage, screened, stages
from nextlong.inspection.distribution import Distribution, of_amounts, of_cosines
from nextlong.mining.copies import estimated_jaccard
from nextlong.pool.pool import Ordinals, Pool
from nextlong.public_text import redacted

# Shards, of some 16M characters each, whose chunks and documents are looked at: all, in pools of up to some 250M tokens.
MOST_SHARDS = 64
# Keys of texts that are compared with each other, of 8 bytes.
_MOST_KEYS = 1 << 24
# Chunks whose nearest neighbours are looked at, and how many of these: a share of 0.05 has a standard error of 0.007.
_ASKED, _NEAREST = 1000, 10
# Chunks whose vectors are looked at together.
_VECTORS = 1 << 14


@dataclass(frozen=True)
class Copies:
    """How much of a pool repeats itself.

    Attributes:
        equal: the share of chunks that repeat an earlier one up to white space.
        equal_of: how many chunks that was found out of: all, or those whose text's hash falls into a part of all hashes, of
            which every copy is seen.
        near: the share of chunks with a near copy among their 10 nearest chunks (5-word shingles, ``near_jaccard``).
        near_of: chunks that were asked for.
        near_jaccard: the least similarity of a near copy, as mining drops them by default.
    """

    equal: float
    equal_of: int
    near: float
    near_of: int
    near_jaccard: float


@dataclass(frozen=True)
class Vectors:
    """How well the vectors are spread.

    Attributes:
        dimensions: their width.
        zero: chunks without a vector.
        length: the least and the largest length of the others that were looked at: 1, but for rounding.
        random_pairs: cosine similarity of chunks drawn at random: high where an encoder hardly tells texts apart.
        nearest: cosine similarity of chunks to their nearest chunk.
        effective_dimensions: (Σλ)²/Σλ² of the eigenvalues λ of their covariance, the participation ratio.
        looked_at: how many.
    """

    dimensions: int
    zero: int
    length: tuple[float, float]
    random_pairs: Distribution
    nearest: Distribution
    effective_dimensions: float
    looked_at: int


@dataclass(frozen=True)
class PoolFigures:
    """A pool in numbers.

    Attributes:
        kind: ``pool``.
        folder, id, nextlong, encoder: what it is; which version made it.
        counts: as in ``pool.yaml``.
        rejected: rows of the corpus that became no document, by reason.
        screened: what the screening found and dropped; empty where it was off.
        looked_at: chunks of the shards that lengths are of.
        whole: these are all.
        chunk_characters, document_characters, document_chunks: lengths.
        copies: repeated text.
        vectors: their health.
        index: its kind, and of an approximate one how it was built and its measured recall.
        stages: what they took.
    """

    kind: str
    folder: str
    id: str
    nextlong: str
    encoder: str
    counts: dict[str, int]
    rejected: dict[str, int]
    screened: dict[str, int]
    looked_at: int
    whole: bool
    chunk_characters: Distribution
    document_characters: Distribution
    document_chunks: Distribution
    copies: Copies
    vectors: Vectors
    index: dict[str, Any]
    stages: list[Stage]


def pool_figures(pool: Pool, near_jaccard: float, seed: int = 0) -> PoolFigures:
    """The figures of a pool.

    Args:
        pool: which.
        near_jaccard: from which estimated Jaccard similarity on two chunks are near copies.
        seed: which chunks are drawn.
    """
    rng = np.random.default_rng(seed)
    shards = np.sort(rng.permutation(len(pool.shards))[:MOST_SHARDS]).tolist()
    documents = np.concatenate([np.arange(of.start, of.stop) for of in map(pool.documents_in, shards)])
    sizes = pool.first_chunk[documents + 1] - pool.first_chunk[documents]
    characters = np.concatenate([pool.chunk_characters(shard) for shard in shards])
    asked = np.sort(rng.choice(pool.chunks, min(_ASKED, pool.chunks), replace=False))
    scores, neighbours = _nearest(pool, asked)
    near = _with_near_copies(pool, asked, neighbours, near_jaccard)
    equal, equal_of = _equal(pool)
    return PoolFigures(
        kind="pool",
        folder=redacted(str(pool.folder)),
        id=pool.id,
        nextlong=pool.description["nextlong"],
        encoder=redacted(pool.config.encoder.name),
        counts={name: int(amount) for name, amount in pool.description["counts"].items()},
        rejected=dict(pool.description["rejected"]),
        screened=screened(pool),
        looked_at=len(characters),
        whole=len(shards) == len(pool.shards),
        chunk_characters=of_amounts(characters),
        document_characters=of_amounts(pool.document_column(documents, "characters").to_numpy(zero_copy_only=False)),
        document_chunks=of_amounts(sizes),
        copies=Copies(equal, equal_of, near, len(asked), near_jaccard),
        vectors=_vectors(pool, scores, rng),
        index=dict(pool.description["index"]),
        stages=list(stages("pool", pool.folder)),
    )


def _chunks_in(pool: Pool, shard: int) -> Ordinals:
    start = pool.shard_start(shard)
    return np.arange(start, start + pool.shard_size(shard), dtype=np.int64)


def _equal(pool: Pool) -> tuple[float, int]:
    """The share of chunks that repeat an earlier one, and of how many: those whose key is a multiple of some number."""
    of = -(-pool.chunks // _MOST_KEYS)
    keys = (pool.fold_keys(_chunks_in(pool, shard)) for shard in range(len(pool.shards)))
    every = np.concatenate([own[own % np.uint64(of) == 0] for own in keys])
    return 1 - len(np.unique(every)) / max(1, len(every)), len(every)


def _nearest(pool: Pool, asked: Ordinals) -> tuple[Float32s, Ordinals]:
    # A GPU gives the same answers as exact search, which does without it: one may look anywhere.
    figures = pool.description["index"]
    index = pool.index if figures["kind"] != "cuvs" else FlatIndex(pool.vectors, shards=figures["shards"])
    scores, ordinals = index.search(pool.vectors.take(asked), _NEAREST + 1)
    return without_self(scores, ordinals, asked)


def _with_near_copies(pool: Pool, asked: Ordinals, neighbours: Ordinals, least: float) -> float:
    """The share of chunks with a copy among their neighbours."""
    own_keys, own_signatures = pool.fold_keys(asked), pool.signatures(asked)
    there = neighbours >= 0
    flat = neighbours[there]
    keys, signatures = pool.fold_keys(flat), pool.signatures(flat)
    borders = np.cumsum(there.sum(axis=1))[:-1]
    pairs = zip(np.split(keys, borders), np.split(signatures, borders), own_keys, own_signatures, strict=True)
    copies = [bool((k == key).any() or (estimated_jaccard(own, s) >= least).any()) for k, s, key, own in pairs]
    return float(np.mean(copies)) if copies else 0.0


def _vectors(pool: Pool, nearest: Float32s, rng: np.random.Generator) -> Vectors:
    some = np.sort(rng.choice(pool.chunks, min(_VECTORS, pool.chunks), replace=False))
    vectors = pool.vectors.take(some)
    lengths = np.linalg.norm(vectors, axis=1)
    there = vectors[lengths > 0]
    pairs = rng.integers(0, max(1, len(there)), (2, len(there)))
    pairs = pairs[:, pairs[0] != pairs[1]]
    cosines = np.einsum("nd,nd->n", there[pairs[0]], there[pairs[1]]) if len(there) else np.empty(0)
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.cov(there, rowvar=False))).clip(0) if len(there) > 1 else np.zeros(1)
    spread = float(eigenvalues.sum() ** 2 / max(float((eigenvalues**2).sum()), np.finfo(np.float64).tiny))
    own = lengths[lengths > 0]
    return Vectors(
        dimensions=pool.vectors.dimensions,
        zero=int(pool.description["counts"]["zero_vectors"]),
        length=(float(own.min()), float(own.max())) if len(own) else (0.0, 0.0),
        random_pairs=of_cosines(cosines),
        nearest=of_cosines(nearest[:, 0][np.isfinite(nearest[:, 0])]),
        effective_dimensions=spread,
        looked_at=len(some),
    )
