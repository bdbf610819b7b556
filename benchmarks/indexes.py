"""Indexes that were tried, beside those that are kept: µs a query and recall on the vectors of a pool.

    python benchmarks/indexes.py POOL --out FOLDER [--table docs/indexes.md]

One thread, processor time. The recall of an index that codes vectors is what its candidates give after exact scoring, whose
time is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from markdown import write_table
from pipeline import machine

from nextlong import Pool
from nextlong.index.build import build_ivf, default_lists
from nextlong.index.flat import FlatIndex
from nextlong.index.ivf import load_ivf
from nextlong.index.recall import recall_at_k, without_self
from nextlong.index.threads import faiss_threads
from nextlong.index.vectors import Float32s, Ordinals, VectorShards

K, RECALL_AT, TARGET = 130, 64, 0.95
QUERIES, SAMPLE, SEED = 16_384, 1_024, 1
FEW = 256  # queries of a search that is not divided among tasks, about
PROBES = 40
# FAISS's name of each index, candidates fetched, and what it is.
CODED = (
    ("SQ8", 259, "inverted file of 8-bit codes (FAISS)"),
    ("RaBitQ", 400, "RaBitQ codes in lists (FAISS)"),
    ("PQ128x4fs", 260, "4-bit product codes in lists, fast scan, 64 bytes (FAISS)"),
)
GRAPHS = (("HNSW32", "HNSW, 32 links (FAISS)"), ("HNSW16,SQ8", "HNSW, 16 links, 8-bit codes (FAISS)"))

Row = tuple[str, float, float]


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", type=Path, help="a Markdown file; its table is replaced, the text around it kept")
    options = parser.parse_args()
    vectors = Pool(options.pool).vectors
    own = np.sort(np.random.default_rng(SEED).choice(vectors.count, min(QUERIES, vectors.count // 2), replace=False))
    lines = ["| what | µs a query | recall@64 |", "|---|---|---|"]
    for what, seconds, recall in measured(vectors, own, options.out):
        lines.append(f"| {what} | {seconds * 1e6:,.0f} | {recall:.3f} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        f"`python benchmarks/indexes.py POOL`: {vectors.count:,} vectors of {vectors.dimensions} dimensions, {K} neighbours "
        f"each, one thread of {machine()}, {date.today().isoformat()}; numpy {np.__version__}, faiss {faiss.__version__}. "
        "One run.",
    ]
    if options.table:
        write_table(options.table, "indexes.py", "\n".join(lines))


def measured(vectors: VectorShards, own: Ordinals, out: Path) -> Iterator[Row]:
    """What each way takes for a query, and its recall."""
    queries, whole = vectors.take(own), vectors.take(np.arange(vectors.count))
    places = np.arange(0, len(own), max(1, len(own) // SAMPLE))
    some, few = own[places], places[:FEW]
    exact = _others(FlatIndex(vectors, 1).search(queries[places], RECALL_AT + 1), some)

    def row(what: str, asked: Float32s, search: Callable[[Float32s], object], found: Float32s) -> Row:
        started = time.process_time()
        search(asked)
        return what, (time.process_time() - started) / len(asked), recall_at_k(found, exact)

    with faiss_threads(1):
        yield row("**exact (FAISS)**", queries[places], lambda asked: _knn(asked, whole), exact)
    faiss.omp_set_num_threads(1)
    yield row(
        f"the same as FAISS does it by itself for {FEW} queries", queries[few], lambda asked: _knn(asked, whole), exact
    )
    report = build_ivf(vectors, out, seed=0, recall_target=TARGET, threads=1)
    index = load_ivf(out, vectors, report, 1)
    found = _others(index.search(queries[places], K), some)
    for count in (len(own), len(places), FEW):
        asked = queries[np.linspace(0, len(own) - 1, count).astype(int)]
        yield row(f"**`ivf`**, {count:,} queries at once", asked, lambda asked: index.search(asked, K), found)
    for probes in range(PROBES // 2, report.lists):
        index = load_ivf(out, vectors, replace(report, probes=probes, margin=2.0), 1)
        found = _others(index.search(queries[places], K), some)
        if recall_at_k(found, exact) >= report.recall:
            break
    yield row("`ivf` with as many lists for every query", queries, lambda asked: index.search(asked, K), found)
    lists = default_lists(vectors.count)
    for code, fetched, what in CODED:
        coded = _built(f"IVF{lists},{code}", whole)
        faiss.extract_index_ivf(coded).nprobe = PROBES
        yield _coded(row, coded, fetched, f"{what}, {fetched} candidates", queries[places], vectors, some)
    for code, what in GRAPHS:
        yield _coded(row, _built(code, whole), K, what, queries[places], vectors, some)


def _coded(row: Any, index: Any, fetched: int, what: str, queries: Float32s, vectors: VectorShards, own: Ordinals) -> Row:
    _, candidates = index.search(queries, fetched)
    exact = np.array([vectors.take(np.maximum(row, 0)) @ query for row, query in zip(candidates, queries, strict=True)])
    exact[candidates < 0] = -np.inf
    order = np.argsort(-exact, axis=1, kind="stable")
    found = _others((np.take_along_axis(exact, order, 1), np.take_along_axis(candidates, order, 1)), own)
    made: Row = row(what, queries, lambda asked: index.search(asked, fetched), found)
    return made


def _built(name: str, whole: Float32s) -> Any:
    index = faiss.index_factory(whole.shape[1], name, faiss.METRIC_INNER_PRODUCT)
    if hasattr(index, "hnsw"):
        index.hnsw.efConstruction, index.hnsw.efSearch = 80, K
    index.train(whole)
    index.add(whole)
    return index


def _knn(queries: Float32s, whole: Float32s) -> object:
    return faiss.knn(queries, whole, K, metric=faiss.METRIC_INNER_PRODUCT)


def _others(found: tuple[Float32s, Ordinals], own: Ordinals) -> Float32s:
    return without_self(found[0][:, : RECALL_AT + 1], found[1][:, : RECALL_AT + 1], own)[0]


if __name__ == "__main__":
    main()
