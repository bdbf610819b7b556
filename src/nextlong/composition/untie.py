"""``untie``: Untie the Knots (Tian et al. 2024): the chunks of several documents, shuffled into each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import Field

from nextlong.composition.fill import Stream, chunks_of, concatenation_units, placed_documents
from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.roots import draw_order
from nextlong.config import Part
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.pool import Ordinals

# Keeps this draw apart from others of the same seed and document.
_SHUFFLE = 0x756E


class UntieOptions(Part):
    """Options of ``untie``.

    Attributes:
        piece: how many consecutive chunks of a document stay together: larger pieces than the pool's chunks.
        probability: that a sequence is shuffled; others are plain concatenations. The paper trains with 0.3 and 0.8 on the
            mixture that it shuffles; to compare methods, every sequence is.
    """

    piece: int = Field(default=1, gt=0, le=1 << 31)
    probability: float = Field(default=1.0, ge=0, le=1)


class Untie(Method):
    """Documents in random order, each once; within a sequence their chunks interleaved, those of a document in order.

    The paper also marks the chunks with tokens of its own, and has the model repeat their order at the end of a document;
    that needs a changed vocabulary and is left out here.
    """

    NAME = "untie"
    SUMMARY = "the chunks of several documents interleaved at random, those of a document in order"
    Options = UntieOptions
    USES_ONCE = "chunk"

    def units(self, wanted: int) -> Iterator[Unit]:
        """See :class:`~nextlong.composition.method.Method`."""
        order = draw_order(self.session.pool().keys, self.session.config.seed)
        yield from concatenation_units(self, iter(order.tolist()), wanted, self.session.sequences_per_shard)

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """The sequences of ``standard``, each shuffled; where that costs tokens at the joins, with a chunk more."""
        stream = Stream(self, chunks_of(self.session, unit.documents))
        pool = self.session.pool()
        for number in range(unit.sequences):
            first = stream.at
            if stream.fill() is None:
                return
            while True:
                chunks = self._interleaved(stream.chunks[first : stream.at])
                ends = self.tokens.join(chunks)[1]
                if ends[-1] >= self.session.content:
                    break
                if stream.at == len(stream.chunks):
                    return
                stream.at += 1
            dropped = stream.chunks[stream.at :] if number == unit.sequences - 1 else stream.chunks[:0]
            root = int(pool.documents_of(chunks[:1])[0])
            yield Draft(placed_documents(self.session, chunks), ends, root, "", dropped)

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """See :class:`~nextlong.composition.method.Method`."""
        last: dict[str, int] = {}
        for place, span in enumerate(sequence["spans"]):
            before = last.get(span["document"])
            if before is not None and span["position"] != before + 1:
                yield f"span {place} is chunk {span['position']} of its document, and the one before it was chunk {before}"
                return
            last[span["document"]] = span["position"]

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        return {"documents whose chunks are in order, without gaps": "documents"}

    def _interleaved(self, chunks: Ordinals) -> Ordinals:
        """The chunks shuffled by the piece, the pieces of a document in order; by (seed, first document)."""
        pool = self.session.pool()
        documents = pool.documents_of(chunks)
        generator = np.random.default_rng([self.session.config.seed, _SHUFFLE, int(pool.keys[documents[0]])])
        if generator.random() >= self.options.probability:
            return chunks
        borders = np.flatnonzero(np.diff(documents, prepend=-1))
        starts = np.concatenate(
            [
                np.arange(begin, end, self.options.piece)
                for begin, end in zip(borders, [*borders[1:], len(chunks)], strict=True)
            ]
        )
        pieces = np.split(chunks, starts[1:])
        # Each place of the sequence gets a document; a document's pieces then take its places in their order.
        places = generator.permutation(len(pieces))
        owner = documents[starts]
        order = np.empty(len(pieces), dtype=np.int64)
        for document in np.unique(owner).tolist():
            order[np.sort(places[owner == document])] = np.flatnonzero(owner == document)
        return np.concatenate([pieces[piece] for piece in order.tolist()])
