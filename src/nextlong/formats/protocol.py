"""What an output format is: a module with these functions, listed in :data:`nextlong.formats.registry.FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Tokens = npt.NDArray[np.int32]


class Format(Protocol):
    """Writes and reads one shard of rows.

    Attributes:
        SUFFIX: of a shard's file name, with the dot.
        HOLDS_TOKENS: whether the rows can be read back as tokens; else as text.
        COLUMNS: column → what it holds, for the dataset card.
        LOADING: Python source that loads a dataset in this format, for the dataset card; ``{folder}`` is replaced.
    """

    SUFFIX: str
    HOLDS_TOKENS: bool
    COLUMNS: dict[str, str]
    LOADING: str

    def write(self, path: Path, sequences: pa.Table, rows: Sequence[Tokens], decode: Callable[[Tokens], str]) -> None:
        """Write the rows of a shard.

        Args:
            path: the file, which the caller renames when it is whole.
            sequences: the canonical table, ``SEQUENCE_SCHEMA``.
            rows: each sequence's tokens, int32, in the order of the table.
            decode: tokens without begin and end tokens to text.
        """
        ...

    def read(self, path: Path) -> Iterator[tuple[str, Tokens | str, list[dict[str, Any]]]]:
        """Yield each row's sequence id, its tokens (or text) and its spans."""
        ...
