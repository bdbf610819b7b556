"""The nearest of some vectors: searched in an index, or found before by a grid of tasks, shard by shard of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """Answers questions: from what a grid of tasks has found, where it has, else by a search.

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
        self._starts: dict[tuple[bytes, int, int], int] = {}
        self._rows = 0
        for ask in asks:
            self._starts[ask.key] = self._rows
            self._rows += len(ask.rows) * ask.depth

    def find(self, ask: Ask, vectors: VectorShards, index: Index) -> Found:
        """The nearest for each row of a question, as :meth:`~nextlong.index.protocol.Index.search` gives them.

        Raises:
            NextlongError: what was found for this batch is missing or damaged.
        """
        self.queried += len(ask.rows)
        if self._parts is None or ask.key not in self._starts:
            return index.search(ask.queries(vectors), ask.depth)
        return merged(self._read(self._parts, self._starts[ask.key], (len(ask.rows), ask.depth)), ask.depth)

    def _read(self, parts: Parts, start: int, shape: tuple[int, int]) -> Iterator[Found]:
        for path in parts.paths:
            batches = open_batches(path, FOUND_SCHEMA)
            if len(batches) <= parts.place or len(batches[parts.place]) != self._rows:
                raise NextlongError(f"{path} is damaged.", "Delete it and run the same command again: only it is remade.")
            rows = batches[parts.place].slice(start, shape[0] * shape[1])
            yield rows.column("score").to_numpy().reshape(shape), rows.column("ordinal").to_numpy().reshape(shape)


def found_in(shard: int, ask: Ask, vectors: VectorShards, index: Index) -> pa.RecordBatch:
    """The answer of one shard of an index, as it is kept on disk: ``q * depth`` rows."""
    scores, ordinals = index.search_shard(shard, ask.queries(vectors), ask.depth)
    return pa.record_batch([ordinals.ravel(), scores.ravel()], schema=FOUND_SCHEMA)
