"""MDS shards for MosaicML's StreamingDataset, with the columns that ProLong's trainer, and so NExtLong's, reads.

The layout of a shard, all numbers little-endian: the number of samples (uint32); where each sample begins, and where the
last one ends, in bytes of the file (uint32 each); what is said of the shard in the index too, as JSON; the samples. A
sample is the sizes of its columns of variable size (uint32 each), then its columns, in the order of their names. An array
is a byte that tells how many axes it has (all bits but the last two) and how wide the numbers of its shape are (1, 2, 4 or
8 bytes, in the last two bits), its shape, its values. Nothing stands between any two of these, and so nothing is aligned.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from nextlong.errors import NextlongError
from nextlong.formats.protocol import Borders, Merges, Rows, WrittenRow

SUFFIXES = (".mds",)
INDEX = "index.json"
DTYPES = ("uint32",)
BORDERS: Borders = "recorded"
MERGES: Merges = "never"
COLUMNS = {
    "domain": "how the row was made",
    "id": "the row's id",
    "indices": "pairs of uint32: where each sequence of the row begins and ends: attention stays within; one pair: no mask",
    "input_ids": "uint32: exactly `length` tokens, begin and end tokens included",
    "length": "the number of tokens",
}
LOADING = """# Trainers read the folder with StreamingDataset(local="{folder}/tokens", batch_size=1) of mosaicml-streaming.
# Without it, this is how; tokens come from the disk when they are looked at:
import json
from pathlib import Path

import numpy as np


def array(data):
    axes, width = data[0] >> 2, 1 << (data[0] & 3)
    shape = data[1 : 1 + axes * width].view(f"<u{{width}}")
    return data[1 + axes * width :].view("<u4").reshape(shape)


decoders = {{
    "str": lambda data: bytes(data).decode(),
    "int": lambda data: int(data.view("<i8")[0]),
    "ndarray:uint32": array,
}}
folder, rows = Path("{folder}/tokens"), []
for shard in json.loads((folder / "index.json").read_text())["shards"]:
    data = np.memmap(folder / shard["raw_data"]["basename"], np.uint8, "r")
    for begin in data[4 : 4 + 4 * shard["samples"]].view("<u4").tolist():
        varying = shard["column_sizes"].count(None)
        sizes, at, row = iter(data[begin : begin + 4 * varying].view("<u4").tolist()), begin + 4 * varying, {{}}
        for name, kind, size in zip(shard["column_names"], shard["column_encodings"], shard["column_sizes"]):
            size = size or next(sizes)
            row[name], at = decoders[kind](data[at : at + size]), at + size
        rows.append(row)
