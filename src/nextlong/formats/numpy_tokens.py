"""Raw token arrays with the offsets of documents beside them, as dolma writes and OLMo-core trains on.

A ``.npy`` holds the rows end to end and nothing else: no header, so it is for ``np.memmap`` and not for ``np.load``; each
token a uint16 or uint32, little-endian. The ``.csv.gz`` of the same name has a line for each sequence, without a heading:
start and end in tokens of the array, the sequence's id, its source, which is the id of the row it stands in, and its
location, which is the token of the row where it begins. Dolma's tools take these five columns and no others, so the type
of a token stands where they do not look: in the file name that gzip keeps. Empty arrays, as of a batch of which nothing
came out, are read like any other.

OLMo-core's ``NumpyFSLDataset`` with ``sequence_length=T`` gives row i as instance i, shards joined or not. It and
``NumpyVSLDataset`` tell sequences apart by end tokens alone; ``NumpyPackedFSLDataset`` with ``use_array_if_local=False``
goes by the offsets. Where begin and end token are one, give ``bos_token_id``, or each begin token is a document. Give
``dtype``: OLMo-core would take uint8, which nextlong does not write, for up to 256 tokens. Its VSL and padded datasets count
the tokens of a file in 32 bits, so do not join more than 4 Gi tokens for them.

Datatrove's ``.ds``, which nanotron trains on, is the same array under another name, and its ``.ds.index`` the column of ends
as uint64. Its samples have a token more than ``seq_len``: for nanotron, make rows of its sequence length + 1.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from nextlong.errors import NextlongError
from nextlong.formats.protocol import Borders, Merges, Rows, Tokens, WrittenRow

SUFFIXES = (".npy", ".csv.gz")
INDEX = None
DTYPES = ("uint16", "uint32")
BORDERS: Borders = "end token"
MERGES: Merges = "on request"
COLUMNS = {
    "*.npy": "the rows end to end, no header: each exactly `length` tokens, begin and end tokens included",
    "*.csv.gz": "a line for each sequence: start and end in tokens of the `.npy`, the sequence's id, the row's id, and the "
    "token of the row where it begins; attention stays within a sequence. OLMo-core's `NumpyFSLDataset` goes by end tokens",
}
LOADING = """from pathlib import Path

import numpy as np

# In OLMo-core: NumpyFSLDatasetConfig.glob("{folder}/tokens/*.npy", sequence_length=LENGTH, dtype="uint16" or "uint32", …)
rows = []  # one for each sequence; tokens come from the disk when they are looked at
for path in sorted(path for path in Path("{folder}/tokens").glob("*.npy") if path.stat().st_size):
    spans = np.loadtxt(path.with_suffix(".csv.gz"), np.int64, delimiter=",", usecols=(0, 1), ndmin=2)
    tokens = np.memmap(path, f"<u{{path.stat().st_size // spans[-1, 1]}}", mode="r")
    rows += [tokens[start:end] for start, end in spans]
print(len(rows), rows[0].dtype, rows[0][:16])"""

# The file name in the header of the offsets, which `gzip --name --list` shows: it says what the tokens are.
_NAMES = {f"tokens.{dtype}.csv".encode(): dtype for dtype in DTYPES}
# Identification, method, the flag of a file name alone, no time, level 9, no operating system; then the name and a zero.
_GZIP_HEADER = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x02\xff"

_COLUMN_COUNT = 5
_LONGEST_LINE = 1 << 16
_REMAKE = "Delete it and run the command that made its folder again."


@dataclass(frozen=True)
class _Sequence:
    """A line of the offsets: ``start`` and ``end`` in tokens of the array, ``location`` in tokens of the row."""

    start: int
    end: int
    id: str
    row: str
    location: int


def write(paths: Sequence[Path], rows: Rows) -> dict[str, Any]:
    """See :class:`~nextlong.formats.protocol.Format`.

    Raises:
        NextlongError: a token does not fit into ``rows.dtype``, rows differ in length, or sequences do not fill a row.
    """
    dtype = np.dtype(rows.dtype).newbyteorder("<")
    length = len(rows.tokens[0]) if len(rows.tokens) else 0
    with paths[0].open("wb") as array, _offsets_writer(paths[1], rows.dtype) as offsets:
        described = rows.table.select(["id", "indices", "sequences"]).to_pylist()
        for number, (row, tokens) in enumerate(zip(described, rows.tokens, strict=True)):
            written = tokens.astype(dtype)
            if len(tokens) != length or (written != tokens).any():
                raise NextlongError(
                    f"The row {row['id']} of {len(tokens):,} tokens up to {tokens.max(initial=0):,} cannot be written among "
                    f"rows of {length:,} tokens as {rows.dtype}.",
                    "Rows have the same length, and the type holds every token: uint32 holds all.",
                )
            ends = [0] + [end for _, end in row["indices"]]
            if [start for start, _ in row["indices"]] != ends[:-1] or ends[-1] != length:
                raise NextlongError(
                    f"The sequences of the row {row['id']} lie at {row['indices']} and do not fill {length:,} tokens.",
                    "In the format numpy sequences follow each other without gaps; choose parquet or mds.",
                )
            array.write(written.tobytes())
            for (start, end), identity in zip(row["indices"], row["sequences"], strict=True):
                place = number * length
                _write_line(offsets, _Sequence(place + start, place + end, identity, row["id"], start))
    return {}


@contextmanager
def _offsets_writer(path: Path, dtype: str) -> Iterator[TextIO]:
    """Offsets to be written; the same lines give the same bytes: no time, and a name that depends on the type only."""
    name = next(name for name, own in _NAMES.items() if own == dtype).decode()
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("wb"))
        packed = stack.enter_context(gzip.GzipFile(name, "wb", 9, raw, mtime=0))
        yield stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline=""))


def _write_line(offsets: TextIO, line: _Sequence) -> None:
    csv.writer(offsets, lineterminator="\n").writerow([line.start, line.end, line.id, line.row, line.location])


def read(path: Path, first: int = 0) -> Iterator[WrittenRow]:
    """See :class:`~nextlong.formats.protocol.Format`. The offsets are checked as a whole before the first row is read."""
    dtype, length = _check(path)
    with path.open("rb") as array:
        array.seek(first * length * dtype.itemsize)
        for number, sequences in enumerate(_rows(path)):
            if number >= first:
                indices = [[line.location, line.location + line.end - line.start] for line in sequences]
                yield WrittenRow(_read_row(array, path, dtype, length), sequences[0].row, indices)


def _read_row(array: BinaryIO, path: Path, dtype: np.dtype[Any], length: int) -> Tokens:
    content = array.read(length * dtype.itemsize)
    if len(content) != length * dtype.itemsize:
        raise _damaged(path, "it ends within a row")
    tokens = np.frombuffer(content, dtype=dtype)
    if tokens.max() > np.iinfo(np.int32).max:
        raise _damaged(path, f"{tokens.max():,} is no token")
    return tokens.astype(np.int32)


def _check(path: Path) -> tuple[np.dtype[Any], int]:
    """The type of a shard's tokens and the length of its rows (0 if there is none), which both its files agree to."""
    dtype = np.dtype(_token_type(path)).newbyteorder("<")
    length, rows = 0, 0
    for sequences in _rows(path):
        own = sequences[-1].end - sequences[0].start
        length = length or own
        if own != length:
            raise _damaged(_offsets_of(path), f"the row {sequences[0].row} has {own:,} tokens, not {length:,}")
        rows += 1
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise _damaged(path, "it is missing") from error
    if size != rows * length * dtype.itemsize:
        needed = f"{rows:,} rows of {length:,} tokens as {dtype.name} need {rows * length * dtype.itemsize:,}"
        raise _damaged(path, f"it has {size:,} bytes, and {needed}")
    return dtype, length


