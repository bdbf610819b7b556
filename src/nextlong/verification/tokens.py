"""The tokens of a row, and where its spans end in them, against its chunks' texts tokenised anew."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nextlong.composition.session import Session
from nextlong.verification.rows import Row


def token_failures(session: Session, row: Row) -> Iterator[str]:
    """What is wrong with the tokens and the borders of spans, in words.

    The right text is not enough: the same text can be spelled in other tokens than the tokenizer's, and spans that meet
    at a wrong token have the right sum. The pool's stored tokens are not used.
    """
    joiner = session.joiner()
    texts = session.pool().texts(row.column("chunk"))
    tokens, ends = joiner.join(joiner.encode_units(texts), texts)
    first = len(session.bos)
    ends = np.minimum(ends, session.content) + first
    wrong = np.flatnonzero(ends != row.column("token_end"))
    if len(wrong):
        place = int(wrong[0])
        yield f"span {place} ends at token {row.column('token_end')[place]}, and its chunk at {ends[place]}"
    if isinstance(row.written, str):
        if row.written != joiner.tokenizer.decode(tokens[: session.content]):
            yield "its text is not that of its tokens"
        return
    written, expected = row.written[first : first + session.content], tokens[: session.content]
    if len(written) == len(expected) and (written != expected).any():
        place = int(np.flatnonzero(written != expected)[0])
        yield f"its token {place + first} is {written[place]}, and the tokenizer gives {expected[place]}"