print(len(rows[0]["input_ids"]))"""

# What StreamingDataset(remote=…, validate_hash="xxh3_64") compares after it has fetched a shard. It asks for one by name,
# and has this one everywhere, since it depends on xxhash; the ones of OpenSSL are slower, and not all are there everywhere.
HASH = "xxh3_64"

_ARRAY = "ndarray:uint32"
# By name, as the reader goes through them. `length` alone has a fixed size, in bytes.
_COLUMNS = {"domain": "str", "id": "str", "indices": _ARRAY, "input_ids": _ARRAY, "length": "int"}
_SIZES = struct.Struct("<4I")
_LENGTH = struct.Struct("<q")

_ABOUT = {
    "version": 2,
    "format": "mds",
    "compression": None,
    "hashes": [HASH],
    "size_limit": None,
    "column_names": list(_COLUMNS),
    "column_encodings": list(_COLUMNS.values()),
    "column_sizes": [None, None, None, None, _LENGTH.size],
}
_HEADER = json.dumps(_ABOUT, sort_keys=True).encode()

# Samples are found by uint32 offsets; the last of them is the size of the file.
_LARGEST_SHARD = (1 << 32) - 1

_REMAKE = "Delete it and run the command that made its folder again."


def write(paths: Sequence[Path], rows: Rows) -> dict[str, Any]:
    """See :class:`~nextlong.formats.protocol.Format`.

    Raises:
        NextlongError: the shard would have 4 GiB or more.
    """
    fields = [_fields(row) for row in rows.table.select(["domain", "id", "indices"]).to_pylist()]
    heads = [_array_head((len(row),)) for row in rows.tokens]
    sizes = [[*map(len, own), len(head) + 4 * len(row)] for own, head, row in zip(fields, heads, rows.tokens, strict=True)]
    first = 4 + 4 * (len(sizes) + 1) + len(_HEADER)
    offsets = [first]
    for own_sizes in sizes:
        offsets.append(offsets[-1] + _SIZES.size + sum(own_sizes) + _LENGTH.size)
    if offsets[-1] > _LARGEST_SHARD:
        raise NextlongError(
            f"A shard of {len(sizes):,} rows and {sum(map(len, rows.tokens)):,} tokens would have {offsets[-1]:,} bytes; "
            f"the format mds finds its samples by numbers of 32 bits: a shard cannot have more than {_LARGEST_SHARD:,}.",
            "Make shorter rows, or choose the format parquet.",
        )
    hasher = xxhash.xxh3_64()
    with paths[0].open("wb") as file:
        _put(file, hasher, struct.pack("<I", len(sizes)), np.array(offsets, dtype="<u4").tobytes(), _HEADER)
        for own_sizes, own, head, row in zip(sizes, fields, heads, rows.tokens, strict=True):
            tokens = row.astype("<u4", copy=False).tobytes()
            _put(file, hasher, _SIZES.pack(*own_sizes), *own, head, tokens, _LENGTH.pack(len(row)))
    return {"samples": len(sizes), "bytes": offsets[-1], "hash": hasher.hexdigest()}


def _put(file: BinaryIO, hasher: xxhash.xxh3_64, *parts: bytes) -> None:
    for part in parts:
        file.write(part)
        hasher.update(part)


def _fields(row: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """The encoded ``domain``, ``id`` and ``indices``."""
    indices = np.array(row["indices"], dtype="<u4")
    return row["domain"].encode(), row["id"].encode(), _array_head(indices.shape) + indices.tobytes()


def _array_head(shape: tuple[int, ...]) -> bytes:
    """What stands before the values of an array: its shape, in the narrowest numbers that hold it."""
    code = next(code for code in range(4) if max(shape) < 1 << (8 << code))
    return bytes([len(shape) << 2 | code]) + np.array(shape, dtype=f"<u{1 << code}").tobytes()


def read(path: Path, first: int = 0) -> Iterator[WrittenRow]:
    """See :class:`~nextlong.formats.protocol.Format`. The file is mapped, and a row is read when it is asked for."""
    with path.open("rb") as file:
        if path.stat().st_size < 4:  # an empty file cannot be mapped
            raise _damaged(path, "it ends before its first sample")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            offsets = _offsets(path, data)
            for number in range(first, len(offsets) - 1):
                try:
                    row = _row(data[offsets[number] : offsets[number + 1]])
                except ValueError as error:
                    raise _damaged(path, f"in row {number} {error}") from error
                yield row


def _damaged(path: Path, what: str) -> NextlongError:
    return NextlongError(f"{path} is damaged, or is no MDS shard of nextlong: {what}.", _REMAKE)


def _offsets(path: Path, data: mmap.mmap) -> list[int]:
    """Where samples begin in the shard, and where the last one ends."""
    samples = struct.unpack_from("<I", data)[0]
    begin = 4 + 4 * (samples + 1)
    if data[begin : begin + len(_HEADER)] != _HEADER:
        raise _damaged(path, "its header does not name the columns that nextlong writes")
    offsets: list[int] = np.frombuffer(data[4:begin], dtype="<u4").tolist()
    if offsets[0] != begin + len(_HEADER) or any(start >= end for start, end in pairwise(offsets)):
        raise _damaged(path, "the places of its samples do not follow each other")
    if offsets[-1] != len(data):
        raise _damaged(path, f"it has {len(data):,} bytes, and its samples end at {offsets[-1]:,}")
    return offsets


def _row(sample: bytes) -> WrittenRow:
    """Decode a sample.

    Raises:
        ValueError: it is damaged, in words that follow "in row 3".
    """
    if len(sample) < _SIZES.size + _LENGTH.size:
        raise ValueError("there is not even room for the sizes of the columns")
    ends = np.cumsum([_SIZES.size, *_SIZES.unpack_from(sample)]).tolist()
    if ends[-1] + _LENGTH.size != len(sample):
        raise ValueError(f"the columns have {ends[-1] + _LENGTH.size:,} bytes, and the sample has {len(sample):,}")
    domain, identity, indices, tokens = (sample[start:end] for start, end in pairwise(ends))
    domain.decode()
    borders, row = _array(indices, 2), _array(tokens, 1)
    (length,) = _LENGTH.unpack_from(sample, ends[-1])
    if length != len(row):
        raise ValueError(f"`length` is {length:,}, and there are {len(row):,} tokens")
    if borders.shape[1] != 2 or (borders[:, 0] >= borders[:, 1]).any() or borders.max() > length:
        raise ValueError(f"`indices` are no pairs within {length:,} tokens")
    if row.max() >= 1 << 31:
        raise ValueError(f"{row.max():,} is no token")
    return WrittenRow(row.astype(np.int32), identity.decode(), borders.tolist())


def _array(field: bytes, axes: int) -> npt.NDArray[np.uint32]:
    """Decode an array of that many axes, none of them empty."""
    width = 1 << (field[0] & 3) if field else 0
    begin = 1 + axes * width
    if not field or field[0] >> 2 != axes or len(field) < begin:
        raise ValueError(f"an array does not have {axes} {'axis' if axes == 1 else 'axes'}")
    shape = np.frombuffer(field[1:begin], dtype=f"<u{width}").tolist()
    if not 0 < 4 * math.prod(shape) == len(field) - begin:
        raise ValueError(f"an array of shape {shape} has {len(field) - begin:,} bytes of values")
    return np.frombuffer(field, dtype="<u4", offset=begin).reshape(shape)


def index(names: Sequence[str], infos: Sequence[dict[str, Any]]) -> str:
    """See :class:`~nextlong.formats.protocol.Format`. StreamingDataset finds shards by it, and compares their hashes."""
    shards = [
        {
            **_ABOUT,
            "samples": info["samples"],
            "raw_data": {"basename": f"{name}{SUFFIXES[0]}", "bytes": info["bytes"], "hashes": {HASH: info["hash"]}},
            "zip_data": None,  # the compressed form, which nextlong does not write
        }
        for name, info in zip(names, infos, strict=True)
    ]
    return json.dumps({"shards": shards, "version": 2}, sort_keys=True)
