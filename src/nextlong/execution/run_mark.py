"""What a run leaves in a folder for as long as it works there.

By it other machines know that they see the same folder, and not one of the same name; and who works on after his turn knows
not to put anything into a folder that belongs to the next run: a worker whose run was killed, or a run in an object store
that stood still for so long that it was taken for dead.
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

Mark = tuple[Path, bytes]

# The mark of the run that this process works for, where another process holds the folder.
_for: Mark | None = None

# What this process has written into the marks of folders that it holds.
_held: dict[Path, bytes] = {}


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
        _held[mark] = content
        yield
    finally:
        _held.pop(mark, None)
        # Where it cannot be removed, nothing can be written, of which people hear; and the next run writes it anew.
        with suppress(OSError, NextlongError):
            # In an object store it may be that of a run which has taken over.
            if not isinstance(mark, ObjectPath) or content_of(mark) == content:
                mark.unlink(missing_ok=True)


def content_of(path: Path) -> bytes | None:
    """What is in a small file, or object, just now; None if it is not there."""
    if isinstance(path, ObjectPath):
        return object_store.read(path.place)
    return path.read_bytes() if path.is_file() else None


def held_mark(path: Path | None) -> Mark | None:
    """A mark with what this process has written into it, whatever is in it by now; None if it has not."""
    content = None if path is None else _held.get(path)
    return None if path is None or content is None else (path, content)


def work_for(mark: Mark | None) -> None:
    """From now on this process works for the run that left this mark, its file and what is in it; None for none."""
    global _for
    _for = mark


def check_run(path: Path) -> None:
    """Check that the run that this process works for is not over. Called before a file gets its name, or is removed.

    Args:
        path: of the file. Where this process itself holds a folder around it in an object store, the mark there is looked
            at, too; on this machine nobody can take over what a living process holds.

    Raises:
        NextlongError: it is over, so the file is not wanted any more.
    """
    held = [each for each in tuple(_held.items()) if isinstance(each[0], ObjectPath) and each[0].parent in path.parents]
    for mark, content in held if _for is None else [*held, _for]:
        if content_of(mark) != content:
            raise NextlongError(
                f"The run is over that this process works for in {mark.parent}: it was ended, or another one took over.",
                "Run the same command again, when no other one works there.",
            )
