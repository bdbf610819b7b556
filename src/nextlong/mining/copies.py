"""Which chunks are copies of each other: false negatives that mining must drop.

Two chunks are copies if they are equal after white-space folding, or if the Jaccard similarity of their sets of 5-word
shingles, estimated by MinHash, reaches a threshold. Words are what ``str.split`` gives, case matters. In text that puts no
white space between words (Chinese, Japanese, Thai) a "word" is a clause or a line, so only exact and almost exact copies
are found there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import xxhash

Keys = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]
# What is stored may hold only the low bits of each number.
StoredSignatures = Signatures | npt.NDArray[np.uint16]

SHINGLE_WORDS = 5
# Places of a signature. The standard error of an estimate is at most 0.5 / sqrt(128) = 0.044 (0.035 at 0.8).
PERMUTATIONS = 128
# Signatures are stored in pools: another seed makes them incomparable.
SEED = 0x4E457874

# Texts whose words are hashed together: enough to share the cost of the vectorised steps, some MB of words.
_TEXT_BLOCK = 256

# What a place without a number holds; a number that happens to be the same, one in four thousand million, is none.
_EMPTY = np.uint32(0xFFFFFFFF)
# A shingle's 64-bit hash: the upper seven bits say its place, the lower half is its number there.
_PLACE_SHIFT = np.uint64(64 - 7)


def _constants(purpose: str, amount: int) -> Keys:
    values = [xxhash.xxh3_64_intdigest(f"{purpose} {number}".encode(), seed=SEED) for number in range(amount)]
    return np.array(values, dtype=np.uint64)


# One odd factor for each word of a shingle, so that the order of words matters.
_WORD_FACTORS = _constants("word", SHINGLE_WORDS) | np.uint64(1)


def _donors() -> npt.NDArray[np.int64]:
    """For every place, all places in an order of its own: int64 of shape ``(128, 128)``."""
    order = _constants("donor", PERMUTATIONS * PERMUTATIONS).reshape(PERMUTATIONS, PERMUTATIONS)
    return np.argsort(order, axis=1, kind="stable")


_DONORS = _donors()


def folded(text: str) -> str:
    """The text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def fold_key(text: str) -> int:
    """A 64-bit hash (xxh3) of the folded text: equal for copies up to white space."""
    return _key_of(folded(text))


def _key_of(folded_text: str) -> int:
    return xxhash.xxh3_64_intdigest(folded_text.encode("utf-8", "surrogatepass"))


def fold_keys(texts: Sequence[str]) -> Keys:
    """:func:`fold_key` of every text, uint64 of shape ``(n,)``."""
    return np.fromiter(map(fold_key, texts), dtype=np.uint64, count=len(texts))


def signatures(texts: Sequence[str]) -> Signatures:
    """Signatures of the texts' sets of 5-word shingles, the same on every machine.

    MinHash with one permutation (Li, Owen, Zhang 2012): a shingle's hash says which of the 128 places it belongs to, and
    a place keeps the least number of its shingles. A place without a shingle takes the number of another one, tried in an
    order of its own (optimal densification, Shrivastava 2017), so that the share of equal places estimates the Jaccard
    similarity as with 128 permutations, at the cost of one.

    A text of one to four words is one shingle; a text without words has the largest value in every place.

    Returns:
        uint32 of shape ``(len(texts), 128)``. The share of equal places in two rows estimates the Jaccard similarity.
    """
    return fingerprints(texts)[1]


def fingerprints(texts: Sequence[str]) -> tuple[Keys, Signatures]:
    """:func:`fold_keys` and :func:`signatures` of the texts, whose words are told apart only once."""
    keys = np.empty(len(texts), dtype=np.uint64)
    result = np.empty((len(texts), PERMUTATIONS), dtype=np.uint32)
    for first in range(0, len(texts), _TEXT_BLOCK):
        if len(_HASHES) > _WordHashes.LIMIT:
            _HASHES.clear()
        words = [text.split() for text in texts[first : first + _TEXT_BLOCK]]
        last = first + len(words)
        keys[first:last] = [_key_of(" ".join(each)) for each in words]
        result[first:last] = _least(words)
    _densify(result)
    return keys, result


class _WordHashes(dict[str, int]):
    """64-bit hashes of words, each computed once: text repeats its words."""

    LIMIT = 1 << 17  # words, some 20 MB

    def __missing__(self, word: str) -> int:
        value = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
        self[word] = value
        return value


_HASHES = _WordHashes()


def _least(texts: list[list[str]]) -> Signatures:
    """For each text and place, the least number of the text's shingles that belong there."""
    amounts = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    total = int(amounts.sum())
    # Padding after the last word lets every word start a window; windows that leave their text are left out below.
    words = np.zeros(total + SHINGLE_WORDS, dtype=np.uint64)
    words[:total] = np.fromiter(map(_HASHES.__getitem__, chain.from_iterable(texts)), dtype=np.uint64, count=total)
    sums = np.zeros(total, dtype=np.uint64)
    for place, factor in enumerate(_WORD_FACTORS):
        sums += words[place : place + total] * factor
    starts = np.cumsum(amounts) - amounts
    for row in np.flatnonzero((amounts > 0) & (amounts < SHINGLE_WORDS)):
        start, amount = starts[row], amounts[row]
        sums[start] = (words[start : start + amount] * _WORD_FACTORS[:amount]).sum(dtype=np.uint64)
    shingles = np.minimum(amounts, np.maximum(amounts - SHINGLE_WORDS + 1, 1))
    rows = np.repeat(np.arange(len(texts)), amounts)
    within = np.arange(total) - starts[rows] < shingles[rows]
    mixed = _mixed(sums)
    least = np.full(len(texts) * PERMUTATIONS, _EMPTY, dtype=np.uint32)
    places = rows * PERMUTATIONS + (mixed >> _PLACE_SHIFT).astype(np.int64)
    np.minimum.at(least, places[within], mixed.astype(np.uint32)[within])
    return least.reshape(len(texts), PERMUTATIONS)


def _densify(signatures: Signatures) -> None:
    """Fill the empty places of every row that has a number, in place."""
    empty = signatures == _EMPTY
    empty &= ~empty.all(axis=1, keepdims=True)
    given = signatures.copy()
    rows, places = np.nonzero(empty)
    for attempt in range(PERMUTATIONS):
        if not len(rows):
            return
        found = given[rows, _DONORS[places, attempt]]
        signatures[rows, places] = found
        missing = found == _EMPTY
        rows, places = rows[missing], places[missing]


def _mixed(values: Keys) -> Keys:
    """Well mixed 64-bit numbers (the finalizer of MurmurHash3)."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


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
