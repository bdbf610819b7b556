"""Parquet tables of our own that are read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.errors import NextlongError

_REMAKE = "Delete it and run the command that made it again: only it is remade."


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a file, or some of its columns.

    Args:
        path: the Parquet file.
        schema: what it must hold.
        columns: which of its columns to read; None for all.

    Raises:
        NextlongError: the file is missing or damaged, or holds something else.
    """
    with _opened(path, schema) as file, _explained(path):
        table = file.read(columns=None if columns is None else list(columns))
        table.validate(full=True)
        return table


def count_rows(path: Path, schema: pa.Schema) -> int:
    """How many rows a table has; see :func:`read_table`."""
    with _opened(path, schema) as file:
        return int(file.metadata.num_rows)


def read_rows(path: Path, schema: pa.Schema, at_once: int) -> Iterator[dict[str, Any]]:
    """The rows of a table one by one, so many in memory at once; see :func:`read_table`."""
    with _opened(path, schema) as file:
        batches = file.iter_batches(batch_size=at_once)
        while True:
            with _explained(path):
                batch = next(batches, None)
                if batch is None:
                    return
                batch.validate(full=True)
            yield from batch.to_pylist()


def read_groups(path: Path, schema: pa.Schema, first: int) -> Iterator[tuple[int, pa.Table]]:
    """A table from row ``first`` on, by row groups, each with the number of its first row; see :func:`read_table`."""
    with _opened(path, schema) as file:
        before = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            skipped = max(0, first - before)
            if skipped < rows:
                with _explained(path):
                    table = file.read_row_group(group).slice(skipped)
                    table.validate(full=True)
                yield before + skipped, table
            before += rows


@contextmanager
def _opened(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    with _explained(path):
        file = pq.ParquetFile(path)
    with file:
        if not file.schema_arrow.equals(schema):
            raise NextlongError(f"{path} is damaged: it has other columns than {', '.join(schema.names)}.", _REMAKE)
        yield file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, MemoryError, UnicodeDecodeError) as error:
        raise NextlongError(f"{path} is missing or damaged: {error}.", _REMAKE) from error
