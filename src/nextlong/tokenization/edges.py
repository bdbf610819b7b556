"""Which chunks can be joined by their tokens: tests of a chunk's first and last characters against hostile neighbours.

A tokenizer that splits text into words with a pattern decides at a join from few characters: the last of the chunk
before, the separator, the first of the chunk after. So a chunk's *head* (its leading white space and the character after
it) is tried behind a panel of tails, and its *tail* in front of a panel of heads; in each trial the encoding of the whole
must equal the tokens put together from the parts. There are few different heads and tails, so the trials of a corpus take
next to no time.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from nextlong.tokenization.tokenizer import Tokenizer, Tokens
from nextlong.tokenization.units import MAX_LEAD

# The plain neighbour of every chunk while it is tokenised. A letter: patterns attach separators to white space,
# punctuation and digits more readily.
PROBE = "a"

# White space at the edge of a chunk that is longer than this is not tried; such a chunk is encoded again with its
# neighbours.
_LONGEST_WHITE = 48

# Characters that patterns treat in different ways, as the end of the chunk before …
_TAILS: tuple[str, ...] = (
    *(
        "a",
        "B",
        "a ",
        "a  ",
        "a\t",
        "a\n",
        "a\n\n",
        "a\n\n\n",
        "a\r",
        "a\r\n",
        "a \n ",
        ".\n",
        ".\r\n",
        "1",
        "12",
        ".",
        ");",
        "*/",
        "=",
        "'",
        "_",
        "<",
        "-",
    ),
    *("。", "字", "e\u0301", "\U0001f642", "\u00a0", "\u200d", "\u2028", "\x00"),
)
# … and as the beginning of the chunk after.
_HEADS: tuple[str, ...] = (
    *("a", "B", " a", "  a", "        a", "\ta", "\r\na", " \n a", "  \n\n  a"),
    *("\n" * count + "a" for count in (1, 2, 3, 4, 7)),
    *("1", "12", ".", "//", "=", "'s", "_", ">", "-"),
    *("。", "字", "\u0301a", "\u3099a", "\U0001f642", "\u00a0a", "\u200da", "\u2028a", "\x00"),
)

# No more of a word or of a run of signs at the edge of a chunk is tried.
_LONGEST_WORD = 16

# Stands for the head of a chunk that must be encoded again together with its neighbours.
OPAQUE = -1

# Trials of one library call; keeps memory flat when a batch brings many new edges.
_TRIALS_AT_ONCE = 20_000

# Lists of random chunks, and tokens that reach across a separator, tried when a joiner is made.
_RANDOM_LISTS = 150
_MOST_STRADDLERS = 200


class Edges:
    """Tests heads and tails of chunks for one tokenizer and separator, and remembers the results.

    Attributes:
        neutral: the tokens of two probes with the separator between them.
        separator_tokens: those without the probes' tokens.
    """

    def __init__(self, tokenizer: Tokenizer, separator: str) -> None:
        self._tokenizer = tokenizer
        self._separator = separator
        (self.neutral,) = tokenizer.encode_batch([PROBE + separator + PROBE])
        self.separator_tokens: Tokens = self.neutral[1:-1]
        self._tail_panel = dict(zip(_TAILS, self.in_context(_TAILS), strict=True))
        self._head_panel = dict(zip(_HEADS, self.in_context(_HEADS), strict=True))
        # Longest first: where several begin (end) a chunk, libraries take the longest.
        self._added = tuple(sorted((text for text in tokenizer.added_tokens if text.strip()), key=len, reverse=True))
        self._heads: dict[str, int | None] = {}
        # White space after a chunk is never apart from a separator that may be white space itself.
        self._tails: dict[str, bool] = {"": False}
        # A word is cut off from white space by its first letter; other separators may grow together with all of it.
        after, before = (1 if edge.isspace() else _LONGEST_WORD for edge in (separator[-1], separator[0]))
        self._head_pattern = re.compile(rf"[\W_]{{0,{_LONGEST_WORD}}}[^\W_]{{0,{after}}}")
        self._tail_pattern = re.compile(rf"[^\W_]{{0,{before}}}[\W_]{{0,{_LONGEST_WORD}}}\Z")
        self.opens = self._opens()

    def in_context(self, texts: Sequence[str]) -> list[Tokens]:
        """Each text encoded between two probes, with a separator on either side."""
        left, right = PROBE + self._separator, self._separator + PROBE
        return self._tokenizer.encode_batch([left + text + right for text in texts])

    def heads(self, texts: Sequence[str]) -> list[int | None]:
        """How the head of each chunk leaves the separator before it.

        None: untouched. A number: perhaps changed, and so many tokens lie wholly in the separator (``Unit.lead``).
        :data:`OPAQUE`: the head is of a kind that cannot be tried.
        """
        keys = [self._head_of(text) for text in texts]
        self._test_heads(dict.fromkeys(key for key in keys if key is not None and key not in self._heads))
        return [OPAQUE if key is None else self._heads[key] for key in keys]

    def tails(self, texts: Sequence[str]) -> list[bool | None]:
        """For each chunk whether its tail leaves the separator after it alone, whatever follows.

        None: the tail is of a kind that cannot be tried.
        """
        keys = [self._tail_of(text) for text in texts]
        self._test_tails(dict.fromkeys(key for key in keys if key is not None and key not in self._tails))
        return [None if key is None else self._tails[key] for key in keys]

    def decided_apart(self) -> bool:
        """Whether the tokens on the two sides of either end of a separator cannot influence each other.

        They cannot where a word begins. Within a word they may not where the tokenizer only merges neighbours and no token
        of its vocabulary reaches across: SentencePiece BPE has the whole text as one word, but no line end in a token.
        """
        starts = self._tokenizer.word_starts(PROBE + self._separator + PROBE)
        if starts[1] and starts[-1]:
            return True
        first, last = self._separator[0], self._separator[-1]
        texts = (text for text in self._tokenizer.token_texts() if not text.isspace())
        return self._tokenizer.merges and not any(first in text[1:] or last in text[:-1] for text in texts)

    def hostile_chunks(self) -> list[list[str]]:
        """Lists of chunks to try joins with: the panels at random (always the same), and what the vocabulary suggests.

        A token that has the separator inside may swallow it between two chunks that end and begin as the token does.
        """
        source = random.Random(0)
        edges = [*_TAILS, *_HEADS]
        lists = [
            ["".join(source.choices(edges, k=source.randint(1, 3))) for _ in range(source.randint(2, 6))]
            for _ in range(_RANDOM_LISTS)
        ]
        found = (text for text in self._tokenizer.token_texts() if self._separator in text.strip())
        for text in islice(found, _MOST_STRADDLERS):
            before, _, after = text.partition(self._separator)
            if before and after:
                lists.append([PROBE + " " + before, after + " " + PROBE])
        return lists

    def _opens(self) -> bool:
        """Whether a plain chunk at the start of a text has the same tokens as after a separator."""
        texts = [head for head in _HEADS if head[0].isalnum() and self.head_fits(self._head_panel[head])]
        at_start = self._tokenizer.encode_batch([text + self._separator + PROBE for text in texts])
        return bool(texts) and all(
            np.array_equal(alone, self._head_panel[text][len(self.neutral) - 1 :])
            for text, alone in zip(texts, at_start, strict=True)
        )

    def _head_of(self, text: str) -> str | None:
        """The beginning of a chunk that decides about the join before it.

        None when the chunk is only white space, begins with too much of it, or with a token that swallows white space.
        """
        window = text[: _LONGEST_WHITE + 1]
        white = len(window) - len(window.lstrip())
        if white == len(window):
            return None
        if text.startswith(self._added, white):
            token = next(one for one in self._added if text.startswith(one, white))
            return None if self._tokenizer.added_tokens[token] else text[: white + len(token)]
        found = self._head_pattern.match(text, white)
        end = found.end() if found else white + 1
        if unicodedata.category(text[end : end + 1] or "a")[0] == "M":  # normalisation may join it to the letter before it
            end += 1
        return text[:end]

    def _tail_of(self, text: str) -> str | None:
        """The end of a chunk that decides about the join after it; None as for heads, empty where it ends in white space."""
        bare = len(text[-_LONGEST_WHITE - 1 :].rstrip())
        if not bare:
            return None
        bare = max(len(text) - _LONGEST_WHITE - 1, 0) + bare
        if text.endswith(self._added, 0, bare):
            token = next(one for one in self._added if text.endswith(one, 0, bare))
            if self._tokenizer.added_tokens[token]:
                return None
            return text[bare - len(token) :] if bare == len(text) else ""
        if bare < len(text):
            return ""
        found = self._tail_pattern.search(text[-2 * _LONGEST_WORD :])
        return found[0] if found else text[-1:]

    def _test_heads(self, keys: Iterable[str]) -> None:
        separator = self._separator
        for group in _groups(keys, _TRIALS_AT_ONCE // len(_TAILS)):
            alone = self.in_context(group)
            whole = self.in_context([tail + separator + key for key in group for tail in _TAILS])
            at_start = self._tokenizer.encode_batch([key + separator + PROBE for key in group])
            for i, key in enumerate(group):
                trials = whole[i * len(_TAILS) : (i + 1) * len(_TAILS)]
                # Runs of line ends may be one word whose tokens only happen to fall apart at the separator.
                white = key[: len(key) - len(key.lstrip())]
                tame = not {"\n", "\r"} & set(white) and self.head_fits(alone[i])
                tame = tame and all(
                    np.array_equal(trial, self._after_safe(tail, alone[i]))
                    for tail, trial in zip(self._tail_panel.values(), trials, strict=True)
                )
                if self.opens:
                    tame = tame and np.array_equal(at_start[i], alone[i][len(self.neutral) - 1 :])
                self._heads[key] = None if tame else self._lead(key)

    def _test_tails(self, keys: Iterable[str]) -> None:
        separator, drop = self._separator, len(self.separator_tokens) + 1
        for group in _groups(keys, _TRIALS_AT_ONCE // len(_HEADS)):
            alone = self.in_context(group)
            whole = self.in_context([key + separator + head for key in group for head in _HEADS])
            for i, key in enumerate(group):
                trials = whole[i * len(_HEADS) : (i + 1) * len(_HEADS)]
                self._tails[key] = self.tail_fits(alone[i]) and all(
                    head[0] == self.neutral[0] and np.array_equal(trial, np.concatenate([alone[i][:-drop], head[1:]]))
                    for head, trial in zip(self._head_panel.values(), trials, strict=True)
                )

    def _after_safe(self, tail: Tokens, alone: Tokens) -> Tokens:
        return np.concatenate([tail[:-1], alone[len(self.neutral) - 1 :]])

    def _lead(self, key: str) -> int:
        left = PROBE + self._separator
        _, ends = self._tokenizer.encode_with_ends(left + key + self._separator + PROBE)
        return min(max(int(np.count_nonzero(ends <= len(left))) - 1, 0), MAX_LEAD)

    def head_fits(self, tokens: Tokens) -> bool:
        """Whether an encoding in context begins like one of two probes."""
        return np.array_equal(tokens[: len(self.neutral) - 1], self.neutral[:-1])

    def tail_fits(self, tokens: Tokens) -> bool:
        """Whether an encoding in context ends like one of two probes."""
        return len(tokens) > len(self.neutral) and np.array_equal(tokens[1 - len(self.neutral) :], self.neutral[1:])


def _groups(keys: Iterable[str], size: int) -> Iterable[list[str]]:
    iterator = iter(keys)
    while group := list(islice(iterator, size)):
        yield group
