"""How much of the exact answer an index finds."""

from __future__ import annotations

import numpy as np

from nextlong.index.vectors import Float32s, Ordinals


def recall_at_k(found: Float32s, exact: Float32s) -> float:
    """The share of the k exact nearest neighbours that were found, in [0, 1].

    Pools are full of copies, so *which* of several equally near chunks is found must not matter: a found chunk counts
    when its exact score is at least the k-th exact score of its query.

    Args:
        found: the exact scores of the chunks that the index found, float32 ``(q, k)``, -inf where it found fewer.
        exact: the scores of the k exact nearest neighbours, float32 ``(q, k)``, descending.

    Raises:
        ValueError: the two have different shapes.
    """
    if found.shape != exact.shape:
        raise ValueError(f"found has shape {found.shape}, exact has {exact.shape}")
    if not exact.size:
        return 1.0
    there = np.isfinite(exact)
    # Where the pool has fewer than k chunks, the last that is there is the bar.
    bar = np.where(there, exact, np.inf).min(axis=1, keepdims=True)
    hits = (np.isfinite(found) & (found >= bar)).sum(axis=1)
    return float(np.minimum(hits, there.sum(axis=1)).sum() / max(1, there.sum()))


def without_self(scores: Float32s, ordinals: Ordinals, own: Ordinals) -> tuple[Float32s, Ordinals]:
    """Drop each query's own chunk from its neighbours; where it is not among them, drop the last neighbour.

    Args:
        scores, ordinals: as `protocol.Index.search` gives them, ``(q, k + 1)``.
        own: the ordinal of each query's chunk, int64 ``(q,)``.

    Returns:
        The same, ``(q, k)``.
    """
    keep = ordinals != own[:, None]
    keep[keep.all(axis=1), -1] = False
    shape = (len(ordinals), ordinals.shape[1] - 1)
    return scores[keep].reshape(shape), ordinals[keep].reshape(shape)
