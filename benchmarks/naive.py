"""The paper's pseudocode as a straightforward person writes it: what our way of making sequences is measured against.

For each root document: search for each meta-chunk, take the nearest chunks that are not used yet, join the *text*, encode
the whole sequence, cut it to length; then put Python lists into a Parquet file. Texts, vectors and FAISS's exact index are
in memory. The number of negatives is the paper's, k = (T·E·w - S) / (p·s), so some of what is encoded is cut off again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from nextlong import Pool

# The paper's: characters of a token, oversampling, characters of a chunk.
CHARACTERS_PER_TOKEN, OVERSAMPLING, GRANULARITY = 4.0, 1.5, 2048
# Copies of the document's own chunks are passed over, so a few more neighbours than k are asked for.
SURPLUS = 64


@dataclass(frozen=True)
class Taken:
    """What it took, search left out.

    Attributes:
        encoded: tokens that were encoded, those included that were cut off.
        kept: tokens that were written.
        processor_seconds, seconds: of joining, encoding and writing.
    """

    encoded: int
    kept: int
    processor_seconds: float
    seconds: float


class Naive:
    """A pool's chunks and vectors in memory, searched exactly."""

    def __init__(self, pool: Pool, tokenizer: Path) -> None:
        self.texts: list[str] = pool.texts(range(pool.chunks))
        self.first_chunk: npt.NDArray[np.int64] = np.asarray(pool.first_chunk)
        self.vectors = np.ascontiguousarray(pool.vectors.take(np.arange(pool.chunks)))
        self.index = faiss.IndexFlatIP(self.vectors.shape[1])
        self.index.add(self.vectors)
        self.tokenizer = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))

    def make(self, roots: Sequence[int], length: int, path: Path) -> Taken:
        """Make the sequences of some root documents and write them."""
        found = [self._search(root, length) for root in roots]  # not counted: mining is measured apart
        started, processor = time.perf_counter(), time.process_time()
        rows, encoded = [], 0
        for root, neighbours in zip(roots, found, strict=True):
            tokens = self.tokenizer.encode("\n\n".join(self._order(root, neighbours)), add_special_tokens=False).ids
            encoded += len(tokens)
            rows.append({"id": f"naive-{root}", "input_ids": tokens[:length]})
        pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
        kept = sum(len(row["input_ids"]) for row in rows)
        return Taken(encoded, kept, time.process_time() - processor, time.perf_counter() - started)

    def _chunks(self, root: int) -> range:
        return range(int(self.first_chunk[root]), int(self.first_chunk[root + 1]))

    def _k(self, root: int, length: int) -> int:
        metas = self._chunks(root)
        characters = sum(len(self.texts[meta]) for meta in metas)
        return max(1, int((length * CHARACTERS_PER_TOKEN * OVERSAMPLING - characters) // (len(metas) * GRANULARITY)))

    def _search(self, root: int, length: int) -> list[list[int]]:
        metas, k = self._chunks(root), self._k(root, length)
        depth = min(k * len(metas) + len(metas) + SURPLUS, len(self.texts))
        _, ordinals = self.index.search(self.vectors[metas.start : metas.stop], depth)
        used = set(metas)
        chosen = []
        for row in ordinals.tolist():
            negatives = [chunk for chunk in row if chunk not in used][:k]
            used.update(negatives)
            chosen.append(negatives)
        return chosen

    def _order(self, root: int, chosen: Sequence[Sequence[int]]) -> list[str]:
        order: list[str] = []
        for meta, negatives in zip(self._chunks(root), chosen, strict=True):
            order.append(self.texts[meta])
            order += [self.texts[chunk] for chunk in negatives]
        return order
