"""Which chunks are copies of each other: false negatives that mining must drop.

Two chunks are copies if they are equal after white-space folding, or if the Jaccard similarity of their sets of 5-word
shingles, estimated by MinHash, reaches a threshold. Words are what ``str.split`` gives, case matters. In text that puts no
white space between words (Chinese, Japanese, Thai) a "word" is a clause or a line, so only exact and almost exact copies
are found there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import xxhash

Keys = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]
Amounts = npt.NDArray[np.int64]
Utf8 = bytes | memoryview
# What is stored may hold only the low bits of each number.
StoredSignatures = Signatures | npt.NDArray[np.uint16]

SHINGLE_WORDS = 5
# Places of a signature. The standard error of an estimate is at most 0.5 / sqrt(128) = 0.044 (0.035 at 0.8).
PERMUTATIONS = 128
# Signatures are stored in pools: another seed makes them incomparable.
SEED = 0x4E457874

# Bytes whose words are hashed together: their arrays, of some two bytes a byte, stay in the second-level cache.
_BLOCK_BYTES = 1 << 19

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
# After the last word, so that eight bytes can be read at any.
_PADDING = b" " * 8
# Powers that are kept, for some 1,000 texts of the usual length: 4 MiB.
_KEPT_POWERS = 1 << 18


def _other_spaces() -> dict[int, tuple[int, Keys]]:
    """White space of Unicode that is not ASCII, in UTF-8: first byte → how many bytes, and the others as one number each."""
    encoded = [chr(code).encode() for code in range(128, 0x10000) if chr(code).isspace()]
    return {
        lead: (size, np.array([int.from_bytes(each[1:], "little") for each in encoded if each[0] == lead], dtype=np.uint64))
        for lead, size in sorted({(each[0], len(each)) for each in encoded})
    }


_OTHER_SPACES = _other_spaces()


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
    return _keys(*hashed_words(_encoded(texts)))


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
    return fingerprints_of_utf8(_encoded(texts))


def fingerprints_of_utf8(texts: Sequence[Utf8]) -> tuple[Keys, Signatures]:
    """:func:`fingerprints` of texts that are UTF-8 already."""
    words, amounts = hashed_words(texts)
    result = _least(words, amounts)
    _densify(result)
    return _keys(words, amounts), result


def _encoded(texts: Sequence[str]) -> list[bytes]:
    return [text.encode("utf-8", "surrogatepass") for text in texts]


def hashed_words(texts: Sequence[Utf8]) -> tuple[Keys, Amounts]:
    """The 64-bit hashes of all words, and how many words each text has."""
    content = b" ".join([*texts, _PADDING])
    hashes: list[Keys] = []
    starts: list[Amounts] = []
    first, end = 0, len(content) - len(_PADDING)
    while first < end:
        space = content.find(b" ", min(first + _BLOCK_BYTES, end))
        block_starts, block_hashes = _word_hashes(content[first : space + len(_PADDING)])
        starts.append(block_starts + first)
        hashes.append(block_hashes)
        first = space
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    before = np.searchsorted(np.concatenate([*starts, np.empty(0, dtype=np.int64)]), ends)
    return np.concatenate([*hashes, np.empty(0, dtype=np.uint64)]), np.diff(before, prepend=0)


def _word_hashes(content: bytes) -> tuple[Amounts, Keys]:
    """Where the words between white space start, and their hashes; the last eight bytes are padding."""
    eights: Keys = np.ndarray((len(content) - 7,), dtype="<u8", buffer=content, strides=(1,))
    codes = np.frombuffer(content, dtype=np.uint8)[:-7]
    space = codes - np.uint8(9) < 5  # \t to \r
    space |= codes - np.uint8(28) < 5  # \x1c to the space
    if not content.isascii():
        _add_other_spaces(space, content, codes, eights)
    space[-1] = True
    # A run of words or white space begins where the one before it ends; nothing is before the first, as if it were space.
    borders = np.flatnonzero(space[1:] != space[:-1]) + 1
    if not space[0]:
        borders = np.concatenate([np.zeros(1, dtype=np.int64), borders])
    starts = borders[::2].copy()
    return starts, _hashes(content, eights, starts, borders[1::2] - starts)


def _add_other_spaces(space: npt.NDArray[np.bool_], content: bytes, codes: npt.NDArray[np.uint8], eights: Keys) -> None:
    """Mark every byte of a white-space character that is not ASCII."""
    for lead, (size, rests) in _OTHER_SPACES.items():
        if lead in content:
            places = np.flatnonzero(codes == lead)
            rest = (eights[places] >> np.uint64(8)) & _LOWEST[size - 1]
            found = places[np.isin(rest, rests)]
            for byte in range(size):
                space[found + byte] = True


def _hashes(content: bytes, eights: Keys, starts: Amounts, sizes: Amounts) -> Keys:
    """The hash of each word, from eight of its bytes after the other."""
    result = mixed(sizes.astype(np.uint64) ^ (eights[starts] & _LOWEST.take(sizes, mode="clip")))
    rows = np.flatnonzero(sizes > 8)
    places, left, hashes = starts[rows], sizes[rows], result[rows]
    long = np.flatnonzero(left > _LONGEST_WORD)
    borders = zip(places[long].tolist(), (places[long] + left[long]).tolist(), strict=True)
    result[rows[long]] = np.array([xxhash.xxh3_64_intdigest(content[start:end]) for start, end in borders], dtype=np.uint64)
    going = np.flatnonzero(left <= _LONGEST_WORD)
    while len(going):
        rows, places, left, hashes = rows[going], places[going] + 8, left[going] - 8, hashes[going]
        hashes = mixed(hashes ^ (eights[places] & _LOWEST.take(left, mode="clip")))
        result[rows] = hashes
        going = np.flatnonzero(left > 8)
    return result


def _keys(words: Keys, amounts: Amounts) -> Keys:
    """For each text, its words times the powers of the base from 0 on, added up modulo 2^64, and mixed."""
    powers, inverses = _powers(len(words))
    sums = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(words * powers[: len(words)], out=sums[1:])
    ends = np.cumsum(amounts)
    starts = ends - amounts
    return mixed((sums[ends] - sums[starts]) * inverses[starts])


def _powers(most: int) -> tuple[Keys, Keys]:
    """The base's powers from 0 to at least ``most``, and their inverses."""
    if most <= _KEPT_POWERS:
        return _kept_powers()
    return _powers_of(_WORD_BASE, most + 1), _powers_of(pow(_WORD_BASE, -1, 1 << 64), most + 1)