def _token_type(path: Path) -> str:
    """The type of a shard's tokens, by the header of its offsets."""
    offsets = _offsets_of(path)
    longest = len(_GZIP_HEADER) + max(map(len, _NAMES)) + 1
    try:
        with offsets.open("rb") as raw:
            header = raw.read(longest)
    except FileNotFoundError as error:
        raise _damaged(offsets, "it is missing") from error
    name = header[len(_GZIP_HEADER) :].split(b"\0")[0]
    if not header.startswith(_GZIP_HEADER) or name not in _NAMES:
        raise _damaged(offsets, "its header does not say what the tokens are")
    return _NAMES[name]


def _rows(path: Path) -> Iterator[list[_Sequence]]:
    """The sequences of each row, by the offsets of a shard, which follow each other without gaps."""
    row: list[_Sequence] = []
    for line in _lines(path):
        if row and line.location == 0:
            yield row
            row = []
        before = row[-1] if row else None
        if line.location != (before.end - row[0].start if before else 0) or (before and before.row != line.row):
            raise _damaged(_offsets_of(path), f"the sequence {line.id} is not where the one before it ends")
        row.append(line)
    if row:
        yield row


def _lines(path: Path) -> Iterator[_Sequence]:
    offsets = _offsets_of(path)
    end = 0
    try:
        with gzip.open(offsets, "rt", encoding="utf-8", newline="") as lines:
            # A line that is longer than any of ours comes in parts, which then are none.
            parts = iter(lambda: lines.readline(_LONGEST_LINE), "")
            for number, fields in enumerate(csv.reader(parts, strict=True)):
                if len(fields) != _COLUMN_COUNT:
                    raise ValueError(f"line {number + 1} has {len(fields)} columns, not {_COLUMN_COUNT}")
                line = _Sequence(int(fields[0]), int(fields[1]), fields[2], fields[3], int(fields[4]))
                if line.start != end or line.end <= end:
                    raise ValueError(
                        f"line {number + 1} goes from {line.start:,} to {line.end:,}; the one before ends at {end:,}"
                    )
                end = line.end
                yield line
    except (gzip.BadGzipFile, EOFError, zlib.error, csv.Error, ValueError) as error:
        raise _damaged(offsets, str(error)) from error


def _offsets_of(path: Path) -> Path:
    return path.with_suffix(SUFFIXES[1])


def _damaged(path: Path, what: str) -> NextlongError:
    return NextlongError(f"{path} is damaged, or is not what nextlong writes: {what}.", _REMAKE)


def merge(shards: Sequence[Path], paths: Sequence[Path]) -> None:
    """See :class:`~nextlong.formats.protocol.Format`.

    Raises:
        NextlongError: the shards have tokens of different types, or rows of different lengths.
    """
    checked = [_check(shard) for shard in shards]
    dtypes, lengths = {dtype.name for dtype, _ in checked}, {length for _, length in checked if length}
    if len(dtypes) > 1 or len(lengths) > 1:
        raise NextlongError(
            f"The shards in {shards[0].parent} do not belong together: rows of {sorted(lengths)} tokens, {sorted(dtypes)}.",
            "Delete them and run the command that made them again.",
        )
    place = 0
    with paths[0].open("wb") as array, _offsets_writer(paths[1], dtypes.pop()) as offsets:
        for shard in shards:
            with shard.open("rb") as source:
                shutil.copyfileobj(source, array, 1 << 22)
            end = place
            for line in _lines(shard):
                end = place + line.end
                _write_line(offsets, _Sequence(place + line.start, end, line.id, line.row, line.location))
            place = end
