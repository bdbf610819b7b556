"""Seams: two chunks whose edges depend on each other, joined by encoding a few words and not both chunks.

White space at the end of one chunk and at the beginning of the next is one run of white space, and its tokens are others
than those of the two parts. Yet where a word begins, what stands before does not change the tokens that follow. So it is
enough to encode from the end of the last word of letters of the one chunk to the first word of letters of the other: outside
of that, both chunks keep the tokens that they have between plain neighbours. A seam says which tokens go and which come,
and holds only where the chunks' own tokens are there as they were expected; else both are encoded whole.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from nextlong.tokenization.edges import PROBE
from nextlong.tokenization.tokenizer import Tokenizer, Tokens

# Longer runs of letters, or of what is none, are not worth it: the chunks are encoded whole.
_LETTERS, _OTHERS = 64, 2048
# Characters of a chunk's beginning and end that decide: of a longer chunk, the run at its end is seen to be whole.
EDGE = _LETTERS + _OTHERS + 1
_TAIL = re.compile(rf".*(?<![^\W\d_])([^\W\d_]{{1,{_LETTERS}}})([\W\d_]{{0,{_OTHERS}}})\Z", re.DOTALL)
# Letters behind these cannot change where the word of the first one begins.
_HEAD = re.compile(rf"([\W\d_]{{0,{_OTHERS}}})([^\W\d_]{{1,16}})")

# Windows and seams that are kept for later joins; a seam is some 500 bytes.
_MOST_KEPT = 1 << 15


@dataclass(frozen=True, slots=True)
class Seam:
    """How two chunks are joined.

    Attributes:
        before: how many of its last tokens the unit of the first chunk loses.
        middle: the tokens that come between the two.
        after: how many of its first tokens the unit of the second chunk, a carrying one, loses.
        own: how many tokens of ``middle`` count to the first chunk and the separator.
        lost: the tokens that the two lose, as bytes.
    """

    before: int
    middle: Tokens
    after: int
    own: int
    lost: tuple[bytes, bytes]

    def fits(self, left: Tokens, right: Tokens) -> bool:
        """Whether two units have the tokens that they are to lose."""
        return left[len(left) - self.before :].tobytes() == self.lost[0] and right[: self.after].tobytes() == self.lost[1]


@dataclass(frozen=True, slots=True)
class _Window:
    """The edge of a chunk, encoded beside a plain chunk: tokens that stay, and tokens that a seam may change."""

    stay: Tokens
    change: Tokens


class Seams:
    """Finds seams for one tokenizer and one separator, and remembers them."""

    def __init__(self, tokenizer: Tokenizer, separator: str, neutral: Tokens) -> None:
        """Begin without any.

        Args:
            tokenizer: the tokenizer.
            separator: the text between two chunks.
            neutral: two plain chunks with the separator between them.
        """
        self._tokenizer, self._separator, self._neutral = tokenizer, separator, neutral
        self._tails: dict[str, _Window | None] = {}
        self._heads: dict[str, _Window | None] = {}
        self._seams: dict[tuple[str, str], Seam | None] = {}

    def between(self, end: str, beginning: str) -> Seam | None:
        """The seam of two chunks, the second one carrying, neither opaque; None where they must be encoded whole.

        Args:
            end: the last :data:`EDGE` characters of the first chunk, or all.
            beginning: the first ones of the second chunk.
        """
        tail, head = _TAIL.match(end), _HEAD.match(beginning)
        if tail is None or head is None or not (_letters(tail[1]) and _letters(head[2])):
            return None
        key = tail[1] + tail[2], head[0]
        if key not in self._seams:
            for kept in (self._seams, self._tails, self._heads):
                if len(kept) > _MOST_KEPT:
                    kept.clear()
            self._seams[key] = self._found(*key, len(tail[1]), len(head[1]))
        return self._seams[key]

    def _found(self, end: str, beginning: str, letters: int, others: int) -> Seam | None:
        if end not in self._tails:
            self._tails[end] = self._tail(end, letters)
        if beginning not in self._heads:
            self._heads[beginning] = self._head(beginning, others)
        tail, head = self._tails[end], self._heads[beginning]
        if tail is None or head is None:
            return None
        tokens, ends, starts = self._tokenizer.encode_words(end + self._separator + beginning)
        first, last = len(tail.stay), len(tokens) - len(head.stay)
        if first > last or not (starts[first] and starts[last]):
            return None
        if not (np.array_equal(tokens[:first], tail.stay) and np.array_equal(tokens[last:], head.stay)):
            return None
        border = len(end) + len(self._separator)
        own = int(np.searchsorted(np.maximum.accumulate(ends[first:]), border, side="right"))
        if own > last - first:
            return None
        lost = tail.change.tobytes(), head.change.tobytes()
        return Seam(len(tail.change), tokens[first:last], len(head.change), own, lost)

    def _tail(self, end: str, letters: int) -> _Window | None:
        """Up to the first word that begins behind the letters: whatever stood before them, a word begins there."""
        tokens, ends, starts = self._tokenizer.encode_words(end + self._separator + PROBE)
        behind = np.flatnonzero(starts[1:] & (np.maximum.accumulate(ends)[:-1] >= letters)) + 1
        if not len(behind) or tokens[-1] != self._neutral[-1]:
            return None
        return _Window(tokens[: behind[0]], tokens[behind[0] : -1])

    def _head(self, beginning: str, others: int) -> _Window | None:
        """From the word of the first letter on."""
        left = PROBE + self._separator
        tokens, ends, starts = self._tokenizer.encode_words(left + beginning)
        letter = int(np.searchsorted(np.maximum.accumulate(ends), len(left) + others, side="right"))
        words = np.flatnonzero(starts[: letter + 1])
        if letter >= len(tokens) or len(words) < 2 or tokens[0] != self._neutral[0]:
            return None
        return _Window(tokens[words[-1] :], tokens[1 : words[-1]])


def _letters(text: str) -> bool:
    # Regular expressions count signs such as ² with the letters, and tokenizers with the digits.
    return text.isascii() or all(unicodedata.category(character)[0] == "L" for character in text)
