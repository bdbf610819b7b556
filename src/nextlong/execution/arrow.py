"""Arrow files that are memory-mapped, not read."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from nextlong.errors import NextlongError
from nextlong.execution.files import atomic


def write_arrow(path: Path, batch: pa.RecordBatch) -> None:
    """Write one record batch as an uncompressed Arrow file, which can be memory-mapped."""
    with (
        atomic(path) as temporary,
        pa.OSFile(os.fspath(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def open_arrow(path: Path) -> pa.RecordBatch:
    """Memory-map what :func:`write_arrow` wrote.

    Raises:
        NextlongError: the file is missing or damaged.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(os.fspath(path))).get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        raise NextlongError(
            f"{path} is missing or damaged: {error}.", "Delete it and run the command that made it again: only it is remade."
        ) from error
