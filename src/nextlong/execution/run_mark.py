"""What a run leaves in a folder for as long as it works there.

By it other machines know that they see the same folder, and not one of the same name; and a worker that lives on after its
run was killed, out of reach on another machine, knows not to put anything into a folder that belongs to the next run.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nextlong.errors import NextlongError
from nextlong.execution import object_store
from nextlong.execution.object_path import ObjectPath

MARK = ".run"

_for: tuple[Path, bytes] | None = None


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Leave a new mark in a folder, whose lock must be held.

    Raises:
        OSError: the folder cannot be written.
    """
    mark, content = folder / MARK, uuid.uuid4().hex.encode()
    try:
        if isinstance(mark, ObjectPath):
            object_store.write(mark.place, content)
        else:
            # Into the file that is there, if any: machines of a network file system look at what is in a file when they
            # open it, but may go on for a while to open one that was replaced.
            mark.write_bytes(content)
        yield
    finally:
        # Where it cannot be removed, nothing can be written, of which people hear; and the next run writes it anew.
        with suppress(OSError, NextlongError):
            mark.unlink(missing_ok=True)


def content_of(path: Path) -> bytes | None:
    """What is in a small file, or object, just now; None if it is not there."""
    if isinstance(path, ObjectPath):
        return object_store.read(path.place)
    return path.read_bytes() if path.is_file() else None


def work_for(mark: tuple[Path, bytes] | None) -> None:
    """From now on this process works for the run that left this mark, its file and what is in it; None for none."""
    global _for
    _for = mark


def check_run() -> None:
    """Check that the run that this process works for is not over. Called before a file gets its name.

    Raises:
        NextlongError: it is over, so the file is not wanted any more.
    """
    if _for is not None:
        path, content = _for
        if content_of(path) != content:
            raise NextlongError(f"The run is over that this process works for in {path.parent}.")
