"""The graph of nearest documents that ``iclm`` walks: made shard by shard, kept in the pool."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextlong.config import config_hash
from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array, save_array
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Ledger, Outcome, Task
from nextlong.index.vectors import VectorShards
from nextlong.pool.derived import Derived, read_from
from nextlong.pool.document_vectors import document_vectors, open_document_vectors
from nextlong.pool.indexing import STAGES
from nextlong.pool.pool import Ordinals, Pool, open_pool

VERSION = 1

# Documents searched for in one call.
_BATCH = 4096
# Neighbours of neighbours compared at once, to find mutual ones: 8 bytes each.
_COMPARED = 1 << 22


def document_graph(pool: Pool, neighbours: int) -> Derived:
    """The nearest documents of each document of a pool; :func:`document_vectors` must be derived before it."""
    version = (VERSION, neighbours, *document_vectors(pool).version)
    return Derived("document-graph", version, ((partial(_graph_tasks, neighbours), "documents"),))


def _graph_tasks(neighbours: int, pool: Pool, folder: Path) -> list[Task]:
    made = Ledger(document_vectors(pool).folder(pool))
    vectors = config_hash([receipt.checksums() for stage in ("vectors", *STAGES) for receipt in made.receipts(stage)])
    version = config_hash(pool.id, VERSION, neighbours)
    return [
        Task(
            "graph", shard, nearest_documents, (pool.folder, pool.id, number, neighbours, folder), version, {"all": vectors}
        )
        for number, shard in enumerate(pool.shards)
    ]


def nearest_documents(pool_folder: Path, pool_id: str, shard: int, neighbours: int, folder: Path) -> Outcome:
    """Write ``<shard>.neighbours.npy``: the nearest others of each document of a shard, nearest first.

    int64 ``(documents, neighbours)``, -1 behind the last. A document without a vector has no neighbours, and is none.
    """
    pool = open_pool(pool_folder, pool_id)
    own = pool.documents_in(shard)
    graph = np.full((len(own), neighbours), -1, dtype=np.int64)
    for start in range(0, len(own), _BATCH):
        documents = np.arange(own.start + start, min(own.start + start + _BATCH, own.stop))
        graph[start : start + len(documents)] = _nearest(pool, documents, neighbours)
        advance(len(documents))
    path = _path(folder, pool.shards[shard])
    save_array(path, graph)
    return Outcome([path], len(own))


def _path(folder: Path, shard: str) -> Path:
    return folder / f"{shard}.neighbours.npy"


def _nearest(pool: Pool, documents: Ordinals, neighbours: int) -> Ordinals:
    vectors, index = open_document_vectors(pool)
    queries = vectors.take(documents)
    there: npt.NDArray[np.bool_] = (queries != 0).any(axis=1)
    depth = min(neighbours + 1, pool.documents)
    scores, found = index.search(queries, depth)
    _forget_blank(vectors, scores, found)
    found[found == documents[:, None]] = -1
    known = (found >= 0) & there[:, None]
    known &= np.cumsum(known, axis=1) <= neighbours  # a document with many equals may not find itself
    rows, places = np.nonzero(known)
    graph = np.full((len(documents), neighbours), -1, dtype=np.int64)
    graph[rows, (np.cumsum(known, axis=1) - 1)[rows, places]] = found[rows, places]
    # Where even dissimilar documents are neighbours, those without a vector stood before them.
    dissimilar = np.flatnonzero(there & (scores[:, -1] <= 0))
    deepest = min(depth + _blank_documents(tuple(vectors.paths)), pool.documents) if len(dissimilar) else depth
    for row in dissimilar.tolist() if deepest > depth else ():
        scores, found = index.search(queries[row : row + 1], deepest)
        _forget_blank(vectors, scores, found)
        others = found[0][(found[0] >= 0) & (found[0] != documents[row])][:neighbours]
        graph[row, : len(others)] = others
    return graph


def _forget_blank(vectors: VectorShards, scores: npt.NDArray[np.float32], found: Ordinals) -> None:
    """Put -1 where a document without a vector was found: its score of 0 means nothing, unlike another's."""
    rows, places = np.nonzero((scores == 0) & (found >= 0))
    if len(rows):
        blank = ~vectors.take(found[rows, places]).any(axis=1)
        found[rows[blank], places[blank]] = -1


