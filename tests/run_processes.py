"""Processes of runs, as `/proc` knows them, and waiting for something."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def group_members(group: int) -> list[int]:
    """Processes of a process group that are alive."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(its_group) == group and state != "Z":
            alive.append(int(path.parent.name))
    return alive


def workers_of(group: int) -> list[int]:
    """The worker processes of a run, which is a process group."""
    found = []
    for member in group_members(group):
        try:
            words = Path(f"/proc/{member}/cmdline").read_bytes()
        except OSError:
            continue
        if b"popen_loky" in words:
            found.append(member)
    return found


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Poll until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)
