"""A finished pool, opened for reading. Everything large is memory-mapped."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextlong.config import PoolConfig, validated
from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array
from nextlong.execution.arrow import open_arrow, sound_strings, strings
from nextlong.execution.files import plain_path, read_description, read_json
from nextlong.execution.intact import require_intact
from nextlong.execution.object_path import last_change, located
from nextlong.execution.run import PLAN
from nextlong.index.choose import open_index
from nextlong.index.protocol import Index
from nextlong.index.vectors import VectorShards
from nextlong.mining.copies import PERMUTATIONS
from nextlong.pool import layout
from nextlong.pool.catalog import REPEATED_SCHEMA, read_shard_table
from nextlong.records import CHUNK_SCHEMA, DOCUMENT_SCHEMA

Ordinals = npt.NDArray[np.int64]

# What a pool's description holds, as far as anything relies on it.
_SHAPE = {
    "id": str,
    "chunks_id": str,
    "config": {"corpus": {"inputs": [str]}, "encoder": {"name": str}, None: object},
    "counts": {"documents": int, "chunks": int, "characters": int, None: int},
    "dimensions": int,
    "index": {"kind": str, None: object},
}

# The most bytes of a character.
_UTF8_BYTES = 4

# Documents looked at together, where all are looked at: 9 bytes each.
_COUNTED = 1 << 20


class Pool:
    """Documents, chunks, vectors and index, by document ordinal and chunk ordinal.

    Attributes:
        folder: where it lies.
        id: changes with anything that could change a dataset made from it.
        chunks_id: changes with the chunks only.
        config: what it was made with.
        documents, chunks: how many there are.
        first_chunk: int64 of shape ``(documents + 1,)``: the chunks of document d are ``first_chunk[d]:first_chunk[d + 1]``.
        keys: uint64 of shape ``(documents,)``: a hash of each document's id.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the pool in ``folder``.

        Raises:
            NextlongError: it is no pool, or not finished.
        """
        folder = located(folder)
        if not (folder / layout.DESCRIPTION).exists():
            state = "is not finished" if (folder / PLAN).exists() else "is not a pool"
            raise NextlongError(f"{folder} {state}.", f"Make it with: nextlong index CORPUS… --out {folder}")
        self.folder = folder
        path = folder / layout.DESCRIPTION
        self.description = read_description(path, _SHAPE)
        self.id: str = self.description["id"]
        self.chunks_id: str = self.description["chunks_id"]
        self.config = validated(PoolConfig, self.description["config"], where=str(folder / layout.DESCRIPTION))
        table = read_shard_table(folder)
        self.shards: list[str] = [entry["name"] for entry in table]
        self._chunk_ends = np.cumsum([entry["chunks"] for entry in table])
        self._chunk_stops: list[int] = self._chunk_ends.tolist()  # a number of a list is found quicker than one of an array
        self._document_ends = np.cumsum([entry["documents"] for entry in table])
        self.first_chunk: Ordinals = load_array(folder / layout.CATALOG / "first_chunk.npy", np.int64)
        self.keys: npt.NDArray[np.uint64] = load_array(folder / layout.CATALOG / "keys.npy", np.uint64)
        self.documents = len(self.keys)
        self.chunks = int(self._chunk_ends[-1])
        if (self.documents, self.documents + 1) != (self._document_ends[-1], len(self.first_chunk)) or (
            self.first_chunk[0],
            self.first_chunk[-1],
        ) != (0, self.chunks):
            raise NextlongError(
                f"{folder / layout.CATALOG} is damaged: its files do not belong together.",
                "Delete it and run `nextlong index` again.",
            )
        self._batches: dict[Path, pa.RecordBatch] = {}
        self._arrays: dict[Path, npt.NDArray[Any]] = {}
        self._texts: dict[int, tuple[Ordinals, memoryview]] = {}

    @cached_property
    def checksums(self) -> dict[Path, str]:
        """File → checksum, of all that is read when something is made from the pool.

        Empty where the pool does not know, as those of earlier versions.

        Raises:
            NextlongError: the file that they are in is damaged.
        """
        path, known = self.folder / layout.CHECKSUMS, self.description.get("checksums")
        if known is None:
            return {}
        require_intact(path, str(known))
        return {self.folder / plain_path(name, path): str(expected) for name, expected in read_json(path).items()}

    @property
    def characters(self) -> int:
        """Of all documents together."""
        return int(self.description["counts"]["characters"])

    def chunks_of(self, document: int) -> Ordinals:
        """The chunk ordinals of a document, in order."""
        return np.arange(self.first_chunk[document], self.first_chunk[document + 1], dtype=np.int64)

    def documents_with(self, chunks: int) -> int:
        """How many documents have so many chunks or more."""
        starts = range(0, self.documents, _COUNTED)
        return sum(int((np.diff(self.first_chunk[start : start + _COUNTED + 1]) >= chunks).sum()) for start in starts)

    def documents_of(self, chunks: Ordinals) -> Ordinals:
        """The document ordinal of each chunk."""
        return np.searchsorted(self.first_chunk, chunks, side="right") - 1

    def positions_of(self, chunks: Ordinals) -> Ordinals:
        """The position of each chunk in its document, 0-based."""
        return chunks - self.first_chunk[self.documents_of(chunks)]

    def texts(self, chunks: Sequence[int] | Ordinals) -> list[str]:
        """The chunks' texts, in the order asked for."""
        ordinals = np.asarray(chunks, dtype=np.int64)
        result: list[str] = [""] * len(ordinals)
        for shard, places in self.by_shard(ordinals):
            rows = ordinals[places] - self.shard_start(shard)
            taken = self._chunk_batch(shard).column("text").take(pa.array(rows))
            for place, text in zip(places.tolist(), strings(taken, self._chunk_path(shard)), strict=True):
                result[place] = text
        return result

    def head(self, chunk: int, characters: int) -> str:
        """The first characters of a chunk's text; a shorter text is all of it. Quicker than :meth:`texts`."""
        start, stop, data = self._text_at(chunk)
        return bytes(data[start : min(stop, start + _UTF8_BYTES * characters)]).decode(errors="ignore")[:characters]

    def tail(self, chunk: int, characters: int) -> str:
        """The last characters of a chunk's text, as :meth:`head` gives the first ones."""
        start, stop, data = self._text_at(chunk)
        return bytes(data[max(start, stop - _UTF8_BYTES * characters) : stop]).decode(errors="ignore")[-characters:]

    def _text_at(self, chunk: int) -> tuple[int, int, memoryview]:
        """Where a chunk's text begins and ends among the bytes of its shard, and these bytes."""
        shard = bisect_right(self._chunk_stops, chunk)
        ends, data = self._text_buffers(shard)
        row = chunk - self.shard_start(shard)
        start, stop = ends[row : row + 2].tolist()
        return start, stop, data

    def _text_buffers(self, shard: int) -> tuple[Ordinals, memoryview]:
        if shard not in self._texts:
            _, ends, data = self._chunk_batch(shard).column("text").buffers()
            self._texts[shard] = np.frombuffer(ends, dtype=np.int64), memoryview(data)
        return self._texts[shard]

    def bytes_of(self, chunks: Ordinals) -> Ordinals:
        """The UTF-8 length of each chunk's text."""
        result = np.empty(len(chunks), dtype=np.int64)
        for shard, places in self.by_shard(chunks):
            ends = self._text_buffers(shard)[0]
            rows = chunks[places] - self.shard_start(shard)
            result[places] = ends[rows + 1] - ends[rows]
        return result

    def chunk_texts(self, shard: int) -> pa.LargeStringArray:
        """The texts of a shard's chunks, in order, as they lie in its file."""
        return self._chunk_batch(shard).column("text")

    def chunk_characters(self, shard: int) -> Ordinals:
        """The length of each chunk's text in a shard, in characters."""
        lengths: Ordinals = pc.utf8_length(self.chunk_texts(shard)).to_numpy(zero_copy_only=False).astype(np.int64)
        return lengths

    def documents_in(self, shard: int) -> range:
        """The document ordinals of a shard."""
        return range(int(self._document_ends[shard - 1]) if shard else 0, int(self._document_ends[shard]))

    def by_shard(self, chunks: Ordinals) -> list[tuple[int, Ordinals]]:
        """Group chunk ordinals: (number of the shard, places in ``chunks`` that lie in it, in order)."""
        return _grouped(np.searchsorted(self._chunk_ends, chunks, side="right"), len(self.shards))

    def shard_start(self, shard: int) -> int:
        """The ordinal of a shard's first chunk."""
        return self._chunk_stops[shard - 1] if shard else 0

    def shard_size(self, shard: int) -> int:
        """How many chunks a shard holds."""
        return int(self._chunk_ends[shard]) - self.shard_start(shard)

    def characters_of(self, document: int) -> int:
        """The characters of a document's text."""
        shard = int(np.searchsorted(self._document_ends, document, side="right"))
        first = int(self._document_ends[shard - 1]) if shard else 0
        return int(self._document_batch(shard).column("characters")[document - first].as_py())

    def characters_by_document(self) -> Ordinals:
        """The characters of every document's text, int64 of shape ``(documents,)``."""
        return np.concatenate(
            [self._document_batch(shard).column("characters").to_numpy() for shard in range(len(self.shards))]
        )

    def document_ids(self, documents: Ordinals) -> list[str]:
        """The ids of documents, in the order asked for."""
        ids: list[str] = self.document_id_column(documents).to_pylist()
        return ids

    def document_id_column(self, documents: Ordinals) -> pa.StringArray:
        """:meth:`document_ids` as an Arrow array.

        Raises:
            NextlongError: an id is no UTF-8, so a file is damaged.
        """
        ids = self.document_column(documents, "id")
        again, names = self._repeated
        if len(again):
            places = np.searchsorted(again, documents).clip(max=len(again) - 1)
            is_again = again[places] == documents
            ids = pc.if_else(pa.array(is_again), names.take(pa.array(places)), ids)
        return ids

    def document_column(self, documents: Ordinals, name: str) -> pa.Array:
        """What the corpus said of documents, in the order asked for: a column of :data:`~nextlong.records.DOCUMENT_SCHEMA`.

        Raises:
            NextlongError: a text is no UTF-8, so a file is damaged.
        """
        groups = _grouped(np.searchsorted(self._document_ends, documents, side="right"), len(self.shards))
        columns, order = [pa.array([], type=DOCUMENT_SCHEMA.field(name).type)], [np.empty(0, dtype=np.int64)]
        for shard, places in groups:
            first = int(self._document_ends[shard - 1]) if shard else 0
            column = self._document_batch(shard).column(name).take(pa.array(documents[places] - first))
            if pa.types.is_string(column.type):
                column = sound_strings(column, self.folder / layout.DOCUMENTS / f"{self.shards[shard]}.arrow")
            columns.append(column)
            order.append(places)
        return pa.concat_arrays(columns).take(pa.array(np.argsort(np.concatenate(order), kind="stable")))

    @cached_property
    def _repeated(self) -> tuple[Ordinals, pa.StringArray]:
        """Documents that have another id than their text gives, in order, and these ids."""
        path = self.folder / layout.CATALOG / "repeated.arrow"
        batch = open_arrow(path, REPEATED_SCHEMA)
        return batch.column("document").to_numpy(), sound_strings(batch.column("id"), path)

    @cached_property
    def vectors(self) -> VectorShards:
        """The vectors of all chunks."""
        paths = [self.folder / layout.VECTORS / f"{shard}.npy" for shard in self.shards]
        return VectorShards(paths, np.diff(self._chunk_ends, prepend=0).tolist())

    @cached_property
    def index(self) -> Index:
        """The index over the vectors."""
        return open_index(self.description["index"], self.folder / layout.INDEX, self.vectors)

    def fold_keys(self, chunks: Ordinals) -> npt.NDArray[np.uint64]:
        """The hash of each chunk's white-space-folded text."""
        return self._gather("keys", np.uint64, (), chunks)

    def signatures(self, chunks: Ordinals) -> npt.NDArray[np.uint16]:
        """The MinHash signature of each chunk, shape ``(len(chunks), 128)``."""
        return self._gather("signatures", np.uint16, (PERMUTATIONS,), chunks)

    def _gather(self, kind: str, dtype: npt.DTypeLike, each: tuple[int, ...], chunks: Ordinals) -> npt.NDArray[Any]:
        result = np.empty((len(chunks), *each), dtype=dtype)
        for shard, places in self.by_shard(chunks):
            rows, stored = chunks[places] - self.shard_start(shard), self._fingerprints(shard, kind, dtype, each)
            first, last = int(places[0]), int(places[-1])
            if last - first + 1 == len(places):  # as of chunks in ascending order: nothing is copied twice
                stored.take(rows, axis=0, out=result[first : last + 1], mode="clip")
            else:
                result[places] = stored.take(rows, axis=0)
        return result

    def _fingerprints(self, shard: int, kind: str, dtype: npt.DTypeLike, each: tuple[int, ...]) -> npt.NDArray[Any]:
        path = self.folder / layout.FINGERPRINTS / f"{self.shards[shard]}.{kind}.npy"
        if path not in self._arrays:
            array = load_array(path, dtype, 1 + len(each))
            if array.shape != (self.shard_size(shard), *each):
                raise NextlongError(
                    f"{path} is damaged: its shape is {array.shape}, not {(self.shard_size(shard), *each)}.",
                    "Delete it and run `nextlong index` again.",
                )
            self._arrays[path] = array.view(np.ndarray)  # each part of a memory map would take Python's time again
        return self._arrays[path]

    def _chunk_batch(self, shard: int) -> pa.RecordBatch:
        return self._open(self._chunk_path(shard), CHUNK_SCHEMA, self.shard_size(shard))

    def _chunk_path(self, shard: int) -> Path:
        return self.folder / layout.CHUNKS / f"{self.shards[shard]}.arrow"

    def _document_batch(self, shard: int) -> pa.RecordBatch:
        path = self.folder / layout.DOCUMENTS / f"{self.shards[shard]}.arrow"
        return self._open(path, DOCUMENT_SCHEMA, len(self.documents_in(shard)))

    def _open(self, path: Path, schema: pa.Schema, rows: int) -> pa.RecordBatch:
        if path not in self._batches:
            batch = open_arrow(path, schema)
            if batch.num_rows != rows:
                raise NextlongError(
                    f"{path} is damaged: it has {batch.num_rows:,} rows, not {rows:,}.",
                    "Delete it and run `nextlong index` again.",
                )
            self._batches[path] = batch
        return self._batches[path]


