"""Gathered sequences → the canonical table of rows, and rows → tokens in the export's format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.composition.tokens import ChunkTokens
from nextlong.dataset import layout as dataset_layout
from nextlong.errors import NextlongError
from nextlong.execution.files import atomic
from nextlong.execution.progress import advance
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Outcome
from nextlong.exporting import layout
from nextlong.exporting.gather import open_gathered, spans_of
from nextlong.exporting.parts import Source
from nextlong.formats.registry import token_dtype
from nextlong.formats.shards import write_shard
from nextlong.pool.pool import Ordinals
from nextlong.records import ROW_SCHEMA
from nextlong.tokenization.tokenizer import Tokens

VERSION = 1


@dataclass(frozen=True)
class Taken:
    """A row: which sequences of which part it takes.

    Attributes:
        part: number of the part.
        sequences: positions among all sequences of the part, in the order of its files.
    """

    part: int
    sequences: tuple[int, ...]


def make_rows(
    folder: Path,
    name: str,
    sources: Sequence[Source],
    ends: Sequence[Ordinals],
    taken: Sequence[Taken],
    first: int,
    kind: str,
) -> Outcome:
    """Write ``rows/<name>.parquet``.

    Args:
        folder: the export's.
        name: of the shard.
        sources: the parts.
        ends: for each part, how many sequences its files up to and including each hold.
        taken: the rows.
        first: number of the first of them in the whole export.
        kind: ``export`` or ``mix``.
    """
    table = _taken_sequences(folder, sources, ends, taken)
    counts = np.array([len(row.sequences) for row in taken], dtype=np.int64)
    lengths = np.array([sources[row.part].length for row in taken], dtype=np.int64)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # of each sequence in its row
    starts = place * np.repeat(lengths, counts)
    lists = table.column("spans").combine_chunks()
    spans_in = lists.value_lengths().to_numpy()
    flat, shift = lists.flatten(), np.repeat(starts, spans_in)
    spans = spans_of(
        flat,
        np.add.reduceat(spans_in, np.cumsum(counts) - counts),
        flat.field("token_start").to_numpy() + shift,
        flat.field("token_end").to_numpy() + shift,
    )
    ids, methods = table.column("id").to_pylist(), table.column("method").to_pylist()
    stops = np.cumsum(counts).tolist()
    own = [ids[stop - count : stop] for stop, count in zip(stops, counts.tolist(), strict=True)]
    # A row of one sequence of one dataset is that sequence.
    alone = kind == "export" and len(ids) == len(taken)
    columns = {
        "id": ids if alone else [f"{'mix' if kind == 'mix' else 'row'}-{first + row:08d}" for row in range(len(taken))],
        "domain": [sources[row.part].name if kind == "mix" else methods[stops[at] - 1] for at, row in enumerate(taken)],
        "indices": [borders(sources[row.part].length, len(row.sequences)) for row in taken],
        "sequences": own,
    }
    arrays = [pa.array(values, type=ROW_SCHEMA.field(column).type) for column, values in columns.items()]
    path = folder / layout.ROWS / f"{name}.parquet"
    with atomic(path) as temporary:
        pq.write_table(pa.table([*arrays, spans], schema=ROW_SCHEMA), temporary, compression="zstd")
    advance(len(taken))
    return Outcome([path], len(taken))


def borders(length: int, count: int) -> list[list[int]]:
    """``indices`` of a row of so many sequences of this length."""
    return [[place * length, (place + 1) * length] for place in range(count)]


def _taken_sequences(folder: Path, sources: Sequence[Source], ends: Sequence[Ordinals], taken: Sequence[Taken]) -> pa.Table:
    """The sequences of rows, one after the other."""
    part_of = np.repeat([row.part for row in taken], [len(row.sequences) for row in taken])
    ordinals = np.array([sequence for row in taken for sequence in row.sequences], dtype=np.int64)
    tables, places = [], []
    for part in np.unique(part_of).tolist():
        names = list(sources[part].files)
        here = np.flatnonzero(part_of == part)
        files = np.searchsorted(ends[part], ordinals[here], side="right")
        for file in np.unique(files).tolist():
            chosen = here[files == file]
            rows = ordinals[chosen] - (ends[part][file - 1] if file else 0)
            batch = open_gathered(layout.gathered_path(folder, part, names[file]))
            tables.append(pa.Table.from_batches([batch]).take(pa.array(rows)))
            places.append(chosen)
    order = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_tables(tables).take(pa.array(order))


def write(folder: Path, name: str, sources: Sequence[Source], format: str, dtype: str | None) -> Outcome:
    """Write the rows of ``rows/<name>.parquet`` to ``tokens/<name>`` with the format's suffixes.

    Args:
        folder: the export's.
        name: of the shard.
        sources: the parts.
        format: the format's name.
        dtype: what was asked for.
    """
    table = read_table(folder / layout.ROWS / f"{name}.parquet", ROW_SCHEMA)
    part_of = {source.name: source for source in sources} if len(sources) > 1 else {}
    tokens_of = {source.name: ChunkTokens(source.session) for source in sources}
    spans = table.column("spans").combine_chunks()
    chunks, starts = (spans.flatten().field(field).to_numpy() for field in ("chunk", "token_start"))
    for part, part_tokens in tokens_of.items():
        part_tokens.hold(_chunks_of(table, part) if part_of else chunks)
    first = 0
    columns = [table.column(column).to_pylist() for column in ("id", "domain", "indices")]
    tokens = np.empty((len(table), columns[2][0][-1][1] if len(table) else 0), dtype=np.int32)
    for row, row_id, domain, indices, count in zip(tokens, *columns, spans.value_lengths().to_pylist(), strict=True):
        source = part_of.get(domain, sources[0])
        own = slice(first, first + count)
        cuts = np.searchsorted(starts[own], [start for start, _ in indices])
        for of_sequence, (start, stop) in zip(np.split(chunks[own], cuts[1:]), indices, strict=True):
            filled = tokens_of[source.name].put_row(of_sequence, row[start:stop])
            if filled < source.length:
                raise _too_few_tokens(source, row_id, filled)
        first += count
        advance(1)
    tokenizer = sources[0].session.joiner().tokenizer
    return write_shard(
        folder / dataset_layout.TOKENS,
        format,
        name,
        table,
        tokens,
        token_dtype(format, dtype, tokenizer.vocabulary_size),
        plain_text(sources),
    )


def _chunks_of(table: pa.Table, domain: str) -> Ordinals:
    """The chunks of the rows of a part; other parts count theirs from 0, too."""
    own = table.filter(pa.compute.equal(table.column("domain"), domain))
    chunks: Ordinals = own.column("spans").combine_chunks().flatten().field("chunk").to_numpy()
    return chunks


def _too_few_tokens(source: Source, row: str, tokens: int) -> NextlongError:
    return NextlongError(
        f"A sequence of row {row} has {tokens:,} tokens, not {source.length:,}: what the pool "
        f"{source.session.pool_folder} holds is not what the sequence was made from.",
        f"See what is damaged: nextlong verify {source.session.pool_folder}",
    )


def plain_text(sources: Sequence[Source]) -> Callable[[Tokens], str]:
    """What decodes a row of one sequence, without its begin and end tokens; these may differ from part to part."""
    tokenizer = sources[0].session.joiner().tokenizer
    bos = {token for source in sources for token in source.session.bos}
    eos = {token for source in sources for token in source.session.eos}

    def decode(row: Tokens) -> str:
        # Text is never encoded to special tokens, so one at an end is what was put there.
        first = int(row[0]) in bos
        last = len(row) - (int(row[-1]) in eos)
        return tokenizer.decode(row[int(first) : last])

    return decode
