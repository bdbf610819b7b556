"""Measured against target, area by area: overhead, memory, growth, search, composing. One command, one table.

    python benchmarks/targets.py CORPUS.jsonl.zst --out RUN_FOLDER [--only overhead,search] [--table docs/benchmark.md]
    python benchmarks/targets.py demo --scale smoke

An area is a module in `benchmarks/measures/` with ``measure(bench) -> list[Figure]``. `--scale full` wants a quiet machine
with two cores, some 20 GB of disk, and less than half an hour. `--scale smoke` proves in a minute that all of it runs:
its figures mean nothing, and a missed target is no error.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import islice
from pathlib import Path

import faiss
import numpy
import pyarrow
import tokenizers
import zstandard
from markdown import write_table
from measures.figures import Bench, Figure
from pipeline import machine, trained_tokenizer

import nextlong
from nextlong.corpus.demo import demo_documents
from nextlong.sizes import format_seconds

HERE = Path(__file__).parent
# The order in which they run and stand in the table; one that stands here and not there is said to be missing.
AREAS = ("overhead", "memory", "growth", "search", "composing")
SMOKE_DOCUMENTS = 400
SMOKE_VOCABULARY = 2048


def main() -> None:
    """Measure, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="JSON Lines of documents with `text`, .zst; or `demo`, which every Python has")
    parser.add_argument("--out", type=Path, help="where to work; a temporary folder, removed at the end, when left out")
    parser.add_argument("--tokenizer", help="a byte-level BPE trained on the corpus when left out")
    parser.add_argument("--only", help=f"some of {','.join(AREAS)}")
    parser.add_argument("--scale", choices=("smoke", "full"), default="full")
    parser.add_argument("--table", type=Path, help="a Markdown file; its table is replaced, the text around it kept")
    options = parser.parse_args()
    areas = (
        options.only.split(",") if options.only else [area for area in AREAS if (HERE / "measures" / f"{area}.py").exists()]
    )
    if unknown := set(areas) - set(AREAS):
        parser.error(f"no such area: {', '.join(sorted(unknown))}; there are {', '.join(AREAS)}")
    out = options.out or Path(tempfile.mkdtemp(prefix="nextlong-targets-"))
    try:
        figures = measure_all(options, areas, out)
    finally:
        if options.out is None:
            shutil.rmtree(out)
    table = report(figures, options)
    print(table)
    if options.table:
        write_table(options.table, "targets.py", table)


def measure_all(options: argparse.Namespace, areas: Sequence[str], out: Path) -> list[Figure]:
    """Run the areas one after the other, and say how long each took."""
    smoke = options.scale == "smoke"
    corpus = corpus_file(options.corpus, out / "corpus.jsonl.zst", SMOKE_DOCUMENTS if smoke else None)
    size = {"size": SMOKE_VOCABULARY} if smoke else {}
    tokenizer = options.tokenizer or str(trained_tokenizer(str(corpus), out / "tokenizer", **size))
    shared = out / "shared"
    shared.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    for area in areas:
        work = out / area
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        started = time.perf_counter()
        measured = importlib.import_module(f"measures.{area}").measure(Bench(corpus, work, shared, tokenizer, smoke))
        print(f"{area}: {len(measured)} figures in {format_seconds(time.perf_counter() - started)}", flush=True)
        figures += measured
    return figures


def corpus_file(corpus: str, path: Path, most: int | None) -> Path:
    """The corpus as one file: as given, or (of the demo corpus, or of a part) written to ``path``."""
    if corpus != "demo" and most is None:
        return Path(corpus)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zstandard.open(path, "wt", encoding="utf-8") as file:
        file.writelines(islice(_lines(corpus), most))
    return path


def _lines(corpus: str) -> Iterable[str]:
    if corpus == "demo":
        for document in demo_documents():
            yield json.dumps({"id": document.id, "text": document.text}) + "\n"
    else:
        with zstandard.open(corpus, "rt", encoding="utf-8") as file:
            yield from file


def report(figures: Sequence[Figure], options: argparse.Namespace) -> str:
    """The table, and what it was measured on, in Markdown."""
    lines = [
        "| what | measured | target | met | on |",
        "|---|---|---|---|---|",
        *(
            f"| {each.what} | {_number(each.measured)}{_unit(each)} | {each.bound} {_number(each.target)}{_unit(each)} "
            f"| {'yes' if each.met else '**no**'} | {each.on} |"
            for each in figures
        ),
        "",
        f"`python benchmarks/targets.py {Path(options.corpus).name}`{' at smoke scale' if options.scale == 'smoke' else ''} "
        f"on {machine()}, {date.today().isoformat()}; nextlong {nextlong.__version__},",
        f"Python {platform.python_version()}, numpy {numpy.__version__}, pyarrow {pyarrow.__version__}, "
        f"faiss {faiss.__version__}, tokenizers {tokenizers.__version__}.",
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _unit(figure: Figure) -> str:
    return f" {figure.unit}" if figure.unit else ""


if __name__ == "__main__":
    main()
