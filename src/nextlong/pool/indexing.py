"""Vectors → index: the one barrier of a pool.

An inverted file is made in three stages: ``train`` finds the centroids on a sample, ``fill`` puts the vectors of a shard of
the index into lists, a task for each, and ``index`` measures recall against exact search. Exact search needs only the last,
which then has little to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from nextlong.config import IndexConfig, config_hash
from nextlong.execution.executor import Needs
from nextlong.execution.intact import Checksums
from nextlong.execution.run import Run
from nextlong.execution.tasks import Outcome, Receipt, Task
from nextlong.index import build
from nextlong.index.choose import choose_kind, open_index
from nextlong.index.ivf import CENTROIDS
from nextlong.index.protocol import shard_ranges, shards_for
from nextlong.index.vectors import VectorShards
from nextlong.pool import layout

VERSION = 4
STAGES = ("train", "fill", "index")

# The index's training sample and its recall sample are drawn by this seed: a pool has no other randomness.
_SEED = 0


@dataclass(frozen=True)
class Vectors:
    """Vectors on disk that are to be indexed.

    Attributes:
        folder: where their files are.
        names: of the files, without ``.npy``, in order.
        rows: how many vectors each has.
        checksums: of each file.
    """

    folder: Path
    names: tuple[str, ...]
    rows: tuple[int, ...]
    checksums: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many there are in all."""
        return sum(self.rows)

    def inputs(self, within: range) -> dict[str, str]:
        """Name → checksum of the files with these rows."""
        ends = accumulate(self.rows)
        return {
            name: checksum
            for name, checksum, rows, end in zip(self.names, self.checksums, self.rows, ends, strict=True)
            if end > within.start and end - rows < within.stop
        }


def train_tasks(vectors: Vectors, folder: Path, config: IndexConfig) -> list[Task]:
    """The first stage of an inverted file in ``folder``; no task where none is wanted."""
    if choose_kind(config, vectors.count) != "ivf":
        return []
    version = config_hash(VERSION, vectors.count)
    return [Task("train", "all", train, (vectors, folder), version, vectors.inputs(range(vectors.count)))]


def fill_tasks(vectors: Vectors, folder: Path, config: IndexConfig, trained: Sequence[Receipt]) -> list[Task]:
    """The second stage: a task for each shard of the index."""
    if choose_kind(config, vectors.count) != "ivf":
        return []
    shards = shards_for(vectors.count)
    version = config_hash(VERSION, vectors.count, shards)
    centroids = trained[0].checksums()
    return [
        Task(
            "fill",
            f"{number:05d}",
            fill,
            (vectors, folder, number, shards),
            version,
            {**centroids, **vectors.inputs(within)},
        )
        for number, within in enumerate(shard_ranges(vectors.count, shards))
    ]


def index_inputs(vectors: Vectors, trained: Sequence[Receipt], filled: Sequence[Receipt]) -> dict[str, str]:
    """What the last stage reads."""
    made = {path: checksum for receipt in (*trained, *filled) for path, checksum in receipt.checksums().items()}
    return {**vectors.inputs(range(vectors.count)), **made}


def train(vectors: Vectors, folder: Path) -> Outcome:
    """Write ``centroids.npy``."""
    trained_on = build.train(_opened(vectors), folder, _SEED)
    return Outcome([folder / CENTROIDS], trained_on, {"trained_on": trained_on})


def fill(vectors: Vectors, folder: Path, number: int, shards: int) -> Outcome:
    """Write the files of one shard of the index."""
    return Outcome(build.fill(_opened(vectors), folder, number, shards), len(shard_ranges(vectors.count, shards)[number]))


def measured(vectors: Vectors, folder: Path, config: IndexConfig, trained: Sequence[Receipt]) -> dict[str, Any]:
    """The figures of the index: its kind, its shards, and those of `IvfReport`."""
    kind, shards = choose_kind(config, vectors.count), shards_for(vectors.count)
    if kind != "ivf":  # searches the vectors themselves
        figures = {"kind": kind, "shards": shards}
        if kind == "cuvs":
            build.require_equal(open_index(figures, folder, opened := _opened(vectors)), opened, _SEED)
        return figures
    trained_on = trained[0].info["trained_on"]
    report = build.calibrate(_opened(vectors), folder, shards, trained_on, _SEED, config.recall_target)
    return {"kind": kind, **asdict(report)}


def index(vectors: Vectors, folder: Path, config: IndexConfig, trained: Sequence[Receipt]) -> Outcome:
    """Find the settings of a search, and measure its recall."""
    return Outcome([], vectors.count, measured(vectors, folder, config, trained))


def build_index(run: Run, vectors: Vectors, config: IndexConfig, files: Checksums) -> list[Receipt]:
    """Choose the index for the size of the pool and build it, as stages of a run.

    Args:
        run: the pool's.
        vectors: those of the pool.
        config: which index.
        files: of the vectors, with their checksums.

    Returns:
        The receipts of all its tasks; the info of the last describes the index.
    """
    folder, alone = run.folder / layout.INDEX, Needs(workers=1)  # which takes all processors
    made: list[Receipt] = []

    def reads(_: Sequence[Task]) -> Checksums:
        return {**files, **run.outputs(made, layout.INDEX)}

    trained, filled = [], []
    if tasks := train_tasks(vectors, folder, config):
        made += (trained := run.stage(tasks, "vectors", None, needs=alone, reads=reads))
        made += (filled := run.stage(fill_tasks(vectors, folder, config, trained), "vectors", vectors.count, reads=reads))
    inputs = index_inputs(vectors, trained, filled)
    task = Task("index", "all", index, (vectors, folder, config, trained), config_hash(config, VERSION), inputs)
    made += run.stage([task], "vectors", None, needs=alone, reads=reads)
    run.ledger.keep_stages(STAGES, made, layout.INDEX)
    return made


def _opened(vectors: Vectors) -> VectorShards:
    return VectorShards([vectors.folder / f"{name}.npy" for name in vectors.names], vectors.rows)
