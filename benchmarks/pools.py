"""Pools of two sizes from resampled corpora, made once a run for all areas that measure on them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from measures.figures import Bench
from watched import Watched, nextlong_command, watched

from nextlong import Pool

# Chunks of a pool, about: the issue is what grows from the one to the other.
SMALL, LARGE = 100_000, 1_000_000
SMOKE_SMALL, SMOKE_LARGE = 400, 4_000
RESAMPLE = Path(__file__).parent / "resample.py"
CHARACTERS_PER_CHUNK = 1_700  # of default granularity in technical documentation


@dataclass(frozen=True)
class Built:
    """A pool, and what it took.

    Attributes:
        made: the pool with a flat index, which is no file: everything but building an index.
        indexed: building the index that the pool's size asks for; next to nothing where that is the flat one.
    """

    folder: Path
    chunks: int
    documents: int
    made: Watched
    indexed: Watched


def small_pool(bench: Bench) -> Built:
    """The smaller pool; made on first use."""
    return _pool(bench, SMOKE_SMALL if bench.smoke else SMALL)


def large_pool(bench: Bench) -> Built:
    """The pool of ten times as many chunks; made on first use."""
    return _pool(bench, SMOKE_LARGE if bench.smoke else LARGE)


def _pool(bench: Bench, chunks: int) -> Built:
    corpus, folder, figures = (bench.shared / f"{name}-{chunks}" for name in ("corpus", "pool", "figures"))
    if not figures.exists():
        if not corpus.exists():  # by another process: the texts that it holds are not this one's to carry
            watched([sys.executable, RESAMPLE, bench.corpus, corpus, "--characters", str(chunks * CHARACTERS_PER_CHUNK)])
        command = nextlong_command("index", str(corpus), "--out", str(folder), "--quiet", "--index")
        taken = [asdict(watched([*command, *rest])) for rest in (["flat"], ["auto", "--overwrite"])]
        figures.write_text(json.dumps(taken), encoding="utf-8")
    made, indexed = (Watched(**each) for each in json.loads(figures.read_text(encoding="utf-8")))
    pool = Pool(folder)
    return Built(folder, pool.chunks, pool.documents, made, indexed)
