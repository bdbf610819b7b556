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
from collections.abc import Sequence
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

# What decides about a join: the last letters of the first chunk and what stands behind them, what stands before the first
# letters of the second chunk, and these.
_Joint = tuple[str, str, str, str]

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

    stay: list[int]
    change: list[int]


class Seams:
    """Finds seams for one tokenizer and one separator, and remembers them."""

    def __init__(self, tokenizer: Tokenizer, separator: str, neutral: Tokens) -> None:
        """Begin without any.

        Args:
            tokenizer: the tokenizer.
            separator: the text between two chunks.
            neutral: two plain chunks with the separator between them.
        """
        self._tokenizer, self._separator, self._neutral = tokenizer, separator, neutral.tolist()
        self._tails: dict[tuple[str, str], _Window | None] = {}
        self._heads: dict[tuple[str, str], _Window | None] = {}
        self._seams: dict[_Joint, Seam | None] = {}

    def between(self, end: str, beginning: str) -> Seam | None:
        """The seam of two chunks, the second one carrying, neither opaque; None where they must be encoded whole.

        Args:
            end: the last :data:`EDGE` characters of the first chunk, or all.
            beginning: the first ones of the second chunk.
        """
        tail, head = _TAIL.match(end), _HEAD.match(beginning)
        if tail is None or head is None or not (_letters(tail[1]) and _letters(head[2])):
            return None
        joint = tail[1], tail[2], head[1], head[2]
        if joint not in self._seams:
            for kept in (self._seams, self._tails, self._heads):
                if len(kept) > _MOST_KEPT:
                    kept.clear()
            plain = self._plain(joint)
            if plain not in self._seams:
                self._seams[plain] = self._found(plain)
            self._seams[joint] = self._seams[plain]
        return self._seams[joint]

    def _plain(self, joint: _Joint) -> _Joint:
        """A joint with the same seam, but with plain words where it is certain that the seam does not depend on them.

        It does not where a text can be cut between the word and the rest of the joint.
        """
        last, after, before, first = joint
        cut = self._tokenizer.cut_between
        rest = after + self._separator + before + first
        if cut(last, rest) and cut(PROBE, rest):
            last = PROBE
        left = last + after + self._separator + before
        # White space may begin the word behind it, whatever letter comes next.
        for place in (len(left), len(left) - 1) if before[-1:].isspace() else (len(left),):
            if cut(left[:place], left[place:] + first) and cut(left[:place], left[place:] + PROBE):
                return last, after, before, PROBE
        return last, after, before, first

    def _found(self, joint: _Joint) -> Seam | None:
        last, after, before, first = joint
        if (last, after) not in self._tails:
            self._tails[last, after] = self._tail(last, after)
        if (before, first) not in self._heads:
            self._heads[before, first] = self._head(before, first)
        tail, head = self._tails[last, after], self._heads[before, first]
        if tail is None or head is None:
            return None
        end = last + after + self._separator
        tokens, ends, starts = self._tokenizer.encode_words(end + before + first)
        begin, stop = len(tail.stay), len(tokens) - len(head.stay)
        if begin > stop or not (starts[begin] and starts[stop]):
            return None
        if tokens[:begin] != tail.stay or tokens[stop:] != head.stay:
            return None
        own = _first_over(len(end), ends[begin:])
        if own > stop - begin:
            return None
        lost = _array(tail.change).tobytes(), _array(head.change).tobytes()
        return Seam(len(tail.change), _array(tokens[begin:stop]), len(head.change), own, lost)

    def _tail(self, letters: str, after: str) -> _Window | None:
        """Up to the first word that begins behind the letters: whatever stood before them, a word begins there."""
        tokens, ends, starts = self._tokenizer.encode_words(letters + after + self._separator + PROBE)
        behind = _first_over(len(letters) - 1, ends) + 1
        while behind < len(tokens) and not starts[behind]:
            behind += 1
        if behind >= len(tokens) or tokens[-1] != self._neutral[-1]:
            return None
        return _Window(tokens[:behind], tokens[behind:-1])

    def _head(self, before: str, letters: str) -> _Window | None:
        """From the word of the first letter on."""
        left = PROBE + self._separator + before
        tokens, ends, starts = self._tokenizer.encode_words(left + letters)
        word = _first_over(len(left), ends)
        if word == len(tokens) or tokens[0] != self._neutral[0]:
            return None
        while word and not starts[word]:
            word -= 1
        return _Window(tokens[word:], tokens[1:word]) if word else None


def _first_over(border: int, ends: Sequence[int]) -> int:
    """The first token of those that end so, in order, that ends behind a place in the text; or how many they are."""
    return next((token for token, end in enumerate(ends) if end > border), len(ends))


def _array(tokens: Sequence[int]) -> Tokens:
    return np.array(tokens, dtype=np.int32)


def _letters(text: str) -> bool:
    # Regular expressions count signs such as ² with the letters, and tokenizers with the digits.
    return text.isascii() or all(unicodedata.category(character)[0] == "L" for character in text)
