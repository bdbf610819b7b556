"""What some methods need of a whole pool, beyond what every pool has: made when first asked for, and kept in the pool."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from nextlong.config import config_hash
from nextlong.execution.files import explained, remove_leftovers
from nextlong.execution.run import Run
from nextlong.execution.tasks import Task
from nextlong.pool import layout
from nextlong.pool.pool import Pool


@dataclass(frozen=True)
class Derived:
    """Something made from the whole pool.

    Attributes:
        name: for people, such as ``document-vectors``.
        version: everything besides the pool that it depends on; plain values.
        steps: each a function of the pool and the folder to write that gives tasks, with the unit that they count; one step
            begins when the one before it is complete. Tasks write into the folder.
    """

    name: str
    version: tuple[object, ...]
    steps: Sequence[tuple[Callable[[Pool, Path], list[Task]], str]]

    def folder(self, pool: Pool) -> Path:
        """Where it lies."""
        return pool.folder / layout.DERIVED / f"{pool.id}-{self.name}-{config_hash(*self.version)}"


def derive(run: Run, pool: Pool, wanted: Derived) -> None:
    """Make what is missing of it, as stages of a run.

    Raises:
        NextlongError: the pool cannot be written, and a task's own.
    """
    folder = wanted.folder(pool)
    with held(folder):
        for make, unit in wanted.steps:
            run.add(make(pool, folder), unit, None, folder)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder in the pool for writing; another run that wants it waits.

    Raises:
        NextlongError: the pool cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise explained(error, folder) from error
    try:
        remove_leftovers(folder)  # of a run that was killed; a dataset's own are not here
        yield
    finally:
        lock.release()


def remove_outdated(pool_folder: Path, pool_id: str) -> None:
    """Remove what was made from an earlier state of the pool."""
    for folder in (pool_folder / layout.DERIVED).glob("*"):
        if not folder.name.startswith(f"{pool_id}-"):
            shutil.rmtree(folder)
