"""Functions that workers of a cluster import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from nextlong.execution.progress import advance


def killed_once(folder: Path, number: int) -> int:
    """Report progress, be killed the first time, and answer the second time."""
    advance(100)
    flag = folder / f"killed-{number}"
    if number % 3 == 0 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def told_and_killed_once(folder: Path) -> int:
    """Report progress for as long as it takes to arrive, be killed the first time, and report it again."""
    flag = folder / "told"
    for _ in range(5):
        advance(1)
        time.sleep(0.5)
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def doubled(numbers: np.ndarray) -> np.ndarray:
    """Change the argument, which must be the worker's own."""
    numbers *= 2
    return numbers


def placed() -> dict[str, str | None]:
    """Where and how a call works."""
    names = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    time.sleep(0.5)  # so that each worker gets some of the calls
    return {"process": str(os.getpid()), "folder": str(Path.cwd()), **{name: os.environ.get(name) for name in names}}


def slept(seconds: float, number: int) -> int:
    """Take a while."""
    time.sleep(seconds)
    advance(1)
    return number


_loads = 0


def loaded() -> int:
    """How many calls this process has done."""
    global _loads
    _loads += 1
    time.sleep(0.1)
    return _loads


def wrote(path: Path, seconds: float) -> None:
    """Write down when the call was at work, until its end or that of its process; report progress now and then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        advance(1)
        with path.open("a") as file:
            file.write(f"{os.getpid()} {time.time()}\n")
        time.sleep(0.05)


class Untold(Exception):
    """An error that can be written and not read."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def untold() -> None:
    """Fail with it."""
    raise Untold("one", "two")
