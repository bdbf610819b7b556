"""The constants of `docs/scaling.md`: what a chunk, a query, a sequence and a token take, measured on a pool.

    python benchmarks/scaling_constants.py CORPUS.jsonl.zst --out RUN_FOLDER [--tokenizer FOLDER]

Makes a pool and a dataset in this process, one task after the other on one thread, and writes `benchmarks/scaling.json`.
Seconds are of processor time, so that other work on the machine disturbs them little. The index is divided into shards, so
that searching is a stage of its own.
"""

from __future__ import annotations

import argparse
import json
import os

# Before anything reads it. Threads that wait for each other spin, and that would count as processor time.
os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pipeline import machine, trained_tokenizer
from watched import PeakMemory, watched

import nextlong
from nextlong.config import DatasetConfig, PoolConfig, validated
from nextlong.dataset.synthesize import synthesize_from
from nextlong.execution.executor import ANY_WORKER, Needs
from nextlong.execution.progress import Advance, Quiet, send_progress_to
from nextlong.execution.tasks import Ledger, Receipt
from nextlong.index import protocol
from nextlong.pool.build import build
from nextlong.sizes import parse_count, parse_length

Result = TypeVar("Result")

CONSTANTS = Path(__file__).parent / "scaling.json"
POOL_FOLDERS = ("documents", "chunks", "catalog", "fingerprints", "vectors", "receipts")
DATA_FOLDERS = ("units", "neighbours", "wanted", "sequences", "tokens", "receipts")
# Queries to the approximate index, at once, as a task of the search grid has them; and how many neighbours, of the depths
# that roots of 128K ask for (powers of the root of 2) one above most.
QUERIES, DEPTH = 4_000, 725
# A program that builds the index of words of a pool in a folder; without one it only opens the pool.
INDEX_WORDS = """
import sys
from pathlib import Path
from nextlong import Pool
from nextlong.mining.retrieval import index_words
pool = Pool(sys.argv[1])
if sys.argv[2]:
    index_words(pool.folder, pool.id, Path(sys.argv[2]))
"""
# Vectors of a shard here, so that a pool of more has several, and searching is a stage of its own.
SHARD_VECTORS = 40_000


class ByStage:
    """Runs tasks in this process, and keeps the processor time and the rows of each stage.

    Attributes:
        seconds, rows: by stage.
    """

    workers = 1

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()

    def map(
        self, function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], show: Advance, needs: Needs = ANY_WORKER
    ) -> list[Result]:
        """See :class:`nextlong.execution.executor.Executor`."""
        send_progress_to(show)
        results = []
        for each in arguments:
            before = time.process_time()
            results.append(function(*each))
            if isinstance(receipt := results[-1], Receipt):
                self.seconds[receipt.stage] += time.process_time() - before
                self.rows[receipt.stage] += receipt.rows
        return results


