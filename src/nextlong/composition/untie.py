"""``untie``: Untie the Knots (Tian et al. 2024): the chunks of several documents, shuffled into each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import Field

from nextlong.composition.documents import drawn
from nextlong.composition.fill import Stream, chunks_of, concatenation_units, placed_documents
from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.roots import draw
from nextlong.config import Part
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.pool import Ordinals, Pool
from nextlong.records import Ends

# Keeps this draw apart from others of the same seed and document.
_SHUFFLE = 0x756E

# More than joining saves of the tokens of a chunk, as they are counted alone, on the average of a sequence.
_SAVED_AT_A_JOINT = 2


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
        order = draw(self.session.pool().keys, self.session.config.seed)
        yield from concatenation_units(self, order, wanted, self.session.sequences_per_shard)

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """The sequences of ``standard``, each shuffled; where that costs tokens at the joins, with a chunk more."""
        stream = Stream(self, chunks_of(self.session, unit.documents))
        pool = self.session.pool()
        for number in range(unit.sequences):
            taken = self._taken(stream)
            if taken is None:
                return
            chunks, ends = taken
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
            group = list(last).index(span["document"]) if before is None else span["group"]
            if (span["role"], span["group"]) != ("document", group):
                yield f"span {place} is {span['role']} {span['group']}, not document {group}"
                return
        if sequence["root"] != sequence["spans"][0]["document"]:
            yield f"its root is {sequence['root']!r}, and its first document {sequence['spans'][0]['document']!r}"
        yield from self._broken_draw(np.array([span["chunk"] for span in sequence["spans"]], dtype=np.int64))

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        return {
            "documents whose chunks are in order, without gaps": "documents",
            "rows of documents that follow each other in draw order, interleaved as the seed has it": "rows",
        }

    def _taken(self, stream: Stream) -> tuple[Ordinals, Ends] | None:
        """The chunks of the next sequence, interleaved, and where they end; None if the rest of the stream is too short."""
        first = stream.at
        if stream.fill() is None:
            return None
        while True:
            chunks = self._interleaved(stream.chunks[first : stream.at])
            ends = self.tokens.ends(chunks)
            if ends[-1] >= self.session.content:
                return chunks, ends
            if stream.at == len(stream.chunks):
                return None
            stream.at += 1

    def _broken_draw(self, chunks: Ordinals) -> Iterator[str]:
        """Where a sequence's chunks are not those that are drawn for it, interleaved as they are drawn.

        The sequence is made again from where it begins in the draw order. What is cut off may hold its first chunks there,
        so where that gives another one, from the chunk before, as long as such a sequence reaches its last chunk.
        """
        session, pool = self.session, self.session.pool()
        order, places = drawn(session.pool_folder, session.pool_id, session.config.seed)
        documents = pool.documents_of(chunks)
        by_draw = np.lexsort((chunks, places[documents]))
        begin, end = (int(chunks[by_draw[which]]) for which in (0, -1))
        expected = None
        for first in _backwards(pool, order, places, begin):
            stream = Stream(self, self._from(order, places, first))
            reached = np.flatnonzero(stream.chunks == end)
            if not len(reached) or not self._may_hold(stream.chunks[: reached[0]]):
                break
            taken = self._taken(stream)
            if taken is not None and np.array_equal(taken[0][: len(chunks)], chunks):
                return
            expected = taken[0] if expected is None and taken is not None else expected
        if expected is None or len(expected) < len(chunks):
            yield "its documents do not follow each other in draw order"
            return
        place = int(np.flatnonzero(expected[: len(chunks)] != chunks)[0])
        yield f"span {place} is chunk {chunks[place]}; documents in draw order, interleaved, have {expected[place]} there"

    def _may_hold(self, chunks: Ordinals) -> bool:
        """Whether a sequence may hold all these chunks and one more."""
        return int(self.tokens.lengths(chunks).sum()) < self.session.content + _SAVED_AT_A_JOINT * len(chunks)

    def _from(self, order: Ordinals, places: Ordinals, first: int) -> Ordinals:
        """The chunks in draw order from one on, more than a sequence takes."""
        place = int(places[self.session.pool().documents_of(np.array([first]))[0]])
        begun = first - int(self.session.pool().first_chunk[order[place]])
        amount = 8
        while True:
            chunks = chunks_of(self.session, order[place : place + amount])[begun:]
            if place + amount >= len(order) or not self._may_hold(chunks):
                return chunks
            amount *= 2

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


def _backwards(pool: Pool, order: Ordinals, places: Ordinals, chunk: int) -> Iterator[int]:
    """A chunk, and those before it in draw order, one after the other."""
    place = int(places[pool.documents_of(np.array([chunk]))[0]])
    own = pool.chunks_of(int(order[place]))
    yield from own[own <= chunk][::-1].tolist()
    for document in order[:place][::-1].tolist():
        yield from pool.chunks_of(document)[::-1].tolist()
