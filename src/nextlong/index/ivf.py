"""The approximate index for large pools: an inverted file of 8-bit vectors (FAISS IVF-SQ8), memory-mapped."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nextlong.errors import NextlongError
from nextlong.index.centroids import assigned, nearest_lists, trained_centroids
from nextlong.index.flat import FlatIndex
from nextlong.index.protocol import checked, rescored
from nextlong.index.recall import recall_at_k, without_self
from nextlong.index.threads import faiss_threads, thread_count
from nextlong.index.vectors import Float32s, Ordinals, VectorShards

# Recall is measured at this many neighbours: a 128K sequence takes about 130 negatives of ~3 meta-chunks, after filters.
RECALL_AT = 64
# Queries of the recall sample: 64,000 neighbours; the standard error of a recall of 0.95 is then about 0.003.
RECALL_QUERIES = 1000
# Lists per square root of the pool's size: the classic balance of ranking centroids against scanning lists.
_LISTS_PER_ROOT = 4
# More lists make training the longest stage: 16,384 take minutes on two cores, and serve 16.7M chunks at the ratio above.
_MAX_LISTS = 1 << 14
# Training vectors per list, FAISS's own minimum; and what the training sample may take in memory.
_TRAINED_PER_LIST = 40
_TRAINING_BYTES = 1 << 30
# Vectors added, and queries searched, at a time; the most candidates of a batch of queries (12 bytes each).
_ADDED = 1 << 14
_SEARCHED = 1 << 10
_CANDIDATES = 1 << 22
# Candidates fetched before exact scoring: 8-bit scores are off by ~1e-3, which reorders the neighbours near rank k.
_EXTRA_FACTOR = 1.5
_EXTRA = 64
# Vectors that the probed lists must hold for each neighbour asked for.
_SCANNED_PER_NEIGHBOUR = 4
_PROBES_GROWTH = 1.2
# Written after FAISS's data, so that a file cut short is known before FAISS maps it and reads past its end.
_END_MARK = b"nextlong ivf 1\n"


@dataclass(frozen=True, slots=True)
class IvfReport:
    """What building an index found out; plain numbers, equal for equal pools.

    Attributes:
        count: vectors in the index, N.
        dimensions: their width d.
        lists: inverted lists.
        probes: lists that a search looks into.
        trained_on: vectors that the centroids were trained on.
        recall: recall at ``recall_at``, measured against exact search (`recall.recall_at_k`).
        recall_target: what was asked for; it is missed only when probing every list is not enough.
        recall_at: neighbours compared per query, the query's own chunk excluded.
        recall_sample: queries compared, drawn from the pool.
    """

    count: int
    dimensions: int
    lists: int
    probes: int
    trained_on: int
    recall: float
    recall_target: float
    recall_at: int
    recall_sample: int


class IvfIndex:
    """Approximate search: lists near the query give candidates, candidates get exact scores.

    Which lists are near is decided exactly, and FAISS scans the lists of one query on one thread, so an answer is the same
    in any batch, with any number of threads and in any worker. FAISS's 8-bit scores decide only who is a candidate:
    1.5·k + 64 are fetched. Where more copies of one vector lie at that border, which of them are candidates is fixed by
    the file (and the processor type), not by their ordinals.

    Deep searches reach everything: a query looks into ``probes`` lists, and into as many more as it takes for them to hold
    4·k vectors. From k = N/4 on that is every list, and k = N returns the whole pool in exact order.

    Args:
        index: a trained FAISS inverted file that holds all of ``vectors``.
        vectors: the pool's vectors, for exact scores.
        probes: how many lists a query looks into.
        path: where the index was loaded from; only an index that has one can go to another process.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.
    """

    def __init__(
        self, index: Any, vectors: VectorShards, probes: int, path: Path | None = None, threads: int | None = None
    ) -> None:
        import faiss

        self.vectors = vectors
        self.probes = probes
        self._index = index
        self._path = path
        self._threads = threads
        self._busy = threading.Lock()  # FAISS takes the number of probes from the index object
        quantizer = faiss.downcast_index(index.quantizer)
        self._centroids = quantizer.reconstruct_n(0, index.nlist).astype(np.float64)
        self._sizes = np.array([index.invlists.list_size(number) for number in range(index.nlist)], dtype=np.int64)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self._path is None:
            raise TypeError("an index that is not on disk cannot be sent to another process; save it and load it there")
        return (load_ivf, (self._path, self.vectors, self.probes, self._threads))

    @property
    def exact(self) -> bool:
        """See `protocol.Index`."""
        return False

    @property
    def shards(self) -> int:
        """See `protocol.Index`: one so far."""
        return 1

    def search_shard(self, shard: int, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """See `protocol.Index.search_shard`."""
        return self.search(queries, k)

    def search(self, queries: Float32s, k: int) -> tuple[Float32s, Ordinals]:
        """See `protocol.Index.search`.

        Raises:
            NextlongError: the index file names chunks that the pool does not have.
        """
        queries = checked(queries, k, self.vectors.dimensions)
        fetched = min(self.vectors.count, int(k * _EXTRA_FACTOR) + _EXTRA)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        ordinals = np.full((len(queries), k), -1, dtype=np.int64)
        threads = thread_count(self._threads)
        batch = max(1, min(_SEARCHED, _CANDIDATES // fetched))
        for start in range(0, len(queries), batch):
            rows = slice(start, start + batch)
            candidates = self._candidates(queries[rows], k, fetched, threads)
            scores[rows], ordinals[rows] = rescored(queries[rows], candidates, self.vectors, k, threads)
        return scores, ordinals

    def _candidates(self, queries: Float32s, k: int, fetched: int, threads: int) -> Ordinals:
        wanted = min(self.vectors.count, k * _SCANNED_PER_NEIGHBOUR)
        near = nearest_lists(queries, self._centroids, self._sizes, self.probes, wanted)
        with self._busy, faiss_threads(threads):
            self._index.nprobe = near.shape[1]
            _, candidates = self._index.search_preassigned(queries, fetched, near, None)
        if candidates.max(initial=-1) >= self.vectors.count:
            raise _broken(self._path, f"it names chunk {candidates.max()}, the pool has {self.vectors.count}")
        found: Ordinals = candidates
        return found


def build_ivf(
    vectors: VectorShards,
    path: Path,
    seed: int,
    recall_target: float,
    *,
    lists: int | None = None,
    threads: int | None = None,
) -> IvfReport:
    """Make an index of all vectors, write it to ``path``, and find the number of probes that reaches the recall target.

    The file and the report are the same for the same vectors, seed and target, whatever the number of threads. Memory:
    the index itself, N·(d + 8) bytes (up to twice that while its lists grow), and at most ~1.5 GiB beside it for training.

    Args:
        vectors: the pool's vectors.
        path: where to write; replaced if it is there. Writing is not atomic, that is left to the caller.
        seed: of the training sample, the first centroids and the recall sample.
        recall_target: the recall to reach, in (0, 1].
        lists: inverted lists; None is 4·√N, at most 16,384, and at least 40 vectors a list.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.

    Raises:
        NextlongError: the pool has no vectors, or the file cannot be written.
    """
    if not vectors.count:
        raise NextlongError("The pool has no vectors to index.", "Look into the pool's rejects/ for the reason.")
    rng = np.random.default_rng(seed)
    threads = thread_count(threads)
    index, trained_on = _filled(vectors, lists or default_lists(vectors.count), rng, threads)
    _write(index, path)
    searchable = IvfIndex(index, vectors, probes=1, threads=threads)
    recall, depth, sample = _calibrate(searchable, index.nlist, recall_target, rng, threads)
    return IvfReport(
        count=vectors.count,
        dimensions=vectors.dimensions,
        lists=index.nlist,
        probes=searchable.probes,
        trained_on=trained_on,
        recall=recall,
        recall_target=recall_target,
        recall_at=depth,
        recall_sample=sample,
    )


def load_ivf(path: Path, vectors: VectorShards, probes: int, threads: int | None = None) -> IvfIndex:
    """Open an index that `build_ivf` wrote; its lists stay on disk, memory-mapped, and are shared between processes.

    Raises:
        NextlongError: the file is missing, damaged, cut short, or made from other vectors.
    """
    import faiss

    try:
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, len(_END_MARK)), 2)
            whole = file.read() == _END_MARK
    except OSError as error:
        raise _broken(path, str(error)) from error
    if not whole:
        raise _broken(path, "it is cut short or is no index")
    try:
        index = faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except (RuntimeError, MemoryError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(index, faiss.IndexIVFScalarQuantizer) or index.quantizer.ntotal != index.nlist:
        raise _broken(path, f"it holds a {type(index).__name__}")
    if (index.ntotal, index.d) != (vectors.count, vectors.dimensions):
        made = f"{index.ntotal} vectors of {index.d} dimensions"
        raise _broken(path, f"it was made from {made}, the pool has {vectors.count} of {vectors.dimensions}")
    opened = IvfIndex(index, vectors, probes, path, threads)
    if opened._sizes.sum() != vectors.count:
        raise _broken(path, f"its lists hold {opened._sizes.sum()} vectors, not {vectors.count}")
    return opened


def default_lists(count: int) -> int:
    """How many inverted lists a pool of ``count`` chunks gets: 4·√N, at most 16,384, and at least 40 vectors a list."""
    return max(1, min(int(_LISTS_PER_ROOT * count**0.5), _MAX_LISTS, count // _TRAINED_PER_LIST))


def _filled(vectors: VectorShards, lists: int, rng: np.random.Generator, threads: int) -> tuple[Any, int]:
    """A FAISS index of all vectors, and how many it was trained on."""
    import faiss

    most = max(lists, _TRAINING_BYTES // (4 * vectors.dimensions))
    size = min(vectors.count, _TRAINED_PER_LIST * lists, most)
    sample = vectors.take(np.sort(rng.choice(vectors.count, size, replace=False)))
    centroids = trained_centroids(sample, lists, rng, threads)
    quantizer = faiss.IndexFlatIP(vectors.dimensions)
    quantizer.add(centroids)
    # Not by residual: then neither training nor coding depends on FAISS's own, inexact assignment.
    index = faiss.IndexIVFScalarQuantizer(
        quantizer,
        vectors.dimensions,
        len(centroids),
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
        False,
    )
    # The 8-bit codes span the range of each dimension, so its two ends are all that FAISS needs to see.
    index.train(np.stack([sample.min(axis=0), sample.max(axis=0)]))
    with faiss_threads(threads):
        for first, block in vectors.blocks(_ADDED):
            nearest, _ = assigned(block, centroids, threads)
            ordinals = np.arange(first, first + len(block), dtype=np.int64)
            index.add_core(len(block), faiss.swig_ptr(block), faiss.swig_ptr(ordinals), faiss.swig_ptr(nearest))
    return index, size


def _write(index: Any, path: Path) -> None:
    import faiss

    index.nprobe = 1
    try:
        faiss.write_index(index, os.fspath(path))
        with path.open("ab") as file:
            file.write(_END_MARK)
    except (RuntimeError, OSError) as error:
        raise NextlongError(f"Cannot write the index {path}: {error}", "Is there space, and may you write there?") from error


def _calibrate(
    searchable: IvfIndex, lists: int, target: float, rng: np.random.Generator, threads: int
) -> tuple[float, int, int]:
    """Raise the probes until the recall target is met; returns the recall, its k, and the size of the sample."""
    vectors = searchable.vectors
    depth = min(RECALL_AT, vectors.count - 1)
    own = np.sort(rng.choice(vectors.count, min(RECALL_QUERIES, vectors.count), replace=False))
    if not depth:
        return 1.0, 0, len(own)
    queries = vectors.take(own)
    exact, _ = without_self(*FlatIndex(vectors, threads).search(queries, depth + 1), own)
    while True:
        found, _ = without_self(*searchable.search(queries, depth + 1), own)
        recall = recall_at_k(found, exact)
        if recall >= target or searchable.probes >= lists:
            return recall, depth, len(own)
        searchable.probes = min(lists, max(searchable.probes + 1, round(searchable.probes * _PROBES_GROWTH)))


def _broken(path: Path | None, why: str) -> NextlongError:
    return NextlongError(
        f"Cannot use the index {path or 'in memory'}: {why}.",
        "Delete the file and run `nextlong index` again: it makes the index anew and keeps the vectors.",
    )
