"""What an output format is: a module with these names, listed in :data:`nextlong.formats.registry.FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Tokens = npt.NDArray[np.int32]

# Where the borders of sequences that share a row are kept: in the row (`indices`), only as the end token of each
# sequence, or not at all.
Borders = Literal["recorded", "end token", "none"]
Merges = Literal["always", "on request", "never"]


@dataclass(frozen=True)
class Rows:
    """The rows of a shard, to be written.

    Attributes:
        table: ``ROW_SCHEMA``: id, domain, indices, sequences and spans of each row.
        tokens: each row's tokens, int32, in the order of the table, all equally many; best one array ``(rows, length)``.
        dtype: what a token is written as, as :func:`nextlong.formats.registry.token_dtype` chose it.
        decode: a row's tokens to text, without begin and end tokens.
    """

    table: pa.Table
    tokens: Sequence[Tokens] | Tokens
    dtype: str
    decode: Callable[[Tokens], str]


@dataclass(frozen=True)
class WrittenRow:
    """A row as it was read back. What a format does not hold is None.

    Attributes:
        content: the tokens, or the text in a format of text.
        id: the row's id.
        indices: where each sequence of the row begins and ends (exclusive), in tokens.
        spans: as in ``SPAN_TYPE``.
    """

    content: Tokens | str
    id: str | None = None
    indices: list[list[int]] | None = None
    spans: list[dict[str, Any]] | None = None


class Format(Protocol):
    """Writes and reads rows, a shard at a time.

    Attributes:
        SUFFIXES: of the files of a shard, with the dot, the main one first. All have the shard's name otherwise.
        INDEX: the name of one more file over all shards of a folder, or None.
        DTYPES: what a token may be written as, the smallest first; one only if the consumer reads no other; none if
            the format holds text.
        BORDERS: where the borders of sequences that share a row are kept.
        MERGES: whether shards are joined to one: ``always``, since the consumer wants that, ``on request``, or ``never``.
        COLUMNS: column → what it holds, for the dataset card.
        LOADING: Python source that loads a dataset in this format, for the dataset card; ``{folder}`` is replaced.
    """

    SUFFIXES: tuple[str, ...]
    INDEX: str | None
    DTYPES: tuple[str, ...]
    BORDERS: Borders
    MERGES: Merges
    COLUMNS: dict[str, str]
    LOADING: str

    def write(self, paths: Sequence[Path], rows: Rows) -> dict[str, Any]:
        """Write a shard.

        Args:
            paths: its files, one for each suffix, which the caller renames when they are whole.
            rows: what to write.

        Returns:
            What :meth:`index` needs to know of the shard; plain JSON values.
        """
        ...

    def read(self, path: Path, first: int = 0) -> Iterator[WrittenRow]:
        """The rows of a shard from row ``first`` on.

        Args:
            path: the shard's main file.
            first: the first row to yield.

        Raises:
            NextlongError: the file is not what :meth:`write` writes.
        """
        ...

    def merge(self, shards: Sequence[Path], paths: Sequence[Path]) -> None:
        """Join shards (their main files, in order) to one, written to ``paths``, without holding them in memory."""
        ...

    def index(self, names: Sequence[str], infos: Sequence[dict[str, Any]]) -> str:
        """The content of the file ``INDEX``.

        Args:
            names: of the shards, without suffix, in order.
            infos: what :meth:`write` returned for each.
        """
        ...
