"""Arrow files that are memory-mapped, not read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextlong.errors import NextlongError
from nextlong.execution.files import atomic

_REMAKE = "Delete it and run the command that made it again: only it is remade."


def record_batch(columns: Mapping[str, Sequence[Any] | pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    """Columns of strings, whole numbers, truth values, and Arrow arrays as they are, none of them null, as a record batch.

    pyarrow's own function of that name imports pandas where it is installed, which costs more time than a small pool.
    """
    arrays = [_array(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any] | pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if pa.types.is_boolean(kind):
        content = np.packbits(np.array(values, dtype=np.bool_), bitorder="little")
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(content)])
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        whole = np.array(values, dtype=kind.to_pandas_dtype())
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(whole)])
    encoded = [text.encode() for text in values]
    wide = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(each) for each in encoded], out=wide[1:])
    offsets = wide if pa.types.is_large_string(kind) else wide.astype(np.int32)
    if offsets[-1] != wide[-1]:
        raise OverflowError(f"{wide[-1]:,} bytes are too many for a column of type {kind}")
    return pa.Array.from_buffers(kind, len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))])


def write_arrow(path: Path, batch: pa.RecordBatch) -> None:
    """Write one record batch as an uncompressed Arrow file, which can be memory-mapped."""
    write_batches(path, batch.schema, [batch])


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write record batches as they come, so that one at a time is in memory; else as :func:`write_arrow`."""
    with (
        atomic(path) as temporary,
        pa.OSFile(os.fspath(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def open_arrow(path: Path, schema: pa.Schema) -> pa.RecordBatch:
    """Memory-map what :func:`write_arrow` wrote; see :func:`open_batches`."""
    batches = open_batches(path, schema)
    if len(batches) != 1:
        raise NextlongError(f"{path} is damaged: it has {len(batches)} record batches, not one.", _REMAKE)
    return batches[0]


def open_batches(path: Path, schema: pa.Schema) -> list[pa.RecordBatch]:
    """Memory-map what :func:`write_batches` wrote.

    Offsets are looked at, since Arrow itself would follow them out of the file; values stay on disk until they are used.

    Args:
        path: the file.
        schema: what it must hold.

    Raises:
        NextlongError: the file is missing or damaged, or holds something else.
    """
    try:
        file = pa.ipc.open_file(pa.memory_map(os.fspath(path)))
        batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        for batch in batches:
            batch.validate()
    except (OSError, pa.ArrowException, MemoryError) as error:
        raise NextlongError(f"{path} is missing or damaged: {error}.", _REMAKE) from error
    if not file.schema.equals(schema):
        raise NextlongError(f"{path} is damaged: it has other columns than {', '.join(schema.names)}.", _REMAKE)
    for batch in batches:
        for name, column in zip(schema.names, batch.columns, strict=True):
            if not _is_sound(column):
                raise NextlongError(f"{path} is damaged: offsets of the column {name} lead out of it.", _REMAKE)
    return batches


def strings(column: pa.Array, path: Path) -> list[str]:
    """The texts of a column of a file that :func:`open_arrow` opened.

    Raises:
        NextlongError: one is no UTF-8, so the file is damaged.
    """
    try:
        found: list[str] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise NextlongError(f"{path} is damaged: a text in it is no UTF-8.", _REMAKE) from error
    return found


def utf8(column: pa.Array) -> list[memoryview]:
    """The texts of a column of strings as they lie in the file: not copied, and not checked to be UTF-8."""
    _, offsets, content = column.buffers()
    size = np.dtype(np.int64 if pa.types.is_large_string(column.type) else np.int32)
    ends = np.frombuffer(offsets, size, len(column) + 1, column.offset * size.itemsize)
    view = memoryview(content if content is not None else b"")
    return [view[start:end] for start, end in pairwise(ends.tolist())]


def whole_numbers(column: pa.Array) -> npt.NDArray[np.integer[Any]]:
    """A column of whole numbers as an array, without a copy; not pyarrow's way for :func:`record_batch`'s reason."""
    kind = np.dtype(column.type.to_pandas_dtype())
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)


def places_in(column: pa.Array, count: int, path: Path) -> npt.NDArray[np.int64]:
    """A column of whole numbers that are places among so many things.

    Raises:
        NextlongError: one is not, so the file is damaged.
    """
    places = whole_numbers(column).astype(np.int64, copy=False)
    if len(places) and (places.min() < 0 or places.max() >= count):
        raise NextlongError(f"{path} is damaged: it speaks of number {places.max():,} of {count:,}.", _REMAKE)
    return places


def taken(batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Some rows of a batch of strings, whole numbers and truth values, as :func:`record_batch` would lay them out."""
    columns: dict[str, Any] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            texts = utf8(column)
            kept = [texts[row] for row in rows.tolist()]
            size = np.int64 if pa.types.is_large_string(field.type) else np.int32
            ends = np.zeros(len(kept) + 1, dtype=size)
            np.cumsum([len(text) for text in kept], out=ends[1:])
            content = pa.py_buffer(b"".join(kept))
            columns[field.name] = pa.Array.from_buffers(field.type, len(kept), [None, pa.py_buffer(ends), content])
        elif pa.types.is_boolean(field.type):
            columns[field.name] = column.to_numpy(zero_copy_only=False)[rows]
        else:
            columns[field.name] = whole_numbers(column)[rows]
    return record_batch(columns, batch.schema)


def rows_of(batch: pa.RecordBatch, path: Path) -> list[dict[str, Any]]:
    """The rows of a file that :func:`open_arrow` opened.

    Raises:
        NextlongError: a text is no UTF-8, so the file is damaged.
    """
    try:
        found: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        raise NextlongError(f"{path} is damaged: a text in it is no UTF-8.", _REMAKE) from error
    return found


def sound_strings(column: pa.Array, path: Path) -> pa.Array:
    """A column of texts as it is, if all of them are UTF-8, which Arrow does not ask; see :func:`strings`."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise NextlongError(f"{path} is damaged: a text in it is no UTF-8.", _REMAKE) from error
    return column


def _is_sound(array: pa.Array) -> bool:
    """Whether there are no nulls, and all offsets ascend, from the first, which Arrow has checked, to the last."""
    if array.null_count:
        return False
    kind = array.type
    if pa.types.is_struct(kind):
        return all(_is_sound(array.field(place)) for place in range(kind.num_fields))
    wide = pa.types.is_large_string(kind) or pa.types.is_large_list(kind)
    if not (wide or pa.types.is_string(kind) or pa.types.is_list(kind)):
        return True
    if len(array):
        size: npt.DTypeLike = np.int64 if wide else np.int32
        every: npt.NDArray[np.integer[Any]] = np.frombuffer(array.buffers()[1], size, array.offset + len(array) + 1)
        offsets = every[array.offset :]
        if offsets[0] < 0 or (offsets[1:] < offsets[:-1]).any():
            return False
    return _is_sound(array.values) if pa.types.is_list(kind) or pa.types.is_large_list(kind) else True
