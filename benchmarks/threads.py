"""Threads against processes: the same pool, made by as many workers either way, in turns.

    python benchmarks/threads.py CORPUS... --out RUN_FOLDER [--table docs/benchmark.md]

The corpus should have some files of about a size, which workers can share. Each run is a process of its own, so that
starting workers is counted. No stage begins before the one before it has ended, either way.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from markdown import write_table
from pipeline import machine
from watched import Watched, watched

import nextlong
from nextlong.config import PoolConfig, validated
from nextlong.execution.executor import ANY_WORKER, Needs
from nextlong.execution.local import LocalExecutor, default_workers
from nextlong.execution.progress import Advance, Quiet, send_progress_to
from nextlong.execution.run import read_metrics
from nextlong.pool.build import build

Result = TypeVar("Result")

REPEATS = 3
WAYS = ("processes", "threads")
STAGES = ("ingest", "fingerprint", "embed")


class Threads:
    """Runs tasks in threads of this process."""

    def __init__(self) -> None:
        self.workers = default_workers()

    def map(
        self, function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], show: Advance, needs: Needs = ANY_WORKER
    ) -> list[Result]:
        """See :class:`nextlong.execution.executor.Executor`."""
        send_progress_to(show)
        with ThreadPoolExecutor(min(self.workers, needs.workers or self.workers)) as pool:
            return list(pool.map(lambda each: function(*each), arguments))


class Processes:
    """Runs tasks in processes, a stage after the other."""

    def __init__(self) -> None:
        self._executor = LocalExecutor()
        self.workers = self._executor.workers

    def map(
        self, function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], show: Advance, needs: Needs = ANY_WORKER
    ) -> list[Result]:
        """See :class:`nextlong.execution.executor.Executor`."""
        return self._executor.map(function, arguments, show, needs)


def main() -> None:
    """Compare, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="a Markdown file; its table is replaced, the text around it kept")
    parser.add_argument("--way", choices=WAYS, help="make one pool, and say nothing")
    options = parser.parse_args()
    if options.way:
        _make(options.corpus, options.out, Threads() if options.way == "threads" else Processes())
        return
    taken: dict[str, list[tuple[Watched, dict[str, float]]]] = {way: [] for way in WAYS}
    for _ in range(REPEATS):
        for way in WAYS:
            folder = options.out / way
            shutil.rmtree(folder, ignore_errors=True)
            used = watched([sys.executable, __file__, *options.corpus, "--out", folder, "--way", way])
            stages = {line["stage"]: line["seconds"] for line in read_metrics(folder)}
            taken[way].append((used, {stage: stages[stage] for stage in STAGES}))
    vectors = [b"".join(path.read_bytes() for path in sorted((options.out / way / "vectors").iterdir())) for way in WAYS]
    assert vectors[0] == vectors[1], "the pools differ"
    pool = nextlong.Pool(options.out / WAYS[0])
    lines = [
        "| workers | wall time | processor time | memory | " + " | ".join(STAGES) + " |",
        "|---" * (4 + len(STAGES)) + "|",
        *(_row(way, min(runs, key=lambda run: run[0].seconds)) for way, runs in taken.items()),
        "",
        f"`python benchmarks/threads.py`: {pool.documents:,} documents, {pool.chunks:,} chunks, encoder "
        f"`{pool.config.encoder.name}`, {default_workers()} workers on {machine()}, {date.today().isoformat()};",
        f"the fastest of {REPEATS} runs. Stages in wall time; the same pool either way.",
    ]
    table = "\n".join(lines)
    print(table)
    if options.table:
        write_table(options.table, Path(__file__).name, table)


def _make(corpus: list[str], folder: Path, executor: Threads | Processes) -> None:
    sections = {"corpus": {"inputs": tuple(corpus)}, "index": {"kind": "flat"}}
    build(validated(PoolConfig, sections, "the benchmark"), folder, executor, Quiet())


def _row(way: str, run: tuple[Watched, dict[str, float]]) -> str:
    used, stages = run
    cells = [f"{used.seconds:.1f} s", f"{used.processor_seconds:.1f} s", f"{used.peak_bytes / 2**30:.2f} GiB"]
    return f"| {way} | " + " | ".join([*cells, *(f"{stages[stage]:.1f} s" for stage in STAGES)]) + " |"


if __name__ == "__main__":
    main()