def main() -> None:
    """Measure, and write the constants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer", help="a byte-level BPE trained on the corpus when left out")
    parser.add_argument("--length", type=parse_length, default=parse_length("128K"))
    parser.add_argument("--tokens", type=parse_count, default=parse_count("16M"))
    options = parser.parse_args()
    tokenizer = options.tokenizer or str(trained_tokenizer(str(options.corpus), options.out / "tokenizer"))
    pool, pool_constants = _pool(options.corpus, options.out / "pool")
    data_constants = _dataset(pool, options.out / "data", options.length, options.tokens, tokenizer)
    words_constants = _words(pool, options.out / "words")
    index_constants = _approximate(options.corpus, options.out / "pool")
    on = f"{options.corpus.name} on {machine()}, {date.today().isoformat()}; nextlong {nextlong.__version__}"
    CONSTANTS.write_text(
        json.dumps({"on": on, **pool_constants, **data_constants, **words_constants, **index_constants}, indent=1) + "\n",
        encoding="utf-8",
    )


def _pool(corpus: Path, folder: Path) -> tuple[nextlong.Pool, dict[str, Any]]:
    run = ByStage()
    protocol.SHARD_VECTORS = SHARD_VECTORS
    sections = {"corpus": {"inputs": (str(corpus),)}, "index": {"kind": "flat"}}
    with PeakMemory() as memory:
        pool = build(validated(PoolConfig, sections, "the benchmark"), folder, run, Quiet())
    found = {
        "chunks": pool.chunks,
        "documents": pool.documents,
        "characters": pool.characters,
        "dimensions": pool.vectors.dimensions,
        "encoder": pool.config.encoder.name,
        "bytes_per_chunk": {name: bytes_in(folder / name) / pool.chunks for name in POOL_FOLDERS},
        "seconds_per_chunk": {stage: seconds / pool.chunks for stage, seconds in run.seconds.items()},
        "pool_memory": memory.bytes,
    }
    return pool, found


def _dataset(pool: nextlong.Pool, folder: Path, length: int, tokens: int, tokenizer: str) -> dict[str, Any]:
    run = ByStage()
    keys = {"length": length, "tokens": tokens, "tokenizer": tokenizer}
    before = time.process_time()
    with PeakMemory() as memory:
        synthesize_from(pool, validated(DatasetConfig, keys, "the benchmark"), folder, run, Quiet())
    whole = time.process_time() - before
    card = nextlong.load_dataset_card(folder)
    sequences, made = card["counts"]["sequences"], card["counts"]["tokens"]
    mined = Ledger(folder).receipts("mine")
    queries = sum(receipt.info["queried"] for receipt in mined)
    candidates = bytes_in(folder / "neighbours") / 12
    stored = next((pool.folder / "tokens").iterdir())
    return {
        "length": length,
        "sequences": sequences,
        "queries_per_sequence": queries / sequences,
        "neighbours_per_query": candidates / queries,
        "chunks_per_sequence": (card["counts"]["meta_chunks"] + card["counts"]["negatives"]) / sequences,
        "tokenized_per_sequence": run.rows["tokenize"] / sequences,
        "tokenize_seconds_per_chunk": run.seconds["tokenize"] / run.rows["tokenize"],
        "bytes_per_tokenized_chunk": bytes_in(stored) / run.rows["tokenize"],
        "search_seconds_per_query_and_vector": run.seconds["search"] / (queries * pool.chunks),
        "seconds_per_sequence": {stage: run.seconds[stage] / sequences for stage in ("mine", "compose", "write")},
        "driver_seconds_per_sequence": (whole - sum(run.seconds.values())) / sequences,
        "bytes_per_token": {name: bytes_in(folder / name) / made for name in DATA_FOLDERS},
        "data_memory": memory.bytes,
    }


def _words(pool: nextlong.Pool, folder: Path) -> dict[str, Any]:
    """The index of words, built in a process of its own."""
    folder.mkdir(exist_ok=True)
    empty, whole = (watched([sys.executable, "-c", INDEX_WORDS, str(pool.folder), str(out)]) for out in ("", folder))
    return {
        "words_memory_per_chunk": (whole.peak_bytes - empty.peak_bytes) / pool.chunks,
        "words_bytes_per_chunk": bytes_in(folder) / pool.chunks,
        "words_seconds_per_chunk": (whole.processor_seconds - empty.processor_seconds) / pool.chunks,
    }


def _approximate(corpus: Path, folder: Path) -> dict[str, Any]:
    """The same pool with an approximate index."""
    run = ByStage()
    sections = {"corpus": {"inputs": (str(corpus),)}, "index": {"kind": "ivf"}}
    pool = build(validated(PoolConfig, sections, "the benchmark"), folder, run, Quiet(), overwrite=True)
    chosen = np.random.default_rng(0).choice(pool.chunks, QUERIES, replace=False)
    queries = pool.vectors.take(np.sort(chosen))
    before = time.process_time()
    pool.index.search(queries, DEPTH)
    return {
        "index_seconds": dict(run.seconds),
        "index_lists": pool.description["index"]["lists"],
        "index_depth": DEPTH,
        "index_bytes_per_chunk": bytes_in(folder / "index") / pool.chunks,
        "index_search_seconds_per_query": (time.process_time() - before) / QUERIES,
        "index_recall": pool.description["index"]["recall"],
    }


def bytes_in(folder: Path) -> int:
    """The sizes of all files below a folder, added up."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
