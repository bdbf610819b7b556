r"""Where a text can be cut so that its parts have, one after the other, the tokens of the whole.

Byte-level BPE first splits a text into words with a regular expression and then merges within each word. A *cut* is a place
of which three neighbouring bytes say that (1) a word ends there, and (2) the words before it are the same if the text ends
there. The words after it are always the same: the expressions used here never look back. So

    encode(text) == encode(text[:cut]) + encode(text[cut:])

The expressions of real tokenizers are alternatives, tried in order, of two kinds. What is *known of a head* (words, numbers,
punctuation, contractions: ``_HEADS``) is that a match

- has white space nowhere but as its first character or, after punctuation, as line ends at its end (o200k: and slashes
  after these);
- takes all letters, or all of the digits' first few, or all punctuation that follow one another, so that it ends where an
  ASCII letter is followed by an ASCII digit or by punctuation other than an apostrophe (which begins a contraction), or
  where a digit is followed by a letter or by punctuation;
- does not begin with a line end, unless it is punctuation without the exclusion of white space, which none is;
- has no lookahead.

All letters, digits and punctuation must be in some match: an expression without one of these kinds gets no cuts.

*Tails* split what is left, runs of white space W, of which only the last character may go to the word that follows:

- *plain* (GPT-2), ``\s+(?!\S)|\s+``: all of W but its last character is one word, if W is longer than that;
- *lines* (Llama 3, Qwen, GPT-4o, DeepSeek …), ``\s*[\r\n]+|\s+(?!\S)|\s+``: all of W up to its last line end first;
- with ``\s++$``: W is one word at the end of the text.

With p, c, n the last byte before the place and the first two after it, these are cuts:

1. p visible, c white (lines: a space or tab, or a line end after a letter or digit): p's word cannot take c, and no
   lookahead stands before c.
2. p white, c white (lines: a space or tab), n visible and no digit: the last character of W stands alone or begins the next
   word, and what is left of W is the same word or words before n as at the end of a text, where the lookahead succeeds one
   character later. A digit as n is left out, because tokenizers that split digits off first have the end of a text before
   it. With ``\s++$`` and lines, W at the end of a text would be one word: no cut.
3. p a line end, c visible (lines; not a slash, for o200k): W's last words end with its last line end. Plain: only if the
   line end alone is between this cut and the one before it.
4. p and c visible: letter and digit, letter or digit and punctuation that is no apostrophe, digit and letter.

Splitting off digits or Chinese and Japanese script first makes more texts end; 1 to 4 hold in each of them. Composing
characters (NFC) changes no ASCII character and joins none to the one before it, so it may be done before or after cutting.

Everything else (other expressions, prefixes of texts, normalisers, Unigram, SentencePiece) gets no cuts. The tests try all
short strings over an alphabet with every kind of character against the library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Kinds of bytes. WIDE: a part of a character that is not ASCII. OTHER: control characters, and the byte 0xFF between texts.
OTHER, LETTER, DIGIT, MARK, APOSTROPHE, SLASH, SPACE, LINE, WIDE = range(9)
_VISIBLE = (LETTER, DIGIT, MARK, APOSTROPHE, SLASH)

_CONTRACTIONS = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "'(?i:[sdmt]|ll|ve|re)",
    "'(?:[sdmt]|ll|ve|re)",
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"),
)
_WORDS = (r" ?\p{L}+", r"[^\r\n\p{L}\p{N}]?\p{L}+", r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+")
# Two together take all letters.
_CASED_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
)
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_NUMBERS = (r"\p{N}", r"\p{N}+", r"\p{N}{1,2}", r"\p{N}{1,3}", r" ?\p{N}+")
_PUNCTUATION = (r" ?[^\s\p{L}\p{N}]+",)
_HEADS = {*_CONTRACTIONS, *_WORDS, *_CASED_WORDS, *(word + _SUFFIX for word in _CASED_WORDS), *_NUMBERS, *_PUNCTUATION}
# Punctuation with the line ends after it: together with a *lines* tail only.
_HEADS_WITH_LINES = {
    *(r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}]+[\r\n/]*"),
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
}
# DeepSeek's. The first letter of a word may be preceded by a digit here, so digits must have been split off before.
_WORD_WITHOUT_DIGITS, _PUNCTUATION_WITHOUT_DIGITS = r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+", r" ?[\p{P}\p{S}]+[\r\n]*"
_HEADS_WITHOUT_DIGITS = {
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    _WORD_WITHOUT_DIGITS,
    _PUNCTUATION_WITHOUT_DIGITS,
}
_PLAIN_TAILS = {(r"\s+(?!\S)", r"\s+"), (r"\s+$", r"\s+(?!\S)", r"\s")}
_LINES_TAILS = {(r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"), (r"\s*[\r\n]+", r"\s+(?!\S)", r"\s")}
_LINES_TAILS_OF_TEXTS = {(r"\s+$", r"\s*[\r\n]", r"\s+(?!\S)", r"\s")}
_LONGEST_TAIL = 4
_POSSESSIVE = re.compile(r"([+?*]|\{\d+(?:,\d*)?\})\+")

# Of the byte level of the `tokenizers` library, where it does the splitting itself.
_BYTE_LEVEL = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_DIGITS = {r"\p{N}", r"\p{N}{1,3}", r"\d", "[0-9]"}
_SCRIPTS = {"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"}

# White space that is not ASCII ends in a continuation byte after one of these. So do other characters, which get no cut.
# (U+180E was white space in old versions of Unicode.)
_BEFORE_WIDE_SPACE = sorted(
    {char.encode()[-2] for char in map(chr, range(0x80, 0x3001)) if char.isspace() or char == "\u180e"}
)


@dataclass(frozen=True)
class Cuts:
    """Where a tokenizer's texts can be cut.

    Attributes:
        lines: the expression has the *lines* tail.
        indents: runs of white space can be cut before their last character (rule 2).
        whole: strings that are looked for before the text is split; a text with one of them is not cut.
    """

    lines: bool
    indents: bool
    whole: tuple[str, ...] = ()

    def table(self) -> npt.NDArray[np.bool_]:
        """Shape (4096): whether there is a cut between p and c, at p * 256 + c * 16 + n for the kinds p, c, n."""
        table = np.zeros((16, 16, 16), dtype=np.bool_)
        for p in range(9):
            for c in range(9):
                for n in range(9):
                    table[p, c, n] = self._is_cut(p, c, n)
        return table.reshape(-1)

    def _is_cut(self, p: int, c: int, n: int) -> bool:
        if c == SPACE or (c == LINE and (not self.lines or p in (LETTER, DIGIT))):
            if p in _VISIBLE or (p == WIDE and c == SPACE) or (p == WIDE and not self.lines):
                return True  # 1
            return self.indents and p in (SPACE, LINE) and n in _VISIBLE and n != DIGIT  # 2
        if p == LINE:
            return self.lines and c in _VISIBLE and c != SLASH  # 3
        if p == LETTER:
            return c in (DIGIT, MARK, SLASH)  # 4
        return p == DIGIT and c in (LETTER, MARK, SLASH)


def kinds() -> npt.NDArray[np.uint16]:
    """Shape (256): the kind of each byte."""
    kinds = np.full(256, OTHER, dtype=np.uint16)
    kinds[0x80:0xF5] = WIDE
    for byte in range(0x21, 0x7F):
        char = chr(byte)
        kinds[byte] = LETTER if char.isalpha() else DIGIT if char.isdigit() else MARK
    kinds[ord("'")], kinds[ord("/")] = APOSTROPHE, SLASH
    for char in " \t":
        kinds[ord(char)] = SPACE
    for char in "\r\n":
        kinds[ord(char)] = LINE
    return kinds


def unsure_before_wide() -> npt.NDArray[np.bool_]:
    """Shape (256): bytes after which a continuation byte may end a character that is white space."""
    unsure = np.zeros(256, dtype=np.bool_)
    unsure[_BEFORE_WIDE_SPACE] = True
    return unsure


def cuts_of_pattern(pattern: str, digits_apart: bool = False) -> Cuts | None:
    """The cuts of a regular expression that splits texts into words, or None.

    Args:
        pattern: the expression.
        digits_apart: digits were split off before.
    """
    # Possessive repetition takes what the greedy one takes, or less.
    parts = _alternatives(pattern.replace("\r", r"\r").replace("\n", r"\n"))
    alternatives = [part if part in _HEADS_WITHOUT_DIGITS else _POSSESSIVE.sub(r"\1", part) for part in parts]
    with_lines = _HEADS | _HEADS_WITH_LINES | (_HEADS_WITHOUT_DIGITS if digits_apart else set())
    for size in range(2, _LONGEST_TAIL + 1):
        heads, tail = set(alternatives[:-size]), tuple(alternatives[-size:])
        if not _takes_all(heads, digits_apart):
            continue
        if tail in _PLAIN_TAILS and heads <= _HEADS:
            return Cuts(lines=False, indents=True)
        if tail in _LINES_TAILS | _LINES_TAILS_OF_TEXTS and heads <= with_lines:
            return Cuts(lines=True, indents=tail in _LINES_TAILS)
    return None


def _takes_all(heads: set[str], digits_apart: bool) -> bool:
    """Whether letters, digits and punctuation are each in a match: those in none would be in one word together."""
    cased = all(heads & {word, word + _SUFFIX} for word in _CASED_WORDS)
    words = cased or heads & {*_WORDS, _WORD_WITHOUT_DIGITS}
    punctuation = heads & {*_PUNCTUATION, *_HEADS_WITH_LINES, _PUNCTUATION_WITHOUT_DIGITS}
    return bool(words and punctuation and (digits_apart or heads & set(_NUMBERS)))


def cuts_of_tokenizer(data: dict[str, Any], added: Iterable[tuple[str, bool]]) -> Cuts | None:
    """The cuts of a ``tokenizer.json``, or None.

    Args:
        data: its content.
        added: the added tokens that are found in texts, and whether each is looked for in the normalised text.
    """
    model, normalizer = data["model"], _steps(data.get("normalizer"), "normalizers")
    if model.get("type") != "BPE" or model.get("dropout") or not all(step == {"type": "NFC"} for step in normalizer):
        return None
    found = list(added)
    if normalizer and any(normalised for _, normalised in found):
        return None
    *splits, last = _steps(data.get("pre_tokenizer"), "pretokenizers") or [{}]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return None
    pattern = _BYTE_LEVEL
    if not last.get("use_regex", True):
        pattern = _pattern(splits.pop()) if splits else ""
    if not all(_apart(split) for split in splits):
        return None
    cuts = cuts_of_pattern(pattern, digits_apart=any(_apart(split) == "digits" for split in splits))
    return cuts and Cuts(cuts.lines, cuts.indents, tuple(text for text, _ in found))


def _steps(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return list(part[name]) if part["type"] == "Sequence" else [part]


def _pattern(split: dict[str, Any]) -> str:
    """The expression whose matches are words, and with which all other characters are left as they are; or nothing."""
    if split.get("type") != "Split" or (split["behavior"], split["invert"]) not in (("Isolated", False), ("Removed", True)):
        return ""
    return str(split["pattern"].get("Regex", ""))


def _apart(split: dict[str, Any]) -> str:
    """What a first splitting sets apart: digits, scripts, or something else (nothing is returned)."""
    if split.get("type") == "Digits":
        return "digits"
    if split.get("behavior") != "Isolated":
        return ""
    pattern = _pattern(split)
    return "digits" if pattern in _DIGITS else "scripts" if pattern in _SCRIPTS else ""


def _alternatives(pattern: str) -> list[str]:
    """The parts of a regular expression between bars that are in no bracket."""
    parts, depth, in_class, escaped = [""], 0, False, False
    for char in pattern:
        if not escaped and not in_class:
            depth += (char == "(") - (char == ")")
            if char == "|" and depth == 0:
                parts.append("")
                continue
        if not escaped:
            in_class = char == "[" or (in_class and char != "]")
        escaped = char == "\\" and not escaped
        parts[-1] += char
    return parts
