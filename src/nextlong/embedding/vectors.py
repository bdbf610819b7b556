"""Vectors as a pool keeps them: of length one, their elements rounded so that inner products are exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nextlong.errors import NextlongError
from nextlong.records import VECTOR_STEP


def to_unit_float16(
    vectors: npt.ArrayLike, name_of: Callable[[int], str], *, refuse_zero: bool = False
) -> npt.NDArray[np.float16]:
    """Normalise vectors to length one, and round their elements to multiples of `VECTOR_STEP`.

    Args:
        vectors: shape ``(n, d)``, any real dtype.
        name_of: how an error calls the text of a row, for example ``chunk 3 of document 'a'``.
        refuse_zero: treat a zero vector as an error; otherwise its row stays zero, for the caller to find and count.

    Returns:
        float16, shape ``(n, d)``.

    Raises:
        NextlongError: a vector holds NaN or infinity (or is zero, with ``refuse_zero``); names the first such text.
    """
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2:
        raise NextlongError(f"The encoder returned an array of shape {rows.shape}, where (texts, dimensions) was expected.")
    # The largest component is taken out first: the square of a large float32 overflows, of a small one vanishes.
    largest = np.maximum(rows.max(axis=1, initial=0.0), -rows.min(axis=1, initial=0.0))
    broken = np.flatnonzero(~np.isfinite(largest))
    if len(broken):
        raise NextlongError(
            f"The encoder returned NaN or infinity for {name_of(int(broken[0]))}" + _others(len(broken)),
            "Half-precision models overflow on unusual text; try the encoder in full precision, or another encoder.",
        )
    zero = np.flatnonzero(largest == 0)
    if refuse_zero and len(zero):
        raise NextlongError(
            f"The encoder returned a zero vector for {name_of(int(zero[0]))}" + _others(len(zero)),
            "It knows no word of this text; drop the text, or use another encoder.",
        )
    scaled = rows / np.where(largest == 0, 1, largest)[:, None]
    norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    scaled /= (np.where(norms == 0, 1, norms) * np.float32(VECTOR_STEP))[:, None]
    np.rint(scaled, out=scaled)
    scaled *= np.float32(VECTOR_STEP)
    scaled += 0  # no -0.0
    unit: npt.NDArray[np.float16] = scaled.astype(np.float16)
    return unit


def _others(count: int) -> str:
    return "." if count == 1 else f", and for {count - 1} more texts of this batch."
