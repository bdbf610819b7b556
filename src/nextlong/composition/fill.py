"""Filling sequences from chunks that stand in an order: as many as it takes, the last one cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.session import Session
from nextlong.pool.pool import Ordinals
from nextlong.records import Ends, Order

# A plan takes up so many characters for each token at first; where that was not enough, more. English has some 4.5.
_CHARACTERS_PER_TOKEN = 5


class Stream:
    """Chunks in an order, from which sequences are filled one after the other.

    Attributes:
        chunks: chunk ordinals, int64.
        at: how many of them are in sequences.
    """

    def __init__(self, method: Method, chunks: Ordinals) -> None:
        self.chunks, self.at = chunks, 0
        self._tokens, self._content = method.tokens, method.session.content
        self._tokens.hold(chunks)
        self._ends = np.cumsum(self._tokens.lengths(chunks))

    def fill(self) -> Ends | None:
        """Take the chunks of one sequence from the stream: until it is full, and not one more.

        Returns:
            Where each chunk taken ends in the joined tokens, int32; the last one ends at or behind the sequence's end.
            None if the rest of the stream does not suffice; the stream is then at its end.
        """
        before = int(self._ends[self.at - 1]) if self.at else 0
        stop = int(np.searchsorted(self._ends, before + self._content)) + 1
        while stop <= len(self.chunks):
            ends = self._tokens.ends(self.chunks[self.at : stop])
            if ends[-1] < self._content:
                stop += 1
                continue
            # Joining added tokens that the lengths had not counted. Without the last chunk, which may change the tokens
            # of the separator before it, they may be too few again.
            if len(ends) > 1 and ends[-2] >= self._content:
                fewer = self._tokens.ends(self.chunks[self.at : stop - 1])
                if fewer[-1] >= self._content:
                    stop -= 1
                    continue
            self.at = stop
            return ends
        self.at = len(self.chunks)
        return None


def chunks_of(session: Session, documents: Sequence[int] | Ordinals) -> Ordinals:
    """The chunk ordinals of documents, one document after the other."""
    pool = session.pool()
    return np.concatenate([pool.chunks_of(int(document)) for document in documents]).astype(np.int64)


def placed_documents(session: Session, chunks: Ordinals) -> Order:
    """Chunks as those of whole documents: documents are numbered in the order in which they come."""
    documents = session.pool().documents_of(chunks)
    _, firsts, number = np.unique(documents, return_index=True, return_inverse=True)
    order = Order.blank(len(chunks), "document")
    order.chunks[:], order.groups[:] = chunks, np.argsort(np.argsort(firsts))[number]
    return order


def concatenation_units(method: Method, order: Iterator[int], wanted: int, per_unit: int) -> Iterator[Unit]:
    """Documents in an order, cut into units of ``per_unit`` sequences: what :func:`concatenated` composes.

    A unit ends with a document: what is left of its last one is wasted, one document's rest in many sequences.

    Args:
        method: whose units they are.
        order: document ordinals, each once.
        wanted: how many sequences will be taken.
        per_unit: how many sequences a unit holds; the last may hold fewer.
    """
    session = method.session
    content = session.content
    documents: list[int] = []
    made = 0
    while made < wanted:
        sequences = min(per_unit, wanted - made)
        needed = sequences * content * _CHARACTERS_PER_TOKEN
        ended = False
        while True:
            taken = _take(session, order, needed)
            ended = ended or not taken
            documents += taken
            stops = _stops(method, documents, sequences)
            if len(stops) == sequences or ended:
                break
            needed = max(needed // 4, content * _CHARACTERS_PER_TOKEN)
        if not stops:
            return
        used = min(stops[-1], len(documents))
        yield Unit(np.array(documents[:used], dtype=np.int64), len(stops))
        documents = documents[used:]
        made += len(stops)


def _take(session: Session, order: Iterator[int], characters: int) -> list[int]:
    """The next documents that have so many characters together; fewer at the end."""
    pool, taken = session.pool(), []
    while characters > 0 and (document := next(order, None)) is not None:
        taken.append(document)
        characters -= pool.characters_of(document)
    return taken


def _stops(method: Method, documents: list[int], most: int) -> list[int]:
    """For each sequence that these documents fill, up to ``most``: how many of them are needed.

    That is up to the document of the chunk behind the sequence, since joining may save tokens that the lengths count.
    """
    if not documents:
        return []
    pool = method.session.pool()
    chunks = chunks_of(method.session, documents)
    ends = np.cumsum(method.tokens.lengths(chunks))
    borders = np.cumsum([len(pool.chunks_of(document)) for document in documents])
    stops: list[int] = []
    at = 0
    while len(stops) < most:
        before = int(ends[at - 1]) if at else 0
        at = int(np.searchsorted(ends, before + method.session.content)) + 1
        if at > len(chunks):
            break
        stops.append(int(np.searchsorted(borders, at, side="right")) + 1)
    return stops


def concatenated(method: Method, unit: Unit) -> Iterator[Draft]:
    """The sequences of a unit: its documents one after the other, cut to length.

    A document that does not end with a sequence goes on in the next one with its next chunk, so that of each sequence only
    the rest of its last chunk is lost.
    """
    stream = Stream(method, chunks_of(method.session, unit.documents))
    pool = method.session.pool()
    for number in range(unit.sequences):
        first = stream.at
        ends = stream.fill()
        if ends is None:
            return
        order = placed_documents(method.session, stream.chunks[first : stream.at])
        last = number == unit.sequences - 1
        dropped = stream.chunks[stream.at :] if last else stream.chunks[:0]
        root = int(pool.documents_of(stream.chunks[first : first + 1])[0])
        yield Draft(order, ends, root, unit.topic, dropped)
