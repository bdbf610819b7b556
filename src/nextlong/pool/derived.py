"""What some methods need of a whole pool, beyond what every pool has: made when first asked for, and kept in the pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nextlong.config import config_hash
from nextlong.errors import NextlongError
from nextlong.execution.files import explained, without_leftovers
from nextlong.execution.locks import locked
from nextlong.execution.object_path import remove_folder
from nextlong.execution.run import Run
from nextlong.execution.tasks import Ledger, Task
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
    """Make what is missing of it, as stages of a run. Where nothing is, the pool need not be writable.

    Raises:
        NextlongError: the pool cannot be written, and a task's own.
    """
    folder = wanted.folder(pool)
    lacking = wanted.steps[_complete_steps(pool, wanted) :]
    if not lacking:
        return
    with held(folder, run.progress.say):
        for make, unit in lacking:
            run.add(make(pool, folder), unit, None, folder)


def _complete_steps(pool: Pool, wanted: Derived) -> int:
    """How many of the first steps have nothing to do."""
    folder = wanted.folder(pool)
    ledger = Ledger(folder)
    for number, (make, _) in enumerate(wanted.steps):
        if any(ledger.receipt(task) is None for task in make(pool, folder)):
            return number
    return len(wanted.steps)


@contextmanager
def read_from(folder: Path) -> Iterator[None]:
    """Around reading what lies in such a folder: whatever is wrong there, this is how it is mended.

    Raises:
        NextlongError: in place of one that knows nothing of the folder.
    """
    try:
        yield
    except NextlongError as error:
        raise NextlongError(
            error.message, f"Delete {folder} and run `nextlong synthesize` again: it is made anew, the same."
        ) from error


@contextmanager
def held(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a folder in the pool for writing; another run that wants it waits, and says so.

    Raises:
        NextlongError: the pool cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder, wait=True, say=say))
        except OSError as error:
            raise explained(error, folder) from error
        stack.enter_context(without_leftovers(folder))  # a dataset's own are not here
        yield


def remove_outdated(pool_folder: Path, pool_id: str) -> None:
    """Remove what was made from an earlier state of the pool."""
    for folder in (pool_folder / layout.DERIVED).glob("*"):
        if folder.is_dir() and not folder.name.startswith(f"{pool_id}-"):
            remove_folder(folder)
