"""A command run and watched: wall time, processor time, and the most memory that its processes held at once.

Counted is what the processes own: anonymous and shared memory, resident. Pages of memory-mapped files are counted apart,
that is not at all: the system drops them when it needs room.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.1
OWNED = ("RssAnon", "RssShmem")


@dataclass(frozen=True)
class Watched:
    """What a command took.

    Attributes:
        seconds: wall time.
        processor_seconds: of all its processes, in user and system mode.
        peak_bytes: the most memory that its processes owned together.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int


class PeakMemory:
    """The most ``bytes`` that a process (this one) and its children owned at once while the block ran."""

    def __init__(self, process: Callable[[], int] = os.getpid) -> None:
        self._process = process

    def __enter__(self) -> PeakMemory:
        self.bytes, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.bytes = max(self.bytes, sum(map(_owned, _family(self._process()))))


def watched(arguments: Sequence[str | Path]) -> Watched:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; its error output is shown.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with PeakMemory(lambda: process.pid) as memory:
        errors = process.communicate()[1]
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed:\n{errors}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Watched(seconds, used, memory.bytes)


def nextlong_command(*arguments: str) -> list[str]:
    """The command line of nextlong in this environment."""
    return [sys.executable, "-c", "from nextlong.cli.main import main; main()", *arguments]


def _family(pid: int) -> list[int]:
    try:
        children = [
            int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has ended meanwhile
        return []
    return [pid, *(grandchild for child in children for grandchild in _family(child))]


def _owned(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(OWNED))
