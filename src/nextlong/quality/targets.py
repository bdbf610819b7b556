"""Which chunks of a sequence the long-range gain is measured on, and which text far before them is in question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash

from nextlong.inspection.opened import NEGATIVE, Spans
from nextlong.pool.pool import Ordinals, Pool
from nextlong.tokenization.tokenizer import Tokenizer, Tokens

# Chunks that are measured in a sequence. Each costs a reading of all before it, and those of one sequence say much the same:
# more sequences tell more.
MOST_TARGETS = 2

# Draws of text from other documents before it is taken that there is none.
_DRAWS = 100


@dataclass(frozen=True, eq=False)
class TokenRow:
    """A sequence in the tokens of a model, without the begin token: chunk by chunk, each with the separator behind it.

    Attributes:
        ids: int32.
        starts, ends: where the text of each chunk begins and ends, the separator not included, int64.
        spans: the chunks.
    """

    ids: Tokens
    starts: Ordinals
    ends: Ordinals
    spans: Spans


@dataclass(frozen=True, eq=False)
class Target:
    """A chunk to measure.

    Attributes:
        place: among the chunks of the row.
        far: places of the chunks that are replaced.
        same: they are of its own document; else of the documents before it.
        distance: tokens from the end of the last one of them to the beginning of the chunk.
    """

    place: int
    far: Ordinals
    same: bool
    distance: int


def token_row(pool: Pool, spans: Spans, tokenizer: Tokenizer, separator: str, most: int) -> TokenRow:
    """A sequence in a model's own tokens.

    Every chunk is tokenised by itself, so that its tokens are the same whatever stands before it. The last chunk of a
    sequence, which is cut, is left out, and so is what comes after so many tokens.

    Args:
        pool: of the chunks.
        spans: of one sequence.
        tokenizer: the model's.
        separator: between chunks.
        most: tokens.
    """
    encoded = tokenizer.encode_batch([separator, *pool.texts(spans.chunks[:-1])])
    behind, texts = encoded[0], encoded[1:]
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths + len(behind))]).astype(np.int64)[: len(texts)]
    kept = int(np.searchsorted(starts + lengths, most, side="right"))
    ids = [part for text in texts[:kept] for part in (text, behind)]
    joined = np.concatenate([np.empty(0, dtype=np.int32), *ids]).astype(np.int32)
    return TokenRow(joined, starts[:kept], (starts + lengths)[:kept], spans)


def targets(row: TokenRow, local: int, generator: np.random.Generator) -> list[Target]:
    """The chunks of a sequence to measure, in order.

    Candidates are the chunks, negatives left out, of whose document an earlier chunk (no negative) ends so many tokens or
    more before them. Where a sequence of whole documents has none, candidates are those that have a chunk of another
    document so far before them. Of many some are drawn.

    Args:
        row: the sequence.
        local: tokens right before a chunk that are its local context.
        generator: for drawing.
    """
    places = np.arange(len(row.starts))
    documents, of_document = row.spans.documents[places], row.spans.roles[places] != NEGATIVE
    # [chunk, earlier chunk]: the latter ends before the local context of the former begins.
    far = (row.ends[None, :] <= row.starts[:, None] - local) & of_document[None, :] & of_document[:, None]
    far &= (row.ends > row.starts)[:, None] & (row.ends > row.starts)[None, :]
    same = documents[:, None] == documents[None, :]
    wanted = far & same
    is_same = bool(wanted.any())
    if not is_same:
        wanted = far & ~same
    candidates = np.flatnonzero(wanted.any(axis=1))
    if len(candidates) > MOST_TARGETS:
        candidates = np.sort(generator.choice(candidates, MOST_TARGETS, replace=False))
    found = []
    for place in candidates.tolist():
        replaced = np.flatnonzero(wanted[place])
        found.append(Target(place, replaced, is_same, int(row.starts[place] - row.ends[replaced].max())))
    return found


@dataclass(frozen=True, eq=False)
class OtherText:
    """Text of a pool's other documents, in tokens.

    Attributes:
        pool: where it comes from.
        tokenizer: whose tokens.
        separator: behind each chunk.
    """

    pool: Pool
    tokenizer: Tokenizer
    separator: str

    def instead(self, row: TokenRow, target: Target, generator: np.random.Generator) -> Tokens | None:
        """The row up to the end of a target, with other text in the place of the far chunks, token for token as long.

        The text comes from chunks drawn at random from documents of the pool that are not in the sequence; None if there
        are none.
        """
        ids = row.ids[: row.ends[target.place]].copy()
        present = np.unique(row.spans.documents)
        for place in target.far.tolist():
            other = self._tokens(int(row.ends[place] - row.starts[place]), present, generator)
            if other is None:
                return None
            ids[row.starts[place] : row.ends[place]] = other
        return ids

    def _tokens(self, length: int, present: Ordinals, generator: np.random.Generator) -> Tokens | None:
        parts: list[Tokens] = []
        missing = length
        for _ in range(_DRAWS + length):  # each brings a token at least, if there is any other document
            chunk = generator.integers(self.pool.chunks, size=1)
            if not np.isin(self.pool.documents_of(chunk), present)[0]:
                (ids,) = self.tokenizer.encode_batch([self.pool.texts(chunk)[0] + self.separator])
                parts.append(ids[:missing])
                missing -= len(parts[-1])
            if not missing:
                return np.concatenate(parts).astype(np.int32)
        return None


def sequence_generator(seed: int, identity: str) -> np.random.Generator:
    """What is drawn for a sequence: by (seed, its id), so that it does not depend on other sequences."""
    return np.random.default_rng([seed, xxhash.xxh3_64_intdigest(identity.encode())])
