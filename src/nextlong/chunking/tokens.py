"""The lossless chunker with lengths counted in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nextlong.chunking.chunk import Chunk, chunks_between
from nextlong.chunking.grouping import Span, absorb_blank, group
from nextlong.chunking.splitting import split_span

# Tokenizers slow down on one huge string, so a paragraph of more characters than this for each token of the cap is cut up
# before it is encoded at all. Ordinary text has three to five characters a token.
_CHARACTERS_PER_TOKEN_LIMIT = 16
# The density of tokens varies within a paragraph: aim below the cap, so that few parts must be cut again.
_AIM = 0.9


class TokenEncoder(Protocol):
    """The part of a tokenizer that the chunker needs."""

    def encode_batch(self, texts: Sequence[str]) -> Sequence[npt.NDArray[np.integer]]:
        """The token ids of every text, without special tokens."""
        ...


def chunk_by_tokens(text: str, tokenizer: TokenEncoder, granularity: int, cap: int) -> list[Chunk]:
    r"""Cut a document into chunks of at most ``granularity`` tokens that give it back.

    The rules are those of :func:`~nextlong.chunking.lossless.chunk_lossless` with other lengths: a paragraph counts the
    tokens that it has by itself, a newline between paragraphs counts one towards the cap and none towards the granularity.
    A paragraph over the cap is split into parts of at most ``cap`` tokens each (a single character may have more). A whole
    chunk can have a few tokens more or less than its paragraphs by themselves.

    Args:
        text: the document.
        tokenizer: what counts.
        granularity: tokens, at least 1.
        cap: tokens, at least ``granularity``.
    """
    parts: list[Span] = []
    newlines: list[int] = []  # before each part
    for number, paragraph in enumerate(_paragraphs(text, tokenizer, cap)):
        pieces = _within_cap(text, paragraph, tokenizer, cap)
        parts += pieces
        newlines += [number] * len(pieces)
    content = list(accumulate(part.size for part in parts))
    weight = [tokens + breaks for tokens, breaks in zip(content, newlines, strict=True)]
    spans = [
        Span(parts[first].start, parts[stop - 1].end, weight[stop - 1] - weight[first] + parts[first].size)
        for first, stop in group(content, weight, granularity, cap)
    ]
    spans = absorb_blank(text, spans, cap, lambda span: _within_cap(text, [span], tokenizer, cap))
    return chunks_between(text, [(span.start, span.end) for span in spans])


def _paragraphs(text: str, tokenizer: TokenEncoder, cap: int) -> list[list[Span]]:
    """Every paragraph with its tokens, as one span or, when it is huge, several."""
    huge = cap * _CHARACTERS_PER_TOKEN_LIMIT
    places: list[tuple[int, int]] = []
    counts: list[int] = []  # of places in each paragraph
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        pieces = [(start, end)] if len(line) <= huge else split_span(text, start, end, huge)
        places += pieces
        counts.append(len(pieces))
        start = end + 1
    measured = iter(_measured(text, places, tokenizer))
    return [[next(measured) for _ in range(count)] for count in counts]


def _within_cap(text: str, spans: list[Span], tokenizer: TokenEncoder, cap: int) -> list[Span]:
    """Split the spans until each has at most ``cap`` tokens, or is one character."""
    done: list[Span] = []
    while spans:
        narrower: list[tuple[int, int]] = []
        for span in spans:
            characters = span.end - span.start
            if span.size <= cap or characters <= 1:
                done.append(span)
            else:
                width = min(max(int(characters * cap / span.size * _AIM), 1), characters - 1)
                narrower += split_span(text, span.start, span.end, width)
        spans = _measured(text, narrower, tokenizer)
    return sorted(done)


def _measured(text: str, places: list[tuple[int, int]], tokenizer: TokenEncoder) -> list[Span]:
    filled = [text[start:end] for start, end in places if end > start]
    tokens = map(len, tokenizer.encode_batch(filled) if filled else [])
    return [Span(start, end, next(tokens) if end > start else 0) for start, end in places]
