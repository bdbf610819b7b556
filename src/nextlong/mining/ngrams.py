"""Runs of words that texts share word for word, but for case and punctuation.

Words are folded as the overlap analysis of the GPT-3 paper folds them (Brown et al. 2020, appendix C: case, punctuation and
white space do not count): a word is a run of letters and digits, case-folded, and all else separates words. That paper's
released clean-up deletes punctuation, so that ``well-known`` is one word there; here it is two, as is ``a.b``, so that
``well known`` is found by it. Text that puts no white space between words gives clauses for words, and so few matches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from nextlong.mining.copies import Amounts, Keys, hashed_words, mixed

# The longest that the GPT-3 paper uses, and what most reports of contamination since have used.
NGRAM_WORDS = 13

_BETWEEN_WORDS = re.compile(r"[\W_]+")
# An odd number whose powers are far from each other modulo 2^64: 2^64 over the golden ratio.
_BASE = 0x9E3779B97F4A7C15


def folded_words(text: str) -> str:
    """The text's words as they are compared, with a space between them."""
    return _BETWEEN_WORDS.sub(" ", text.casefold()).strip()


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
    hashes, amounts = hashed_words([folded_words(text).encode("utf-8", "surrogatepass") for text in texts])
    total = len(hashes)
    runs = (amounts - (words - 1)).clip(min=0)
    if not runs.any():
        return np.empty(0, dtype=np.uint64), runs
    sums = np.zeros(total, dtype=np.uint64)
    for place in range(words):
        sums[: total - place] += hashes[place:] * np.uint64(pow(_BASE, place, 1 << 64))
    # Runs that begin with the last words of a text would end in the next one.
    left = (np.cumsum(amounts)).repeat(amounts) - np.arange(total)
    return mixed(sums[left >= words]), runs
