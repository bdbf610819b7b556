"""Building an inverted file: centroids from a sample, the vectors of each shard put into lists, recall measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array, save_blocks
from nextlong.execution.progress import advance
from nextlong.index.centroids import assigned, trained_centroids
from nextlong.index.flat import FlatIndex
from nextlong.index.ivf import CENTROIDS, IvfIndex, IvfReport, shard_files
from nextlong.index.protocol import Index, shard_ranges, shards_for
from nextlong.index.recall import recall_at_k, without_self
from nextlong.index.threads import thread_count
from nextlong.index.vectors import Float32s, VectorShards
from nextlong.records import VECTOR_STEP

# Recall is measured at this many neighbours: a 128K sequence takes about 130 negatives of ~3 meta-chunks, after filters.
RECALL_AT = 64
# Queries of the recall sample: 64,000 neighbours; the standard error of a recall of 0.95 is then about 0.003.
RECALL_QUERIES = 1000
# Lists per square root of the pool's size. With twice as many a query in a pool of a million chunks takes a tenth less,
# and the index five thirds of the time to build.
_LISTS_PER_ROOT = 2
# More lists make training the longest stage: 16,384 take minutes on two cores, and serve 67M chunks at the ratio above.
_MAX_LISTS = 1 << 14
# Training vectors per list, FAISS's own minimum; and what the training sample may take in memory.
_TRAINED_PER_LIST = 40
_TRAINING_BYTES = 1 << 30
# Vectors put into lists, or written, at a time.
_BLOCK = 1 << 14
# Of what recall may fall short of 1, the number of probes takes two thirds, and the margin the rest: many probes cost
# little, since most queries do not use them.
_SHARE_OF_PROBES = 2 / 3
# Margins are sought between "all probes", as cosines differ by 2 at most, and "next to none", in steps of 3/1024.
_MARGINS = (-1.0, 2.0)
_HALVINGS = 10


def build_ivf(
    vectors: VectorShards,
    folder: Path,
    seed: int,
    recall_target: float,
    *,
    lists: int | None = None,
    shards: int | None = None,
    threads: int | None = None,
) -> IvfReport:
    """Make an index of all vectors in ``folder``, and find the probes and the margin that reach the recall target.

    The files and the report are the same for the same vectors, seed and target, whatever the number of threads. Memory: at
    most ~1.5 GiB for training, else what a search takes. Each of the three steps may as well be a task of its own.

    Args:
        vectors: the pool's vectors.
        folder: where to write; it is made when missing.
        seed: of the training sample, the first centroids and the recall sample.
        recall_target: the recall to reach, in (0, 1].
        lists: inverted lists; None is 2·√N, at most 16,384, and at least 40 vectors a list.
        shards: into how many ranges of ordinals the files are divided; None for what their number needs.
        threads: how many threads to use; None is ``OMP_NUM_THREADS``, or all processors.

    Raises:
        NextlongError: the pool has no vectors, or a file cannot be written.
    """
    shards = shards or shards_for(vectors.count)
    trained_on = train(vectors, folder, seed, lists=lists, threads=threads)
    for number in range(shards):
        fill(vectors, folder, number, shards, threads=threads)
    return calibrate(vectors, folder, shards, trained_on, seed, recall_target, threads=threads)


def default_lists(count: int) -> int:
    """How many inverted lists a pool of ``count`` chunks gets: 2·√N, at most 16,384, and at least 40 vectors a list."""
    return max(1, min(int(_LISTS_PER_ROOT * count**0.5), _MAX_LISTS, count // _TRAINED_PER_LIST))


def train(vectors: VectorShards, folder: Path, seed: int, *, lists: int | None = None, threads: int | None = None) -> int:
    """Write the centroids; returns how many vectors they were trained on. See `build_ivf`."""
    if not vectors.count:
        raise NextlongError("The pool has no vectors to index.", "Look into the pool's rejects/ for the reason.")
    lists = lists or default_lists(vectors.count)
    rng = np.random.default_rng([seed, 0])
    most = max(lists, _TRAINING_BYTES // (4 * vectors.dimensions))
    size = min(vectors.count, _TRAINED_PER_LIST * lists, most)
    sample = vectors.take(np.sort(rng.choice(vectors.count, size, replace=False)))
    centroids = trained_centroids(sample, lists, rng, thread_count(threads))
    save_blocks(folder / CENTROIDS, np.int16, centroids.shape, [_steps(centroids)])
    return size


def fill(vectors: VectorShards, folder: Path, number: int, shards: int, *, threads: int | None = None) -> list[Path]:
    """Write the files of one shard: its vectors, in the order of the lists that they belong to. See `build_ivf`."""
    centroids = load_array(folder / CENTROIDS, np.int16, 2).astype(np.float32) * np.float32(VECTOR_STEP)
    within = shard_ranges(vectors.count, shards)[number]
    lists = np.empty(len(within), dtype=np.int32)
    for first, block in vectors.blocks(_BLOCK, within):
        lists[first - within.start :][: len(block)], _ = assigned(block, centroids, thread_count(threads))
        advance(len(block))
    # NumPy sorts two-byte integers in one go, and there are fewer lists than that.
    order = np.argsort(lists.astype(np.uint16) if len(centroids) <= 1 << 16 else lists, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=len(centroids)))]).astype(np.int64)

    def ordered() -> Iterator[npt.NDArray[np.int16]]:
        for first in range(0, len(order), _BLOCK):
            yield _steps(vectors.take(within.start + order[first : first + _BLOCK]))

    paths = shard_files(folder, number)
    save_blocks(paths["vectors"], np.int16, (len(within), vectors.dimensions), ordered())
    save_blocks(paths["ordinals"], np.uint32, order.shape, [order.astype(np.uint32)])
    save_blocks(paths["starts"], np.int64, starts.shape, [starts])
    return list(paths.values())


def calibrate(
    vectors: VectorShards,
    folder: Path,
    shards: int,
    trained_on: int,
    seed: int,
    recall_target: float,
    *,
    threads: int | None = None,
) -> IvfReport:
    """Find the fewest probes and the least margin that reach the recall target on a sample of the pool. See `build_ivf`."""
    index = IvfIndex(folder, vectors, shards, probes=1, margin=_MARGINS[1], threads=threads)
    rng = np.random.default_rng([seed, 1])
    depth = min(RECALL_AT, vectors.count - 1)
    own = np.sort(rng.choice(vectors.count, min(RECALL_QUERIES, vectors.count), replace=False))
    recall = 1.0
    if depth:
        queries = vectors.take(own)
        exact, _ = without_self(*FlatIndex(vectors, threads).search(queries, depth + 1), own)

        def measured() -> float:
            found, _ = without_self(*index.search(queries, depth + 1), own)
            return recall_at_k(found, exact)

        recall = _calibrated(index, measured, recall_target)
    return IvfReport(
        count=vectors.count,
        dimensions=vectors.dimensions,
        shards=shards,
        lists=index.lists,
        trained_on=trained_on,
        probes=index.probes,
        margin=index.margin,
        recall=recall,
        recall_target=recall_target,
        recall_at=depth,
        recall_sample=len(own),
    )


def require_equal(index: Index, vectors: VectorShards, seed: int) -> None:
    """Check that an index that promises exact answers gives those of exact search, on a sample of the pool.

    Raises:
        NextlongError: it does not.
    """
    rng = np.random.default_rng([seed, 1])
    queries = vectors.take(np.sort(rng.choice(vectors.count, min(RECALL_QUERIES, vectors.count), replace=False)))
    depth = min(RECALL_AT, vectors.count)
    found, exact = index.search(queries, depth), FlatIndex(vectors).search(queries, depth)
    if not (np.array_equal(found[0], exact[0]) and np.array_equal(found[1], exact[1])):
        different = int((found[1] != exact[1]).any(axis=1).sum())
        raise NextlongError(
            f"The index finds other neighbours than exact search for {different:,} of {len(queries):,} chunks.",
            "Use --index flat or ivf, and report the versions of its library.",
        )


def _calibrated(index: IvfIndex, measured: Callable[[], float], target: float) -> float:
    """Set the index's probes and margin; returns its recall, which is at least the target: every list is all vectors."""
    enough = 1 - (1 - target) * _SHARE_OF_PROBES
    few, index.probes = 0, 1
    while measured() < enough and index.probes < index.lists:
        few, index.probes = index.probes, min(index.lists, 2 * index.probes)
    many = index.probes
    while many - few > 1 + few // 32:
        index.probes = (few + many) // 2
        few, many = (few, index.probes) if measured() >= enough else (index.probes, many)
    index.probes = many
    narrow, wide = _MARGINS
    for _ in range(_HALVINGS):
        index.margin = (narrow + wide) / 2
        narrow, wide = (narrow, index.margin) if measured() >= target else (index.margin, wide)
    index.margin = wide
    return measured()


def _steps(vectors: Float32s) -> npt.NDArray[np.int16]:
    steps: npt.NDArray[np.int16] = np.rint(vectors * np.float32(1 / VECTOR_STEP)).astype(np.int16)
    return steps
