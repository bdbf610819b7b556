"""The approximate index for large pools: an inverted file of the vectors themselves, list by list, memory-mapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array
from nextlong.index.centroids import nearest_lists
from nextlong.index.keys import UNIT, unpacked
from nextlong.index.protocol import checked, merged, shard_ranges
from nextlong.index.scan import SCANNED_PER_NEIGHBOUR, ListShard, scan
from nextlong.index.threads import thread_count
from nextlong.index.vectors import Float32s, Ordinals, VectorShards
from nextlong.records import VECTOR_STEP

# Queries searched for at a time, and the most vectors that their nearest lists must hold together, which bounds memory: some
# 300 MiB for a batch. Lists are read once for each batch.
_SEARCHED = 1 << 14
_LOOKED_INTO = 1 << 24

CENTROIDS = "centroids.npy"
_MAKE_AGAIN = "Delete the file and run `nextlong index` again: it makes the index anew and keeps the vectors."


@dataclass(frozen=True, slots=True)
class IvfReport:
    """What building an index found out; plain numbers, equal for equal pools.

    Attributes:
        count: vectors in the index, N.
        dimensions: their width d.
        shards: ranges of ordinals with files of their own.
        lists: inverted lists.
        trained_on: vectors that the centroids were trained on.
        probes: the most lists that a query looks into (unless even they hold too few vectors).
        margin: how much less than the k-th best vector of its nearest lists the centroid of a further list may score.
        recall: recall at ``recall_at``, measured against exact search (`recall.recall_at_k`).
        recall_target: what was asked for; it is missed only when probing every list is not enough.
        recall_at: neighbours compared per query, the query's own chunk excluded.
        recall_sample: queries compared, drawn from the pool.
    """

    count: int
    dimensions: int
    shards: int
    lists: int
    trained_on: int
    probes: int
    margin: float
    recall: float
    recall_target: float
    recall_at: int
    recall_sample: int


class IvfIndex:
    """Approximate search: only the lists near the query are looked into, and what lies in them is ranked exactly.

    A query looks first into its nearest lists, until they hold 4·k vectors of the shard. Of the others of its ``probes``
    nearest it then looks into those whose centroid scores at least the k-th best vector seen, less ``margin``: a query in a
    dense region needs few lists, one in a sparse region many. All of this is decided exactly, so an answer is the same in
    any batch, with any number of threads and in any worker. The deeper the search, the more lists qualify.

    Deep searches reach everything: where ``probes`` lists hold fewer than 4·k vectors, a query takes as many more as do.
    From k = N/4 on that is every list, and k = N returns the whole pool in exact order.

    Args:
        folder: where the files of the index are, as `build.build_ivf` made them.
        vectors: the pool's vectors.
        shards: how many shards the index has.
        probes, margin: see `IvfReport`.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.

    Raises:
        NextlongError: a file is missing, damaged, cut short, or made from other vectors: here, or when a shard is first
            searched.
    """

    def __init__(
        self, folder: Path, vectors: VectorShards, shards: int, probes: int, margin: float, threads: int | None = None
    ) -> None:
        self.vectors = vectors
        self.probes = probes
        self.margin = margin
        self._folder = folder
        self._threads = threads
        steps = load_array(folder / CENTROIDS, np.int16, 2, hint=_MAKE_AGAIN)
        if not len(steps) or steps.shape[1] != vectors.dimensions:
            raise broken(
                folder / CENTROIDS, f"it has centroids of {steps.shape}, vectors have {vectors.dimensions} dimensions"
            )
        self._centroids = steps.astype(np.float32)
        self._ranges = shard_ranges(vectors.count, shards)
        # Their files are opened when they are searched: a task of a grid needs one, and those in an object store are large.
        self._opened: dict[int, ListShard] = {}
        self._sizes = np.zeros(len(steps), dtype=np.int64)
        for number, within in enumerate(self._ranges):
            self._sizes += np.diff(_starts(folder, number, within, len(steps)))

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        # A memory map pickles as all its data; a worker opens the files itself instead.
        return (type(self), (self._folder, self.vectors, self.shards, self.probes, self.margin, self._threads))

    @property
    def exact(self) -> bool:
        """See `protocol.Index`."""
        return False

    @property
    def shards(self) -> int:
        """See `protocol.Index`."""
        return len(self._ranges)

    @property
    def lists(self) -> int:
        """How many inverted lists there are."""
        return len(self._centroids)

    def search(self, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """See `protocol.Index.search`."""
        return merged((self.search_shard(shard, queries, k) for shard in range(self.shards)), k)

    def search_shard(self, shard: int, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """See `protocol.Index.search_shard`.

        Raises:
            NextlongError: a file of the shard is missing or damaged, or names chunks that the shard does not have.
        """
        queries = checked(queries, k, self.vectors.dimensions)
        part = self._shard(shard)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        ordinals = np.full((len(queries), k), -1, dtype=np.int64)
        kept = min(k, len(part.offsets))
        if not kept:
            return scores, ordinals
        threads = thread_count(self._threads)
        wanted = min(self.vectors.count, k * SCANNED_PER_NEIGHBOUR)
        batch = max(1, min(_SEARCHED, _LOOKED_INTO // wanted))
        for start in range(0, len(queries), batch):
            rows = slice(start, start + batch)
            steps = queries[rows] * np.float32(1 / VECTOR_STEP)
            lists, near = nearest_lists(steps, self._centroids, self._sizes, self.probes, wanted, threads)
            keys = scan(part, steps, lists, near, kept, self.margin / UNIT, threads)
            scores[rows, :kept], offsets = unpacked(keys)
            if offsets.max(initial=-1) >= len(part.offsets):
                raise broken(_file(self._folder, shard, "ordinals"), f"it names row {offsets.max()} of {len(part.offsets)}")
            ordinals[rows, :kept] = np.where(offsets >= 0, offsets + part.first, -1)
        return scores, ordinals

    def _shard(self, number: int) -> ListShard:
        if number not in self._opened:
            self._opened[number] = _opened(self._folder, number, self._ranges[number], self._centroids.shape)
        return self._opened[number]


def load_ivf(folder: Path, vectors: VectorShards, report: IvfReport, threads: int | None = None) -> IvfIndex:
    """Open an index that was built; its lists stay on disk, memory-mapped, and are shared between processes.

    Raises:
        NextlongError: a file is missing, damaged, cut short, or made from other vectors.
    """
    if (report.count, report.dimensions) != (vectors.count, vectors.dimensions):
        made = f"{report.count} vectors of {report.dimensions} dimensions"
        raise broken(folder, f"it was made from {made}, the pool has {vectors.count} of {vectors.dimensions}")
    return IvfIndex(folder, vectors, report.shards, report.probes, report.margin, threads)


def shard_files(folder: Path, number: int) -> dict[str, Path]:
    """The files of one shard of an index: of `scan.ListShard` its ``vectors``, ``ordinals`` and ``starts``."""
    return {name: _file(folder, number, name) for name in ("vectors", "ordinals", "starts")}


def _file(folder: Path, number: int, name: str) -> Path:
    return folder / f"{number:05d}.{name}.npy"


def _starts(folder: Path, number: int, within: range, lists: int) -> Ordinals:
    """Where the lists of a shard begin."""
    path = shard_files(folder, number)["starts"]
    starts: Ordinals = load_array(path, np.int64, mapped=False, hint=_MAKE_AGAIN)
    _check_shape(path, starts.shape, (lists + 1,))
    if starts[0] != 0 or (np.diff(starts) < 0).any():
        raise broken(path, "its lists do not follow each other")
    if starts[-1] != len(within):
        raise broken(path, f"its lists hold {starts[-1]} vectors, the pool's shard has {len(within)}")
    return starts


def _opened(folder: Path, number: int, within: range, centroids: tuple[int, ...]) -> ListShard:
    paths = shard_files(folder, number)
    steps = load_array(paths["vectors"], np.int16, 2, hint=_MAKE_AGAIN)
    _check_shape(paths["vectors"], steps.shape, (len(within), centroids[1]))
    offsets = load_array(paths["ordinals"], np.uint32, hint=_MAKE_AGAIN)
    _check_shape(paths["ordinals"], offsets.shape, (len(within),))
    return ListShard(within.start, steps, offsets, _starts(folder, number, within, centroids[0]))


def _check_shape(path: Path, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise broken(path, f"it was made from other vectors: its shape is {found}, not {expected}")


def broken(path: Path, why: str) -> NextlongError:
    """The error about an index that cannot be used."""
    return NextlongError(f"Cannot use the index {path}: {why}.", _MAKE_AGAIN)
