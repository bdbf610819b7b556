"""The nearest of some vectors: searched in an index, or found before by a grid of tasks, shard by shard of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextlong.errors import NextlongError
from nextlong.execution.arrow import open_batches
from nextlong.index.protocol import Index, merged
from nextlong.index.vectors import Float32s, Ordinals, VectorShards
from nextlong.records import FOUND_SCHEMA

Found = tuple[Float32s, Ordinals]


@dataclass(frozen=True)
class Ask:
    """A question to an index.

    Attributes:
        rows: ordinals of the vectors whose nearest are wanted, int64 ``(q,)``.
        depth: how many for each.
        sign: 1 for the nearest, -1 for the farthest.
    """

    rows: Ordinals
    depth: int
    sign: int = 1

    def queries(self, vectors: VectorShards) -> Float32s:
        """What to search for: float32 ``(q, d)``."""
        queries: Float32s = self.sign * vectors.take(self.rows)
        return queries

    @property
    def key(self) -> tuple[bytes, int, int]:
        """Equal for equal questions."""
        return self.rows.tobytes(), self.depth, self.sign


@dataclass(frozen=True)
class Parts:
    """Where a grid of tasks wrote what it found for a batch's first questions.

    Attributes:
        paths: a file for each shard of the index.
        place: the number of the batch's record batch in each of them: the answers one after the other, each ``(q, depth)``.
    """

    paths: tuple[Path, ...]
    place: int


class Nearest:
    """Answers questions: from what a grid of tasks has found, as far as that goes, else by a search.

    The grid has found as many as were asked for in *each* shard, so that a deeper question about the same rows, which comes
    up where filters let too little pass, mostly needs no other search: what is better than the last that any shard gave is
    complete. That holds where the index is exact; another looks deeper.

    Attributes:
        queried: how many vectors it was asked for.
    """

    def __init__(self, parts: Parts | None = None, asks: Sequence[Ask] = ()) -> None:
        """Begin a batch.

        Args:
            parts: what was found for it.
            asks: the questions that this answers, in order.
        """
        self.queried = 0
        self._parts = parts
        # Where the answers begin, by question, and by row and sign with their depth.
        self._starts: dict[tuple[bytes, int, int], int] = {}
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._rows = 0
        for ask in asks:
            self._starts[ask.key] = self._rows
            for row in ask.rows.tolist():
                self._known[row, ask.sign] = (self._rows, ask.depth)
                self._rows += ask.depth

    def find(self, ask: Ask, vectors: VectorShards, index: Index) -> Found:
        """The nearest for each row of a question, as :meth:`~nextlong.index.protocol.Index.search` gives them.

        Raises:
            NextlongError: what was found for this batch is missing or damaged.
        """
        self.queried += len(ask.rows)
        if self._parts is not None and ask.key in self._starts:
            start, shape = self._starts[ask.key], (len(ask.rows), ask.depth)
            answers = slice(start, start + shape[0] * shape[1])
            parts = self._read(self._parts)
            return merged(
                ((scores[answers].reshape(shape), found[answers].reshape(shape)) for scores, found in parts), ask.depth
            )
        if self._parts is not None and index.exact and all((row, ask.sign) in self._known for row in ask.rows.tolist()):
            return self._deeper(self._parts, ask, vectors, index)
        return index.search(ask.queries(vectors), ask.depth)

    def _deeper(self, parts: Parts, ask: Ask, vectors: VectorShards, index: Index) -> Found:
        """What all shards together hold of the answer; a search for the rows for which that is not enough."""
        known = [self._known[row, ask.sign] for row in ask.rows.tolist()]
        shape = (len(known), max(depth for _, depth in known))
        # Behind the last that a shard gave it may have others, unless that was not as many as were asked for.
        complete_above = np.full(len(known), -np.inf, dtype=np.float32)

        def answers() -> Iterator[Found]:
            for scores, ordinals in self._read(parts):
                found = np.full(shape, -np.inf, dtype=np.float32), np.full(shape, -1, dtype=np.int64)
                for place, (start, depth) in enumerate(known):
                    found[0][place, :depth] = scores[start : start + depth]
                    found[1][place, :depth] = ordinals[start : start + depth]
                    complete_above[place] = max(complete_above[place], scores[start + depth - 1])
                yield found

        scores, ordinals = merged(answers(), ask.depth)
        unsure = np.flatnonzero(~(scores[:, -1] > complete_above) & (complete_above > -np.inf))
        if len(unsure):
            rest = Ask(ask.rows[unsure], ask.depth, ask.sign)
            scores[unsure], ordinals[unsure] = index.search(rest.queries(vectors), ask.depth)
        return scores, ordinals

    def _read(self, parts: Parts) -> Iterator[Found]:
        for path in parts.paths:
            batches = open_batches(path, FOUND_SCHEMA)
            if len(batches) <= parts.place or len(batches[parts.place]) != self._rows:
                raise NextlongError(f"{path} is damaged.", "Delete it and run the same command again: only it is remade.")
            batch = batches[parts.place]
            yield batch.column("score").to_numpy(), batch.column("ordinal").to_numpy()


def found_in(shard: int, asks: Sequence[Ask], vectors: VectorShards, index: Index) -> list[pa.RecordBatch]:
    """The answer of one shard of an index to each question, as it is kept on disk: ``q * depth`` rows.

    Questions of the same depth are searched for together, which costs an inverted file much less, and changes no answer.
    """
    together: dict[tuple[int, int], list[int]] = {}
    for number, ask in enumerate(asks):
        together.setdefault((ask.depth, ask.sign), []).append(number)
    answers: dict[int, pa.RecordBatch] = {}
    for (depth, sign), numbers in together.items():
        ask = Ask(np.concatenate([asks[number].rows for number in numbers]), depth, sign)
        scores, ordinals = index.search_shard(shard, ask.queries(vectors), depth)
        start = 0
        for number in numbers:
            rows = slice(start, start := start + len(asks[number].rows))
            answers[number] = pa.record_batch([ordinals[rows].ravel(), scores[rows].ravel()], schema=FOUND_SCHEMA)
    return [answers[number] for number in range(len(asks))]


def rounded_depth(depth: int) -> int:
    """Rounded up to a power of √2: some depths only, so that questions of about the same depth are asked together."""
    return math.ceil(2 ** (math.ceil(2 * math.log2(max(1, depth))) / 2))
