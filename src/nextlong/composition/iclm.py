"""``iclm``: In-Context Pretraining (Shi et al., ICLR 2024): a path through all documents, from one to a similar one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from nextlong.composition.document_graph import degrees, document_graph, open_document_graph, path
from nextlong.composition.documents import broken_documents, broken_order, places_in
from nextlong.composition.fill import concatenated, concatenation_units
from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.roots import draw_order
from nextlong.config import Part
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.derived import Derived
from nextlong.pool.document_vectors import document_vectors
from nextlong.pool.pool import Ordinals, Pool, open_pool


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
        pool = self.session.pool()
        return document_vectors(pool), document_graph(pool, self.options.neighbours)

    def units(self, wanted: int) -> Iterator[Unit]:
        """See :class:`~nextlong.composition.method.Method`."""
        order = documents_on_path(self.session.pool(), self.options.neighbours, self.options.start, self.session.config.seed)
        yield from concatenation_units(self, order, wanted, self.session.sequences_per_shard)

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from concatenated(self, unit)

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from broken_documents(sequence, may_begin_inside=True)
        session, options = self.session, self.options
        places = _on_path(session.pool_folder, session.pool_id, options.neighbours, options.start, session.config.seed)
        yield from broken_order(session, sequence, places, "on the path")

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        return {
            "documents in one piece, their chunks in order": "documents",
            "rows of whole documents that follow each other on the path, the first and the last cut": "rows",
        }


def documents_on_path(pool: Pool, neighbours: int, start: str, seed: int) -> Iterator[int]:
    """Every document of a pool once, along the path.

    Beside the graph, which is mapped, this holds some 40 bytes a document.

    Args:
        pool: whose graph of nearest documents was derived.
        neighbours, start: see :class:`IclmOptions`.
        seed: of the draw order.
    """
    graph = open_document_graph(pool, neighbours)
    starts = draw_order(pool.keys, seed)
    if start == "min-degree":
        starts = starts[np.argsort(degrees(graph)[starts], kind="stable")]
    yield from path(graph, starts)


@lru_cache(maxsize=2)
def _on_path(pool_folder: Path, pool_id: str, neighbours: int, start: str, seed: int) -> Ordinals:
    """The place of each document on the path, walked once in each process: int64 ``(documents,)``."""
    pool = open_pool(pool_folder, pool_id)
    on_path = documents_on_path(pool, neighbours, start, seed)
    return places_in(np.fromiter(on_path, dtype=np.int64, count=pool.documents))
