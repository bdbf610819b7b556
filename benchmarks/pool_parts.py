"""What the parts of building a pool take for a chunk: processor time of one process on one thread.

    python benchmarks/pool_parts.py CORPUS.jsonl.zst [--out RUN_FOLDER] [--table docs/benchmark.md]

Every part is done three times, in turns, and the least counts. Starting processes and loading the encoder is in none.
"""

from __future__ import annotations

import argparse
import os

# Before anything reads it. Threads that wait for each other spin, and that would count as processor time.
os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"

import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy
import pyarrow
from markdown import write_table
from pipeline import machine

import nextlong
from nextlong.chunking import make_chunker
from nextlong.config import ChunkingConfig, CorpusConfig, EncoderConfig
from nextlong.corpus import Source, find_sources, read_source
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import load_encoder
from nextlong.execution.arrow import open_arrow
from nextlong.pool import layout
from nextlong.pool.embed import embed
from nextlong.pool.fingerprints import fingerprint
from nextlong.pool.ingest import ingest
from nextlong.records import CHUNK_SCHEMA, Document

ROUNDS = 3
TEXTS_AT_ONCE = 1024  # as in a pool
ENCODER = EncoderConfig(name="static")


def main() -> None:
    """Measure and print, and maybe write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="JSON Lines")
    parser.add_argument("--out", type=Path, help="where to work; without it a temporary folder")
    parser.add_argument("--table", type=Path, help="write the table into this file")
    options = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="nextlong-parts-", dir=options.out))
    try:
        table = report(options.corpus, *measured(options.corpus, out))
    finally:
        shutil.rmtree(out)
    print(table)
    if options.table:
        write_table(options.table, "pool_parts.py", table)


def measured(corpus: str, folder: Path) -> tuple[int, dict[str, float]]:
    """How many chunks the corpus has, and for each part its seconds."""
    config, chunking = CorpusConfig(inputs=(corpus,)), ChunkingConfig()
    sources, chunker, encoder = find_sources(config), make_chunker(chunking), load_encoder(ENCODER)
    counts = ingest(sources, 0, config, chunking, folder, False, "").info
    shards = sorted(path.stem for path in (folder / layout.CHUNKS).glob("*.arrow"))
    parts: dict[str, Callable[[], object]] = {
        "reading: decompressing, JSON": lambda: _each_document(sources, config, lambda text: None),
        "reading and cutting into chunks": lambda: _each_document(sources, config, chunker),
        "ingest: these two, and writing": lambda: ingest(sources, 0, config, chunking, folder, False, ""),
        "fingerprint": lambda: [fingerprint(folder, shard) for shard in shards],
        "embed: reading chunks, the encoder, writing vectors": lambda: [
            embed(folder, shard, ENCODER, None, encoder.fingerprint) for shard in shards
        ],
    }
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, part in parts.items():
            started = time.process_time()
            part()
            seconds.setdefault(name, []).append(time.process_time() - started)
        alone = sum(_encoding(encoder, folder, shard) for shard in shards)
        seconds.setdefault("the encoder alone, on chunks in memory", []).append(alone)
    return counts["chunks"], {name: min(each) for name, each in seconds.items()}


def _each_document(sources: Sequence[Source], config: CorpusConfig, use: Callable[[str], object]) -> None:
    for source in sources:
        for record in read_source(source, config):
            if isinstance(record, Document):
                use(record.text)


def _encoding(encoder: Encoder, folder: Path, shard: str) -> float:
    texts = open_arrow(folder / layout.CHUNKS / f"{shard}.arrow", CHUNK_SCHEMA).column("text").to_pylist()
    started = time.process_time()
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        encoder.encode(texts[start : start + TEXTS_AT_ONCE])
    return time.process_time() - started


def report(corpus: str, chunks: int, parts: dict[str, float]) -> str:
    """The table, and what it was measured on, in Markdown."""
    _, _, ingested, fingerprinted, embedded, alone = parts.values()
    whole = ingested + fingerprinted + embedded
    lines = [
        "| part | microseconds a chunk | over the encoder alone |",
        "|---|---|---|",
        *(f"| {name} | {seconds / chunks * 1e6:.1f} | {seconds / alone:.2f} × |" for name, seconds in parts.items()),
        f"| ingest, fingerprint and embed | {whole / chunks * 1e6:.1f} | {whole / alone:.2f} × |",
        "",
        f"`python benchmarks/pool_parts.py {Path(corpus).name}`, {chunks:,} chunks, encoder `{ENCODER.name}`, one",
        f"process on one thread of {machine()}, {date.today().isoformat()}; nextlong {nextlong.__version__},",
        f"Python {platform.python_version()}, numpy {numpy.__version__}, pyarrow {pyarrow.__version__}. "
        f"Processor time, the least of {ROUNDS} rounds.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
