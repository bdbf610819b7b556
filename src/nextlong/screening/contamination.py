"""Runs of words that a corpus shares with evaluation data.

The rules are those of the GPT-3 paper (Brown et al. 2020, appendix C), but for what ``docs/screening.md`` lists. Runs are
compared by their 64-bit hashes (:mod:`nextlong.mining.ngrams`). They are looked for in whole documents: one may begin in
one chunk and end in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.mining.copies import Keys, hashed_words
from nextlong.mining.ngrams import folded_utf8, ngram_keys, run_keys

Numbers = npt.NDArray[np.int64]

# A text of fewer words than a run is looked for as a whole, if it has so many: the fewest of the GPT-3 paper.
SHORTEST_TEXT_WORDS = 8

# Texts that are hashed together.
_TEXTS, _BYTES = 1024, 1 << 20
# Bits of the filter for each run: one in so many words that are not in the table is looked up in vain.
_FILTER_BITS = 16
_LEAST_FILTER = 1 << 13  # bytes


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of words of evaluation data.

    Attributes:
        keys: their hashes, uint64, ascending, each once.
        texts: the number of the first text that has each, int64.
        filter: bits, one for the first bits of each key; uint8.
        lengths: how many words they have, int64, ascending: the chosen length, and those of short texts.
    """

    keys: Keys
    texts: Numbers
    filter: npt.NDArray[np.uint8]
    lengths: Numbers

    def __len__(self) -> int:
        return len(self.keys)

    def is_sound(self) -> bool:
        """Whether the arrays belong together, as far as their sizes tell."""
        size = len(self.filter)
        lengths = self.lengths.tolist()
        is_filter = size >= _LEAST_FILTER and size & (size - 1) == 0
        return is_filter and len(self.texts) == len(self.keys) and lengths == sorted({*lengths} & {*range(1, 1000)})

    def places(self, keys: Keys) -> Numbers:
        """The place of each key in ``keys``; -1 where it is not there."""
        result = np.full(len(keys), -1, dtype=np.int64)
        if not len(self.keys):
            return result
        bits = keys >> np.uint64(64 - (len(self.filter) * 8).bit_length() + 1)
        byte, bit = (bits >> np.uint64(3)).astype(np.int64), (bits & np.uint64(7)).astype(np.uint8)
        maybe = np.flatnonzero(self.filter[byte] >> bit & 1)
        maybe = maybe[np.argsort(keys[maybe])]  # looked up in order, neighbours of the table are still in the cache
        found = np.searchsorted(self.keys, keys[maybe]).clip(max=len(self.keys) - 1)
        same = self.keys[found] == keys[maybe]
        result[maybe[same]] = found[same]
        return result


@dataclass
class Counts:
    """Of evaluation texts: how many were taken apart into runs, looked for as a whole, and left out as too short."""

    texts: int = 0
    whole: int = 0
    ignored: int = 0


def collected(texts: Iterable[str], words: int, counts: Counts) -> Runs:
    """The runs of evaluation texts. Takes some 70 bytes a run while they are sorted, and 18 then.

    Args:
        texts: in order; only some are in memory at once.
        words: how many words a run has.
        counts: is counted up.
    """
    keys: list[Keys] = [np.empty(0, dtype=np.uint64)]
    owners: list[Numbers] = [np.empty(0, dtype=np.int64)]
    lengths: set[int] = set()
    first = 0
    for batch in _batches(texts):
        found, amounts = ngram_keys(batch, words)
        lengths |= {words} if len(found) else set()
        own = [np.repeat(np.arange(len(batch)), amounts)]
        short = [found]
        for place in np.flatnonzero(amounts == 0).tolist():
            length = len(folded_utf8(batch[place]).split())
            if length < min(SHORTEST_TEXT_WORDS, words):
                counts.ignored += 1
                continue
            counts.whole += 1
            lengths.add(length)
            short.append(ngram_keys([batch[place]], length)[0])
            own.append(np.array([place]))
        order = np.argsort(np.concatenate(own), kind="stable")
        keys.append(np.concatenate(short)[order])
        owners.append(first + np.concatenate(own)[order])
        counts.texts += len(batch)
        first += len(batch)
    every, at = np.unique(np.concatenate(keys), return_index=True)
    return Runs(every, np.concatenate(owners)[at], _filter(every), np.array(sorted(lengths), dtype=np.int64))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    held = 0
    for text in texts:
        batch.append(text)
        held += len(text)
        if len(batch) == _TEXTS or held > _BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _filter(keys: Keys) -> npt.NDArray[np.uint8]:
    bits = max(_LEAST_FILTER.bit_length() + 2, int(len(keys) * _FILTER_BITS).bit_length())
    result = np.zeros(1 << (bits - 3), dtype=np.uint8)
    places = keys >> np.uint64(64 - bits)
    np.bitwise_or.at(
        result, (places >> np.uint64(3)).astype(np.int64), np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
    )
    return result


