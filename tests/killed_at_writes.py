"""A program that runs ``nextlong`` commands, which are killed, again and again, until they end by themselves.

Standard input is a JSON object, name → arguments. Each run of a command is killed (by itself, with signal 9) at one of the
next files that it writes, either when the file is whole but does not bear its name yet, or when it does. So kills come
between any two things that a run does, wherever the processor is busy with others. The runs have one worker, and are forked
from this process, so that what they import is imported once. Each kill is a line of standard output: name and path.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from importlib import import_module
from pathlib import Path

from nextlong.cli.main import main
from nextlong.dataset import layout
from nextlong.pool import layout as pool_layout

# A run writes some 60 files; the first is always its plan.
MOST_WRITES = 22
MOST_KILLS = 7  # so that the longest run takes no more time than the others

_IMPORTED = (
    "bm25s",
    "faiss",
    "nextlong.api",
    "nextlong.composition.iclm",
    "nextlong.composition.knn",
    "nextlong.composition.nextlong",
    "nextlong.composition.quest",
    "pyarrow.parquet",
    "scipy.sparse",
    "tokenizers",
)


def run(name: str, write: int, before: bool, arguments: list[str]) -> None:
    """Run the command line; it ends here and now at a write."""
    written = 0
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        nonlocal written
        written += 1
        if written == write:
            if not before:
                rename(path, target)
            print(name, target, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]
    sys.argv = ["nextlong", *arguments]
    main()


def attempt(name: str, write: int, before: bool, arguments: list[str]) -> bool:
    """Run in a process of its own, to its end if ``write`` is 0; whether it was killed."""
    child = os.fork()
    if not child:
        code: object = 1
        try:
            run(name, write, before, arguments)
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"{name}: the run failed with {code}")
    return bool(code)


if __name__ == "__main__":
    layout.SHARD_TOKENS, pool_layout.SOURCE_GROUP_BYTES = int(sys.argv[1]), 1
    os.fsync = lambda _: None  # half of the time, and a kill, unlike a power cut, loses nothing of what was written
    for module in _IMPORTED:
        import_module(module)
    for name, arguments in json.load(sys.stdin).items():
        generator = random.Random(name)
        kills = 0
        while attempt(
            name, generator.randint(2, MOST_WRITES) if kills < MOST_KILLS else 0, generator.random() < 0.5, arguments
        ):
            kills += 1
