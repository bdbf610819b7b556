"""Other methods and formats in the folder of a dataset that is there: nothing of the one before stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import run_cli
from method_runs import place_in, synthesize, write_given
from small_runs import SHARD_TOKENS, contents, leftovers, receipts

from nextlong.dataset import layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder to work in, with a pool."""
    given = write_given(tmp_path_factory.mktemp("given"))
    folder = place_in(tmp_path_factory.mktemp("work") / "run", given)
    (given / "pool").rename(folder / "pool")
    return folder


@pytest.fixture(autouse=True)
def _in_batches(folder, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
    monkeypatch.chdir(folder)


def state(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, object]], set[str]]:
    """The files of a dataset, its receipts, and its folders."""
    folders = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()}
    return contents(folder), receipts(folder), folders


def make(name: str, out: str, *more: object) -> tuple[dict[str, str], dict[str, dict[str, object]], set[str]]:
    """Make a dataset, whatever lies there, and verify it."""
    result = run_cli(*synthesize(name, "pool", out, "--workers", 1, "--overwrite", *more))
    assert (result.exit_code, result.stderr) == (0, "")
    result = run_cli("verify", out, "--workers", 1, "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert leftovers(Path(out)) == []
    return state(Path(out))


def test_another_method_in_the_same_folder_leaves_nothing_of_the_one_before(folder):
    before = state(folder / "pool")[2]
    for number, name in enumerate(("bm25", "standard", "quest", "paper", "knn", "untie", "bm25")):
        assert make(name, "data") == make(name, f"new-{number}"), name
        assert run_cli(*synthesize(name, "pool", "data", "--workers", 1)).exit_code == 0
    assert before <= state(folder / "pool")[2]


FORMATS: list[tuple[str, ...]] = [
    ("--format", "parquet"),
    ("--format", "megatron"),
    ("--format", "numpy", "--merge"),
    ("--format", "mds"),
    ("--format", "numpy"),
    ("--format", "jsonl"),
    ("--format", "parquet"),
]


@pytest.mark.parametrize("name", ["iclm", "hybrid"])
def test_another_format_in_the_same_folder_leaves_nothing_of_the_one_before(folder, name):
    sequences = None
    for number, format in enumerate(FORMATS):
        found = make(name, f"formats-{name}", *format)
        assert found == make(name, f"new-{name}-{number}", *format), format
        kept = {path: value for path, value in found[0].items() if path.startswith(f"{layout.SEQUENCES}/")}
        assert sequences in (None, kept)
        sequences = kept
