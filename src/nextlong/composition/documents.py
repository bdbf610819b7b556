"""What methods that put whole documents together promise of every sequence, proven from the canonical table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nextlong.composition.roots import draw_order
from nextlong.composition.session import Session
from nextlong.index.protocol import SCORE_TOLERANCE
from nextlong.pool.document_vectors import open_document_vectors
from nextlong.pool.pool import Ordinals, open_pool


def broken_documents(sequence: dict[str, Any], may_begin_inside: bool) -> Iterator[str]:
    """What is wrong with the documents of a sequence, in words.

    Every document stands in one piece, its chunks in order and without gaps, and begins with its first chunk.

    Args:
        sequence: a row of the canonical table.
        may_begin_inside: the first document may go on from the sequence before.
    """
    spans = sequence["spans"]
    seen: set[str] = set()
    for place, span in enumerate(spans):
        before = spans[place - 1] if place else None
        if span["role"] != "document":
            yield f"span {place} has the role {span['role']!r}, not 'document'"
            return
        if before is not None and before["document"] == span["document"]:
            if span["position"] != before["position"] + 1 or span["group"] != before["group"]:
                yield f"span {place} is chunk {span['position']} of its document, behind chunk {before['position']}"
                return
            continue
        if span["document"] in seen:
            yield f"document {span['document']!r} stands in it twice"
            return
        seen.add(span["document"])
        if span["position"] and not (place == 0 and may_begin_inside):
            yield f"document {span['document']!r} begins with its chunk {span['position']}"
            return
        if span["group"] != len(seen) - 1:
            yield f"document {span['document']!r} has the number {span['group']}, not {len(seen) - 1}"
            return


@lru_cache(maxsize=2)
def drawn(pool_folder: Path, pool_id: str, seed: int) -> tuple[Ordinals, Ordinals]:
    """The draw order of a pool's documents, and each document's place in it; made once in each process.

    Both int64 ``(documents,)``: 16 bytes a document, and while it is made 16 more.
    """
    order = draw_order(open_pool(pool_folder, pool_id).keys, seed)
    return order, places_in(order)


def places_in(order: Ordinals) -> Ordinals:
    """The place of each document in an order of all documents. int64 ``(documents,)``."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def broken_whole(session: Session, sequence: dict[str, Any]) -> Iterator[str]:
    """Where a document other than the last one does not reach its last chunk, or the root is not the first, in words."""
    spans, pool = sequence["spans"], session.pool()
    if sequence["root"] != spans[0]["document"]:
        yield f"its root is {sequence['root']!r}, and its first document {spans[0]['document']!r}"
    chunks = np.array([span["chunk"] for span in spans], dtype=np.int64)
    documents = pool.documents_of(chunks)
    last = _lasts(documents)
    cut = last[chunks[last] + 1 != pool.first_chunk[documents[last] + 1]]
    if len(cut):
        span = spans[int(cut[0])]
        yield f"document {span['document']!r} ends with its chunk {span['position']}, which is not its last"


def _lasts(documents: Ordinals) -> Ordinals:
    """The spans with which documents end, but the last document. int64."""
    return np.flatnonzero(documents[1:] != documents[:-1])


def broken_order(session: Session, sequence: dict[str, Any], places: Ordinals, order: str) -> Iterator[str]:
    """Where the documents of a sequence do not follow each other in an order of all documents, in words.

    All but the last one reach their last chunk. Between sequences documents may be left out; that is not looked at.

    Args:
        session: the dataset.
        sequence: a row of the canonical table.
        places: as :func:`places_in` gives them.
        order: what the order is called.
    """
    yield from broken_whole(session, sequence)
    spans = sequence["spans"]
    documents = session.pool().documents_of(np.array([span["chunk"] for span in spans], dtype=np.int64))
    last = _lasts(documents)
    wrong = last[places[documents[last + 1]] != places[documents[last]] + 1]
    if len(wrong):
        one, other = (spans[int(wrong[0]) + after]["document"] for after in (0, 1))
        yield f"document {other!r} stands behind {one!r}, and does not follow it {order}"


def broken_scores(session: Session, sequence: dict[str, Any]) -> Iterator[str]:
    """Where documents are not in descending similarity to the first, or scores and ranks are not what they should be."""
    pool, spans = session.pool(), sequence["spans"]
    documents = pool.documents_of(np.array([span["chunk"] for span in spans], dtype=np.int64))
    vectors = open_document_vectors(pool)[0].take(documents).astype(np.float64)
    expected = np.where(documents == documents[0], 1.0, vectors @ vectors[0])
    scores = np.array([span["score"] for span in spans])
    wrong = np.flatnonzero(np.abs(expected - scores) > SCORE_TOLERANCE)
    if len(wrong):
        place = int(wrong[0])
        yield f"span {place} has score {scores[place]:.4f}, and the vectors give {expected[place]:.4f}"
    misplaced = [place for place, span in enumerate(spans) if span["rank"] != span["group"]]
    if misplaced:
        span = spans[misplaced[0]]
        yield f"span {misplaced[0]} has rank {span['rank']}, and is of document {span['group']} of the sequence"
    if (np.diff(scores[documents != documents[0]]) > 0).any():
        yield "its documents are not in descending similarity"
