"""NumPy files: written in blocks, and read back only as numbers of the expected kind, never as pickled objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nextlong.errors import NextlongError
from nextlong.execution.files import atomic


def load_array(
    path: Path, dtype: npt.DTypeLike, dimensions: int = 1, mapped: bool = True, hint: str = ""
) -> npt.NDArray[Any]:
    """An array that :func:`~nextlong.pool.catalog.save_array` wrote.

    Args:
        path: the ``.npy`` file.
        dtype: what its elements must be.
        dimensions: how many axes it must have.
        mapped: memory-map it, instead of reading it.
        hint: what to do if it cannot be used; empty for the usual advice.

    Raises:
        NextlongError: the file is missing, damaged, or holds something else.
    """
    hint = hint or "Delete it and run the command that made it again: only it is remade."
    mode: Literal["r"] | None = "r" if mapped else None
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except FileNotFoundError as error:
        raise NextlongError(f"{path} is missing.", hint) from error
    except Exception as error:  # a damaged header is evaluated as Python's literals, and fails as anything
        raise NextlongError(f"{path} is damaged: {error}.", hint) from error
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype) or array.ndim != dimensions:
        what = f"{array.dtype} of {array.ndim} dimensions" if isinstance(array, np.ndarray) else "an archive"
        raise NextlongError(f"{path} is damaged: it holds {what}, not {np.dtype(dtype)} of {dimensions}.", hint)
    return array


def save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write an array as ``.npy``, atomically."""
    whole = np.asarray(array, order="C")
    with atomic(path) as temporary, temporary.open("wb") as file:
        # Not np.save: it writes past Python, and reports a full disk as an error without a number.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(whole))
        file.write(whole.data)


def save_blocks(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], blocks: Iterable[npt.NDArray[Any]]) -> None:
    """Write an array as ``.npy``, atomically, block after block along its first axis.

    Args:
        path: where to write.
        dtype, shape: of the whole array.
        blocks: all its rows in order; one block is held at a time.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).data)
