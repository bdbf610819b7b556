"""Exact search on an NVIDIA GPU, by cuVS: the same answers as `flat`, since scores are exact on any processor."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from nextlong.errors import NextlongError, UsageError
from nextlong.index.vectors import Float32s, Ordinals

# Memory on the GPU, and beside it, for one block of vectors; as much again for scores. Every block costs a merge of all that
# was found so far, so it should be large.
BLOCK_BYTES = 1 << 29
# Queries whose scores are computed again on this machine, in every block: cheap, and an inexact GPU would not go unnoticed.
_CHECKED = 4


def require_cuvs() -> None:
    """Check that cuVS is installed; whether there is a GPU shows when it is used.

    Raises:
        UsageError: it is not.
    """
    if find_spec("cuvs") is None or find_spec("pylibraft") is None:
        raise UsageError(
            "The index `cuvs` needs NVIDIA's cuVS, which is not installed.",
            "With a GPU: pip install cuvs-cu12 (or cuvs-cu13, as your CUDA driver is). Without: --index flat or ivf.",
        )


def nearest_on_gpu(queries: Float32s, block: Float32s, k: int) -> tuple[Float32s, Ordinals]:
    """The k best vectors of a block for each query: scores, float32 ``(q, k)``, and rows, int64; ties in any order.

    Raises:
        NextlongError: there is no GPU, or it does not compute exactly.
    """
    require_cuvs()
    try:
        from cuvs.neighbors import brute_force
        from pylibraft.common import device_ndarray

        index = brute_force.build(device_ndarray(block), metric="inner_product")
        found = brute_force.search(index, device_ndarray(queries), k)
        scores, rows = (part.copy_to_host() for part in found)
    except Exception as error:  # of CUDA, cuVS and pylibraft, which share no base
        raise NextlongError(
            f"cuVS could not search on the GPU: {error}",
            "Is there an NVIDIA GPU, and memory on it? Else --index flat or ivf.",
        ) from error
    return checked_scores(queries, block, np.asarray(scores, dtype=np.float32), np.asarray(rows, dtype=np.int64))


def checked_scores(queries: Float32s, block: Float32s, scores: Float32s, rows: Ordinals) -> tuple[Float32s, Ordinals]:
    """What was found, if the scores of the first queries are what they are computed to on this machine.

    Raises:
        NextlongError: they are not.
    """
    inside = ((rows >= 0) & (rows < len(block))).all()
    if inside:
        expected = np.einsum("qd,qkd->qk", queries[:_CHECKED], block[rows[:_CHECKED]])
    if not inside or not np.array_equal(expected, scores[:_CHECKED]):
        raise NextlongError(
            "The scores that cuVS computed on the GPU are not exact.",
            "The same pool would not give the same data. Use --index flat or ivf, and report the versions of cuVS and CUDA.",
        )
    return scores, rows
