"""Which index a pool gets, and opening it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args

from nextlong.config import IndexConfig
from nextlong.errors import NextlongError
from nextlong.index.cuvs import require_cuvs
from nextlong.index.flat import FlatIndex
from nextlong.index.ivf import IvfReport, load_ivf
from nextlong.index.protocol import Index
from nextlong.index.vectors import VectorShards

Kind = Literal["flat", "ivf", "cuvs"]

# In docs/indexes.md, with 141,708 vectors: a query of 1,024 at once, as a task of the search asks or more, takes 0.59 ms
# exactly and 0.17 ms with `ivf`, whose build takes some 10 s, so `ivf` pays from some 24,000 queries. A dataset asks 3,000
# to 100,000. In doubt exact is better: it is never wrong and needs no file.
FLAT_UP_TO = 200_000


def choose_kind(config: IndexConfig, count: int) -> Kind:
    """The kind of index for ``count`` chunks: what the configuration says; ``auto`` is exact up to `FLAT_UP_TO`."""
    if config.kind != "auto":
        return config.kind
    return "flat" if count <= FLAT_UP_TO else "ivf"


def open_index(figures: Mapping[str, Any], folder: Path, vectors: VectorShards, threads: int | None = None) -> Index:
    """The index of a pool, ready to search.

    Args:
        figures: what was written down when it was made: ``kind`` and ``shards``, and for ``ivf`` the rest of `IvfReport`.
        folder: where the files of an ``ivf`` index are; not used for the others.
        vectors: the pool's vectors.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.

    Raises:
        NextlongError: the files or the figures are missing, damaged, or made from other vectors.
        UsageError: the index needs a package that is not installed.
    """
    names = [each.name for each in fields(IvfReport)] if figures["kind"] == "ivf" else ["shards"]
    wrong = [name for name in names if not isinstance(figures.get(name), int | float) or figures[name] != figures[name]]
    if wrong or figures["kind"] not in get_args(Kind) or not 1 <= figures["shards"] <= max(1, vectors.count):
        raise NextlongError(
            f"What is written down of the index in {folder} is damaged" + (f": no `{wrong[0]}`." if wrong else "."),
            "Run `nextlong index` again: it makes what is missing.",
        )
    if figures["kind"] != "ivf":
        if figures["kind"] == "cuvs":
            require_cuvs()
        return FlatIndex(vectors, threads, figures["shards"], on_gpu=figures["kind"] == "cuvs")
    return load_ivf(folder, vectors, IvfReport(**{name: figures[name] for name in names}), threads)
