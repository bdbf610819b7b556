"""``standard``: documents in random order, one after the other, cut to length: what pre-training usually does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nextlong.composition.documents import broken_documents, broken_order, drawn
from nextlong.composition.fill import concatenated, concatenation_units
from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.roots import draw
from nextlong.mining.neighbours import Neighbours


class Standard(Method):
    """Shuffled documents, each once."""

    NAME = "standard"
    SUMMARY = "documents in random order, one after the other"
    USES_ONCE = "chunk"

    def units(self, wanted: int) -> Iterator[Unit]:
        """See :class:`~nextlong.composition.method.Method`."""
        order = draw(self.session.pool().keys, self.session.config.seed)
        yield from concatenation_units(self, order, wanted, self.session.sequences_per_shard)

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from concatenated(self, unit)

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from broken_documents(sequence, may_begin_inside=True)
        places = drawn(self.session.pool_folder, self.session.pool_id, self.session.config.seed)[1]
        yield from broken_order(self.session, sequence, places, "in draw order")

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        return {
            "documents in one piece, their chunks in order": "documents",
            "rows of whole documents that follow each other in draw order, the first and the last cut": "rows",
        }
