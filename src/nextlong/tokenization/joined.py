"""Encoding many short segments in few texts.

A call of a library for a text costs as much as the tokens of a rare word. So segments are put together where there is a cut
between them (``cuts.py``), and their tokens are taken apart by their bytes: those of each segment end where it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from nextlong.tokenization.cuts import APOSTROPHE, DIGIT, LETTER, MARK, SLASH, SPACE
from nextlong.tokenization.segment_table import Numbers
from nextlong.tokenization.tokenizer import Tokens

Encode = Callable[[list[str]], Iterable[Sequence[int]]]

# Segments in a text, and their longest: a text that the library reads at its best speed.
_TOGETHER = 64
_LONGEST = 63

_VISIBLE = (LETTER, DIGIT, MARK, APOSTROPHE, SLASH)


def encode_joined(
    encode: Encode, segments: Sequence[bytes], kinds: Sequence[int], token_sizes: npt.NDArray[np.int64] | None
) -> tuple[Tokens, Numbers, Numbers]:
    """The tokens of segments, in an array that may hold others too.

    Args:
        encode: the tokens of each text.
        segments: parts of texts between cuts.
        kinds: of each byte, as ``cuts.kinds`` gives them.
        token_sizes: the bytes of each token, by its id; None puts nothing together.

    Returns:
        Tokens (int32), and for each segment where its own begin and how many they are. If all segments are of 64 bytes or
        more, theirs lie one after the other.
    """
    # By what stands between them: nothing before a space, a line end before a letter, and those that stand alone.
    close, lines, alone = [], [], []
    for i, segment in enumerate(segments):
        first, last = (kinds[segment[0]], kinds[segment[-1]]) if segment else (0, 0)
        if token_sizes is None or len(segment) > _LONGEST or not segment.isascii():
            alone.append(i)
        elif first == SPACE and last in _VISIBLE:
            close.append(i)
        elif first in (LETTER, DIGIT, MARK, APOSTROPHE) and last in (LETTER, DIGIT):
            lines.append(i)
        else:
            alone.append(i)
    firsts, lengths = np.empty((2, len(segments)), dtype=np.int64)
    flats: list[Tokens] = [np.empty(0, dtype=np.int32)]
    used = 0
    for rows, between in ((close, b""), (lines, b"\n")):
        if token_sizes is None or not rows:
            continue
        found = _apart(encode, [segments[i] for i in rows], between, token_sizes)
        if found is None:
            alone += rows
            continue
        flat, firsts[rows], lengths[rows] = found
        firsts[rows] += used
        used += len(flat)
        flats.append(flat)
    encoded = list(encode([segments[i].decode() for i in alone])) if alone else []
    own = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    lengths[alone], firsts[alone] = own, used + np.cumsum(own) - own
    flats.append(np.fromiter(chain.from_iterable(encoded), dtype=np.int32, count=int(own.sum())))
    return np.concatenate(flats), firsts, lengths


def _apart(
    encode: Encode, segments: Sequence[bytes], between: bytes, token_sizes: npt.NDArray[np.int64]
) -> tuple[Tokens, Numbers, Numbers] | None:
    """All tokens, and where each segment's begin and how many they are.

    None where tokens do not add up to the text, as bytes have none that the vocabulary lacks, or where one lies across a
    border: together, segments may make an added token with white space.
    """
    groups = [segments[i : i + _TOGETHER] for i in range(0, len(segments), _TOGETHER)]
    encoded = list(encode([between.join(group).decode() for group in groups]))
    flat = np.fromiter(chain.from_iterable(encoded), dtype=np.int32, count=sum(map(len, encoded)))
    ends = np.cumsum(token_sizes[flat])
    sizes = np.fromiter(map(len, segments), dtype=np.int64, count=len(segments))
    gaps = np.full(len(segments), len(between), dtype=np.int64)
    gaps[::_TOGETHER] = 0
    stops = np.cumsum(sizes + gaps)
    borders = np.concatenate([[0], ends])
    firsts, afters = np.searchsorted(borders, stops - sizes), np.searchsorted(borders, stops)
    if borders[-1] != stops[-1] or (borders[firsts] != stops - sizes).any() or (borders[afters] != stops).any():
        return None
    return flat, firsts, afters - firsts