def _grouped(shards: Ordinals, count: int) -> list[tuple[int, Ordinals]]:
    """Places by the shard that stands there, in ascending order of both; each place is touched once."""
    if not len(shards):
        return []
    order = np.argsort(shards.astype(np.min_scalar_type(count)), kind="stable")  # numbers of 16 bits are sorted by radix
    sorted_shards = shards[order]
    borders = np.flatnonzero(np.diff(sorted_shards)) + 1
    return list(zip(sorted_shards[[0, *borders]].tolist(), np.split(order, borders), strict=True))


def open_pool(folder: Path, id: str) -> Pool:
    """The pool of a task; a worker keeps it between its tasks. Cheap enough to call wherever the pool is needed.

    Raises:
        NextlongError: the pool in ``folder`` is not the one with this id any more.
    """
    path = folder / layout.DESCRIPTION
    # Only a description that was written anew is read again: it may be long, and this is asked for every sequence.
    try:
        pool = _opened(folder, last_change(path))
    except FileNotFoundError:
        pool = None
    if pool is None or pool.id != id:
        raise NextlongError(f"The pool {folder} was changed while it was in use.", "Run the same command again.")
    return pool


@lru_cache(maxsize=4)
def _opened(folder: Path, written: object) -> Pool:
    return Pool(folder)
