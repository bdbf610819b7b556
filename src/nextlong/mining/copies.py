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
Amounts = npt.NDArray[np.int64]
# What is stored may hold only the low bits of each number.
StoredSignatures = Signatures | npt.NDArray[np.uint16]

SHINGLE_WORDS = 5
# Places of a signature. The standard error of an estimate is at most 0.5 / sqrt(128) = 0.044 (0.035 at 0.8).
PERMUTATIONS = 128
# Signatures are stored in pools: another seed makes them incomparable.
SEED = 0x4E457874

# Bytes whose words are hashed together: their arrays, of eight bytes a byte, stay in the second-level cache.
_BLOCK_BYTES = 1 << 17

# What a place without a number holds; a number that happens to be the same, one in four thousand million, is none.
_EMPTY = np.uint32(0xFFFFFFFF)
# A shingle's 64-bit hash: the upper seven bits say its place, the lower half is its number there.
_PLACE_SHIFT = np.uint64(64 - 7)


def _constants(purpose: str, amount: int) -> Keys:
    values = [xxhash.xxh3_64_intdigest(f"{purpose} {number}".encode(), seed=SEED) for number in range(amount)]
    return np.array(values, dtype=np.uint64)


# One odd factor for each word of a shingle, so that the order of words matters.
_WORD_FACTORS = _constants("word", SHINGLE_WORDS) | np.uint64(1)


# Texts are polynomials of their words at this, modulo 2^64.
_WORD_BASE = int(_constants("base", 1)[0]) | 1
# Words of more bytes than this are hashed one by one.
_LONGEST_WORD = 64
# The lowest bytes of eight, by how many.
_LOWEST = np.array([(1 << (8 * count)) - 1 for count in range(9)], dtype=np.uint64)
# White space of ASCII, as str.split knows it.
_ASCII_SPACES = bytes(ord(" ") if code < 128 and chr(code).isspace() else code for code in range(256))


def _donors() -> npt.NDArray[np.int64]:
    """For every place, all places in an order of its own: int64 of shape ``(128, 128)``."""
    order = _constants("donor", PERMUTATIONS * PERMUTATIONS).reshape(PERMUTATIONS, PERMUTATIONS)
    return np.argsort(order, axis=1, kind="stable")


_DONORS = _donors()


def folded(text: str) -> str:
    """The text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def fold_key(text: str) -> int:
    """A 64-bit hash of the text's words: equal for copies up to white space."""
    return int(fold_keys([text])[0])


def fold_keys(texts: Sequence[str]) -> Keys:
    """:func:`fold_key` of every text, uint64 of shape ``(n,)``."""
    return _keys(*_words(texts))


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
    words, amounts = _words(texts)
    result = _least(words, amounts)
    _densify(result)
    return _keys(words, amounts), result


def _words(texts: Sequence[str]) -> tuple[Keys, Amounts]:
    """The 64-bit hashes of all words, and how many words each text has."""
    # Other white space than that of ASCII is several bytes; texts with it, or with anything else of that kind, are folded.
    parts = [(text if text.isascii() else folded(text)).encode("utf-8", "surrogatepass") for text in texts]
    content = b" ".join(parts).translate(_ASCII_SPACES)
    hashes: list[Keys] = []
    starts: list[Amounts] = []
    first = 0
    while first < len(content):
        space = content.find(b" ", first + _BLOCK_BYTES)
        last = space if space >= 0 else len(content)
        block_starts, block_hashes = _word_hashes(content[first:last])
        starts.append(block_starts + first)
        hashes.append(block_hashes)
        first = last
    ends = np.cumsum([len(part) + 1 for part in parts], dtype=np.int64)
    before = np.searchsorted(np.concatenate([*starts, np.empty(0, dtype=np.int64)]), ends)
    return np.concatenate([*hashes, np.empty(0, dtype=np.uint64)]), np.diff(before, prepend=0)


def _word_hashes(content: bytes) -> tuple[Amounts, Keys]:
    """Where the words between spaces start, and their hashes."""
    codes = np.frombuffer(content, dtype=np.uint8)
    space = np.ones(len(codes) + 2, dtype=np.bool_)
    np.equal(codes, ord(" "), out=space[1:-1])
    borders = np.flatnonzero(space[1:] != space[:-1])
    starts, ends = borders[::2], borders[1::2]
    return starts, _hashes(content, starts, ends - starts)


def _hashes(content: bytes, starts: Amounts, sizes: Amounts) -> Keys:
    """The hash of each word, from eight of its bytes after the other."""
    eights: Keys = np.ndarray((len(content) + 1,), dtype="<u8", buffer=content + bytes(8), strides=(1,))
    result = sizes.astype(np.uint64)
    short = sizes <= _LONGEST_WORD
    for place in np.flatnonzero(~short).tolist():
        result[place] = xxhash.xxh3_64_intdigest(content[starts[place] : starts[place] + sizes[place]])
    rows, done = np.flatnonzero(short), 0
    while len(rows):
        left = sizes[rows] - done
        result[rows] = _mixed(result[rows] ^ (eights[starts[rows] + done] & _LOWEST[np.minimum(left, 8)]))
        rows, done = rows[left > 8], done + 8
    return result


def _keys(words: Keys, amounts: Amounts) -> Keys:
    """For each text, its words times the powers of the base from 0 on, added up modulo 2^64, and mixed."""
    powers, inverses = (_powers(base, len(words) + 1) for base in (_WORD_BASE, pow(_WORD_BASE, -1, 1 << 64)))
    sums = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(words * powers[:-1], out=sums[1:])
    ends = np.cumsum(amounts)
    starts = ends - amounts
    return _mixed((sums[ends] - sums[starts]) * inverses[starts])


def _powers(base: int, count: int) -> Keys:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


def _least(hashes: Keys, amounts: Amounts) -> Signatures:
    """For each text and place, the least number of the text's shingles that belong there."""
    total = len(hashes)
    # Padding after the last word lets every word start a window; windows that leave their text are left out below.
    words = np.concatenate([hashes, np.zeros(SHINGLE_WORDS, dtype=np.uint64)])
    sums = np.zeros(total, dtype=np.uint64)
    for place, factor in enumerate(_WORD_FACTORS):
        sums += words[place : place + total] * factor
    starts = np.cumsum(amounts) - amounts
    for row in np.flatnonzero((amounts > 0) & (amounts < SHINGLE_WORDS)):
        start, amount = starts[row], amounts[row]
        sums[start] = (words[start : start + amount] * _WORD_FACTORS[:amount]).sum(dtype=np.uint64)
    shingles = np.minimum(amounts, np.maximum(amounts - SHINGLE_WORDS + 1, 1))
    rows = np.repeat(np.arange(len(amounts)), amounts)
    within = np.arange(total) - starts[rows] < shingles[rows]
    mixed = _mixed(sums)
    least = np.full(len(amounts) * PERMUTATIONS, _EMPTY, dtype=np.uint32)
    places = rows * PERMUTATIONS + (mixed >> _PLACE_SHIFT).astype(np.int64)
    np.minimum.at(least, places[within], mixed.astype(np.uint32)[within])
    return least.reshape(len(amounts), PERMUTATIONS)


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
