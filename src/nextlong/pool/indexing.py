"""Vectors → index: the one barrier of a pool."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from nextlong.config import IndexConfig
from nextlong.execution.files import atomic
from nextlong.execution.tasks import Outcome
from nextlong.index.choose import choose_kind
from nextlong.index.ivf import build_ivf
from nextlong.index.protocol import shards_for
from nextlong.index.vectors import VectorShards
from nextlong.pool import layout

VERSION = 2

# The index's training sample and its recall sample are drawn by this seed: a pool has no other randomness.
_SEED = 0


def build_index(folder: Path, shards: list[str], config: IndexConfig) -> Outcome:
    """Choose the index for the size of the pool, build it, and measure its recall against exact search."""
    vectors = VectorShards([folder / layout.VECTORS / f"{shard}.npy" for shard in shards])
    kind = choose_kind(config, vectors.count)
    if kind == "flat":  # searches the vectors themselves
        return Outcome([], vectors.count, {"kind": kind, "shards": shards_for(vectors.count)})
    path = folder / layout.INDEX / "ivf.faiss"
    with atomic(path) as temporary:
        report = build_ivf(vectors, temporary, seed=_SEED, recall_target=config.recall_target)
    return Outcome([path], vectors.count, {"kind": kind, **asdict(report)})
