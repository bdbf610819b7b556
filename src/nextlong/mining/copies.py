"""Which chunks are copies of each other: false negatives that mining must drop.

Two chunks are copies if they are equal after white-space folding, or if the Jaccard similarity of their sets of 5-word
shingles, estimated by MinHash, reaches a threshold. Words are what ``str.split`` gives, case matters. In text that puts no
white space between words (Chinese, Japanese, Thai) a "word" is a clause or a line, so only exact and almost exact copies
are found there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

Keys = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]
# What is stored may hold only the low bits of each number.
StoredSignatures = Signatures | npt.NDArray[np.uint16]

SHINGLE_WORDS = 5
# The standard error of an estimate is at most 0.5 / sqrt(128) = 0.044 (0.035 at a similarity of 0.8).
PERMUTATIONS = 128
# Signatures are stored in pools: another seed makes them incomparable.
SEED = 0x4E457874

# Permuted hashes of this many shingles are 512 KiB, which stays in the second-level cache.
_SHINGLE_BLOCK = 1024
# Texts whose words are hashed together: enough to share the cost of the vectorised steps, 10 MB of words or so.
_TEXT_BLOCK = 256
# Comparing all rows with this many at a time keeps the intermediate matrices of 2,000 rows below 1 MB.
_ROW_BLOCK = 128
# Candidate pairs verified at a time: 16 MiB of signatures a side.
_PAIR_BLOCK = 32768


def _constants(purpose: str, amount: int, kind: type[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
    values = [xxhash.xxh3_64_intdigest(f"{purpose} {number}".encode(), seed=SEED) for number in range(amount)]
    return np.array(values, dtype=np.uint64).astype(kind)


# x -> (a * x + b) mod 2^32 with odd a is a permutation of the 32-bit numbers.
_MULTIPLIERS = (_constants("multiplier", PERMUTATIONS, np.uint32) | np.uint32(1))[:, None]
_INCREMENTS = _constants("increment", PERMUTATIONS, np.uint32)[:, None]
# One odd factor for each word of a shingle, so that the order of words matters.
_WORD_FACTORS = _constants("word", SHINGLE_WORDS, np.uint64) | np.uint64(1)


def folded(text: str) -> str:
    """The text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def fold_key(text: str) -> int:
    """A 64-bit hash (xxh3) of the folded text: equal for copies up to white space."""
    return xxhash.xxh3_64_intdigest(folded(text).encode("utf-8", "surrogatepass"))


def fold_keys(texts: Sequence[str]) -> Keys:
    """:func:`fold_key` of every text, uint64 of shape ``(n,)``."""
    return np.fromiter(map(fold_key, texts), dtype=np.uint64, count=len(texts))


def signatures(texts: Sequence[str]) -> Signatures:
    """MinHash signatures of the texts' sets of 5-word shingles, the same on every machine.

    A text of one to four words is one shingle; a text without words has the largest value in every place.

    Returns:
        uint32 of shape ``(len(texts), 128)``. The share of equal places in two rows estimates the Jaccard similarity.
    """
    result = np.full((len(texts), PERMUTATIONS), np.iinfo(np.uint32).max, dtype=np.uint32)
    hashes = _WordHashes()
    for first in range(0, len(texts), _TEXT_BLOCK):
        if len(hashes) > _WordHashes.LIMIT:
            hashes.clear()
        block = [text.split() for text in texts[first : first + _TEXT_BLOCK]]
        for row, shingles in enumerate(_shingles(block, hashes), start=first):
            for place in range(0, len(shingles), _SHINGLE_BLOCK):
                permuted = shingles[place : place + _SHINGLE_BLOCK] * _MULTIPLIERS
                permuted += _INCREMENTS
                np.minimum(result[row], permuted.min(axis=1), out=result[row])
    return result


class _WordHashes(dict[str, int]):
    """64-bit hashes of words, each computed once: text repeats its words."""

    LIMIT = 1_000_000

    def __missing__(self, word: str) -> int:
        value = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
        self[word] = value
        return value


def _shingles(texts: list[list[str]], hashes: _WordHashes) -> list[Signatures]:
    """The 32-bit hashes of each text's shingles."""
    amounts = [len(words) for words in texts]
    # Padding after the last word lets every word start a window; windows across two texts are cut off below.
    words = np.zeros(sum(amounts) + SHINGLE_WORDS, dtype=np.uint64)
    words[:-SHINGLE_WORDS] = np.fromiter(
        (hashes[word] for text in texts for word in text), dtype=np.uint64, count=sum(amounts)
    )
    sums = np.zeros(len(words) - SHINGLE_WORDS, dtype=np.uint64)
    for place, factor in enumerate(_WORD_FACTORS):
        sums += words[place : place + len(sums)] * factor
    mixed = _mixed(sums)
    result = []
    start = 0
    for amount in amounts:
        if 0 < amount < SHINGLE_WORDS:
            short = words[start : start + amount] * _WORD_FACTORS[:amount]
            result.append(_mixed(short.sum(keepdims=True, dtype=np.uint64)))
        else:
            result.append(mixed[start : start + max(amount - SHINGLE_WORDS + 1, 0)])
        start += amount
    return result


def _mixed(values: Keys) -> Signatures:
    """The upper half of well mixed 64-bit numbers (the finalizer of MurmurHash3)."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    upper: Signatures = (values >> np.uint64(32)).astype(np.uint32)
    return upper


def estimated_jaccard(signature: StoredSignatures, matrix: StoredSignatures) -> npt.NDArray[np.float32]:
    """Estimated Jaccard similarity of one text to others: float32 of shape ``(n,)``.

    Args:
        signature: uint32 of shape ``(128,)``, or the low 16 bits of one.
        matrix: the same of shape ``(n, 128)``.
    """
    matches: npt.NDArray[np.int64] = np.count_nonzero(matrix == signature, axis=1)
    return (matches / PERMUTATIONS).astype(np.float32)


def required_matches(threshold: float) -> int:
    """The fewest equal places of two signatures whose estimate reaches the threshold."""
    return math.ceil(threshold * PERMUTATIONS)
