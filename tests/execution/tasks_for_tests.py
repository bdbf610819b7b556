"""Functions that worker processes import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from nextlong.errors import UsageError
from nextlong.execution import progress
from nextlong.execution.progress import advance, announce
from nextlong.execution.tasks import Outcome


def square(number: int) -> int:
    """Report progress and answer, later for small numbers, so that answers come in another order."""
    time.sleep(0.02 * (5 - number) if number < 5 else 0)
    advance(number)
    return number * number


def announces_and_waits(path: Path, number: int) -> bool:
    """Announce a path, and say whether somebody else has made a file there before long."""
    announce((path, number))
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    advance(number)
    return path.exists()


def makes(path: Path, number: int) -> bool:
    """Make the file that somebody waits for; its progress is nobody's business."""
    advance(1000)
    path.touch()
    return False


def waits_or_makes(path: Path, number: int) -> bool:
    """One of the two above: the one for a number above zero waits."""
    return announces_and_waits(path, number) if number else makes(path, number)


def announces_and_fails_later(path: Path, number: int) -> int:
    """Announce; what follows from that, which has the number 0, fails."""
    if number == 0:
        raise UsageError("no zero", "choose another")
    announce((path, number))
    time.sleep(0.5)
    return number


def killed(number: int) -> int:
    """Be killed, as by a machine that has run out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed_while_it_reports(number: int) -> int:
    """Be killed between taking the lock of the queue of reports and giving it back."""
    progress._sink.__self__._wlock.acquire()  # type: ignore[attr-defined]
    return killed(number)


def refused(number: int) -> int:
    """Fail with an error for people."""
    raise UsageError(f"no {number}", "choose another")


def failing(number: int) -> int:
    """Fail with an error that nobody foresaw."""
    raise ZeroDivisionError(str(number))


def write(path: Path, content: str) -> Outcome:
    """Write a file."""
    path.write_text(content)
    return Outcome([path], 1)


def write_and_fail(path: Path, content: str) -> Outcome:
    """Write a file, and fail before there is a receipt."""
    write(path, content)
    raise ZeroDivisionError
