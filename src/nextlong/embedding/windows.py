"""Long texts in windows: how an encoder with a short input reads a whole chunk."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from nextlong.embedding.protocol import Vectors

_SPACE = re.compile(r"\s")


def windows(text: str, size: int) -> list[str]:
    """Cut a text into parts of at most ``size`` characters, about equally long, at white space where there is some.

    Equally long, because their vectors are averaged: a short rest would weigh as much as a full window. Joining the
    parts gives the text.
    """
    parts = []
    start = 0
    while len(text) - start > size:
        rest = len(text) - start
        target = -(-rest // -(-rest // size))
        cut = start + target
        # Never back by more than half, or a text with one early space would fall into crumbs.
        for position in range(cut, start + target // 2, -1):
            if _SPACE.match(text, position - 1):
                cut = position
                break
        parts.append(text[start:cut])
        start = cut
    parts.append(text[start:])
    return parts


def token_windows(text: str, budget: int, count: Callable[[str], int]) -> list[str]:
    """Cut a text into parts of at most ``budget`` tokens.

    Args:
        count: the number of tokens of a text, without special tokens.
    """
    tokens = count(text)
    if tokens <= budget or len(text) < 2:
        return [text]
    size = -(-len(text) // -(-tokens // budget))
    # Tokens are not spread evenly over the characters, so a part may still be too long.
    return list(chain.from_iterable(token_windows(part, budget, count) for part in windows(text, size)))


def mean_by_text(vectors: Vectors, counts: Sequence[int]) -> Vectors:
    """The mean of the windows' vectors of each text, every window made length one first.

    Args:
        vectors: float32, shape ``(sum(counts), d)``, the windows in text order.
        counts: windows of each text, at least one each.

    Returns:
        float32, shape ``(len(counts), d)``.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms == 0, 1, norms)
    means = np.zeros((len(counts), vectors.shape[1]), dtype=np.float32)
    start = 0
    for row, count in enumerate(counts):
        means[row] = unit[start : start + count].mean(axis=0)
        start += count
    return means
