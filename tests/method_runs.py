"""Small datasets of every method, for the tests of robustness: a corpus with topics and keywords, its pool, the commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_runs import run_cli
from small_runs import LENGTH, POOL_OPTIONS, contents, leftovers, receipts, train_tokenizer
from topical_corpus import topical_documents

from nextlong.index import protocol

ROOTS = 12  # in three batches of small_runs.SHARD_TOKENS

# Of so small a corpus a keyword may have more documents than is usual; one for each document brings most of them together.
QUEST = ("--method", "quest", "--option", "max_share=0.5", "--option", "per_document=1")
DATASETS: dict[str, tuple[str, ...]] = {
    "standard": ("--method", "standard"),
    "knn": ("--method", "knn"),
    "iclm": ("--method", "iclm"),
    "quest": QUEST,
    "untie": ("--method", "untie"),
    "bm25": ("--retrieval", "bm25"),
    "hybrid": ("--retrieval", "hybrid"),
    # No option of the command line sets how many negatives are taken for each: here too few for some sequences.
    "paper": ("--recipe", "paper.yaml"),
}
OVERSAMPLING = 1.3
_PAPER = f"dataset: {{composition: {{mode: paper, oversampling: {OVERSAMPLING}}}}}\n"
DOCUMENTS = 200
SHARD_VECTORS = 400  # so that the pool's index has several shards, and the search is a grid of tasks
BLANK = 4  # documents without a word, and so without a vector and without a keyword


def write_given(folder: Path) -> Path:
    """Write ``corpus``, four files of it, ``tokenizer`` and ``paper.yaml`` into a folder, and make its ``pool``."""
    (folder / "corpus").mkdir(parents=True)
    documents = topical_documents(DOCUMENTS, paragraphs=(1, 12), blank=BLANK)
    for part in range(4):
        lines = [json.dumps(document) + "\n" for document in documents[part::4]]
        (folder / "corpus" / f"part-{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    train_tokenizer(folder / "corpus", folder / "tokenizer")
    (folder / "paper.yaml").write_text(_PAPER, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(protocol, "SHARD_VECTORS", SHARD_VECTORS)
        result = run_cli(*index(), "--workers", 1)
    assert result.exit_code == 0, result.stderr
    return folder


def place_in(folder: Path, given: Path) -> Path:
    """Make what :func:`write_given` wrote, but the pool, reachable by the same relative names in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("corpus", "tokenizer", "paper.yaml"):
        (folder / name).symlink_to(given / name)
    return folder


def fresh_pool(made: Path, folder: Path) -> Path:
    """A copy of a pool as it is before any dataset was made from it."""
    return shutil.copytree(made, folder, ignore=shutil.ignore_patterns("tokens", "derived"))


def index(pool: str = "pool") -> tuple[object, ...]:
    """The words of the command that makes a pool."""
    return ("index", "corpus", "--out", pool, *POOL_OPTIONS, "--quiet")


def synthesize(name: str, pool: str, out: str, *more: object) -> tuple[object, ...]:
    """The words of the command that makes the dataset of that name in :data:`DATASETS`."""
    size = ("--length", LENGTH, "--roots", ROOTS, "--tokenizer", "tokenizer")
    return ("synthesize", pool, "--out", out, *size, *DATASETS[name], "--quiet", *more)


def everything(folder: Path, name: str) -> dict[str, object]:
    """All that must be the same on every run of the dataset of a name: its files and receipts and those of its pool."""
    found: dict[str, object] = {}
    for part in (f"pool-{name}", f"data-{name}"):
        found |= {f"{part}/{path}": value for path, value in contents(folder / part).items()}
        found |= {f"{part}/{path}": value for path, value in receipts(folder / part).items()}
        assert leftovers(folder / part) == []
    return found
