"""Encoders compared on real chunks: how fast, and do they find the same neighbours?

    python benchmarks/encoders.py CORPUS.jsonl.zst [CORPUS2.jsonl ...] [--chunks 1500] [--out docs/encoders.md]

The corpora get equal shares of the chunks; documents are taken evenly spaced over a corpus, and at most four chunks of
each, evenly spaced too. Neighbours are exact, by cosine similarity, of every chunk among all others. An encoder that is
fitted on the corpus is fitted on other documents of it: on the very chunks it looks better than it is in a large pool.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from markdown import write_table

from nextlong.chunking import is_blank, make_chunker
from nextlong.config import ChunkingConfig, CorpusConfig, EncoderConfig
from nextlong.corpus import find_sources, read_source
from nextlong.embedding.registry import fit_encoder, load_encoder, needs_fit
from nextlong.embedding.vectors import to_unit_float16
from nextlong.records import Document

REFERENCE = "minilm"
# What an encoder is measured without. A row of the table is an encoder, or one in a slower way or with less precision.
FULL_PRECISION = ("nextlong.embedding.minilm.bfloat16_session",)
ENCODERS = {
    "lsa": ("lsa", ()),
    "static": ("static", ()),
    "static, without nanotoken": ("static", ("nextlong.embedding.wordpiece._nanotokenizer",)),
    "static, with tokenizers alone": (
        "static",
        ("nextlong.embedding.wordpiece._nanotokenizer", "nextlong.embedding.wordpiece._in_parts"),
    ),
    "minilm, in bfloat16": ("minilm", ()),
    REFERENCE: ("minilm", FULL_PRECISION),
}
CHUNKS_PER_DOCUMENT = 4
FIT_CHUNKS_PER_CORPUS = 3000
NEIGHBOURS = 10
NEAR_COPY_JACCARD = 0.8
SHINGLE_WORDS = 5

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """One encoder's run."""

    name: str
    dimensions: int
    cpu_seconds: float
    nearest: Ranks
    zero: int


def main() -> None:
    """Measure and print, or write, the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--chunks", type=int, default=1500, help="in all")
    parser.add_argument(
        "--encoders", nargs="+", default=list(ENCODERS), help=f"{REFERENCE}, in full precision, is always one"
    )
    parser.add_argument("--out", type=Path, help="a Markdown file; its table is replaced, the text around it kept")
    options = parser.parse_args()
    # Processor time of one thread is the same on a busy machine; of two that wait for each other it is not.
    os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"
    texts: list[str] = []
    documents: list[str] = []
    others: list[str] = []
    for corpus in options.corpora:
        sample(corpus, options.chunks // len(options.corpora), texts, documents, others)
    names = [*(name for name in options.encoders if name != REFERENCE), REFERENCE]
    runs = [measure(name, texts, others) for name in names]
    table = report(runs, texts, documents, [Path(corpus).name.partition(".")[0] for corpus in options.corpora])
    if options.out is None:
        print(table)
    else:
        write_table(options.out, "encoders.py", table)


def sample(corpus: str, wanted: int, texts: list[str], documents: list[str], others: list[str]) -> None:
    """Append chunks and the document of each to the first two lists, chunks of further documents to the third."""
    config = CorpusConfig(inputs=(corpus,))
    found = [row.text for source in find_sources(config) for row in read_source(source, config) if isinstance(row, Document)]
    chunker = make_chunker(ChunkingConfig(cap=2048))
    taken = 0
    for row in np.random.default_rng(0).permutation(len(found)):
        chunks = [chunk.text for chunk in chunker(found[row]) if not is_blank(chunk.text)]
        if len(chunks) < 2:
            continue  # without another chunk of its document, there is nothing to find
        places = np.unique(np.linspace(0, len(chunks) - 1, CHUNKS_PER_DOCUMENT).astype(int))
        if taken < wanted:
            texts.extend(chunks[place] for place in places)
            documents.extend([f"{corpus} {row}"] * len(places))
        else:
            others.extend(chunks[place] for place in places)
        taken += len(places)
        if taken >= wanted + FIT_CHUNKS_PER_CORPUS:
            break


def measure(name: str, texts: list[str], others: list[str]) -> Measured:
    """Encode all texts, and find the nearest of each; what is fitted is fitted on ``others``.

    Loading, distilling and fitting are not timed.
    """
    kind, without = ENCODERS[name]
    config = EncoderConfig(name=kind)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for way in without:
            stack.enter_context(patch(way, lambda *_: None))
        fitted = None
        if needs_fit(config):
            fitted = Path(folder) / "fitted"
            fit_encoder(config, others, fitted)
        encoder = load_encoder(config, fitted)
    encoder.encode(texts[:20])  # the first call sets things up
    start = time.process_time()
    vectors = encoder.encode(texts)
    seconds = time.process_time() - start
    unit = to_unit_float16(vectors, lambda row: f"chunk {row}").astype(np.float32)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]
    return Measured(name, encoder.dimensions, seconds, nearest, int((~unit.any(axis=1)).sum()))


def report(runs: list[Measured], texts: list[str], documents: list[str], corpora: list[str]) -> str:
    """The table and how it was measured, in Markdown."""
    reference = next(run for run in runs if run.name == REFERENCE)
    owner = np.unique(documents, return_inverse=True)[1]
    shingles = [shingles_of(text) for text in texts]
    lines = [
        f"| encoder | dimensions | chunks/s on one core | speed, {REFERENCE} = 1 | overlap@{NEIGHBOURS} "
        f"with {REFERENCE} | same document@1 | same document@{NEIGHBOURS} | nearest is a near-copy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        same = owner[run.nearest] == owner[:, None]
        pairs = zip(run.nearest, reference.nearest, strict=True)
        overlap = np.mean([len(set(mine) & set(theirs)) / NEIGHBOURS for mine, theirs in pairs])
        copies = np.mean([jaccard(shingles[i], shingles[j]) >= NEAR_COPY_JACCARD for i, j in enumerate(run.nearest[:, 0])])
        name, comma, way = run.name.partition(",")
        lines.append(
            f"| `{name}`{comma}{way} | {run.dimensions} "
            f"| {len(texts) / run.cpu_seconds:,.0f} | {reference.cpu_seconds / run.cpu_seconds:,.0f} "
            f"| {overlap:.2f} | {same[:, 0].mean():.3f} "
            f"| {same.any(axis=1).mean():.3f} | {copies:.1%} |"
        )
    lines += [
        "",
        f"{len(texts):,} chunks of {np.mean([len(text) for text in texts]):,.0f} characters on average (at most 2,048), of "
        f"{owner.max() + 1:,} documents: {', '.join(corpora)}. "
        f"Speed is in seconds of processor time (one thread of {processor()}), so other work on the machine disturbs it "
        f"little. Zero vectors: {sum(run.zero for run in runs)}.",
    ]
    return "\n".join(lines)


def shingles_of(text: str) -> set[tuple[str, ...]]:
    """The runs of five words of a text; a shorter text is one run."""
    words = text.split()
    return {tuple(words[i : i + SHINGLE_WORDS]) for i in range(max(1, len(words) - SHINGLE_WORDS + 1))}


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    """The share of runs that both have."""
    return len(one & other) / len(one | other)


def processor() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
