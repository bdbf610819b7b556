"""``knn``: a document, and behind it the documents that are most like it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nextlong.composition.documents import broken_documents, broken_scores, broken_whole
from nextlong.composition.fill import Stream, chunks_of, placed_documents
from nextlong.composition.method import Draft, Method, Searched, Unit
from nextlong.composition.roots import draw
from nextlong.errors import NextlongError
from nextlong.index.protocol import Index
from nextlong.index.vectors import VectorShards
from nextlong.mining.nearest import Ask
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.derived import Derived
from nextlong.pool.document_vectors import document_vectors, open_document_vectors
from nextlong.pool.pool import Ordinals
from nextlong.records import Order
from nextlong.sizes import format_length

# Search for this many more documents than the average length asks for; where that does not suffice, for four times as many.
_SURPLUS = 1.5
_SURPLUS_DOCUMENTS = 16
_DEEPER = 4
# Documents searched for in one call.
_BATCH = 256


class Knn(Method):
    """Documents by descending similarity of their vectors to the root document's; none twice in a sequence."""

    NAME = "knn"
    SUMMARY = "a document, followed by the documents most similar to it"
    USES_ONCE = "root"
    SEARCHES = True

    def derived(self) -> Sequence[Derived]:
        """See :class:`~nextlong.composition.method.Method`."""
        return (document_vectors(self.session.pool()),)

    def units(self, wanted: int) -> Iterator[Unit]:
        """See :class:`~nextlong.composition.method.Method`."""
        vectors, _ = open_document_vectors(self.session.pool())
        for document in draw(self.session.pool().keys, self.session.config.seed):
            if vectors.take(np.array([document])).any():
                yield Unit(np.array([document], dtype=np.int64))
            else:
                self.documents_passed_over["without a vector"] += 1

    def search(self, units: Sequence[Unit]) -> Iterator[Searched]:
        """See :class:`~nextlong.composition.method.Method`."""
        for ask in self.asks(units):
            for found in self._found(ask):
                yield Searched(found, chunks_of(self.session, self._forecast(found)))

    def asks(self, units: Sequence[Unit]) -> Iterator[Ask]:
        """See :class:`~nextlong.composition.method.Method`."""
        roots = np.array([unit.documents[0] for unit in units], dtype=np.int64)
        for start in range(0, len(roots), _BATCH):
            some = roots[start : start + _BATCH]
            yield self._ask(some, max(self._depth(int(root)) for root in some))

    def searched(self) -> tuple[VectorShards, Index]:
        """See :class:`~nextlong.composition.method.Method`."""
        return open_document_vectors(self.session.pool())

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """See :class:`~nextlong.composition.method.Method`."""
        assert found is not None
        pool, searches = self.session.pool(), 0
        while True:
            documents = self._documents(found)
            for amount in _growing(len(self._forecast(found)), len(documents)):
                stream = Stream(self, chunks_of(self.session, documents[:amount]))
                ends = stream.fill()
                if ends is not None:
                    used = stream.chunks[: stream.at]
                    rest = stream.chunks[stream.at :]
                    dropped = rest[pool.documents_of(rest) == pool.documents_of(used[-1:])]
                    yield Draft(self._placed(found, used), ends, found.root, "", dropped, searched_deeper=searches > 0)
                    return
            if found.depth >= pool.documents:
                raise NextlongError(
                    f"The {len(documents):,} documents of the pool with a vector are together shorter than one sequence "
                    f"of {format_length(self.session.config.length)} tokens.",
                    "Ask for a shorter length, or add documents to the corpus.",
                )
            (found,) = self._found(self._ask(np.array([found.root]), max(1, found.depth) * _DEEPER))
            searches += 1

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from broken_documents(sequence, may_begin_inside=False)
        yield from broken_whole(self.session, sequence)
        yield from broken_scores(self.session, sequence)

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        return {
            "documents, none twice in a row, whole but the last": "documents",
            "rows of documents by descending similarity to the first, as the vectors have it": "rows",
        }

    def _ask(self, roots: Ordinals, depth: int) -> Ask:
        return Ask(roots, min(depth, self.session.pool().documents))

    def _found(self, ask: Ask) -> list[Neighbours]:
        """The nearest documents of each root. A document stands as its first chunk."""
        pool = self.session.pool()
        vectors, index = self.searched()
        scores, ordinals = self.nearest.find(ask, vectors, index)
        result = []
        for root, row, score in zip(ask.rows.tolist(), ordinals, scores, strict=True):
            others = (row >= 0) & (row != root) & (score > -np.inf)
            # A zero vector is like nothing, and its score of 0 means nothing.
            others[others] = vectors.take(row[others]).any(axis=1)
            first = np.array([pool.first_chunk[root]], dtype=np.int64)
            result.append(Neighbours(root, first, [pool.first_chunk[row[others]]], [score[others]], ask.depth))
        return result

    def _documents(self, found: Neighbours) -> Ordinals:
        return np.concatenate([[found.root], self.session.pool().documents_of(found.chunks[0])]).astype(np.int64)

    def _depth(self, root: int) -> int:
        pool = self.session.pool()
        tokens_per_byte = self._tokens_per_byte(root)
        document_tokens = pool.characters / pool.documents * tokens_per_byte
        return math.ceil(self.session.content / max(1.0, document_tokens) * _SURPLUS) + _SURPLUS_DOCUMENTS

    def _tokens_per_byte(self, root: int) -> float:
        chunks = self.session.pool().chunks_of(root)
        return float(self.tokens.lengths(chunks).sum() / max(1, self.session.pool().bytes_of(chunks).sum()))

    def _forecast(self, found: Neighbours) -> Ordinals:
        """The documents that the sequence will use, as far as lengths guessed from bytes can tell."""
        pool, documents = self.session.pool(), self._documents(found)
        sizes = np.array([pool.bytes_of(pool.chunks_of(document)).sum() for document in documents.tolist()])
        full = int(np.searchsorted(np.cumsum(sizes) * self._tokens_per_byte(found.root), self.session.content))
        return documents[: full + 1]

    def _placed(self, found: Neighbours, chunks: Ordinals) -> Order:
        order = placed_documents(self.session, chunks)
        order.ranks[:] = order.groups  # the documents stand in the order in which they were found, the root before them
        order.scores[:] = np.concatenate([[1.0], found.scores[0]])[order.groups]
        return order


def _growing(first: int, most: int) -> Iterator[int]:
    """``first``, then more and more, up to ``most``."""
    amount = min(first, most)
    while amount < most:
        yield amount
        amount = min(most, amount + max(1, amount // 2))
    yield most
