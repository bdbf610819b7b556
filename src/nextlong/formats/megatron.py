"""Megatron's indexed dataset: ``.bin`` with tokens only and ``.idx`` that says where each row lies, for GPTDataset.

One row is one Megatron sequence and one Megatron document, of exactly T tokens, none more: GPTDataset lays documents end to
end and cuts a sample each T tokens, with one token of the next document as the last label. So a sample is a row, and rows
of T + 1 tokens would drift by a token a sample. It follows that one epoch has a sample less than there are rows.

Sequences packed into a row are told apart by the end tokens alone; ``--reset-attention-mask --reset-position-ids`` makes
Megatron look for them.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nextlong.errors import NextlongError
from nextlong.formats.protocol import Borders, Merges, Rows, Tokens, WrittenRow

SUFFIXES = (".bin", ".idx")
INDEX = None
# Megatron's own preprocessing takes uint16 below 65,500 tokens only. Its readers take either type at any size, and where
# they derive it from the tokenizer (``--per-dataset-sequences-path``) they expect uint16 up to 65,536, as the registry does.
DTYPES = ("uint16", "int32")
BORDERS: Borders = "end token"
MERGES: Merges = "always"
COLUMNS = {
    "rows.bin": "the rows end to end, tokens only: each exactly `length` tokens, begin and end tokens included",
    "rows.idx": "Megatron's index: one sequence and one document a row; sequences packed into a row end with the end token",
}
LOADING = """import numpy as np

