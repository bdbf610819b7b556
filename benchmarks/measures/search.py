"""The inverted file against exact search: recall, speed, growth with the pool; and what rounding vectors costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from pools import large_pool

from measures.figures import Bench, Figure
from nextlong import Pool
from nextlong.embedding.registry import load_encoder
from nextlong.embedding.vectors import to_unit_float16
from nextlong.index.build import build_ivf
from nextlong.index.flat import FlatIndex
from nextlong.index.ivf import load_ivf
from nextlong.index.recall import recall_at_k, without_self
from nextlong.index.threads import faiss_threads
from nextlong.index.vectors import Float32s, Ordinals, VectorShards

# Of a search for no more than these and the query itself.
RECALL_AT = 64
# How many neighbours are asked for: for the recall, and by mining for most meta-chunks of a 32K and of a 128K sequence.
DEPTHS = {
    RECALL_AT + 1: f"as deep as recall@{RECALL_AT} asks",
    182: "as deep as 32K sequences ask",
    512: "as deep as 128K sequences ask",
}
LEAST_RECALL = 0.95
# The smaller pool is the beginning of the larger one.
SMALL = 150_000
LEAST_RATIO_SMALL, LEAST_RATIO_LARGE = 5.0, 20.0
# As many at once as a task of the search has of a depth where there is much to ask (16,384 root documents together, of some
# meta-chunks each); exact search gains nothing from more than these.
QUERIES, EXACT_QUERIES = 16_384, 2_048
REPEATS = 3
# Threads that wait for each other spin, which on a busy machine counts as processor time of exact search, most of all.
THREADS = 1
SEED = 1
# Chunks encoded once more, for their vectors before rounding.
ROUNDED = 20_000
OVERLAP_AT, LEAST_OVERLAP = 10, 0.95


@dataclass(frozen=True)
class _Searched:
    count: int
    ivf: dict[int, float]  # depth → seconds of processor time a query, as the exact one's
    exact: dict[int, float]
    recall: float
    on: dict[int, str]


def measure(bench: Bench) -> list[Figure]:
    """Recall and speed at two sizes, growth between them, and the neighbours that survive rounding."""
    pool = Pool(large_pool(bench).folder)
    small = _first_files(pool, 1_000 if bench.smoke else SMALL)
    searched = [_searched(bench, vectors) for vectors in (small, pool.vectors)]
    figures = []
    for each, least in zip(searched, (LEAST_RATIO_SMALL, LEAST_RATIO_LARGE), strict=True):
        what = f"`ivf` among {each.count:,} chunks"
        recall = f"{what}: recall@{RECALL_AT}"
        figures.append(Figure(recall, each.recall, LEAST_RECALL, "at least", "", each.on[RECALL_AT + 1]))
        for depth, meaning in DEPTHS.items():
            speed = f"{what}: speed, exact = 1, {meaning}"
            figures.append(Figure(speed, each.exact[depth] / each.ivf[depth], least, "at least", "×", each.on[depth]))
    first, last = searched
    before, after = (each.ivf[max(DEPTHS)] for each in searched)
    growth = f"{after * 1e6:,.0f} µs among {last.count:,} chunks, {before * 1e6:,.0f} µs among {first.count:,}"
    figures.append(
        Figure(
            "a query in the larger pool, as many times as the pool is larger at most",
            after / before,
            last.count / first.count,
            "at most",
            "×",
            growth,
        )
    )
    return [*figures, _rounding(bench, pool)]


def _first_files(pool: Pool, least: int) -> VectorShards:
    """The vectors of the first files that hold so many together."""
    rows = [pool.shard_size(number) for number in range(len(pool.shards))]
    files = int(np.searchsorted(np.cumsum(rows), least)) + 1
    return VectorShards(pool.vectors.paths[:files])


def _searched(bench: Bench, vectors: VectorShards) -> _Searched:
    folder = bench.work / str(vectors.count)
    started = time.process_time()
    report = build_ivf(vectors, folder, seed=0, recall_target=LEAST_RECALL)
    built = time.process_time() - started
    index, flat = load_ivf(folder, vectors, report, THREADS), FlatIndex(vectors, THREADS)
    rng = np.random.default_rng(SEED)
    own = np.sort(rng.choice(vectors.count, min(QUERIES, vectors.count // 2), replace=False))
    queries = vectors.take(own)
    some = np.arange(0, len(own), max(1, len(own) // EXACT_QUERIES))
    exact_seconds, ivf_seconds, on = {}, {}, {}
    for depth in DEPTHS:
        ways: list[tuple[int, Callable[[int], object]]] = [
            (len(own), lambda k: index.search(queries, k)),
            (len(some), lambda k: flat.search(queries[some], k)),
            (len(some), lambda k: _library(queries[some], vectors, k)),
        ]
        # One after the other and again, so that what else the machine does disturbs all alike.
        rounds = [[_processor_seconds(way, depth) / count for count, way in ways] for _ in range(REPEATS)]
        seconds = np.array(rounds).min(axis=0)
        ivf_seconds[depth], exact_seconds[depth] = seconds[0], seconds[1:].min()
        on[depth] = (
            f"{len(own):,} chunks of the pool at once, {depth} neighbours each, {vectors.dimensions} dimensions, a thread: "
            f"{seconds[0] * 1e6:,.0f} µs a query; exact {seconds[1] * 1e6:,.0f} µs (FAISS {seconds[2] * 1e6:,.0f} µs), "
            f"{len(some):,} at once; {report.lists:,} lists, at most {report.probes} probed, built in {built:,.0f} s"
        )
    found, exact = (_without_own(one.search(queries[some], RECALL_AT + 1), own[some]) for one in (index, flat))
    return _Searched(vectors.count, ivf_seconds, exact_seconds, recall_at_k(found, exact), on)


def _library(queries: Float32s, vectors: VectorShards, k: int) -> object:
    """FAISS's own exact search, of vectors that are in memory already."""
    whole = _in_memory(vectors)
    with faiss_threads(THREADS):
        return faiss.knn(queries, whole, k, metric=faiss.METRIC_INNER_PRODUCT)


