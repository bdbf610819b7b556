"""Functions that worker processes import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from nextlong.errors import UsageError
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome


def square(number: int) -> int:
    """Report progress and answer, later for small numbers, so that answers come in another order."""
    time.sleep(0.02 * (5 - number) if number < 5 else 0)
    advance(number)
    return number * number


def killed(number: int) -> int:
    """Be killed, as by a machine that has run out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


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
