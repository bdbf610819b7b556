"""Running a command again: on a finished folder, a foreign one, a busy one, and with something changed."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from cli_runs import run_cli
from filelock import FileLock
from small_runs import LENGTH, POOL_OPTIONS, SHARD_TOKENS, contents, train_tokenizer, write_corpus

import nextlong
from nextlong.dataset import layout
from nextlong.execution.run import read_metrics

WRONG_USAGE = 2


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a corpus, a tokenizer, a pool and a dataset."""
    folder = tmp_path_factory.mktemp("made")
    train_tokenizer(write_corpus(folder / "corpus", files=3, documents=8), folder / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
        patch.chdir(folder)
        assert index().exit_code == 0
        assert synthesize().exit_code == 0
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy that a test may change, and is in. The corpus keeps its name and times, so it is the same corpus."""
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    monkeypatch.chdir(folder)
    (folder / "data" / "dataset.yaml").unlink()  # it names where the pool and the tokenizer were
    assert synthesize().exit_code == 0
    return folder


def index(*options, out="pool"):
    return run_cli("index", "corpus", "--out", out, *POOL_OPTIONS, "--workers", 1, *options)


def synthesize(*options, out="data", size=("--roots", 8)):
    return run_cli(
        "synthesize", "pool", "--out", out, "--length", LENGTH, *size, "--tokenizer", "tokenizer", "--workers", 1, *options
    )


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and "receipts" in path.parts}


def stages_since(folder, before):
    """Stage → how many tasks were done since there were so many lines of metrics."""
    return {line["stage"]: line["tasks"] for line in read_metrics(folder)[before:]}


def test_a_finished_run_does_nothing(folder):
    before, worked = contents(folder), times(folder)
    started = time.monotonic()
    assert index().exit_code == 0
    assert synthesize().exit_code == 0
    assert time.monotonic() - started < 10
    assert contents(folder) == before
    assert times(folder) == worked


def test_a_changed_option_is_refused_by_name_and_with_both_values(folder):
    before = contents(folder)
    result = index("--granularity", "300")
    assert result.exit_code == WRONG_USAGE
    assert "config.chunking.granularity: 256 → 300" in result.stderr
    assert "--overwrite" in result.stderr
    result = synthesize("--max-score", "0.9", "--seed", "1")
    assert result.exit_code == WRONG_USAGE
    assert "config.mining.max_score: None → 0.9" in result.stderr
    assert "config.seed: 0 → 1" in result.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("options", "redone"),
    [
        (("--granularity", "300"), {"ingest": 3, "catalog": 1, "fingerprint": 3, "fit": 1, "embed": 3, "index": 1}),
        (("--dimensions", "16"), {"fit": 1, "embed": 3, "index": 1}),
        (("--index", "ivf"), {"train": 1, "fill": 1, "index": 1}),
    ],
)
def test_overwrite_redoes_what_depends_on_the_change_in_a_pool(folder, options, redone):
    lines = len(read_metrics(folder / "pool"))
    result = index(*options, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert "changed: config." in result.stderr
    assert stages_since(folder / "pool", lines) == redone
    fresh = index(*options, out="fresh")
    assert fresh.exit_code == 0
    found = {path: value for path, value in contents(folder / "pool").items() if not path.startswith("tokens/")}
    assert found == contents(folder / "fresh")


@pytest.mark.parametrize(
    ("options", "redone"),
    [
        (("--format", "jsonl"), {"write"}),
        (("--license", "mit"), set()),
        (("--range-min", "2"), {"plan", "search", "mine", "compose", "write"}),
        (("--seed", "5"), {"plan", "search", "mine", "compose", "write"}),
    ],
)
def test_overwrite_redoes_what_depends_on_the_change_in_a_dataset(folder, options, redone):
    lines = len(read_metrics(folder / "data"))
    result = synthesize(*options, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert stages_since(folder / "data", lines).keys() - {"tokenize"} == redone
    assert synthesize(*options, out="fresh").exit_code == 0
    assert contents(folder / "data") == contents(folder / "fresh")


def test_more_tokens_keep_the_finished_batches(folder):
    lines, worked = len(read_metrics(folder / "data")), times(folder / "data")
    assert synthesize(size=("--roots", 16)).exit_code == WRONG_USAGE
    result = synthesize("--overwrite", size=("--roots", 16))
    assert result.exit_code == 0, result.stderr
    assert {"mine": 2, "compose": 2, "write": 2}.items() <= stages_since(folder / "data", lines).items()
    now = times(folder / "data")
    assert {path: time for path, time in now.items() if path in worked and "plan" not in path.parts} == {
        path: time for path, time in worked.items() if "plan" not in path.parts
    }
    assert synthesize(out="fresh", size=("--tokens", 16 * LENGTH)).exit_code == 0
    for part in ("sequences", "tokens", "neighbours"):
        assert contents(folder / "data" / part) == contents(folder / "fresh" / part)


def test_fewer_tokens_leave_nothing_of_the_rest(folder):
    assert synthesize("--overwrite", size=("--roots", 4)).exit_code == 0
    assert synthesize(out="fresh", size=("--roots", 4)).exit_code == 0
    assert contents(folder / "data") == contents(folder / "fresh")
    assert run_cli("verify", folder / "data", "--workers", 1).exit_code == 0


def test_a_changed_corpus_is_refused_and_then_only_its_file_is_read_again(folder):
    before, lines = contents(folder / "pool"), len(read_metrics(folder / "pool"))
    with (folder / "corpus" / "part-1.jsonl").open("a") as file:
        file.write(json.dumps({"id": "new", "text": "Something new.\n" * 40}) + "\n")
    result = index()
    assert result.exit_code == WRONG_USAGE
    assert "part-1.jsonl" in result.stderr
    assert "part-0.jsonl" not in result.stderr
    assert contents(folder / "pool") == before
    result = index("--overwrite")
    assert result.exit_code == 0, result.stderr
    done = stages_since(folder / "pool", lines)
    assert {"ingest": 1, "catalog": 1, "fingerprint": 1, "index": 1}.items() <= done.items()
    # What was made from the pool before is told apart from what it is now.
    result = synthesize()
    assert result.exit_code == WRONG_USAGE
    assert "pool: " in result.stderr
    assert "was changed since" in run_cli("verify", folder / "data").stderr
    assert synthesize("--overwrite").exit_code == 0
    assert run_cli("verify", folder / "data", "--workers", 1).exit_code == 0


def test_a_file_less_leaves_nothing_of_it(folder):
    (folder / "corpus" / "part-2.jsonl").unlink()
    assert index("--overwrite").exit_code == 0
    assert index(out="fresh").exit_code == 0
    found = {path: value for path, value in contents(folder / "pool").items() if not path.startswith("tokens/")}
    assert found == contents(folder / "fresh")


def test_two_processes_on_one_folder(folder):
    for name, command in (("pool", index), ("data", synthesize)):
        before = contents(folder / name)
        with FileLock(folder / name / ".lock"):
            result = command()
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: Another process is working on {name}.")
        assert "Wait for it to end" in result.stderr
        assert contents(folder / name) == before
    assert index().exit_code == 0


@pytest.mark.parametrize("command", [index, synthesize])
def test_a_folder_with_something_else_is_left_alone(folder, command):
    thesis = folder / "thesis" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for options in ((), ("--overwrite",)):
        result = command(*options, out="thesis")
        assert result.exit_code == WRONG_USAGE
        assert "holds something that is no" in result.stderr
    assert [path.name for path in thesis.parent.iterdir()] == ["thesis.tex"]
    result = command(out="thesis/thesis.tex")
    assert result.exit_code == WRONG_USAGE
    assert "is a file" in result.stderr
    assert thesis.read_text() == "years of work"


def test_a_pool_is_no_place_for_a_dataset(folder):
    before = contents(folder)
    for options in ((), ("--overwrite",)):
        result = synthesize(*options, out="pool")
        assert result.exit_code == WRONG_USAGE, result.stderr
        assert "pool holds a pool, not a dataset" in result.stderr
    result = index("--overwrite", out="data")
    assert result.exit_code == WRONG_USAGE, result.stderr
    assert contents(folder) == before


def test_a_run_that_fails_is_no_finished_one(folder):
    """A pool that has begun to change must not pass for a pool."""
    path = folder / "corpus" / "part-0.jsonl"
    path.write_text(path.read_text() * 2)  # every id twice
    assert index("--overwrite").exit_code == 1
    result = synthesize(out="other")
    assert result.exit_code == 1
    assert "is not finished" in result.stderr
    assert run_cli("verify", folder / "pool").exit_code == 1


def test_what_was_deleted_is_made_again(folder):
    before = contents(folder)
    for path in ("pool/vectors", "pool/chunks", "pool/tokens", "data/sequences", "data/tokens", "data/neighbours"):
        next(file for file in sorted((folder / path).rglob("*")) if file.suffix in (".npy", ".arrow", ".parquet")).unlink()
    (folder / "pool" / "pool.yaml").unlink()
    (folder / "data" / "README.md").unlink()
    assert index().exit_code == 0
    assert synthesize().exit_code == 0
    # The token store may put its chunks into other files: what is planned already is not looked at again.
    assert _without_store(contents(folder)) == _without_store(before)
    assert nextlong.verify(folder / "pool").ok and nextlong.verify(folder / "data").ok


def _without_store(files):
    return {path: content for path, content in files.items() if not path.startswith("pool/tokens/")}
