"""Corpus → documents and chunks: one task for each source, or for some small ones."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import xxhash

from nextlong.chunking import Chunk, is_blank, make_chunker
from nextlong.config import ChunkingConfig, CorpusConfig, config_hash
from nextlong.corpus import Source, read_source
from nextlong.errors import NextlongError
from nextlong.execution.arrow import record_batch, write_arrow
from nextlong.execution.files import atomic, checksum
from nextlong.execution.progress import advance, announce
from nextlong.execution.tasks import Outcome
from nextlong.pool import layout
from nextlong.records import CHUNK_SCHEMA, DOCUMENT_SCHEMA, Document, Reject

VERSION = 2  # part of the configuration hash; raise it when the output changes

_ADVANCE_DOCUMENTS = 200
_NUMBERS = re.compile(r"\d+")
# Kinds of reasons counted by themselves; a reason may hold a column's name or a file's.
_MOST_REASONS = 50
# Rejected rows of a task that are listed one by one; further ones are counted. A few KiB of compressed line feeds and
# letters could otherwise fill a disk.
_MOST_LISTED = 1_000_000


class _Shard:
    """Columns of one documents shard and its chunks shard, as they fill."""

    def __init__(self) -> None:
        # Text is encoded at once, into memory that serves shard after shard: new memory costs more than the copy.
        self._text = io.BytesIO()
        self.begin()

    def begin(self) -> None:
        """Empty for the next shard."""
        self._text.seek(0)
        self.documents: dict[str, list[Any]] = {name: [] for name in DOCUMENT_SCHEMA.names}
        self.chunks: dict[str, list[Any]] = {name: [] for name in CHUNK_SCHEMA.names if name != "text"}
        self.ends = [0]  # of the chunks' texts, in bytes
        self.characters = 0

    def add_text(self, text: str) -> None:
        """Append a chunk's text."""
        self.ends.append(self.ends[-1] + self._text.write(text.encode()))

    def chunk_rows(self) -> pa.RecordBatch:
        """The chunks shard; its text is good until :meth:`begin`."""
        offsets = pa.py_buffer(np.array(self.ends, dtype=np.int64))
        content = pa.py_buffer(self._text.getbuffer()).slice(0, self.ends[-1])
        text = pa.Array.from_buffers(pa.large_string(), len(self.ends) - 1, [None, offsets, content])
        return record_batch({**self.chunks, "text": text}, CHUNK_SCHEMA)


@dataclass(frozen=True)
class ShardReady:
    """Announced as soon as a shard lies there.

    Attributes:
        run: which run's ingest wrote it.
        name: the shard's.
        chunks: checksum of its chunks.
    """

    run: str
    name: str
    chunks: str


def ingest(
    sources: Sequence[Source],
    number: int,
    corpus: CorpusConfig,
    chunking: ChunkingConfig,
    folder: Path,
    strict: bool,
    run: str,
    base: Path | None = None,
) -> Outcome:
    """Read sources, chunk their documents, and write shards named ``<number>-<part>``.

    Args:
        run: what tells announcements of this run from late ones of another.
        base: where the shards' folders lie; None is the pool's folder.

    Raises:
        NextlongError: a source cannot be read at all, or ``strict`` and a row had to be rejected.
    """
    chunker = make_chunker(chunking)
    files: list[Path] = []
    counts = dict.fromkeys(("documents", "chunks", "characters", "rejected", "blank_chunks", "largest_chunk"), 0)
    shard = _Shard()
    part = 0
    pending = 0
    with _Rejects(folder / layout.REJECTS / f"{number:05d}.jsonl") as rejects:
        for source, record in _records(sources, corpus):
            if isinstance(record, Reject):
                if strict:
                    where = f"{source}, row {record.row}"
                    raise NextlongError(f"{where}: {record.reason}.", "Without --strict it is set aside.")
                rejects.add(source, record)
                continue
            counts["blank_chunks"] += _add(shard, record, source, chunker(record.text))
            pending += 1
            if pending == _ADVANCE_DOCUMENTS:
                advance(pending)
                pending = 0
            if shard.characters >= layout.SHARD_CHARACTERS or len(shard.documents["id"]) >= layout.SHARD_DOCUMENTS:
                files += _write(shard, base or folder, f"{number:05d}-{part:05d}", counts, run)
                shard.begin()
                part += 1
        if shard.documents["id"]:
            files += _write(shard, base or folder, f"{number:05d}-{part:05d}", counts, run)
        advance(pending)
    counts["rejected"] = rejects.count
    files += rejects.files()
    return Outcome(files, counts["documents"], {**counts, "reasons": rejects.reasons})


