"""What runs in the processes of a Ray cluster: one call after the other, checked, with its progress told."""

from __future__ import annotations

import os
import pickle
import platform
import time
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nextlong
from nextlong.errors import NextlongError
from nextlong.execution.local import allow_many_open_files
from nextlong.execution.progress import send_progress_to
from nextlong.execution.run_mark import content_of, work_for

# How long a machine may take to see what another one has written: NFS looks anew after 60 seconds at most.
SEEN_WITHIN_SECONDS = 75.0

# How often to look whether a process has ended.
_LOOK_SECONDS = 0.01

Answer = tuple[bool, bytes, int]

_SHARE = (
    "All machines of the cluster must see the same folders under the same names: use a shared file system, or folders in an "
    "object store."
)


def work(expected: dict[str, Any], number: int, call: bytes) -> Answer:
    """Do one call.

    Args:
        expected: what the process must be fit for, and where it reports to: see :meth:`RayExecutor._expected`.
        number: under which the progress is told.
        call: a pickled function and its arguments.

    Returns:
        Whether it ended well; the result, pickled, or the error and its traceback, pickled; and the amount of progress.
    """
    # Plain values both ways: they must tell another version of nextlong that it is another version.
    told = _Told(expected["reports"], number, expected["seconds"])
    try:
        _prepare(expected)
        work_for(expected["shared"])
        send_progress_to(told.advance)
        function, arguments = _unpickled(call)
        return True, _pickled(function(*arguments)), told.amount
    except Exception as error:
        return False, _pickled_error(error), told.amount


class Worker:
    """An actor: does calls as :func:`work` does, in a process of its own, which keeps what they load."""

    def ready(self, expected: dict[str, Any]) -> Answer:
        """Whether calls can be done here; answers as :func:`work` does, with :func:`process`."""
        return work(expected, -1, _pickled((process, ())))

    def work(self, expected: dict[str, Any], number: int, call: bytes) -> Answer:
        """See :func:`work`."""
        return work(expected, number, call)


class Reports:
    """An actor: the latest amount that each call in work has told."""

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}

    def tell(self, number: int, amount: int) -> None:
        """So much of a call is done."""
        self._amounts[number] = amount

    def taken(self) -> dict[int, int]:
        """What was told since this was last asked."""
        amounts, self._amounts = self._amounts, {}
        return amounts


class _Told:
    """Tells a call's progress, now and then."""

    def __init__(self, reports: Any, number: int, seconds: float) -> None:
        self.amount = 0
        self._reports, self._number, self._seconds = reports, number, seconds
        self._last = time.monotonic()

    def advance(self, amount: int) -> None:
        self.amount += amount
        now = time.monotonic()
        if now - self._last >= self._seconds:
            self._last = now
            self._reports.tell.remote(self._number, self.amount)  # nobody waits for it to arrive


def machine() -> str:
    """This machine's name."""
    return platform.node()


def process() -> tuple[str, int]:
    """Where this process runs: the id of Ray's node, and its own there."""
    import ray

    return ray.get_runtime_context().get_node_id(), os.getpid()


def wait_for_ends(processes: Sequence[int], seconds: float) -> None:
    """Wait until none of some processes of this machine is there any more, or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(map(_lives, processes)):
        time.sleep(_LOOK_SECONDS)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's: one that got the number of a worker that has ended
        return False
    return True


def _prepare(expected: dict[str, Any]) -> None:
    """Check that this process is fit for the calls, and go to the working directory of the process that makes them."""
    if nextlong.__version__ != expected["version"]:
        raise NextlongError(
            f"{machine()} has nextlong {nextlong.__version__}, and the command was run with {expected['version']}.",
            "Install the same version on all machines of the cluster.",
        )
    allow_many_open_files()
    _go_to(Path(expected["folder"]), expected["shared"])
    if expected["shared"] is not None:
        check_shared(*expected["shared"])


def _go_to(folder: Path, shared: tuple[Path, bytes] | None) -> None:
    """Go to the working directory, to which relative paths are."""
    try:
        if Path.cwd() != folder:
            os.chdir(folder)
    except OSError as error:
        if shared is None or not shared[0].is_absolute():
            raise NextlongError(f"{machine()} cannot go to the folder {folder}: {error.strerror}.", _SHARE) from error
        os.chdir("/")  # what is named by URLs and whole paths is found without


@cache
def check_shared(path: Path, content: bytes) -> None:
    """Check, once in each process, that a file is on this machine what it is where the command was run.

    Raises:
        NextlongError: it is not, so its folder is not shared.
    """
    end = time.monotonic() + SEEN_WITHIN_SECONDS
    # A folder that is not there will not come; a file in one that is may be some seconds behind.
    while content_of(path) != content:
        if time.monotonic() > end or not path.parent.is_dir():
            raise NextlongError(
                f"{machine()} does not see the folder {path.parent} that the command works on"
                + (": it has another of that name." if path.parent.is_dir() else "."),
                _SHARE,
            )
        time.sleep(1)


def _unpickled(call: bytes) -> Any:
    try:
        return pickle.loads(call)  # noqa: S301  (made by the process that runs the command, and brought by Ray)
    except ImportError as error:
        raise NextlongError(
            f"{machine()} cannot import {error.name or error}, which the command uses.",
            "Install the same packages on all machines of the cluster.",
        ) from error


def _pickled(content: Any) -> bytes:
    from ray import cloudpickle

    pickled: bytes = cloudpickle.dumps(content)
    return pickled


def _pickled_error(error: Exception) -> bytes:
    text = traceback.format_exc()
    try:
        content = _pickled((error, text))
        pickle.loads(content)  # noqa: S301  (just made here: some errors can be written and not read)
        return content
    except Exception:  # whatever an error of some library may raise when it is written or read
        return _pickled((RuntimeError(f"{type(error).__name__}: {error}"), text))
