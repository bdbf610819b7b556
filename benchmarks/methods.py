"""The methods on one pool: throughput, documents in a sequence, reuse, similarity of neighbouring chunks, tokens wasted.

    python benchmarks/methods.py CORPUS.jsonl.zst --out RUN_FOLDER [--table docs/methods.md]

One pool with the default encoder, one tokenizer (a byte-level BPE trained on the corpus, unless one is given), and equally
many tokens by each method. Every dataset is verified. The tokens of chunks that several methods use are made once and
kept, so before the clock starts all chunks of the pool are tokenised: methods are compared, not their order.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pipeline import machine, trained_tokenizer

import nextlong
from nextlong.composition.registry import method_names
from nextlong.execution.local import LocalExecutor
from nextlong.execution.progress import Shown
from nextlong.execution.run import Run
from nextlong.sizes import format_count, format_length, format_seconds, parse_count, parse_length
from nextlong.tokenization.fill import fill
from nextlong.tokenization.tokenizer import load_tokenizer

BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"

_COLUMNS = (
    "method",
    "sequences",
    "wall time",
    "tokens/s",
    "documents a sequence",
    "uses of a chunk, mean (most)",
    "similarity of neighbouring chunks",
    "tokens between chunks of a document",
    "tokens wasted",
)
_EXPLAINED = (
    "Wall time: planning, searching, composing and writing Parquet, and what is made once for a pool (document vectors,",
    "graph, keywords, the BM25 index) where the method is the first to need it; chunks were tokenised before. Uses: how",
    "many sequences hold a chunk that is used at all. Similarity: the cosine of the vectors of a chunk and the next one in",
    "its sequence, the mean. Tokens between: from the end of a chunk to the next chunk of its document in the sequence,",
    "the mean, negatives not counted. Wasted: cut off, or left over of documents taken up, as a share of all taken up.",
)

# Variants of a method: the name of the row → what is set beside the method.
VARIANTS: dict[str, dict[str, Any]] = {
    "nextlong, bm25": {"composition": {"method": "nextlong"}, "mining": {"retrieval": "bm25"}},
    "nextlong, hybrid": {"composition": {"method": "nextlong"}, "mining": {"retrieval": "hybrid"}},
    "nextlong, random negatives": {"composition": {"method": "nextlong"}, "mining": {"negatives": "random"}},
}


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--length", default="32K")
    parser.add_argument("--tokens", default="32M")
    parser.add_argument("--methods", nargs="+", help="only these rows")
    parser.add_argument("--table", type=Path, help=f"put the table into this Markdown file, between {BEGIN} and {END}")
    arguments = parser.parse_args()

    tokenizer = arguments.tokenizer or str(trained_tokenizer(arguments.corpus, arguments.out / "tokenizer"))
    pool = nextlong.build_pool(arguments.corpus, arguments.out / "pool", progress=Shown())
    _tokenize_all(pool, tokenizer, arguments.out)
    variants = {name: {"composition": {"method": name}} for name in method_names()} | VARIANTS
    rows = []
    for name in arguments.methods or variants:
        folder = arguments.out / name.replace(", ", "-").replace(" ", "-")
        started = time.perf_counter()
        card = nextlong.synthesize(
            pool,
            folder,
            length=arguments.length,
            tokens=arguments.tokens,
            tokenizer=tokenizer,
            progress=Shown(),
            **variants[name],
        )
        seconds = time.perf_counter() - started
        report = nextlong.verify(folder, progress=Shown())
        if not report.ok:
            raise SystemExit(f"{folder} is not what it should be: {report.failures[0]}")
        rows.append({"name": name, "seconds": seconds, "card": card, **figures(pool, folder)})
    report = _report(arguments, pool, rows)
    print(report)
    if arguments.table:
        before, rest = arguments.table.read_text(encoding="utf-8").split(BEGIN)
        text = f"{before}{BEGIN}\n{report}\n{END}{rest.split(END)[1]}"
        arguments.table.write_text(text, encoding="utf-8")


def _tokenize_all(pool: nextlong.Pool, tokenizer: str, out: Path) -> None:
    joiner = (tokenizer, "\n\n", load_tokenizer(tokenizer).fingerprint)
    fill(Run(out, LocalExecutor(), Shown()), pool, joiner, np.arange(pool.chunks, dtype=np.int64))


def figures(pool: nextlong.Pool, folder: Path) -> dict[str, float]:
    """What the canonical table says of a dataset.

    ``documents``: distinct documents in a sequence, the mean. ``uses``: how often a chunk that is used is used in the
    dataset, the mean. ``most``: the most often. ``similarity``: the cosine similarity of a chunk and the next one in the
    sequence, the mean. ``spread``: the same between a chunk and the next chunk of the same document, in tokens apart.
    """
    sequences = pq.read_table(folder / "sequences", columns=["spans"]).column("spans").to_pylist()
    chunks = [np.array([span["chunk"] for span in spans], dtype=np.int64) for spans in sequences]
    _, uses = np.unique(np.concatenate(chunks), return_counts=True)
    similarities, distances = [], []
    for spans, own in zip(sequences, chunks, strict=True):
        vectors = pool.vectors.take(own)
        similarities.append(np.einsum("nd,nd->n", vectors[1:], vectors[:-1]))
        last: dict[str, int] = {}
        for span in spans:
            if span["document"] in last and span["role"] != "negative":
                distances.append(span["token_start"] - last[span["document"]])
            last[span["document"]] = span["token_end"]
    return {
        "documents": float(np.mean([len({span["document"] for span in spans}) for spans in sequences])),
        "uses": float(uses.mean()),
        "most": int(uses.max()),
        "similarity": float(np.concatenate(similarities).mean()),
        "distance": float(np.mean(distances)) if distances else 0.0,
    }


def _report(arguments: argparse.Namespace, pool: nextlong.Pool, rows: list[dict[str, Any]]) -> str:
    counts, asked = pool.description["counts"], f"--length {arguments.length} --tokens {arguments.tokens}"
    lines = [
        "",
        f"`python benchmarks/methods.py {Path(arguments.corpus).name} {asked}` on {machine()};",
        f"nextlong {nextlong.__version__}. One run; times vary.",
        "",
        f"Corpus: {counts['documents']:,} documents, {format_count(counts['characters'])} characters, {counts['chunks']:,}",
        f"chunks. Of each method {format_count(parse_count(arguments.tokens))} tokens, in sequences of",
        f"{format_length(parse_length(arguments.length))}.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *map(_row, rows),
        "",
        *_EXPLAINED,
    ]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    counts = row["card"]["counts"]
    wasted = counts["tokens_wasted"] / (counts["tokens"] + counts["tokens_wasted"])
    cells = (
        row["name"],
        f"{counts['sequences']:,}",
        format_seconds(row["seconds"]),
        format_count(counts["tokens"] / row["seconds"]),
        f"{row['documents']:.1f}",
        f"{row['uses']:.2f} ({row['most']:,})",
        f"{row['similarity']:.3f}",
        f"{row['distance']:,.0f}",
        f"{wasted:.2%}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
