"""Encoding texts in parts: every different part once, by the tokenizer's own library, and the rest by looking it up.

Texts are cut where nothing depends on what comes behind (``cuts.py``), mostly between words. Text repeats its words, so the
library, which takes about a microsecond for each token, sees a small share of the parts. Finding the cuts, looking up the
parts and putting the tokens together are operations on whole arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.tokenization.cuts import LINE, SLASH, WIDE, Cuts, kinds, unsure_before_wide
from nextlong.tokenization.joined import Encode, encode_joined
from nextlong.tokenization.segment_table import Numbers, SegmentTable, Words, different, keys_of
from nextlong.tokenization.tokenizer import Tokens

# Characters handled at once: the arrays of a group stay in the processor's cache. An encoder begins with small groups, that
# a frequent segment is new only a few times.
_FIRST_GROUP, _GROUP = 1 << 13, 1 << 19

# Longer texts go to the library as they are: the arrays take some fifty bytes for each of their segments.
_LONGEST_TEXT = 1 << 24

# Words of eight bytes in the keys of the tables. Most segments are of less than sixteen bytes; the long ones are runs of
# spaces and of dashes.
_WIDTHS = (2, 4, 8)
# Longer segments than the tables have room for are kept by their bytes, and those longer than this not at all.
_LONGEST_KEPT = 1024

# When so many segments, long segments or tokens are kept, all are forgotten: some 80 MB.
_MOST_SEGMENTS = 1 << 19
_MOST_LONG = 1 << 14
_MOST_TOKENS = 1 << 22

# No byte of any text; between texts, so that no cut is seen across their border.
_BORDER = b"\xff"


class SegmentEncoder:
    """Encodes texts like ``encode``, which is asked only for segments not seen before. Threads take turns.

    Args:
        encode: the tokens of each text.
        cuts: where texts can be cut.
        token_sizes: the bytes of each token, by its id; None where tokens do not stand for bytes: every segment is then
            encoded by itself.
    """

    def __init__(self, encode: Encode, cuts: Cuts, token_sizes: npt.NDArray[np.int64] | None = None) -> None:
        self._encode = encode
        self._lock = Lock()
        self._token_sizes = token_sizes
        self._cuts = cuts
        self._is_cut = cuts.table()
        self._kinds = kinds()
        self._kind_list: list[int] = self._kinds.tolist()
        self._unsure = unsure_before_wide()
        self._tables = [SegmentTable(width) for width in _WIDTHS]
        # A text with none of these has none of the strings, which are many and begin alike.
        self._signs = sorted({text[:2] for text in cuts.whole})
        # By number: where a segment's tokens lie in `_tokens`, and how many they are.
        self._firsts: Numbers
        self._lengths: Numbers
        self._tokens: Tokens
        self._count: int
        self._used: int
        self._unkept = 0
        self._group: int
        self._long: dict[bytes, int]
        self._forget()

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text."""
        uncut = [i for i, text in enumerate(texts) if self._stays_whole(text)]
        results: list[Tokens | None] = [None] * len(texts)
        for i, ids in zip(uncut, self._encode([texts[i] for i in uncut]) if uncut else (), strict=True):
            results[i] = np.array(ids, dtype=np.int32)
        rest = [i for i, result in enumerate(results) if result is None]
        sizes, done = np.cumsum([len(texts[i]) for i in rest], dtype=np.int64), 0
        while done < len(rest):
            before = int(sizes[done - 1]) if done else 0
            group = rest[done : int(np.searchsorted(sizes, before + self._group)) + 1]
            with self._lock:
                encoded = self._encode_group([texts[i] for i in group])
            for i, tokens in zip(group, encoded, strict=True):
                results[i] = tokens
            done += len(group)
            self._group = min(2 * self._group, _GROUP)
        return [result for result in results if result is not None]

    def cut_between(self, before: str, after: str) -> bool:
        """Whether three characters say that there is a cut between two texts, whatever stands around them."""
        edge = before[-1:] + after[:2]
        if len(edge) < 3 or not edge.isascii():
            return False
        p, c, n = edge.encode()
        kind = self._kind_list
        cut = self._is_cut[kind[p] << 8 | kind[c] << 4 | kind[n]]
        return bool(cut) and not self._stays_whole(before + after)

    def _stays_whole(self, text: str) -> bool:
        if len(text) > _LONGEST_TEXT:
            return True
        return any(sign in text for sign in self._signs) and any(one in text for one in self._cuts.whole)

    def _encode_group(self, texts: Sequence[str]) -> list[Tokens]:
        if self._count > _MOST_SEGMENTS or len(self._long) > _MOST_LONG or self._used > _MOST_TOKENS:
            self._forget()
        raw = [text.encode() for text in texts]
        sizes = np.fromiter(map(len, raw), dtype=np.int64, count=len(raw))
        begins = np.cumsum(sizes + 1) - sizes
        memory = _BORDER.join([b"", *raw, b"\0" * (8 * max(_WIDTHS))])
        starts, first = self._segments(memory, begins, sizes)
        stops = np.append(starts[1:], begins[-1] + sizes[-1])
        stops[first[1:] - 1] -= 1  # the border
        numbers = self._number(memory, starts, stops - starts)
        lengths = self._lengths[numbers]
        offsets = np.zeros(len(starts) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.repeat(self._firsts[numbers] - offsets[:-1], lengths)
        places += np.arange(offsets[-1])
        flat = self._tokens[places]
        self._drop_unkept()
        borders = offsets[np.append(first, len(starts))].tolist()
        return [flat[begin:end] for begin, end in pairwise(borders)]

    def _segments(self, memory: bytes, begins: Numbers, sizes: Numbers) -> tuple[Numbers, Numbers]:
        """Where segments start, and which segment is the first of each text. An empty text is one empty segment."""
        end = int(begins[-1] + sizes[-1])
        kind = self._kinds.take(np.frombuffer(memory, dtype=np.uint8, count=end + 1))
        around = kind[:-2] << 8
        around |= kind[1:-1] << 4
        around |= kind[2:]
        cut = np.zeros(end + 1, dtype=np.bool_)
        cut[1:-1] = self._is_cut.take(around)
        places = np.flatnonzero(cut)
        wide = places[kind[places - 1] == WIDE]
        if len(wide):
            before = np.frombuffer(memory, dtype=np.uint8)[wide - 2]
            cut[wide[self._unsure[before]]] = False
        if not self._cuts.lines:
            # A line end that is a segment of its own, before something visible.
            lines = places[(kind[places] == LINE) & cut[places]]
            after = kind[lines + 1]
            cut[lines[(after > 0) & (after <= SLASH)] + 1] = True
        cut[begins] = True
        cut[end] = sizes[-1] == 0
        starts = np.flatnonzero(cut)
        return starts, np.searchsorted(starts, begins)

    def _number(self, memory: bytes, starts: Numbers, sizes: Numbers) -> Numbers:
        """The number of each segment; those not seen before get one."""
        words: Words = np.ndarray((len(memory) - 7,), dtype="<u8", buffer=memory, strides=(1,))
        numbers = np.empty(len(starts), dtype=np.int64)
        left = np.arange(len(starts))
        for width, table in zip(_WIDTHS, self._tables, strict=True):
            fits = sizes[left] < 8 * width
            rows, left = left[fits], left[~fits]
            keys = keys_of(words, starts[rows], sizes[rows], width)
            found, lacking = table.find(keys)
            if len(lacking):
                keys = [key[lacking] for key in keys]
                one_of_each, which = different(keys)
                new = rows[lacking[one_of_each]]
                added = self._add(_bytes_of(memory, starts[new], sizes[new]))
                table.insert([key[one_of_each] for key in keys], added)
                found[lacking] = added[which]
            numbers[rows] = found
        if len(left):
            long = _bytes_of(memory, starts[left], sizes[left])
            unseen = [one for one in dict.fromkeys(long) if one not in self._long]
            unseen.sort(key=lambda one: len(one) > _LONGEST_KEPT)  # those that are not kept last
            here = dict(zip(unseen, self._add(unseen).tolist(), strict=True))
            self._long |= {one: number for one, number in here.items() if len(one) <= _LONGEST_KEPT}
            numbers[left] = [self._long[one] if one in self._long else here[one] for one in long]
            self._unkept = sum(len(one) > _LONGEST_KEPT for one in unseen)
        return numbers

    def _add(self, segments: Sequence[bytes]) -> Numbers:
        """Encode segments, and give them numbers."""
        flat, firsts, lengths = encode_joined(self._encode, segments, self._kind_list, self._token_sizes)
        numbers = np.arange(self._count, self._count + len(segments))
        self._lengths = _with_room(self._lengths, self._count + len(segments))
        self._firsts = _with_room(self._firsts, self._count + len(segments))
        self._tokens = _with_room(self._tokens, self._used + len(flat))
        self._lengths[numbers], self._firsts[numbers] = lengths, self._used + firsts
        self._tokens[self._used : self._used + len(flat)] = flat
        self._count += len(segments)
        self._used += len(flat)
        return numbers

    def _drop_unkept(self) -> None:
        """Forget the last segments added, which are too long to keep."""
        if self._unkept:
            self._count -= self._unkept
            self._used = int(self._firsts[self._count])
            self._unkept = 0

    def _forget(self) -> None:
        for table in self._tables:
            table.clear()
        self._long = {}
        self._count = self._used = 0
        self._group = _FIRST_GROUP
        self._lengths = np.zeros(1 << 10, dtype=np.int64)
        self._firsts = np.zeros(1 << 10, dtype=np.int64)
        self._tokens = np.zeros(1 << 12, dtype=np.int32)


def _bytes_of(memory: bytes, starts: Numbers, sizes: Numbers) -> list[bytes]:
    return [memory[start:stop] for start, stop in zip(starts.tolist(), (starts + sizes).tolist(), strict=True)]


def _with_room(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    if size <= len(array):
        return array
    return np.concatenate([array, np.zeros(max(size, 2 * len(array)) - len(array), dtype=array.dtype)])
