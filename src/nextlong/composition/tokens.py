"""The tokens of chunks, as methods see them: how many, and joined."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from nextlong.composition.session import Session
from nextlong.pool.pool import Ordinals
from nextlong.records import Ends
from nextlong.tokenization.store import TokenStore
from nextlong.tokenization.tokenizer import Tokens


class ChunkTokens:
    """Counts and joins the tokens of a pool's chunks, for a dataset's tokenizer and separator."""

    def __init__(self, session: Session, put: Callable[[Ordinals], bool] | None = None) -> None:
        """Open the pool's token store.

        Args:
            session: the dataset.
            put: puts chunks into the store, in parallel, and says whether any were lacking. Without it, chunks that the
                store lacks are tokenised here, and forgotten.
        """
        self._session, self._put = session, put

    @cached_property
    def store(self) -> TokenStore:
        """What is stored."""
        return self._session.store()

    def lengths(self, chunks: Ordinals) -> Ordinals:
        """How many tokens each chunk adds to a sequence, the separator after it included. int64.

        Joining may add or remove a few, where tokens reach across a separator.
        """
        if self._put is not None and self._put(chunks):
            self.store = self._session.store()
        return self.store.lengths(chunks)

    def join(self, chunks: Ordinals) -> tuple[Tokens, Ends]:
        """The tokens of the text of these chunks, joined by the separator, and where each chunk ends in them. Both int32."""
        pool = self._session.pool()
        return self._session.joiner().join(self.store.units(chunks), lambda place: pool.texts(chunks[place : place + 1])[0])

    def row(self, chunks: Ordinals) -> Tokens:
        """The tokens of a sequence: the begin token, the chunks joined and cut to length, the end token. int32."""
        content = self.join(chunks)[0][: self._session.content]
        ends = (np.array(tokens, dtype=np.int32) for tokens in (self._session.bos, self._session.eos))
        return np.concatenate([next(ends), content, next(ends)])
