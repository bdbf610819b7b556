"""Shards of rows in a folder: written one by one, then indexed or joined as the format's readers want."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from nextlong.config import config_hash
from nextlong.execution.files import atomic
from nextlong.execution.run import Reads, Run
from nextlong.execution.tasks import Outcome, Receipt, Task
from nextlong.formats.protocol import Rows, Tokens, WrittenRow
from nextlong.formats.registry import FORMATS

VERSION = 1

# The name of the one shard that joins all.
JOINED = "rows"
_STAGES = ("write", "join", "list")


def shard_paths(folder: Path, format: str, name: str) -> list[Path]:
    """The files of a shard, the main one first."""
    return [folder / f"{name}{suffix}" for suffix in FORMATS[format].SUFFIXES]


def write_shard(
    folder: Path,
    format: str,
    name: str,
    table: pa.Table,
    tokens: Sequence[Tokens] | Tokens,
    dtype: str,
    decode: Callable[[Tokens], str],
) -> Outcome:
    """Write rows as the shard ``name`` of ``folder``; see :class:`~nextlong.formats.protocol.Rows` for the arguments."""
    paths = shard_paths(folder, format, name)
    with ExitStack() as stack:
        temporary = [stack.enter_context(atomic(path)) for path in paths]
        info = FORMATS[format].write(temporary, Rows(table, tokens, dtype, decode))
    return Outcome(paths, len(tokens), {"tokens": sum(map(len, tokens)), "format": info})


def write_all(
    run: Run, tasks: Sequence[Task], rows: int, format: str, folder: str, merge: bool, reads: Reads
) -> list[Receipt]:
    """Do the write tasks, then join their shards or list them in an index, and leave nothing else in the folder.

    Args:
        run: the claimed output folder.
        tasks: of the stage ``write``, named as their shards; each ends with :func:`write_shard`.
        rows: how many rows they write.
        format: the format's name.
        folder: where the shards lie, below the run's.
        merge: join them.
        reads: the files that the tasks read; see :meth:`~nextlong.execution.run.Run.stage`.

    Returns:
        The receipts of all that lies in the folder now.
    """
    inputs = {task.name: config_hash(task.config, task.inputs) for task in tasks}
    names = [task.name for task in tasks]
    version = config_hash(VERSION, format)
    if merge:
        join = Task("join", JOINED, join_shards, (run.folder, folder, format, names, rows), version, inputs)
        done = run.ledger.receipt(join)
        if done is None:
            run.require_intact(run.outputs(run.stage(tasks, "rows", rows, reads=reads), folder))
            (done,) = run.stage([join], "rows", rows)
        kept = [done]  # the shards are not needed any more
    else:
        kept = run.stage(tasks, "rows", rows, reads=reads)
        if index := FORMATS[format].INDEX:
            arguments = (run.folder, folder, format, names, [receipt.info["format"] for receipt in kept])
            kept += run.stage([Task("list", index, list_shards, arguments, version, inputs)], "shards", len(names))
    run.ledger.keep_stages(_STAGES, kept, folder)
    return kept


def join_shards(base: Path, folder: str, format: str, names: Sequence[str], rows: int) -> Outcome:
    """Join shards to the one named :data:`JOINED`."""
    sources = [shard_paths(base / folder, format, name)[0] for name in names]
    paths = shard_paths(base / folder, format, JOINED)
    with ExitStack() as stack:
        FORMATS[format].merge(sources, [stack.enter_context(atomic(path)) for path in paths])
    return Outcome(paths, rows)


def list_shards(base: Path, folder: str, format: str, names: Sequence[str], infos: Sequence[dict[str, Any]]) -> Outcome:
    """Write the format's file over all shards."""
    path = base / folder / str(FORMATS[format].INDEX)
    with atomic(path) as temporary:
        temporary.write_text(FORMATS[format].index(names, infos), encoding="utf-8")
    return Outcome([path], len(names))


def read_rows(folder: Path, format: str, name: str, first: int) -> tuple[Path, Iterator[WrittenRow]]:
    """The rows of a shard, wherever they lie now.

    Args:
        folder: of the shards.
        format: the format's name.
        name: the shard's.
        first: how many rows the shards before it have.

    Returns:
        The file, and its rows: those of the shard; behind them, where shards are joined, those of the following ones.
    """
    joined = shard_paths(folder, format, JOINED)[0]
    if joined.exists():
        return joined, FORMATS[format].read(joined, first)
    path = shard_paths(folder, format, name)[0]
    return path, FORMATS[format].read(path)


def is_joined(folder: Path, format: str) -> bool:
    """Whether the shards of a folder were joined."""
    return shard_paths(folder, format, JOINED)[0].exists()
