"""What a pool costs beside its encoder: reading, chunking, fingerprints and writing, over encoding the same chunks alone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import zstandard
from watched import Watched, nextlong_command, watched

from measures.figures import Bench, Figure
from nextlong import Pool

MOST_OVERHEAD = 1.25
REPEATS = 3
# `minilm` does some ten chunks a second on a core.
MINILM_DOCUMENTS = 150
# Run by itself, so that it pays for its processes and for loading the model as the pool does.
ENCODE_ALONE = Path(__file__).parent.parent / "encode_alone.py"


def measure(bench: Bench) -> list[Figure]:
    """Processor and wall time of the pool over those of its encoder, the two in turns, the best of each."""
    figures = _figures(bench, "static", bench.corpus, 1 if bench.smoke else REPEATS)
    return figures if bench.smoke else figures + _figures(bench, "minilm", _slice(bench), 1)


def _figures(bench: Bench, encoder: str, corpus: Path, repeats: int) -> list[Figure]:
    pool = bench.work / "pool"
    wholes: list[Watched] = []
    alones: list[Watched] = []
    for _ in range(repeats):
        shutil.rmtree(pool, ignore_errors=True)
        options = ["--encoder", encoder, "--index", "flat", "--quiet"]
        wholes.append(watched(nextlong_command("index", str(corpus), "--out", str(pool), *options)))
        alones.append(watched([sys.executable, str(ENCODE_ALONE), str(pool), encoder]))
    figures = []
    for time, which in (("processor", "processor_seconds"), ("wall", "seconds")):
        whole, alone = (min(getattr(each, which) for each in runs) for runs in (wholes, alones))
        on = f"{Pool(pool).chunks:,} chunks: {whole:.1f} s over {alone:.1f} s"
        what = f"pool with `{encoder}` over its encoder alone, {time} time"
        figures.append(Figure(what, whole / alone, MOST_OVERHEAD, "at most", "×", on))
    return figures


def _slice(bench: Bench) -> Path:
    path = bench.work / "slice.jsonl.zst"
    lines: Sequence[str]
    with zstandard.open(bench.corpus, "rt", encoding="utf-8") as file:
        lines = list(islice(file, MINILM_DOCUMENTS))
    with zstandard.open(path, "wt", encoding="utf-8") as file:
        file.writelines(lines)
    return path
