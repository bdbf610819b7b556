"""The draw of root documents: by (seed, document id), never by the order of work or of the corpus."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from nextlong.composition.negatives import paper_k
from nextlong.composition.session import Session
from nextlong.composition.tokens import ChunkTokens
from nextlong.config import DatasetConfig
from nextlong.pool.pool import Ordinals, Pool

# Whether a document fits is known when it is tokenised. One with more UTF-8 bytes than this for each token it may have
# is taken as too long without that; no tokenizer packs text so densely, save for runs of white space.
MOST_BYTES_PER_TOKEN = 24

# Documents drawn at first, and keys mixed at a time: 8 to 32 bytes each.
_FIRST_DRAWN = 1 << 16
_MIXED = 1 << 18
# How many values a hash has.
_HASHES = 1 << 64

# Documents looked at in one step beyond those still needed, so that few steps are needed.
_SURPLUS = 1.1


def draw_order(keys: npt.NDArray[np.uint64], seed: int) -> Ordinals:
    """Document ordinals in the order in which a seed draws them.

    The place of a document depends on its key and the seed alone, so other documents do not move it before or behind
    another one.

    Args:
        keys: uint64, the hash of each document's id.
        seed: any non-negative number.
    """
    return np.argsort(_mixed(np.asarray(keys), seed), kind="stable")


def draw(keys: npt.NDArray[np.uint64], seed: int) -> Iterator[int]:
    """The documents of :func:`draw_order`, one by one; memory grows with how many are taken, not with how many there are."""
    low, step = 0, _FIRST_DRAWN
    while low < _HASHES:
        # Hashes are even over their range, so a part of it has about as large a part of the documents.
        high = min(_HASHES, low + _HASHES * step // max(1, len(keys)))
        drawn = _drawn_between(keys, seed, low, high)
        for start in range(0, len(drawn), _FIRST_DRAWN):
            yield from drawn[start : start + _FIRST_DRAWN].tolist()
        low, step = high, 2 * step  # each step reads all keys, so there should be few


def _drawn_between(keys: npt.NDArray[np.uint64], seed: int, low: int, high: int) -> Ordinals:
    """The documents whose mixed keys are in ``[low, high)``, in draw order."""
    ordinals, hashes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.uint64)]
    for start in range(0, len(keys), _MIXED):
        mixed = _mixed(keys[start : start + _MIXED], seed)
        inside = np.flatnonzero((mixed >= np.uint64(low)) & (mixed <= np.uint64(high - 1)))
        ordinals.append(start + inside)
        hashes.append(mixed[inside])
    return np.concatenate(ordinals)[np.argsort(np.concatenate(hashes), kind="stable")]


def _mixed(keys: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    return splitmix64(keys ^ splitmix64(np.array([seed], dtype=np.uint64)))


def splitmix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The SplitMix64 generator's output for each state (Steele, Lea and Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def negatives_in_paper_mode(pool: Pool, document: int, config: DatasetConfig) -> int:
    """The paper's k for a root document; below 1 the document fills the sequence by itself."""
    return paper_k(
        config.length,
        pool.characters_of(document),
        len(pool.chunks_of(document)),
        pool.config.chunking.granularity,
        config.composition.characters_per_token,
        config.composition.oversampling,
    )


class RootDraw:
    """Root documents in the order of the draw, those that cannot be one left out.

    Attributes:
        passed_over: reason → how many documents were drawn and not taken for it.
    """

    def __init__(self, session: Session, tokens: ChunkTokens) -> None:
        """Begin a draw.

        Args:
            session: the dataset.
            tokens: counts the tokens of chunks.
        """
        self.passed_over: Counter[str] = Counter()
        self._session, self._tokens = session, tokens
        self._documents = self._candidates()
        self._ready: list[int] = []

    def take(self, amount: int) -> list[int]:
        """The next ``amount`` roots; fewer when the pool has no more."""
        size = 0
        while len(self._ready) < amount:
            # Each step opens the token store anew, so where few documents fit the steps grow.
            size = max(math.ceil((amount - len(self._ready)) * _SURPLUS + 1), 2 * size)
            step = list(islice(self._documents, size))
            if not step:
                break
            self._ready += self._fitting(step)
        taken, self._ready = self._ready[:amount], self._ready[amount:]
        return taken

    def _candidates(self) -> Iterator[int]:
        pool, config = self._session.pool(), self._session.config
        fewest, most = config.composition.min_meta_chunks, self._most_tokens()
        for document in draw(pool.keys, config.seed):
            chunks = pool.chunks_of(document)
            if len(chunks) < fewest:
                self.passed_over["too few chunks"] += 1
            elif self._surely_too_long(document, most):
                self.passed_over["too long"] += 1
            elif not pool.vectors.take(chunks).any(axis=1).all():
                self.passed_over["a chunk without a vector"] += 1
            else:
                yield document

    def _most_tokens(self) -> int | None:
        composition = self._session.config.composition
        if composition.mode == "paper":
            return None
        # A negative must be the chunk that is cut, so at least a token is left for one.
        return min(int(self._session.config.length * composition.max_root_fraction), self._session.content - 1)

    def _surely_too_long(self, document: int, most: int | None) -> bool:
        pool, config = self._session.pool(), self._session.config
        if most is None:
            return negatives_in_paper_mode(pool, document, config) < 1
        return bool(pool.bytes_of(pool.chunks_of(document)).sum() > most * MOST_BYTES_PER_TOKEN)

    def _fitting(self, documents: list[int]) -> list[int]:
        """Those of the documents that have no more tokens than a root may have."""
        most = self._most_tokens()
        if most is None:
            return documents
        pool = self._session.pool()
        chunks = [pool.chunks_of(document) for document in documents]
        lengths = self._tokens.lengths(np.concatenate(chunks))
        sums = np.add.reduceat(lengths, np.cumsum([0, *(len(own) for own in chunks[:-1])]))
        fitting = [document for document, tokens in zip(documents, sums.tolist(), strict=True) if tokens <= most]
        self.passed_over["too long"] += len(documents) - len(fitting)
        return fitting