def _records(sources: Sequence[Source], corpus: CorpusConfig) -> Iterator[tuple[str, Document | Reject]]:
    for source in sources:
        for record in read_source(source, corpus):
            yield source.name, record


def _add(shard: _Shard, document: Document, source: str, chunks: list[Chunk]) -> int:
    """Append a document and its chunks; returns how many blank chunks were left out (they hold nothing to embed)."""
    kept = [chunk for chunk in chunks if not is_blank(chunk.text)]
    columns = shard.documents
    row = len(columns["id"])
    identity = document.id if document.id is not None else xxhash.xxh3_128_hexdigest(document.text.encode())
    columns["id"].append(identity)
    columns["id_given"].append(document.id is not None)
    columns["source"].append(source)
    columns["row"].append(document.row)
    columns["characters"].append(len(document.text))
    columns["chunks"].append(len(kept))
    columns = shard.chunks
    columns["document"] += [row] * len(kept)
    columns["position"] += range(len(kept))
    columns["start"] += [chunk.start for chunk in kept]
    for chunk in kept:
        shard.add_text(chunk.text)
    columns["glue"] += [chunk.glue for chunk in kept]
    shard.characters += len(document.text)
    return len(chunks) - len(kept)


def _write(shard: _Shard, folder: Path, name: str, counts: dict[str, int], run: str) -> list[Path]:
    documents, chunks = folder / layout.DOCUMENTS / f"{name}.arrow", folder / layout.CHUNKS / f"{name}.arrow"
    write_arrow(documents, record_batch(shard.documents, DOCUMENT_SCHEMA))
    write_arrow(chunks, shard.chunk_rows())
    counts["documents"] += len(shard.documents["id"])
    counts["chunks"] += len(shard.ends) - 1
    counts["characters"] += shard.characters
    counts["largest_chunk"] = max(counts["largest_chunk"], int(np.diff(shard.ends).max(initial=0)))
    announce(ShardReady(run, name, checksum(chunks)))
    return [documents, chunks]


class _Rejects:
    """The rejected rows of a task: a JSON line each, written as they come; no file where there are none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._file: IO[str] | None = None
        self.count = 0
        self.reasons: dict[str, int] = {}

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, source: str, reject: Reject) -> None:
        """Write the row down."""
        self.count += 1
        kind = _NUMBERS.sub("N", reject.reason.split(":")[0])
        if kind in self.reasons or len(self.reasons) < _MOST_REASONS:
            self.reasons[kind] = self.reasons.get(kind, 0) + 1
        if self.count > _MOST_LISTED:
            return
        if self._file is None:
            temporary = self._stack.enter_context(atomic(self._path))
            self._file = self._stack.enter_context(temporary.open("w", encoding="utf-8"))
        line = {"source": source, "row": reject.row, "reason": reject.reason}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def files(self) -> list[Path]:
        """What was written."""
        return [self._path] if self.count else []


def named_fingerprints(sources: Sequence[Source]) -> dict[str, str]:
    """Name → fingerprint; one of all that have the same name, as addresses have that differ in their queries only."""
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(source.name, []).append(source.fingerprint)
    return {name: each[0] if len(each) == 1 else config_hash(each) for name, each in found.items()}
