"""Sequences of a dataset → one memory-mapped file, so that rows can take them in any order; spans for another tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextlong.composition.session import Session
from nextlong.composition.tokens import ChunkTokens
from nextlong.dataset import layout as dataset_layout
from nextlong.dataset.write import used_chunks
from nextlong.errors import NextlongError
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.execution.files import atomic, checksum
from nextlong.execution.progress import advance
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Outcome
from nextlong.exporting import layout
from nextlong.exporting.parts import Source
from nextlong.pool.pool import Ordinals
from nextlong.records import SEQUENCE_SCHEMA, SPAN_TYPE

VERSION = 1
STAGE = "gather"

GATHERED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),  # of all its chunks joined, without begin and end tokens
        pa.field("fits", pa.bool_(), nullable=False),  # False: fewer than a sequence of the export must have
        pa.field("spans", pa.list_(SPAN_TYPE), nullable=False),  # in tokens of the export's tokenizer, cut to length
    ]
)


def gather(source: Source, name: str, folder: Path) -> Outcome:
    """Gather the sequences of one file of a dataset; list in ``rejects`` those that are too short for another tokenizer.

    Args:
        source: the dataset.
        name: of the file in its ``sequences``.
        folder: the export's.

    Raises:
        NextlongError: the file is not what the dataset's receipts say.
    """
    table = read_sequences(source, name)
    spans = table.column("spans").combine_chunks()
    if source.retokenized:
        spans, tokens, fits = _respanned(source.session, spans)
    else:
        advance(table.num_rows)
        spans = spans_of(spans.flatten(), spans.value_lengths().to_numpy())
        tokens = np.full(table.num_rows, source.session.content, dtype=np.int64)
        fits = np.ones(table.num_rows, dtype=bool)
    path = layout.gathered_path(folder, source.number, name)
    columns = [table.column("id").combine_chunks(), table.column("method").combine_chunks(), tokens, fits, spans]
    write_arrow(path, pa.record_batch([pa.array(column) for column in columns], schema=GATHERED_SCHEMA))
    files = [path]
    if not fits.all():
        rejected = [
            {"id": table.column("id")[row].as_py(), "tokens": int(tokens[row]), "needed": source.session.content}
            for row in np.flatnonzero(~fits).tolist()
        ]
        files.append(folder / layout.REJECTS / f"{path.stem}.jsonl")
        with atomic(files[-1]) as temporary:
            lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in rejected]
            temporary.write_text("".join(lines), encoding="utf-8")
    info = {"short": int((~fits).sum()), "tokens_wasted": int((tokens[fits] - source.session.content).sum())}
    info["meta_chunks_cut"] = _meta_chunks_cut(table.column("spans"), spans, fits) if source.retokenized else 0
    return Outcome(files, table.num_rows, info)


def read_sequences(source: Source, name: str) -> pa.Table:
    """A file of a dataset's ``sequences``.

    Raises:
        NextlongError: it is not what the dataset's receipts say.
    """
    path = source.folder / dataset_layout.SEQUENCES / f"{name}.parquet"
    if not path.exists() or checksum(path) != source.files[name]:
        raise NextlongError(
            f"{path} is {'not what its receipt says' if path.exists() else 'missing'}.",
            "Delete it and run the command that made the dataset again.",
        )
    return read_table(path, SEQUENCE_SCHEMA, ["id", "method", "spans"])


def open_gathered(path: Path) -> pa.RecordBatch:
    """What :func:`gather` wrote, memory-mapped.

    Raises:
        NextlongError: it is missing or damaged.
    """
    return open_arrow(path, GATHERED_SCHEMA)


def chunks_of(source: Source, name: str) -> Ordinals:
    """The distinct chunks that the sequences of a file use, sorted."""
    return used_chunks(read_sequences(source, name))


def spans_of(
    flat: pa.StructArray,
    counts: npt.NDArray[np.integer],
    starts: npt.NDArray[np.integer] | None = None,
    ends: npt.NDArray[np.integer] | None = None,
) -> pa.ListArray:
    """Lists of spans from all spans one after the other.

    Args:
        flat: the spans.
        counts: how many each list has.
        starts, ends: ``token_start`` and ``token_end`` of each span, if they are others than in ``flat``.
    """
    fields = {field.name: flat.field(field.name) for field in SPAN_TYPE}
    for name, values in (("token_start", starts), ("token_end", ends)):
        if values is not None:
            fields[name] = pa.array(values.astype(np.int32))
    struct = pa.StructArray.from_arrays(list(fields.values()), fields=list(SPAN_TYPE))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), struct, type=pa.list_(SPAN_TYPE))


def _respanned(session: Session, spans: pa.ListArray) -> tuple[pa.ListArray, Ordinals, npt.NDArray[np.bool_]]:
    """The spans in tokens of another tokenizer, cut to length; how many tokens there are in all; whether they suffice."""
    joiner = ChunkTokens(session)
    flat, counts = spans.flatten(), spans.value_lengths().to_numpy()
    chunks = flat.field("chunk").to_numpy()
    joiner.hold(chunks)
    borders = np.concatenate([[0], np.cumsum(counts)])
    kept: list[int] = []
    totals: list[int] = []
    starts, ends = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int32)]
    places = [np.empty(0, dtype=np.int64)]
    for first, stop in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        total, found = _fitted(session, joiner, chunks[first:stop])
        kept.append(len(found))
        totals.append(total)
        places.append(np.arange(first, first + len(found)))
        starts.append(np.concatenate([[0], found[:-1]])[: len(found)])
        ends.append(found)
        advance(1)
    offset = len(session.bos)
    result = spans_of(
        flat.take(pa.array(np.concatenate(places))),
        np.array(kept, dtype=np.int64),
        np.concatenate(starts) + offset,
        np.concatenate(ends) + offset,
    )
    return result, np.array(totals, dtype=np.int64), np.array(kept) > 0


def _fitted(session: Session, joiner: ChunkTokens, chunks: Ordinals) -> tuple[int, npt.NDArray[np.int32]]:
    """How many tokens chunks have, and where those that are needed end; none if they do not suffice."""
    content = session.content
    ends = joiner.ends(chunks)
    total, count = int(ends[-1]), int(np.searchsorted(ends, content)) + 1
    while count <= len(chunks):
        # What is left away stands in no row, and the last chunk's tokens may depend on what comes next.
        ends = joiner.ends(chunks[:count])
        if ends[-1] >= content:
            return total, np.minimum(ends, content)
        count += 1
    return total, ends[:0]


def _meta_chunks_cut(before: pa.ChunkedArray, after: pa.ListArray, fits: npt.NDArray[np.bool_]) -> int:
    """How many meta-chunks of the sequences that suffice are not there any more, or are the chunk that is cut."""
    kept = pa.array(fits)
    roles = [spans.filter(kept).flatten().field("role") for spans in (before.combine_chunks(), after)]
    had, have = (int(pc.sum(pc.equal(found, "meta")).as_py() or 0) for found in roles)
    last = np.cumsum(after.filter(kept).value_lengths().to_numpy()) - 1
    return had - have + int(pc.sum(pc.equal(roles[1].take(pa.array(last)), "meta")).as_py() or 0)