# In Megatron: --data-path {folder}/tokens/rows --split 1,0,0 --seq-length LENGTH
index = open("{folder}/tokens/rows.idx", "rb").read(38)
dtype = {{4: "<i4", 8: "<u2"}}[index[17]]
length = int.from_bytes(index[34:38], "little")
rows = np.memmap("{folder}/tokens/rows.bin", dtype=dtype, mode="r").reshape(-1, length)
print(rows.shape, rows[0, :16])"""

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_CODES = {"uint16": 8, "int32": 4}
# Magic, version, code of the type, number of sequences, number of document borders.
_HEADER = struct.Struct("<9sQBQQ")
# What follows: a length (int32) and a pointer (int64) for each sequence, then the borders (int64) of documents.
_LENGTH, _POINTER, _BORDER = np.dtype("<i4"), np.dtype("<i8"), np.dtype("<i8")

# Rows whose entries of the index are held at once.
_BLOCK_ROWS = 1 << 12

_Column = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class _Index:
    """What an index says, as all rows have the same length.

    Attributes:
        dtype: of a token, little-endian.
        rows: how many.
        length: tokens of a row; 0 if there is none.
    """

    dtype: np.dtype[Any]
    rows: int
    length: int

    def columns(self, start: int, stop: int) -> Iterator[tuple[int, _Column]]:
        """Where the lengths, pointers and borders of rows ``start`` to ``stop`` lie in the file, in bytes; what they are."""
        rows = np.arange(start, stop, dtype=np.int64)
        offset = _HEADER.size
        yield offset + start * _LENGTH.itemsize, np.full(len(rows), self.length, dtype=_LENGTH)
        offset += self.rows * _LENGTH.itemsize
        yield offset + start * _POINTER.itemsize, (rows * self.row_bytes).astype(_POINTER)
        offset += self.rows * _POINTER.itemsize
        # A document ends where the next begins, so there is one border more than rows: the first is 0.
        borders = rows + 1 if start else np.arange(stop + 1, dtype=np.int64)
        yield offset + (start + (start > 0)) * _BORDER.itemsize, borders.astype(_BORDER)

    @property
    def row_bytes(self) -> int:
        return self.length * self.dtype.itemsize

    @property
    def file_bytes(self) -> int:
        return _HEADER.size + self.rows * (_LENGTH.itemsize + _POINTER.itemsize) + (self.rows + 1) * _BORDER.itemsize


def write(paths: Sequence[Path], rows: Rows) -> dict[str, Any]:
    """See :class:`~nextlong.formats.protocol.Format`.

    Raises:
        NextlongError: a token does not fit into ``rows.dtype``.
    """
    dtype = np.dtype(rows.dtype).newbyteorder("<")
    length = len(rows.tokens[0]) if len(rows.tokens) else 0
    with paths[0].open("wb") as sink:
        for tokens in rows.tokens:
            written = tokens.astype(dtype)
            if len(tokens) != length or (written != tokens).any():
                raise NextlongError(
                    f"A row of {len(tokens):,} tokens up to {tokens.max(initial=0):,} cannot be written among rows of "
                    f"{length:,} tokens as {rows.dtype}.",
                    "Rows have the same length, and the type holds every token: int32 holds all.",
                )
            sink.write(written.tobytes())
    _write_index(paths[1], _Index(dtype, len(rows.tokens), length))
    return {}


def _write_index(path: Path, index: _Index) -> None:
    with path.open("wb") as sink:
        sink.write(_HEADER.pack(_MAGIC, _VERSION, _CODES[index.dtype.name], index.rows, index.rows + 1))
        for start in range(0, max(1, index.rows), _BLOCK_ROWS):
            for offset, column in index.columns(start, min(start + _BLOCK_ROWS, index.rows)):
                sink.seek(offset)
                sink.write(column.tobytes())


def read(path: Path, first: int = 0) -> Iterator[WrittenRow]:
    """See :class:`~nextlong.formats.protocol.Format`."""
    index = _read_index(path)
    with path.open("rb") as source, path.with_suffix(SUFFIXES[1]).open("rb") as entries:
        source.seek(first * index.row_bytes)
        for start in range(first, index.rows, _BLOCK_ROWS):
            stop = min(start + _BLOCK_ROWS, index.rows)
            _check_entries(entries, path, index, start, stop)
            for _ in range(start, stop):
                yield WrittenRow(_read_row(source, path, index))


def _read_row(source: BinaryIO, path: Path, index: _Index) -> Tokens:
    content = source.read(index.row_bytes)
    if len(content) != index.row_bytes:
        raise _damaged(path, "it ends within a row")
    return np.frombuffer(content, dtype=index.dtype).astype(np.int32)


def merge(shards: Sequence[Path], paths: Sequence[Path]) -> None:
    """See :class:`~nextlong.formats.protocol.Format`."""
    indices = [_read_index(shard) for shard in shards]
    # In paper mode all sequences of a shard may have been discarded; then it has no length either.
    kinds = {(index.dtype, index.length) for index in indices if index.rows}
    if len(kinds) > 1:
        raise _damaged(shards[0], "the shards beside it have other types or lengths")
    dtype, length = kinds.pop() if kinds else (indices[0].dtype, 0)
    with paths[0].open("wb") as sink:
        for shard in shards:
            with shard.open("rb") as source:
                shutil.copyfileobj(source, sink, 1 << 22)
    _write_index(paths[1], _Index(dtype, sum(index.rows for index in indices), length))


def _read_index(path: Path) -> _Index:
    """What the index of the ``.bin`` at ``path`` says, after checking it against the sizes of both files.

    Raises:
        NextlongError: a file is missing, foreign or cut short, or the two do not belong together.
    """
    beside = path.with_suffix(SUFFIXES[1])
    for file in (path, beside):
        if not file.exists():
            raise _damaged(file, "it is missing")
    with beside.open("rb") as source:
        header = source.read(_HEADER.size)
        first_length = source.read(_LENGTH.itemsize)
    if len(header) < _HEADER.size:
        raise _damaged(beside, f"it has {len(header)} bytes, fewer than a header")
    magic, version, code, rows, borders = _HEADER.unpack(header)
    if (magic, version) != (_MAGIC, _VERSION):
        raise _damaged(beside, "it does not begin as Megatron's index, version 1")
    names = [name for name, value in _CODES.items() if value == code]
    if not names:
        raise _damaged(beside, f"its type of tokens has the code {code}, which is neither uint16 nor int32")
    if borders != rows + 1:
        raise _damaged(beside, f"it has {rows:,} rows and {borders:,} borders of documents, not one more")
    length = int(np.frombuffer(first_length, dtype=_LENGTH)[0]) if rows and len(first_length) == _LENGTH.itemsize else 0
    index = _Index(np.dtype(names[0]).newbyteorder("<"), rows, length)
    for file, expected in ((beside, index.file_bytes), (path, rows * index.row_bytes)):
        if (found := file.stat().st_size) != expected:
            raise _damaged(file, f"it has {found:,} bytes, and {rows:,} rows of {length:,} tokens need {expected:,}")
    return index


def _check_entries(source: BinaryIO, path: Path, index: _Index, start: int, stop: int) -> None:
    for offset, column in index.columns(start, stop):
        source.seek(offset)
        if source.read(column.nbytes) != column.tobytes():
            raise _damaged(
                path.with_suffix(SUFFIXES[1]),
                f"rows {start:,} to {stop - 1:,} are not all rows of {index.length:,} tokens, end to end, a document each",
            )


def _damaged(path: Path, what: str) -> NextlongError:
    return NextlongError(
        f"{path} is not what nextlong writes for Megatron: {what}.",
        "Delete it and the file beside it, and run the command that made its folder again.",
    )
