"""Where something of the corpus went: which sequences, and which tokens of them, come from a text or a document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from nextlong.errors import UsageError
from nextlong.inspection.opened import Dataset, Sample
from nextlong.pool.catalog import document_key
from nextlong.pool.pool import Ordinals, Pool
from nextlong.records import ROLES


@dataclass(frozen=True)
class Place:
    """Where a chunk stands in a sequence.

    Attributes:
        sequence, number: its id, and its number in the dataset, 0-based.
        role, group, rank, score: as in :data:`~nextlong.records.SPAN_TYPE`.
        document, position, chunk: which chunk.
        token_start, token_end: its tokens in the row, the end exclusive.
    """

    sequence: str
    number: int
    role: str
    group: int
    rank: int
    score: float
    document: str
    position: int
    chunk: int
    token_start: int
    token_end: int


@dataclass(frozen=True)
class Origin:
    """Where in the corpus a document stands.

    Attributes:
        document: its id.
        source, row: file and row, 1-based.
        characters, chunks: its length.
    """

    document: str
    source: str
    row: int
    characters: int
    chunks: int


def document_named(pool: Pool, identity: str) -> int:
    """The ordinal of a document.

    Raises:
        UsageError: the pool has none of this id.
    """
    key = np.uint64(document_key(identity)) if _is_unicode(identity) else None
    for document in [] if key is None else np.flatnonzero(pool.keys == key).tolist():
        if pool.document_ids(np.array([document])) == [identity]:
            return int(document)
    raise UsageError(f"The pool has no document {identity}.", "Ids stand in its documents/*.arrow.")


def _is_unicode(text: str) -> bool:
    """Whether it has no lone surrogates, as which Python reads the bytes of a command line that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def origin(pool: Pool, document: int) -> Origin:
    """Where a document comes from."""
    one = np.array([document])
    source, row, characters, chunks = (
        pool.document_column(one, name)[0].as_py() for name in ("source", "row", "characters", "chunks")
    )
    return Origin(pool.document_ids(one)[0], source, row, characters, chunks)


def chunks_with(pool: Pool, text: str) -> Ordinals:
    """The chunks that hold a text as it is written, case included; ascending.

    A text that reaches from one chunk into the next is not found.

    Raises:
        UsageError: the text is empty, or not valid Unicode.
    """
    if not text:
        raise UsageError("There is nothing to find in an empty text.")
    if not _is_unicode(text):
        raise UsageError("What is to be found is no valid text.", "Texts of the pool are Unicode; write it in UTF-8.")
    found = [np.empty(0, dtype=np.int64)]
    for shard in range(len(pool.shards)):
        hits = pc.match_substring(pool.chunk_texts(shard), text).to_numpy(zero_copy_only=False)
        found.append(np.flatnonzero(hits) + pool.shard_start(shard))
    return np.concatenate(found)


def places_in(dataset: Dataset, sequence: Sample) -> Iterator[Place]:
    """What the first sequence of a sample is made of, in its order."""
    spans, identity = sequence.spans.of(0), sequence.ids[0]
    columns = zip(
        (ROLES[role] for role in spans.roles.tolist()),
        spans.groups.tolist(),
        spans.ranks.tolist(),
        spans.scores.tolist(),
        dataset.pool.document_ids(spans.documents),
        dataset.pool.positions_of(spans.chunks).tolist(),
        spans.chunks.tolist(),
        spans.token_starts.tolist(),
        spans.token_ends.tolist(),
        strict=True,
    )
    for each in columns:
        yield Place(identity, int(identity.rpartition("-")[2]), *each)


def places_of(dataset: Dataset, chunks: Ordinals) -> Iterator[Place]:
    """Where chunks stand, in the order of the dataset.

    Args:
        dataset: where to look.
        chunks: their ordinals, ascending.
    """
    before = 0
    for _, table in dataset.tables():
        lists = table.column("spans").combine_chunks()
        spans = lists.flatten()
        hits = np.flatnonzero(np.isin(spans.field("chunk").to_numpy(), chunks))
        if len(hits):
            ends = np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))
            sequences = np.searchsorted(ends, hits, side="right")
            ids = table.column("id").take(sequences).to_pylist()
            for identity, number, span in zip(ids, sequences.tolist(), spans.take(hits).to_pylist(), strict=True):
                yield Place(sequence=identity, number=before + number, **span)
        before += table.num_rows