_HELD: dict[tuple[Path, int], Float32s] = {}


def _in_memory(vectors: VectorShards) -> Float32s:
    key = (vectors.paths[0], vectors.count)
    if key not in _HELD:
        _HELD.clear()
        _HELD[key] = vectors.take(np.arange(vectors.count))
    return _HELD[key]


def _processor_seconds(way: Callable[[int], object], k: int) -> float:
    started = time.process_time()
    way(k)
    return time.process_time() - started


def _without_own(found: tuple[Float32s, Ordinals], own: Ordinals) -> Float32s:
    scores, ordinals = (part[:, : RECALL_AT + 1] for part in found)
    return without_self(scores, ordinals, own)[0]


def _rounding(bench: Bench, pool: Pool) -> Figure:
    count = min(pool.chunks, 500 if bench.smoke else ROUNDED)
    raw = load_encoder(pool.config.encoder).encode(pool.texts(range(count))).astype(np.float32)
    raw /= np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    rounded = to_unit_float16(raw, str).astype(np.float32)
    own = np.arange(0, count, max(1, count // 1000))
    nearest = [
        without_self(*faiss.knn(side[own], side, OVERLAP_AT + 1, metric=faiss.METRIC_INNER_PRODUCT), own)[1]
        for side in (rounded, raw)
    ]
    shared = np.mean([len(np.intersect1d(one, other)) for one, other in zip(*nearest, strict=True)]) / OVERLAP_AT
    return Figure(
        f"vectors rounded to multiples of 2^-11: overlap@{OVERLAP_AT} with float32",
        float(shared),
        LEAST_OVERLAP,
        "at least",
        "",
        f"{len(own):,} of {count:,} chunks; encoder `{pool.config.encoder.name}`",
    )
