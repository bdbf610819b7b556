"""Parquet files, and what they share with other Arrow tables: columns of text and ids, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from nextlong.config import CorpusConfig
from nextlong.corpus.rows import DEFAULT_ID_COLUMN, column_error, document_from_row, quoted
from nextlong.corpus.source import Source, open_binary, reading_error
from nextlong.errors import NextlongError
from nextlong.records import Document, Reject

# Bounds memory: documents of web corpora are some kilobytes, books some megabytes.
ROWS_PER_BATCH = 128
# Fewer rows are read at once where these would be more, on average.
_BATCH_BYTES = 1 << 26

# Read column chunks in pieces of this size and not whole: a row group may hold gigabytes of text.
READ_BUFFER_BYTES = 1 << 20


def read_parquet(source: Source, config: CorpusConfig) -> Iterator[Document | Reject]:
    """The rows of a Parquet file in order, reading only the columns of text and id.

    A damaged file gives the rows before the damage, then one reject; a file without footer one reject of row 0.

    Raises:
        NextlongError: the file cannot be opened, the storage fails, or the table lacks a column of the right type.
    """
    for row, batch in _batches(source, lambda schema: needed_columns(schema, source.name, config)):
        yield from [batch] if isinstance(batch, Reject) else documents_of_batch(batch, row, config)


def table_rows(source: Source) -> Iterator[tuple[int, dict[str, object] | Reject]]:
    """The rows of a Parquet file in order, all their columns, each with its number; see :func:`read_parquet`."""
    for before, batch in _batches(source, lambda _: None):
        if isinstance(batch, Reject):
            yield batch.row, batch
            continue
        names = batch.schema.names
        keys = [name if names.count(name) == 1 else f"{name}#{place}" for place, name in enumerate(names)]
        try:
            columns = [column.to_pylist() for column in batch.columns]
        except UnicodeDecodeError:  # Arrow does not say where
            yield (
                before + 1,
                Reject(before + 1, f"here, or in one of the {batch.num_rows - 1:,} rows after, a text is not UTF-8"),
            )
            continue
        for row, values in enumerate(zip(*columns, strict=True), start=before + 1):
            yield row, dict(zip(keys, values, strict=True))


def _batches(
    source: Source, columns_of: Callable[[pa.Schema], list[str] | None]
) -> Iterator[tuple[int, pa.RecordBatch | Reject]]:
    """Batches of some columns of a Parquet file (None: all), each with the rows before it; a reject where it is damaged."""
    import pyarrow.parquet as pq

    row = 0
    with open_binary(source.location) as opened:
        try:
            table = pq.ParquetFile(opened, buffer_size=READ_BUFFER_BYTES)
            columns = columns_of(table.schema_arrow)
            # Group by group: a batch over two groups would be lost with the second, and its good rows with it.
            for group in range(table.num_row_groups):
                for batch in table.iter_batches(_rows_at_once(table, group), row_groups=[group], columns=columns):
                    yield row, batch
                    row += batch.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # names of columns may be no text
            # Arrow reports damaged content as an OSError too; those of the system carry a number.
            if isinstance(error, OSError) and error.errno is not None:
                raise reading_error(source.location, error) from None
            if row == 0:
                yield 0, Reject(0, "the Parquet file is damaged or ends early: no footer or no readable first row")
            else:
                yield row, Reject(row + 1, f"the Parquet file is damaged after row {row:,}; what follows is lost")
        except NextlongError:
            raise
        except Exception as error:  # Arrow lets the exceptions of every fsspec backend through
            raise reading_error(source.location, error) from None


def _rows_at_once(table: Any, group: int) -> int:
    """How many rows of a group to read at once, by the size that the file gives for it."""
    metadata = table.metadata.row_group(group)
    size = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
    return int(max(1, min(ROWS_PER_BATCH, _BATCH_BYTES // size)))


def needed_columns(schema: pa.Schema, source_name: str, config: CorpusConfig) -> list[str]:
    """The columns of a table that a corpus needs: text, and id where there is one.

    Raises:
        NextlongError: a column that the configuration names is missing, there twice, or of a type that cannot serve.
    """
    text_type = _column_type(schema, config.text_column, "text_column", source_name)
    if not (_holds_text(text_type) or pa.types.is_null(text_type)):
        raise NextlongError(
            f"The column {quoted(config.text_column)} of {source_name} is {text_type}, not text.",
            "Name the column that holds the text with `text_column`.",
        )
    if config.id_column is not None:
        id_type = _column_type(schema, config.id_column, "id_column", source_name)
        if not (_holds_text(id_type) or pa.types.is_integer(id_type) or pa.types.is_null(id_type)):
            raise NextlongError(
                f"The id column {quoted(config.id_column)} of {source_name} is {id_type}, not strings or integers.",
                "Name another column with `id_column`, or none: ids are then derived from the text.",
            )
        return list(dict.fromkeys([config.text_column, config.id_column]))
    if schema.names.count(DEFAULT_ID_COLUMN) == 1 and config.text_column != DEFAULT_ID_COLUMN:
        id_type = schema.field(DEFAULT_ID_COLUMN).type
        if _holds_text(id_type) or pa.types.is_integer(id_type):
            return [config.text_column, DEFAULT_ID_COLUMN]
    return [config.text_column]


def documents_of_batch(batch: pa.RecordBatch, rows_before: int, config: CorpusConfig) -> Iterator[Document | Reject]:
    """The documents of an Arrow batch (or table) of `needed_columns`."""
    names = batch.schema.names
    # As bytes: Arrow does not check that strings are UTF-8, and one bad value must cost one row.
    columns = [_as_binary(batch.column(index)).to_pylist() for index in range(len(names))]
    for row, values in enumerate(zip(*columns, strict=True), start=rows_before + 1):
        yield document_from_row(row, dict(zip(names, values, strict=True)), config)


def _column_type(schema: pa.Schema, column: str, option: str, source_name: str) -> pa.DataType:
    count = schema.names.count(column)
    if count == 0:
        raise column_error(source_name, column, option, schema.names)
    if count > 1:
        raise NextlongError(f"{source_name} has {count} columns {quoted(column)}.", "Give them names of their own.")
    return schema.field(column).type


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests)


def _as_binary(column: pa.Array) -> pa.Array:
    if not _holds_text(column.type):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_binary())
