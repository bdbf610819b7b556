"""Faults inside of processes, also of workers: every Python that finds this on its path imports it first.

- ``FAULT_KILL``: the process kills itself with signal 9 when it has written a file whose path contains this text, before the
  file gets its name; the file ``FAULT_ONCE`` says that it was done, and it is not done again.
- ``FAULT_CLOCK``: the clock of the wall jumps: each time it is asked it is some days off, forward or backward.
"""

import os


def _kill(text: str, once: str) -> None:
    import signal
    from pathlib import Path

    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if text in os.path.join(os.getcwd(), target):  # noqa: PTH109, PTH118
            try:
                os.close(os.open(once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return rename(path, target)
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]


def _jump(days: float) -> None:
    # Only where Python programs look. The type of datetime cannot be exchanged: libraries know its insides.
    import random
    import time

    generator, clock = random.Random(os.getpid()), time.time_ns

    def jumped() -> int:
        return clock() + int(generator.uniform(-days, days) * 86_400e9)

    time.time_ns, time.time = jumped, lambda: jumped() / 1e9


if "FAULT_KILL" in os.environ:
    _kill(os.environ["FAULT_KILL"], os.environ["FAULT_ONCE"])
if "FAULT_CLOCK" in os.environ:
    _jump(float(os.environ["FAULT_CLOCK"]))
