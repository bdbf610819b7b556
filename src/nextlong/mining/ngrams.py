"""Runs of words that texts share word for word, but for case and punctuation.

Words are folded as the overlap analysis of the GPT-3 paper folds them (Brown et al. 2020, appendix C: case, punctuation and
white space do not count): a word is a run of letters and digits, case-folded, and all else separates words. That paper's
released clean-up deletes punctuation, so that ``well-known`` is one word there; here it is two, as is ``a.b``, so that
``well known`` is found by it. Letters that Unicode knows in several forms (NFKC: ligatures, wide letters, accents apart) are
one. Chinese and Japanese put no white space between words: each of their characters is a word. Thai, Lao, Khmer and Burmese
do not, either, and give clauses for words, and so few matches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from nextlong.mining.copies import Amounts, Keys, hashed_words, mixed

# The longest that the GPT-3 paper uses, and what most reports of contamination since have used.
NGRAM_WORDS = 13

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# Han, Hiragana and Katakana.
_ALONE = re.compile("([\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")
# What each byte of UTF-8 becomes once all that is not ASCII is folded.
_ASCII = bytes(
    ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else code if code >= 128 else ord(" ")
    for code in range(256)
)
# An odd number whose powers are far from each other modulo 2^64: 2^64 over the golden ratio.
_BASE = 0x9E3779B97F4A7C15


def folded_words(text: str) -> str:
    """The text's words as they are compared, with a space between them."""
    return b" ".join(folded_utf8(text).split()).decode("utf-8", "surrogatepass")


def folded_utf8(text: str) -> bytes:
    """The text's words as UTF-8 with white space between them; without any at an end, a word may go on there."""
    if not text.isascii():
        text = _NOT_ASCII.sub(_folded_run, unicodedata.normalize("NFKC", text))
    return text.encode("utf-8", "surrogatepass").translate(_ASCII)


def _folded_run(match: re.Match[str]) -> str:
    # Character by character, so what stands beside the run makes no difference.
    return _ALONE.sub(r" \1 ", _BETWEEN_WORDS.sub(" ", match[0].casefold()))


def ngram_keys(texts: Sequence[str], words: int = NGRAM_WORDS) -> tuple[Keys, Amounts]:
    """The runs of so many words of all texts, in order, as 64-bit hashes that are the same on every machine.

    Two different runs have the same hash by chance once in some 10^19 pairs.

    Args:
        texts: each by itself; no run goes from one into the next.
        words: how many words a run has, at least 1.

    Returns:
        The hashes, uint64, and how many each text has, int64 of shape ``(len(texts),)``: a text of fewer words has none.
        The n-th of a text begins with its n-th word of :func:`folded_words`.
    """
    hashes, amounts = hashed_words([folded_utf8(text) for text in texts])
    # Runs that begin with the last words of a text would end in the next one.
    left = (np.cumsum(amounts)).repeat(amounts) - np.arange(len(hashes))
    ((_, keys),) = run_keys(hashes, [words])
    return keys[left >= words], (amounts - (words - 1)).clip(min=0)


def run_keys(hashes: Keys, lengths: Sequence[int]) -> Iterator[tuple[int, Keys]]:
    """For each length, the hashes of the runs of so many words: uint64, one for each word that a run begins with.

    Args:
        hashes: of words, one behind the other; the last ones, which begin no run, have hashes without a meaning.
        lengths: how many words a run has, ascending.
    """
    sums = np.zeros(len(hashes), dtype=np.uint64)
    done = 0
    for length in lengths:
        for place in range(done, min(length, len(hashes))):
            sums[: len(hashes) - place] += hashes[place:] * np.uint64(pow(_BASE, place, 1 << 64))
        done = length
        yield length, mixed(sums)
