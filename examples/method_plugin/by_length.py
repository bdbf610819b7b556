"""A method of one's own for nextlong: documents in the order of their length, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nextlong.composition.documents import broken_documents
from nextlong.composition.fill import concatenated, concatenation_units
from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.roots import draw_order
from nextlong.config import Part
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.pool import Ordinals


class ByLengthOptions(Part):
    """Options of ``by-length``.

    Attributes:
        longest_first: go from the longest document to the shortest, not from the shortest to the longest.
    """

    longest_first: bool = False


class ByLength(Method):
    """Each document once, by its length in characters; documents of the same length in the order of the seed's draw."""

    NAME = "by-length"
    SUMMARY = "documents in the order of their length, one after the other"
    Options = ByLengthOptions
    USES_ONCE = "chunk"

    def units(self, wanted: int) -> Iterator[Unit]:
        """All documents in one order, cut into units of as many sequences as a shard of the dataset holds."""
        draw = draw_order(self.session.pool().keys, self.session.config.seed)
        order = draw[np.argsort(self._sort_keys(draw), kind="stable")]
        yield from concatenation_units(self, iter(order.tolist()), wanted, self.session.sequences_per_shard)

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """A unit's documents one after the other, cut to length."""
        yield from concatenated(self, unit)

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """What in a finished row breaks the two promises below."""
        yield from broken_documents(sequence, may_begin_inside=True)
        chunks = np.array([span["chunk"] for span in sequence["spans"]], dtype=np.int64)
        keys = self._sort_keys(self.session.pool().documents_of(chunks))
        for place in np.flatnonzero(np.diff(keys) < 0).tolist():
            before, after = (sequence["spans"][at]["document"] for at in (place, place + 1))
            yield f"document {after!r} stands behind {before!r}, against the order of their lengths"

    def promises(self) -> dict[str, str]:
        """What `nextlong verify` says that it has proved, and in what it is counted."""
        order = "descending" if self.options.longest_first else "ascending"
        return {
            "documents in one piece, their chunks in order": "documents",
            f"rows of documents in {order} order of length": "rows",
        }

    def _sort_keys(self, documents: Ordinals) -> Ordinals:
        """The characters of each document, below zero where the longest come first: the order is that of these."""
        pool = self.session.pool()
        characters = np.array([pool.characters_of(document) for document in documents.tolist()], dtype=np.int64)
        return -characters if self.options.longest_first else characters
