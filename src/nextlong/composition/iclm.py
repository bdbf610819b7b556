"""``iclm``: In-Context Pretraining (Shi et al., ICLR 2024): a path through all documents, from one to a similar one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nextlong.composition.documents import broken_documents
from nextlong.composition.fill import concatenated, concatenation_units
from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.roots import draw_order
from nextlong.config import Part
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.derived import Derived
from nextlong.pool.document_vectors import document_vectors, open_document_vectors
from nextlong.pool.pool import Ordinals

# Documents searched for in one call.
_BATCH = 4096


class IclmOptions(Part):
    """Options of ``iclm``.

    Attributes:
        neighbours: how many nearest neighbours of a document the path may go to.
        start: where a path begins, and begins anew when all neighbours were visited: ``min-degree`` (the paper's Algorithm
            1: the unvisited document that is a neighbour of, or has, the fewest others) or ``random`` (the authors' code).
    """

    neighbours: int = Field(default=10, gt=0)
    start: Literal["min-degree", "random"] = "min-degree"


class Iclm(Method):
    """Each document once, in the order of a greedy path through the graph of nearest neighbours."""

    NAME = "iclm"
    SUMMARY = "documents along a greedy path from each to its most similar unvisited neighbour"
    Options = IclmOptions
    USES_ONCE = "chunk"
    VERSION = 2

    def derived(self) -> Sequence[Derived]:
        """See :class:`~nextlong.composition.method.Method`."""
        return (document_vectors(self.session.pool()),)

    def units(self, wanted: int) -> Iterator[Unit]:
        """See :class:`~nextlong.composition.method.Method`."""
        graph = nearest_documents(self, self.options.neighbours)
        draw = draw_order(self.session.pool().keys, self.session.config.seed)
        by_degree = self.options.start == "min-degree"
        starts = draw[np.argsort(degrees(graph)[draw], kind="stable")] if by_degree else draw
        yield from concatenation_units(self, path(graph, starts), wanted, self.session.sequences_per_shard)

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from concatenated(self, unit)

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from broken_documents(sequence, may_begin_inside=True)

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        return {"documents in one piece, their chunks in order": "documents"}


def nearest_documents(method: Method, neighbours: int) -> npt.NDArray[np.int64]:
    """The nearest documents of every document of the pool, nearest first: int64 ``(documents, neighbours)``, -1 for none."""
    pool = method.session.pool()
    vectors, index = open_document_vectors(pool)
    graph = np.full((pool.documents, neighbours), -1, dtype=np.int64)
    batches = [np.arange(start, min(start + _BATCH, pool.documents)) for start in range(0, pool.documents, _BATCH)]
    # A document without a vector has no neighbours, and is none; its score of 0 means nothing.
    there = np.concatenate([vectors.take(documents).any(axis=1) for documents in batches])
    depth = min(neighbours + 1, pool.documents)
    deepest = min(depth + int((~there).sum()), pool.documents)
    for documents in batches:
        queries = vectors.take(documents)
        scores, found = index.search(queries, depth)
        found[~there[found] | (found == documents[:, None])] = -1
        known = (found >= 0) & there[documents][:, None]
        known &= np.cumsum(known, axis=1) <= neighbours  # a document with many equals may not find itself
        rows, places = np.nonzero(known)
        graph[documents[rows], (np.cumsum(known, axis=1) - 1)[rows, places]] = found[rows, places]
        # Where even dissimilar documents are neighbours, those without a vector stood before them.
        for row in np.flatnonzero(there[documents] & (scores[:, -1] <= 0)).tolist() if deepest > depth else ():
            (others,) = index.search(queries[row : row + 1], deepest)[1]
            others = others[there[others] & (others >= 0) & (others != documents[row])][:neighbours]
            graph[documents[row], : len(others)] = others
    return graph


def degrees(graph: npt.NDArray[np.int64]) -> Ordinals:
    """With how many other documents each one shares an edge: one of the two is a neighbour of the other. int64."""
    documents, neighbours = graph.shape
    source = np.repeat(np.arange(documents), neighbours)
    target = graph.ravel()
    edges = np.stack([source, target])[:, target >= 0]
    edges = np.unique(np.sort(edges, axis=0), axis=1)
    return np.bincount(edges.ravel(), minlength=documents).astype(np.int64)


def path(graph: npt.NDArray[np.int64], starts: Ordinals) -> Iterator[int]:
    """Every document once: each followed by its nearest unvisited neighbour, or by the next unvisited start.

    Args:
        graph: as :func:`nearest_documents` gives it.
        starts: every document once, in the order in which they may begin a path.
    """
    visited = np.zeros(len(graph), dtype=bool)
    for start in starts.tolist():
        current = start
        while not visited[current]:
            visited[current] = True
            yield current
            row = graph[current]
            unvisited = row[(row >= 0) & ~visited[row]]
            if len(unvisited):
                current = int(unvisited[0])
