"""Which index a pool gets, and opening it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nextlong.config import IndexConfig
from nextlong.errors import NextlongError
from nextlong.index.flat import FlatIndex
from nextlong.index.ivf import IvfReport, load_ivf
from nextlong.index.protocol import Index
from nextlong.index.vectors import VectorShards

Kind = Literal["flat", "ivf"]

# Measured with 150,000 vectors of 256 dimensions, in processor time: a query for 130 neighbours takes 1.05 ms exactly and
# 0.37 ms with `ivf`, whose build takes 12 s, so `ivf` pays from ~17,000 queries. A dataset asks 3,000 to 100,000. An exact
# query grows with N, an `ivf` one with about its root. In doubt exact is better: it is never wrong and needs no file.
FLAT_UP_TO = 200_000


def choose_kind(config: IndexConfig, count: int) -> Kind:
    """The kind of index for ``count`` chunks: what the configuration says; ``auto`` is exact up to `FLAT_UP_TO`."""
    if config.kind != "auto":
        return config.kind
    return "flat" if count <= FLAT_UP_TO else "ivf"


def open_index(
    kind: Kind,
    folder: Path | None,
    vectors: VectorShards,
    report: IvfReport | None = None,
    threads: int | None = None,
    shards: int = 1,
) -> Index:
    """The index of a pool, ready to search.

    Args:
        kind: as `choose_kind` gave it when the pool was made.
        folder: where the files of an ``ivf`` index are; not used for ``flat``.
        vectors: the pool's vectors.
        report: what building them found out; not used for ``flat``.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.
        shards: into how many shards a ``flat`` index is divided, as it was decided when the pool was made.

    Raises:
        NextlongError: the files or their report are missing, damaged, or made from other vectors.
    """
    if kind == "flat":
        return FlatIndex(vectors, threads, shards)
    if folder is None or report is None:
        raise NextlongError(
            f"The pool has an `ivf` index but no {'folder' if folder is None else 'report'} for it.",
            "Run `nextlong index` again: it makes what is missing.",
        )
    return load_ivf(folder, vectors, report, threads)
