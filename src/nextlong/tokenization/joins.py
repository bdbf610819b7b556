"""Exact joins: the tokens of a text that is put together from chunks, with every chunk tokenised only once.

Encoding a whole sequence again for every use is slow, and putting the tokens of separately encoded chunks together is
wrong: the tokens around a separator depend on what stands on either side. A joiner tokenises every chunk between two
plain neighbours, and tells from its first and last characters whether that is what it gets between others (``edges.py``).
The few joins where it is not are encoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import xxhash

from nextlong.tokenization.edges import OPAQUE, PROBE, Edges
from nextlong.tokenization.seams import Seams
from nextlong.tokenization.tokenizer import Tokenizer, Tokens
from nextlong.tokenization.units import Unit, flags_of, unpack

# Part of the fingerprint of stored units: raise it when units of the same chunk change.
_UNITS_VERSION = 1

# Joined when a joiner is made, to find out whether the tokenizer decides locally at all.
_PANEL = (
    ("The first.", "Second one", "third;"),
    ("a", " b", "c ", " d", "\te", "f\n", "\ng", "h\n\n", "\n\ni"),
    ("const x = {", "    return 1;", "}\n", "// note", "/* */", "end."),
    ("1", "2", "345", "6,", ",7", "8."),
    ("", "x", "", "", " ", "y", "\n", ""),
    ("of", "the", "of the", "in", "the world", "and"),
    ("e", "\u0301x", "\u1100", "\u1161", "\u304b", "\u3099"),
    ("\u6f22", "\u5b57\u3002", "\u3002\u6f22", "\U0001f469", "\u200d\U0001f466", "\u00a0", "\u2028"),
    ("don", "'t", "I", "'m", "'", "''", '"', "---", "---"),
    ("</s>", "<s>", "<|endoftext|>", "# Title", "- item", "* item", "| a |", "| b |"),
    ("long " * 40, "=" * 80, "x" * 200, "-" * 40 + "\n", "\r\n", "end\r\n", "\r\nstart"),
)


# Of chunks that were encoded as one text: their tokens, how many of the first count to the chunk before, and the ends of all
# but the last.
Run = tuple[Tokens, int, npt.NDArray[np.int64]]
_Side = Literal["left", "right"]
_LEFT: _Side = "left"
_RIGHT: _Side = "right"

# Runs that are kept for later joins: encoding one takes milliseconds, and a sequence is joined when it is composed, where it
# turns out too short again, and when it is written. Of a tokenizer that is not local a run is a whole sequence, so what
# counts is how many characters all have: with their tokens, some 20 MiB.
_MOST_KEPT = 1 << 22


class Joiner:
    """Joins chunks by their tokens, for one tokenizer and one separator.

    Attributes:
        separator: the text between two chunks.
        local: chunks can be joined by their tokens. Where not (a tokenizer whose tokens reach across separators), every
            join encodes the whole text again: right but slow.
        seams: encodes a few words where two chunks depend on each other.
        separator_length: how many tokens the separator has between plain chunks.
        exact: joining a panel of hostile chunks gave exactly the tokens of the whole texts.
        difference: the share of the panel's tokens that differed when units were joined by their tokens; such a tokenizer
            is then not local.
        fingerprint: changes whenever the units of the same chunks may change.
    """

    def __init__(self, tokenizer: Tokenizer, separator: str) -> None:
        self.tokenizer = tokenizer
        self.separator = separator
        self.fingerprint = xxhash.xxh3_128_hexdigest(
            f"{_UNITS_VERSION} {tokenizer.fingerprint} {len(separator)} {separator} {PROBE}".encode()
        )
        self._edges = Edges(tokenizer, separator)
        self._neutral = self._edges.neutral
        self.separator_length = len(self._edges.separator_tokens)
        self.seams = Seams(tokenizer, separator, self._neutral)
        self._runs: dict[tuple[tuple[str, ...], bool, bool, bool | None], Run | _Side] = {}
        self._kept = 0  # characters of their texts
        panel = [list(chunks[start:]) for chunks in _PANEL for start in range(len(chunks) - 1)]
        panel += self._edges.hostile_chunks()
        self.local = len(self._neutral) > 1
        self.difference = self._panel_difference(panel)
        self.local = self.local and self.difference == 0 and self._edges.decided_apart()
        self.exact = self.local or self._panel_difference(panel) == 0

    def encode_units(self, texts: Sequence[str]) -> list[Unit]:
        """Tokenise chunks, each by itself."""
        flat, offsets, flags = self.encode_packed(texts)
        spans = pairwise(offsets.tolist())
        return [unpack(flat[start:stop], flag) for (start, stop), flag in zip(spans, flags.tolist(), strict=True)]

    def encode_packed(self, texts: Sequence[str]) -> tuple[Tokens, npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """:meth:`encode_units` as flat arrays, like those of :func:`~nextlong.tokenization.units.pack`."""
        encoded = self._edges.in_context(texts)
        skip = max(len(self._neutral) - 1, 0)
        carries, closed, leads = np.zeros((3, len(texts)), dtype=np.int64)
        opaque = np.ones(len(texts), dtype=np.bool_)
        if self.local and encoded:
            # -2 where a head leaves the separator alone, and where a tail cannot be tried.
            leads = np.array([-2 if lead is None else lead for lead in self._edges.heads(texts)], dtype=np.int64)
            tails = np.array([-2 if tame is None else tame for tame in self._edges.tails(texts)], dtype=np.int64)
            first, whole_head, last, whole_tail = self._neutral_ends(encoded)
            opaque = (leads == OPAQUE) | (tails == -2) | ~last | ~np.where(leads == -2, whole_head, first)
            carries = ~opaque & (leads >= 0)
            closed = ~opaque & (tails == 1) & whole_tail
        own = [tokens[1 if one else skip : -1] for tokens, one in zip(encoded, carries.tolist(), strict=True)]
        offsets = np.zeros(len(own) + 1, dtype=np.int64)
        np.cumsum([len(tokens) for tokens in own], out=offsets[1:])
        flat = np.concatenate(own) if own else np.empty(0, dtype=np.int32)
        return flat, offsets, flags_of(carries, closed, opaque, np.where(carries, leads, 0))

    def _neutral_ends(self, encoded: Sequence[Tokens]) -> npt.NDArray[np.bool_]:
        """For each encoding in context whether its ends are those of two probes. Shape (4, encodings).

        The rows: its first token, its head up to the end of the separator, its last token, its tail from the separator on.
        """
        count = len(self._neutral)
        flat, sizes = np.concatenate(encoded), np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        stops = np.cumsum(sizes)
        heads = [flat.take(stops - sizes + i, mode="clip") == self._neutral[i] for i in range(count - 1)]
        tails = [flat.take(stops - i, mode="clip") == self._neutral[-i] for i in range(1, count)]
        whole_head = np.all(heads, axis=0) & (sizes >= count - 1)
        whole_tail = np.all(tails, axis=0) & (sizes > count)
        return np.stack([heads[0], whole_head, tails[0] & (sizes > 1), whole_tail])

    def length(self, unit: Unit) -> int:
        """How many tokens a unit adds to a sequence, where nothing has to be encoded again."""
        return len(unit.tokens) - (self.separator_length if unit.carries else 0)

    def lengths(self, token_counts: npt.NDArray[np.integer], carries: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """:meth:`length` of many units, from the number of tokens and ``carries`` of each."""
        return token_counts.astype(np.int64) - self.separator_length * carries.astype(np.int64)

    def encode_text(self, texts: Sequence[str]) -> Tokens:
        """The whole text encoded at once, as it is when another plain chunk follows: what :meth:`join` must equal.

        These are the tokens of ``separator.join(texts) + separator + "a"`` without the last one.
        """
        return self.tokenizer.encode_whole(self.separator.join([*texts, PROBE]))[:-1]

    def join(
        self, units: Sequence[Unit], texts: Sequence[str] | Callable[[int], str]
    ) -> tuple[Tokens, npt.NDArray[np.int32]]:
        """The tokens of chunks with the separator between them, and where each chunk ends.

        ``join(encode_units(texts), texts)[0]`` equals ``encode_text(texts)``. The text of the sequence begins with the
        first chunk; the last separator is tokenised as if another plain chunk followed, so a caller may cut it off, or
        cut anywhere. The number of tokens is the sum of :meth:`length`, except where chunks were encoded again, which
        may add or remove a few.

        Args:
            units: of the chunks, in order.
            texts: the chunks' texts, or a function from a position to one; asked only for chunks that must be encoded
                again.

        Returns:
            The tokens (int32), and for each chunk the position after its last token (int32), the separator after it
            included; the spans cover all tokens. A token that reaches from a separator into the next chunk counts to
            the next chunk, one that reaches from a chunk into the separator to the chunk.
        """
        if not units:
            return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)
        text_of = texts if callable(texts) else texts.__getitem__
        carries = np.fromiter((unit.carries for unit in units), dtype=bool, count=len(units))
        closed = np.fromiter((unit.closed for unit in units), dtype=bool, count=len(units))
        opaque = np.fromiter((unit.opaque for unit in units), dtype=bool, count=len(units))
        cuts = self.cuts(carries, closed, opaque)
        while True:
            result = self._join_between(cuts, units, text_of, carries)
            if not isinstance(result, int):
                return result
            cuts[result] = False

    def cuts(
        self,
        carries: npt.NDArray[np.bool_],
        closed: npt.NDArray[np.bool_],
        opaque: npt.NDArray[np.bool_],
        firsts: npt.NDArray[np.int64] | Sequence[int] = (0,),
    ) -> npt.NDArray[np.bool_]:
        """Where chunks can be joined by their tokens, from what their units say, in order.

        Args:
            carries, closed, opaque: of all units.
            firsts: places where a text begins.

        Returns:
            For each chunk whether the tokens before it and from it on do not depend on each other; for one of ``firsts``
            whether it has at the start of a text the tokens that it has between others.
        """
        cuts = ~opaque
        cuts[1:] &= ~opaque[:-1] & (~carries[1:] | closed[:-1])
        starts = np.asarray(firsts, dtype=np.int64)
        cuts[starts] = ~opaque[starts] & ~carries[starts] & self._edges.opens
        return cuts

    def _join_between(
        self,
        cuts: npt.NDArray[np.bool_],
        units: Sequence[Unit],
        text_of: Callable[[int], str],
        carries: npt.NDArray[np.bool_],
    ) -> tuple[Tokens, npt.NDArray[np.int32]] | int:
        """Join, encoding again each run of chunks without a cut; or a cut that an encoding showed to be wrong."""
        parts: list[Tokens] = [unit.tokens for unit in units]
        # How many of a chunk's first tokens count to the chunk before.
        leads = np.fromiter((unit.lead for unit in units), dtype=np.int64, count=len(units))
        ends_inside: dict[int, npt.NDArray[np.int64]] = {}
        starts = [0, *(np.flatnonzero(cuts[1:]) + 1).tolist()]
        stops = [*starts[1:], len(units)]
        empty = np.empty(0, dtype=np.int32)
        for start, stop in zip(starts, stops, strict=True):
            if stop - start > 1 or (start == 0 and not cuts[0]):
                run = self.encode_run(start, stop, len(units), text_of, carries)
                if isinstance(run, int):
                    return run
                parts[start], leads[start], ends_inside[start] = run
                parts[start + 1 : stop] = [empty] * (stop - start - 1)
        if self.separator_length:
            for i in (np.flatnonzero(carries & cuts)).tolist():
                if i:  # what the carrying unit brings along replaces the separator of the run before it
                    j = starts[np.searchsorted(starts, i) - 1]
                    parts[j] = parts[j][: -self.separator_length]
        totals = np.cumsum([len(part) for part in parts], dtype=np.int64)
        ends = totals.copy()
        ends[:-1] += np.where(cuts[1:] & carries[1:], leads[1:], 0)
        for start, inside in ends_inside.items():
            begin = totals[start] - len(parts[start])
            ends[start : start + len(inside)] = begin + inside
        return np.concatenate(parts), ends.astype(np.int32)

    def encode_run(
        self, start: int, stop: int, count: int, text_of: Callable[[int], str], carries: npt.NDArray[np.bool_]
    ) -> Run | int:
        """The chunks from start to stop as one text between plain neighbours (or from the start of the sequence).

        Args:
            start, stop: positions of the chunks.
            count: how many chunks are joined.
            text_of: gives the text of a chunk.
            carries: of all units.

        Returns:
            The tokens, how many of the first count to the chunk before, and the ends of all chunks but the last; or the
            position of a cut that does not hold.
        """
        carries_after = bool(carries[stop]) if stop < count else None
        key = tuple(text_of(i) for i in range(start, stop)), start > 0, bool(carries[start]), carries_after
        if key not in self._runs:
            size = sum(map(len, key[0]))
            if self._kept + size > _MOST_KEPT:
                self._runs.clear()
                self._kept = 0
            self._runs[key] = self._encode_run(*key)
            self._kept += size
        result = self._runs[key]
        return result if isinstance(result, tuple) else (start if result == _LEFT else stop)

    def _encode_run(self, texts: tuple[str, ...], inside: bool, carries: bool, carries_after: bool | None) -> Run | _Side:
        """:meth:`encode_run`, from the texts of the run.

        Args:
            texts: of the chunks.
            inside: another chunk stands before them.
            carries: of the first one.
            carries_after: of the chunk behind them; None if there is none.

        Returns:
            As there, with the side on which a cut does not hold.
        """
        left = PROBE + self.separator if inside else ""
        tokens, ends = self.tokenizer.encode_with_ends(left + self.separator.join([*texts, PROBE]))
        skip = 0
        if inside:
            skip = 1 if carries else len(self._neutral) - 1
            if not np.array_equal(tokens[:skip], self._neutral[:skip]):
                return _LEFT
        if carries_after is not None:
            keep = self.separator_length + 1 if carries_after else 1
            if not np.array_equal(tokens[-keep:], self._neutral[-keep:]):
                return _RIGHT
        sizes = np.array([len(text) for text in texts[:-1]], dtype=np.int64) + len(self.separator)
        borders = len(left) + np.cumsum(sizes)
        ends = np.maximum.accumulate(ends[skip:-1]) if len(ends) > skip + 1 else ends[:0]
        lead = int(np.searchsorted(ends, len(left), side="right"))
        return tokens[skip:-1], lead, np.searchsorted(ends, borders, side="right")

    def _panel_difference(self, panel: Sequence[Sequence[str]]) -> float:
        """The share of tokens that differ between joined and whole."""
        wrong = total = 0
        for chunks in panel:
            joined, _ = self.join(self.encode_units(chunks), chunks)
            whole = self.encode_text(chunks)
            total += len(whole)
            if not np.array_equal(joined, whole):
                wrong += _differing(joined, whole)
        return wrong / total


def _differing(joined: Tokens, whole: Tokens) -> int:
    """Tokens of ``whole`` between the first and the last difference, at least one."""
    shorter = min(len(joined), len(whole))
    head = int(np.argmin(np.append(joined[:shorter] == whole[:shorter], False)))
    tail = int(np.argmin(np.append(joined[::-1][:shorter] == whole[::-1][:shorter], False)))
    return max(len(whole) - head - tail, 1)
