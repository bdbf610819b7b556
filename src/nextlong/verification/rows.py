"""The invariants of one row: a sequence of the canonical table and its tokens (or text) as written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.composition.method import Method
from nextlong.composition.session import Session

# What a decoder gives for the bytes of a character that the end of the row has cut in two.
_CUT_CHARACTER = "\ufffd"


@dataclass(frozen=True)
class Row:
    """A sequence as it lies on disk.

    Attributes:
        sequence: the row of the canonical table.
        written: its tokens, or its text in a format of text.
    """

    sequence: dict[str, Any]
    written: npt.NDArray[np.int32] | str

    def column(self, name: str) -> npt.NDArray[Any]:
        """A field of all spans."""
        return np.array([span[name] for span in self.sequence["spans"]])


def row_failures(session: Session, method: Method, row: Row) -> Iterator[str]:
    """Everything that is wrong with a row that this method made, in words."""
    if not row.sequence["spans"]:
        yield "it has no spans"
        return
    yield from _length_failures(session, row)
    if not isinstance(row.written, str) and len(row.written):
        known, most = session.joiner().tokenizer.vocabulary_size, row.written.max()
        if not 0 <= row.written.min() <= most < known:
            yield f"its tokens are from {row.written.min()} to {most}, and the tokenizer has {known:,}"
            return
    yield from _provenance_failures(session, row)
    yield from method.failures(row.sequence)
    yield from _text_failures(session, row)


def _length_failures(session: Session, row: Row) -> Iterator[str]:
    length, first = session.config.length, len(session.bos)
    starts, ends = row.column("token_start"), row.column("token_end")
    if starts[0] != first or ends[-1] != length - len(session.eos):
        yield f"its spans go from token {starts[0]} to {ends[-1]}, not from {first} to {length - len(session.eos)}"
    if (starts[1:] != ends[:-1]).any() or (ends < starts).any():
        place = int(np.flatnonzero((starts[1:] != ends[:-1]) | (ends < starts)[1:])[0])
        yield f"span {place + 1} begins at token {starts[place + 1]}, and span {place} ends at {ends[place]}"
    if isinstance(row.written, str):
        return
    if len(row.written) != length:
        yield f"it has {len(row.written):,} tokens, not {length:,}"
    for name, expected, found in (("begin", session.bos, row.written[:1]), ("end", session.eos, row.written[-1:])):
        if expected and found.tolist() != expected:
            yield f"its {name} token is {found.tolist()}, not {expected}"


def _provenance_failures(session: Session, row: Row) -> Iterator[str]:
    pool, chunks = session.pool(), row.column("chunk")
    if chunks.min() < 0 or chunks.max() >= pool.chunks:
        yield f"it refers to chunk {chunks.max()}, and the pool has {pool.chunks:,}"
        return
    documents = np.array(pool.document_ids(pool.documents_of(chunks)))
    wrong = np.flatnonzero((documents != row.column("document")) | (pool.positions_of(chunks) != row.column("position")))
    if len(wrong):
        span = row.sequence["spans"][int(wrong[0])]
        yield f"span {wrong[0]} names chunk {span['position']} of document {span['document']!r}, which is not the pool's"
        return


def _text_failures(session: Session, row: Row) -> Iterator[str]:
    texts = session.pool().texts(row.column("chunk"))
    separator, joiner = session.config.composition.separator, session.joiner()
    if isinstance(row.written, str):
        text = row.written
    else:
        tokens = row.written[len(session.bos) : session.config.length - len(session.eos)]
        if not joiner.tokenizer.reversible:
            # Decoding such a tokenizer's tokens does not give the text; encoding the text must give the tokens.
            if joiner.exact and not np.array_equal(joiner.encode_text(texts)[: len(tokens)], tokens):
                yield "its tokens are not those of its chunks' text"
            return
        text = joiner.tokenizer.decode(tokens)
    if not joiner.tokenizer.reversible:
        return
    whole = separator.join([*texts, ""])
    least = len(separator.join([*texts[:-1], ""]))  # all but the last chunk is there in full
    if not whole.startswith(text):
        text = text.rstrip(_CUT_CHARACTER)
    if not whole.startswith(text):
        pairs = zip(whole, text, strict=False)
        place = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(whole), len(text)))
        found, expected = text[place : place + 20], whole[place : place + 20]
        yield f"its text differs from its chunks' at character {place:,}: {found!r}, not {expected!r}"
    elif len(text) < least:
        yield f"its text ends after {len(text):,} characters, before its last chunk begins at {least:,}"
