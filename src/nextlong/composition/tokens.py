"""The tokens of chunks, as methods see them: how many, and joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, chain, pairwise

import numpy as np

from nextlong.composition.session import Session
from nextlong.pool.pool import Ordinals
from nextlong.records import Ends
from nextlong.tokenization.seams import EDGE
from nextlong.tokenization.splices import Spliced, Texts, spliced
from nextlong.tokenization.store import TokenStore
from nextlong.tokenization.tokenizer import Tokens
from nextlong.tokenization.units import Packed

_NONE = np.empty(0, dtype=np.int64)


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
        self._held = self._lengths = _NONE
        self._units: Packed | None = None

    @cached_property
    def store(self) -> TokenStore:
        """What is stored."""
        return self._session.store()

    def hold(self, chunks: Ordinals) -> None:
        """Find the tokens of these chunks, which will be asked for in parts, all at once. What was held before is not."""
        ordered = np.sort(chunks)
        self._held = ordered[np.flatnonzero(np.diff(ordered, prepend=-1))]
        self._units = self.store.find(self._held)
        self._lengths = self.store.lengths_of(self._units)

    def lengths(self, chunks: Ordinals) -> Ordinals:
        """How many tokens each chunk adds to a sequence, the separator after it included. int64.

        Joining may add or remove a few, where tokens reach across a separator.
        """
        if self._put is not None and self._put(chunks):
            self.store, self._held = self._session.store(), _NONE
        return self.store.lengths_of(self._found(chunks))

    def stored_lengths(self, chunks: Ordinals) -> Ordinals:
        """:meth:`lengths`, with -1 for chunks that the store does not hold."""
        places = self._places(chunks)
        return self.store.lengths_of(self.store.find(chunks)) if places is None else self._lengths[places]

    def ends(self, chunks: Ordinals) -> Ends:
        """Where each chunk ends in the joined tokens: what :meth:`join` gives, without making these. int32."""
        return self._spliced([chunks]).ends

    def ends_of_each(self, texts: Sequence[Ordinals]) -> list[Ends]:
        """:meth:`ends` of many texts, none of them empty, quicker than one by one."""
        joined = self._spliced(texts)
        return [joined.ends[first:last] for first, last in pairwise(joined.borders)]

    def join(self, chunks: Ordinals) -> tuple[Tokens, Ends]:
        """The tokens of the text of these chunks, joined by the separator, and where each chunk ends in them. Both int32."""
        joined = self._spliced([chunks])
        return np.concatenate([np.empty(0, dtype=np.int32), *chain(*joined.pieces())]), joined.ends

    def put_row(self, chunks: Ordinals, row: Tokens) -> int:
        """:meth:`put_rows` of one row: how many tokens the sequence has."""
        (filled,) = self.put_rows([chunks], [row])
        return filled

    def put_rows(self, sequences: Sequence[Ordinals], rows: Sequence[Tokens] | Tokens) -> list[int]:
        """Put the tokens of sequences into rows: the begin token, the chunks joined and cut to length, the end token.

        Args:
            sequences: the chunks of each.
            rows: int32, as long as sequences are.

        Returns:
            How many tokens each sequence has; a row is not touched if it is not filled.
        """
        session, joined = self._session, self._spliced(sequences)
        bos, eos, content = session.bos, session.eos, session.content
        filled = []
        for row, pieces, last in zip(rows, joined.pieces(), joined.borders[1:], strict=True):
            surplus = int(joined.ends[last - 1]) - content
            filled.append(len(row) + min(surplus, 0))
            if surplus < 0:
                continue
            while surplus:
                piece = pieces.pop()
                if len(piece) > surplus:
                    pieces.append(piece[: len(piece) - surplus])
                surplus -= min(len(piece), surplus)
            row[: len(bos)], row[len(row) - len(eos) :] = bos, eos
            np.concatenate(pieces, out=row[len(bos) : len(row) - len(eos)])
        return filled

    def _places(self, chunks: Ordinals) -> Ordinals | None:
        """Where chunks are among those that are held; None if one is not."""
        if not len(self._held):
            return None
        places = np.minimum(np.searchsorted(self._held, chunks), len(self._held) - 1)
        return places if np.array_equal(self._held[places], chunks) else None

    def _found(self, chunks: Ordinals) -> Packed:
        """Where the units of chunks lie; those that the store lacks are tokenised."""
        places = self._places(chunks)
        if places is None or self._units is None:
            return self.store.units(chunks)
        found = self._units.take(places)
        if found.home.min(initial=0) < 0:
            self.store.add_lacking(chunks, found)
        return found

    def _spliced(self, each: Sequence[Ordinals]) -> Spliced:
        chunks = np.concatenate([_NONE, *each])
        pool, ordinals = self._session.pool(), chunks.tolist()
        texts = Texts(
            lambda place: pool.texts(chunks[place : place + 1])[0],
            lambda place: pool.tail(ordinals[place], EDGE),
            lambda place: pool.head(ordinals[place], EDGE),
        )
        return spliced(self._session.joiner(), self._found(chunks), texts, list(accumulate(map(len, each), initial=0)))