@lru_cache(maxsize=2)
def _blank_documents(paths: tuple[Path, ...]) -> int:
    """How many documents have no vector. Few pools need to know, so it is counted when one does."""
    return sum(int((~block.any(axis=1)).sum()) for _, block in VectorShards(paths).blocks(_BATCH))


class DocumentGraph:
    """The nearest documents of every document, read through memory maps.

    Attributes:
        documents: how many there are.
        neighbours: how many nearest ones of each are known at most.
    """

    def __init__(self, paths: list[Path], documents: int, neighbours: int) -> None:
        """Open the shards.

        Raises:
            NextlongError: one is missing or damaged.
        """
        self.documents, self.neighbours = documents, neighbours
        self._shards = [_opened(path, documents, neighbours) for path in paths]
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self._firsts: list[int] = self._starts[:-1].tolist()
        if self._starts[-1] != documents:
            raise NextlongError(f"{paths[0].parent} knows {self._starts[-1]:,} documents; the pool has {documents:,}.")

    def of(self, document: int) -> Ordinals:
        """The nearest others of a document, nearest first: int64 ``(neighbours,)``, -1 behind the last."""
        shard = bisect_right(self._firsts, document) - 1
        row: Ordinals = self._shards[shard][document - self._firsts[shard]]
        return row

    def take(self, documents: Ordinals) -> Ordinals:
        """:meth:`of` for many documents: int64 ``(documents, neighbours)``."""
        found = np.empty((len(documents), self.neighbours), dtype=np.int64)
        home = np.searchsorted(self._starts, documents, side="right") - 1
        for shard in np.unique(home).tolist():
            places = np.flatnonzero(home == shard)
            found[places] = self._shards[shard][documents[places] - self._firsts[shard]]
        return found

    def blocks(self, rows: int) -> Iterator[tuple[Ordinals, Ordinals]]:
        """Documents, ``rows`` at a time, and :meth:`of` each."""
        for start in range(0, self.documents, rows):
            documents = np.arange(start, min(start + rows, self.documents))
            yield documents, self.take(documents)


def open_document_graph(pool: Pool, neighbours: int) -> DocumentGraph:
    """What :func:`document_graph` made.

    Raises:
        NextlongError: it is not there, or damaged.
    """
    folder = document_graph(pool, neighbours).folder(pool)
    with read_from(folder):
        return DocumentGraph([_path(folder, shard) for shard in pool.shards], pool.documents, neighbours)


def _opened(path: Path, documents: int, neighbours: int) -> Ordinals:
    shard = np.asarray(load_array(path, np.int64, 2))
    if shard.shape[1] != neighbours:
        raise NextlongError(f"{path} is damaged: it has {shard.shape[1]} neighbours of a document, not {neighbours}.")
    if shard.size and not (shard.min() >= -1 and shard.max() < documents):
        raise NextlongError(f"{path} names documents that the pool, of {documents:,}, does not have.")
    return shard


def degrees(graph: DocumentGraph) -> Ordinals:
    """With how many other documents each one shares an edge: one of the two is a neighbour of the other. int64.

    These are a document's neighbours and those whose neighbour it is, less those that are both. So edges need not be
    gathered: 16 bytes a document, and ``_COMPARED`` numbers.
    """
    total = np.zeros(graph.documents, dtype=np.int64)
    rows = max(1, _COMPARED // max(1, graph.neighbours) ** 2)
    for documents, nearest in graph.blocks(rows):
        known = nearest >= 0
        total[documents] += known.sum(axis=1)
        source, target = np.broadcast_to(documents[:, None], nearest.shape)[known], nearest[known]
        mutual = (graph.take(target) == source[:, None]).any(axis=1)
        np.add.at(total, target, 1)
        np.subtract.at(total, source, mutual.astype(np.int64))
    return total


def path(graph: DocumentGraph, starts: Ordinals) -> Iterator[int]:
    """Every document once: each followed by its nearest unvisited neighbour, or by the next unvisited start.

    Args:
        graph: the nearest documents.
        starts: every document once, in the order in which they may begin a path.
    """
    visited = np.zeros(graph.documents, dtype=bool)
    for start in starts:
        current = int(start)
        while not visited[current]:
            visited[current] = True
            yield current
            row = graph.of(current)
            unvisited = row[(row >= 0) & ~visited[row]]
            if len(unvisited):
                current = int(unvisited[0])
