"""Vectors of documents: the mean of a document's chunk vectors, brought to length one; and an index over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from nextlong.config import IndexConfig, config_hash
from nextlong.embedding.vectors import to_unit_float16
from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array, save_array
from nextlong.execution.files import mapping, read_json, write_json
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Ledger, Outcome, Receipt, Task
from nextlong.index.choose import open_index
from nextlong.index.protocol import Index
from nextlong.index.vectors import VectorShards
from nextlong.pool import layout
from nextlong.pool.derived import Derived, read_from
from nextlong.pool.indexing import Vectors, fill_tasks, index_inputs, measured, train_tasks
from nextlong.pool.pool import Pool, open_pool

VERSION = 4


def document_vectors(pool: Pool) -> Derived:
    """The vectors of a pool's documents, and their index, of the kind that the pool's configuration says."""
    return Derived("document-vectors", (VERSION,), _STEPS)


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


def _made(pool: Pool, folder: Path) -> Vectors:
    receipts = {receipt.name: receipt for receipt in Ledger(folder).receipts("vectors")}
    made = [receipts[shard] for shard in pool.shards]
    checksums = tuple(checksum for receipt in made for checksum in receipt.checksums().values())
    return Vectors(folder, tuple(pool.shards), tuple(receipt.rows for receipt in made), checksums)


def _train_tasks(pool: Pool, folder: Path) -> list[Task]:
    return train_tasks(_made(pool, folder), folder / layout.INDEX, pool.config.index)


def _fill_tasks(pool: Pool, folder: Path) -> list[Task]:
    trained = Ledger(folder).receipts("train")
    return fill_tasks(_made(pool, folder), folder / layout.INDEX, pool.config.index, trained)


def _index_tasks(pool: Pool, folder: Path) -> list[Task]:
    vectors, ledger = _made(pool, folder), Ledger(folder)
    trained, filled = ledger.receipts("train"), ledger.receipts("fill")
    version = config_hash(pool.config.index, VERSION)
    arguments = (vectors, folder, pool.config.index, trained)
    return [Task("index", "all", index_documents, arguments, version, index_inputs(vectors, trained, filled))]


def index_documents(vectors: Vectors, folder: Path, config: IndexConfig, trained: Sequence[Receipt]) -> Outcome:
    """Write ``index.json``: the figures of the index."""
    path = folder / "index.json"
    write_json(path, measured(vectors, folder / layout.INDEX, config, trained))
    return Outcome([path], vectors.count)


_STEPS = ((_vector_tasks, "documents"), (_train_tasks, "vectors"), (_fill_tasks, "vectors"), (_index_tasks, "vectors"))


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
        return vectors, open_index(mapping(read_json(path), path, "kind", "shards"), folder / layout.INDEX, vectors)
