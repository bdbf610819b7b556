"""The main job on a real corpus: wall time per stage, peak memory, the encoder's share, the index's recall, copies dropped.

    python benchmarks/pipeline.py CORPUS.jsonl.zst --out RUN_FOLDER [--table docs/benchmark.md]

Makes one pool with the default encoder, searches it exactly and with `ivf`, makes a dataset for each length from it, and
verifies everything. The tokenizer is a byte-level BPE trained on the corpus, unless one is given.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import faiss
import numpy
import pyarrow
import tokenizers
from markdown import write_table
from watched import PeakMemory

import nextlong
from nextlong.config import CorpusConfig
from nextlong.corpus import find_sources, read_source
from nextlong.execution.local import default_workers
from nextlong.execution.progress import Shown
from nextlong.execution.run import read_metrics
from nextlong.mining.copies import fold_keys
from nextlong.records import Document
from nextlong.sizes import format_bytes, format_count, format_length, format_seconds, parse_count, parse_length
from nextlong.tokenization.train import train_byte_level_bpe

VOCABULARY_SIZE = 49_152
# Training a BPE on more text than this changes its merges little.
TRAINING_CHARACTERS = 20_000_000
TEXTS_AT_ONCE = 10_000


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--lengths", nargs="+", default=["32K", "128K"])
    parser.add_argument("--tokens", default="100M")
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--table", type=Path, help="a Markdown file; its table is replaced, the text around it kept")
    arguments = parser.parse_args()

    tokenizer = arguments.tokenizer or str(trained_tokenizer(arguments.corpus, arguments.out / "tokenizer"))
    runs: list[dict[str, Any]] = []
    pool_folder = arguments.out / "pool"
    for kind in ("flat", "ivf"):
        before = len(read_metrics(pool_folder))
        with PeakMemory() as memory:
            started = time.perf_counter()
            pool = nextlong.build_pool(
                arguments.corpus,
                pool_folder,
                encoder={"name": arguments.encoder},
                index={"kind": kind},
                overwrite=True,
                progress=Shown(),
            )
            seconds = time.perf_counter() - started
        runs.append(_run(f"pool, {kind} index", pool_folder, before, seconds, memory.bytes))
        if kind == "flat":
            for length in map(parse_length, arguments.lengths):
                runs += _synthesize(pool, arguments.out, length, parse_count(arguments.tokens), tokenizer)
    report = _report(arguments, pool, runs)
    print(report)
    if arguments.table:
        write_table(arguments.table, "pipeline.py", report)


def _synthesize(pool: nextlong.Pool, out: Path, length: int, tokens: int, tokenizer: str) -> list[dict[str, Any]]:
    folder = out / f"data-{format_length(length)}"
    with PeakMemory() as memory:
        started = time.perf_counter()
        card = nextlong.synthesize(pool, folder, length=length, tokens=tokens, tokenizer=tokenizer, progress=Shown())
        seconds = time.perf_counter() - started
    made = _run(f"dataset, {format_length(length)}", folder, 0, seconds, memory.bytes)
    made["card"] = card
    with PeakMemory() as memory:
        started = time.perf_counter()
        report = nextlong.verify(folder, progress=Shown())
        seconds = time.perf_counter() - started
    if not report.ok:
        raise SystemExit(f"{folder} is not what it should be: {report.failures[0]}")
    checked = {"name": f"verify, {format_length(length)}", "seconds": seconds, "memory": memory.bytes, "stages": []}
    return [made, checked]


def trained_tokenizer(corpus: str, folder: Path, size: int = VOCABULARY_SIZE) -> Path:
    """A byte-level BPE of ``size`` tokens trained on the corpus, unless it is there already."""
    if not (folder / "tokenizer.json").exists():
        texts, characters = [], 0
        config = CorpusConfig(inputs=(corpus,))
        for record in read_source(find_sources(config)[0], config):
            if isinstance(record, Document):
                texts.append(record.text)
                characters += len(record.text)
            if characters > TRAINING_CHARACTERS:
                break
        train_byte_level_bpe(texts, size, folder)
    return folder


def _run(name: str, folder: Path, before: int, seconds: float, memory: int) -> dict[str, Any]:
    return {"name": name, "seconds": seconds, "memory": memory, "stages": read_metrics(folder)[before:]}


def _report(arguments: argparse.Namespace, pool: nextlong.Pool, runs: list[dict[str, Any]]) -> str:
    counts, index = pool.description["counts"], pool.description["index"]
    starts = range(0, pool.chunks, TEXTS_AT_ONCE)
    keys = [fold_keys(pool.texts(range(start, min(start + TEXTS_AT_ONCE, pool.chunks)))) for start in starts]
    copies = pool.chunks - len(numpy.unique(numpy.concatenate(keys)))
    lines = [
        f"`python benchmarks/pipeline.py {Path(arguments.corpus).name}` on {machine()}; nextlong {nextlong.__version__},",
        f"Python {platform.python_version()}, numpy {numpy.__version__}, pyarrow {pyarrow.__version__},",
        f"faiss {faiss.__version__}, tokenizers {tokenizers.__version__}. One run; other runs vary.",
        "",
        f"Corpus: {counts['documents']:,} documents, {format_count(counts['characters'])} characters,",
        f"{counts['chunks']:,} chunks, of which {copies:,} ({copies / counts['chunks']:.1%}) repeat another one up to white",
        f"space. Encoder: `{arguments.encoder}`, {pool.description['dimensions']} dimensions.",
        "",
        "| run | wall time | peak memory |",
        "|---|---|---|",
        *(f"| {run['name']} | {format_seconds(run['seconds'])} | {format_bytes(run['memory'])} |" for run in runs),
        "",
        "Peak memory is what all processes together own (anonymous and shared); memory-mapped files are not counted. The",
        "second pool is the first one with another index: all stages but the index are taken over.",
        "",
        "Shards are fingerprinted and encoded while the rest of the corpus is read: the wall time of these stages is what",
        "was left to do then.",
        "",
        f"Index `ivf`: {index['lists']:,} lists, {index['probes']:,} probed,",
        f"recall@{index['recall_at']} {index['recall']:.3f} against exact search on {index['recall_sample']:,} chunks",
        "of the pool. The datasets were made with the exact index.",
        "",
        "| run | stage | done | wall time | rate |",
        "|---|---|---|---|---|",
        *(_stage_row(run["name"], stage) for run in runs for stage in run["stages"]),
        "",
        "| dataset | sequences | meta-chunks | negatives | copies passed over | candidates looked at for a negative |",
        "|---|---|---|---|---|---|",
        *(_dataset_row(run["name"], run["card"]) for run in runs if "card" in run),
    ]
    return "\n".join(lines)


def _stage_row(run: str, stage: dict[str, Any]) -> str:
    rate = f"{format_count(stage['rows'] / max(stage['seconds'], 1e-9))}/s"
    return f"| {run} | {stage['stage']} | {stage['rows']:,} {stage['unit']} | {format_seconds(stage['seconds'])} | {rate} |"


def _dataset_row(run: str, card: dict[str, Any]) -> str:
    made, passed = card["counts"], card["candidates_passed_over"]
    looked_at = (sum(passed.values()) + made["negatives"]) / made["negatives"]
    figures = (made["sequences"], made["meta_chunks"], made["negatives"], passed.get("copy", 0))
    return f"| {run} | {' | '.join(f'{figure:,}' for figure in figures)} | {looked_at:.2f} |"


def machine() -> str:
    """The processor, and how many of its cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{default_workers()} cores of {model}"


if __name__ == "__main__":
    main()
