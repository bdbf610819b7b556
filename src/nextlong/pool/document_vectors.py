"""Vectors of documents: the mean of a document's chunk vectors, brought to length one; and an index over them."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from nextlong.config import IndexConfig, config_hash
from nextlong.embedding.vectors import to_unit_float16
from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array
from nextlong.execution.files import atomic, mapping, read_json, write_json
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Ledger, Outcome, Task
from nextlong.index.choose import choose_kind, open_index
from nextlong.index.ivf import IvfReport, build_ivf
from nextlong.index.protocol import Index, shards_for
from nextlong.index.vectors import VectorShards
from nextlong.pool import layout
from nextlong.pool.catalog import save_array
from nextlong.pool.derived import Derived, read_from
from nextlong.pool.pool import Pool, open_pool

VERSION = 3

# As for the index over chunks: a pool has no other randomness.
_SEED = 0


def document_vectors(pool: Pool) -> Derived:
    """The vectors of a pool's documents, and their index, of the kind that the pool's configuration says."""
    return Derived("document-vectors", (VERSION,), ((_vector_tasks, "documents"), (_index_tasks, "vectors")))


def _vector_tasks(pool: Pool, folder: Path) -> list[Task]:
    version = config_hash(pool.id, VERSION)
    return [
        Task("vectors", shard, mean_vectors, (pool.folder, pool.id, number, folder), version, {})
        for number, shard in enumerate(pool.shards)
    ]


def mean_vectors(pool_folder: Path, pool_id: str, shard: int, folder: Path) -> Outcome:
    """Write ``<shard>.npy``: float16 ``(documents, dimensions)``; a zero row for a document without any vector."""
    pool = open_pool(pool_folder, pool_id)
    name = pool.shards[shard]
    chunks = load_array(pool.folder / layout.VECTORS / f"{name}.npy", np.float16, 2)
    own = pool.documents_in(shard)
    starts = pool.first_chunk[own.start : own.stop] - pool.shard_start(shard)
    # The direction of the sum is that of the mean. Sums of such numbers are exact in float64, in any order.
    sums = np.add.reduceat(chunks.astype(np.float64), starts, axis=0)
    path = folder / f"{name}.npy"
    save_array(path, to_unit_float16(sums, lambda row: f"document {row} of shard {name}"))
    advance(len(starts))
    return Outcome([path], len(starts))


def _index_tasks(pool: Pool, folder: Path) -> list[Task]:
    inputs = {
        receipt.name: checksum for receipt in Ledger(folder).receipts("vectors") for checksum in receipt.checksums().values()
    }
    version = config_hash(pool.config.index, VERSION)
    return [Task("index", "all", index_documents, (folder, pool.shards, pool.config.index), version, inputs)]


def index_documents(folder: Path, shards: list[str], config: IndexConfig) -> Outcome:
    """Write ``index.json``, and ``ivf.faiss`` where there are many documents."""
    vectors = _vectors(folder, shards)
    kind = choose_kind(config, vectors.count)
    files, report = [folder / "index.json"], None
    if kind == "ivf":
        files.append(folder / "ivf.faiss")
        with atomic(files[1]) as temporary:
            report = asdict(build_ivf(vectors, temporary, seed=_SEED, recall_target=config.recall_target))
    write_json(files[0], {"kind": kind, "shards": shards_for(vectors.count), "report": report})
    return Outcome(files, vectors.count)


def _vectors(folder: Path, shards: list[str]) -> VectorShards:
    return VectorShards([folder / f"{shard}.npy" for shard in shards])


def open_document_vectors(pool: Pool) -> tuple[VectorShards, Index]:
    """The vectors of all documents by document ordinal, and the index that finds documents by them.

    A method that needs them names :func:`document_vectors` in :meth:`~nextlong.composition.method.Method.derived`.
    """
    return _opened(document_vectors(pool).folder(pool), tuple(pool.shards))


@lru_cache(maxsize=2)
def _opened(folder: Path, shards: tuple[str, ...]) -> tuple[VectorShards, Index]:
    path = folder / "index.json"
    with read_from(folder):
        vectors = _vectors(folder, list(shards))
        if not path.exists():
            raise NextlongError(f"{path} is missing.")
        known = mapping(read_json(path), path, "kind", "shards", "report")
        report = IvfReport(**known["report"]) if known["report"] else None
        return vectors, open_index(known["kind"], folder / "ivf.faiss", vectors, report, shards=known["shards"])