@dataclass(frozen=True, eq=False)
class Found:
    """Runs of evaluation data in chunks, in the order in which they begin.

    Attributes:
        runs: the place of each in the table.
        words: how many words each has.
        first, last: the chunks in which it begins and ends.
        at: with which of the words that begin in the first chunk it begins, 0-based.
    """

    runs: Numbers
    words: Numbers
    first: Numbers
    last: Numbers
    at: Numbers


def find_runs(chunks: Sequence[str], owners: Numbers, runs: Runs) -> Found:
    """Where runs of evaluation data stand in chunks.

    Args:
        chunks: their texts, each with what stood between it and the next one of its document.
        owners: the document of each, ascending; runs go from chunk to chunk within one.
        runs: the table.
    """
    found = [np.empty((5, 0), dtype=np.int64)]
    reading = _Reading(owners, runs)
    folded: list[bytes] = []
    held = 0
    for row, chunk in enumerate(chunks):
        folded.append(folded_utf8(chunk))
        held += len(chunk)
        whole = folded[-1].endswith(b" ") or not reading.goes_on(row)
        if (held > _BYTES and whole) or row + 1 == len(chunks):
            found.append(reading.take(row + 1 - len(folded), folded))
            folded, held = [], 0
    every = np.concatenate(found, axis=1)
    return Found(*every[:, np.lexsort((every[1], every[4], every[2]))])


class _Reading:
    """Goes through chunks some at a time, and keeps the last words for runs that go on."""

    def __init__(self, owners: Numbers, runs: Runs) -> None:
        self._owners, self._runs = owners, runs
        self._longest = int(runs.lengths.max(initial=1))
        self._hashes = np.empty(0, dtype=np.uint64)
        self._tail = np.empty((4, 0), dtype=np.int64)  # first chunk, last chunk, document, number in the first chunk

    def goes_on(self, row: int) -> bool:
        """Whether the document has a chunk after this one."""
        return row + 1 < len(self._owners) and bool(self._owners[row + 1] == self._owners[row])

    def take(self, start: int, folded: list[bytes]) -> npt.NDArray[np.int64]:
        """The runs that end in some chunks; lines as of :class:`Found`. No word goes on in the chunk after them."""
        begun = self._joined(start, folded)
        hashes, amounts = hashed_words(folded)
        rows = np.repeat(np.arange(start, start + len(folded)), amounts)
        first = rows.copy()
        first[(np.cumsum(amounts) - amounts)[list(begun)]] = start + np.array(list(begun.values()), dtype=np.int64)
        begins = np.flatnonzero(np.diff(first, prepend=-1))
        number = np.arange(len(first)) - np.repeat(begins, np.diff(begins, append=len(first)))
        kept = len(self._hashes)
        hashes = np.concatenate([self._hashes, hashes])
        lines = np.concatenate([self._tail, np.stack([first, rows, self._owners[rows], number])], axis=1)
        found = self._looked_up(hashes, lines, kept)
        tail = max(0, len(hashes) - (self._longest - 1))
        self._hashes, self._tail = hashes[tail:], lines[:, tail:]
        return found

    def _joined(self, start: int, folded: list[bytes]) -> dict[int, int]:
        """Put words that go from chunk to chunk into the last of these; its number → that of the chunk where one began."""
        begun: dict[int, int] = {}
        for place in range(len(folded) - 1):
            text, following = folded[place], folded[place + 1]
            if not self.goes_on(start + place) or text[-1:] in (b"", b" ") or following[:1] in (b"", b" "):
                continue
            head, space, word = text.rpartition(b" ")
            folded[place], folded[place + 1] = head + space, word + following
            all_of_it = place in begun and not head.strip()
            begun[place + 1] = begun.pop(place) if all_of_it else place
        return begun

    def _looked_up(self, hashes: Keys, lines: npt.NDArray[np.int64], kept: int) -> npt.NDArray[np.int64]:
        results = [np.empty((5, 0), dtype=np.int64)]
        first, last, owners, number = lines
        for length, every in run_keys(hashes, self._runs.lengths.tolist()):
            if length > len(hashes):
                break
            keys = every[: len(hashes) - length + 1]
            ends = np.arange(length - 1, len(hashes))
            begins = ends - (length - 1)
            # Those that end among the words that were kept have been looked up.
            new = (ends >= kept) & (owners[begins] == owners[ends])
            begins, ends = begins[new], ends[new]
            places = self._runs.places(keys[begins])
            there = places >= 0
            begins, ends = begins[there], ends[there]
            words = np.full(len(begins), length)
            results.append(np.stack([places[there], words, first[begins], last[ends], number[begins]]))
        return np.concatenate(results, axis=1)


def words_of(chunks: Sequence[str], at: int, words: int, before: str = "") -> str:
    """The words of a run.

    Args:
        chunks: those from that in which the run begins to that in which it ends, with what stood between them.
        at: as of :class:`Found`.
        words: how many words it has.
        before: the chunk before these in the document; a word of it may go on in them.
    """
    folded = [folded_utf8(chunk) for chunk in (before, *chunks)]
    goes_on = folded[0][-1:] not in (b"", b" ") and folded[1][:1] != b" "
    every = b"".join(folded[1:]).split()[at + goes_on :]
    return b" ".join(every[:words]).decode("utf-8", "replace")