@cache
def _kept_powers() -> tuple[Keys, Keys]:
    return _powers_of(_WORD_BASE, _KEPT_POWERS + 1), _powers_of(pow(_WORD_BASE, -1, 1 << 64), _KEPT_POWERS + 1)


def _powers_of(base: int, count: int) -> Keys:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


def _least(hashes: Keys, amounts: Amounts) -> Signatures:
    """For each text and place, the least number of the text's shingles that belong there."""
    total = len(hashes)
    ends = np.cumsum(amounts)
    starts = ends - amounts
    # Padding after the last word lets every word start a window; windows that leave their text go nowhere, see below.
    words = np.concatenate([hashes, np.zeros(SHINGLE_WORDS, dtype=np.uint64)])
    sums = words[:total] * _WORD_FACTORS[0]
    for place, factor in enumerate(_WORD_FACTORS[1:], start=1):
        sums += words[place : place + total] * factor
    short = amounts < SHINGLE_WORDS
    for row in np.flatnonzero(short & (amounts > 0)).tolist():
        start, amount = starts[row], amounts[row]
        sums[start] = (words[start : start + amount] * _WORD_FACTORS[:amount]).sum(dtype=np.uint64)
    numbers = mixed(sums)
    places = (numbers >> _PLACE_SHIFT).astype(np.int64)
    places += np.repeat(np.arange(0, len(amounts) * PERMUTATIONS, PERMUTATIONS), amounts)
    nowhere = len(amounts) * PERMUTATIONS
    for back in range(1, SHINGLE_WORDS):
        # The last words of a long text, and all but the first of a short one.
        places[ends[(amounts > back) | ~short] - back] = nowhere
    least = np.full(nowhere + 1, _EMPTY, dtype=np.uint32)
    np.minimum.at(least, places, numbers.astype(np.uint32))
    return least[:-1].reshape(len(amounts), PERMUTATIONS)


def _densify(signatures: Signatures) -> None:
    """Fill the empty places of every row that has a number, in place."""
    empty = signatures == _EMPTY
    empty &= ~empty.all(axis=1, keepdims=True)
    numbers, given = signatures.reshape(-1), signatures.reshape(-1).copy()
    open_ = np.flatnonzero(empty)
    for donors in _DONORS.T:
        if not len(open_):
            return
        place = open_ & (PERMUTATIONS - 1)
        found = given[open_ - place + donors[place]]
        numbers[open_] = found
        open_ = open_[found == _EMPTY]


def mixed(values: Keys) -> Keys:
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
