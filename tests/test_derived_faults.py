"""What methods keep in a pool: damaged, deleted, outdated, in a pool that cannot be written; and files of queries."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_runs import run_cli
from fault_table import DELETED, ERROR, FOUND, REMADE, counted
from memory_disks import mounted, remounted
from method_runs import BLANK, DOCUMENTS, fresh_pool, index, place_in, synthesize, write_given
from small_runs import SHARD_TOKENS, contents, leftovers

import nextlong
from nextlong.dataset import layout

# What names the folders of the tokenizer and the pool.
NAMING = {"dataset.yaml", "README.md"}

# Of each, one file that it keeps in the pool.
KEPT = {
    "knn": "00001-00000.npy",
    "iclm": "00001-00000.neighbours.npy",
    "quest": "00002-00000.arrow",
    "bm25": "vocab.index.json",
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """A folder with a pool from which some datasets were made; nothing writes to it any more."""
    given = write_given(tmp_path_factory.mktemp("given"))
    folder = place_in(tmp_path_factory.mktemp("ready") / "run", given)
    fresh_pool(given / "pool", folder / "fresh")
    (given / "pool").rename(folder / "pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
        patch.chdir(folder)
        for name in KEPT:
            made(*synthesize(name, folder / "pool", f"data-{name}"))
    return folder


@pytest.fixture
def work(ready, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, which is the working directory."""
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
    folder = shutil.copytree(ready, tmp_path / "run", symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def made(*arguments: object) -> None:
    """Run a command that must succeed."""
    result = run_cli(*arguments, "--workers", 1)
    assert result.exit_code == 0, result.stderr


def failed(*arguments: object, code: int = 1) -> str:
    """Run a command that must fail; what it says."""
    result = run_cli(*arguments, "--workers", 1)
    assert result.exit_code == code, result
    return result.stderr


def kept(name: str) -> Path:
    """The file of :data:`KEPT` in the pool of the working directory."""
    (path,) = Path.cwd().glob(f"pool/derived/*/{KEPT[name]}")
    return path


def cut(path: Path) -> None:
    """Leave the first half. Not in place: a process that has the file mapped would be killed."""
    replaced(path, path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    """Put other bytes at both ends; its size is the same."""
    content = path.read_bytes()
    replaced(path, b"#" * 16 + content[16:-16] + b"#" * 16)


def replaced(path: Path, content: bytes) -> None:
    """Put another file into its place."""
    path.unlink()
    path.write_bytes(content)


def deleted(path: Path) -> None:
    """Delete it."""
    path.unlink()


@pytest.mark.parametrize("damage", [cut, overwritten, deleted])
@pytest.mark.parametrize("name", KEPT)
def test_damage_is_found_and_mended(work, name, damage):
    before, path = contents(work / "pool"), kept(name)
    damage(path)
    said = failed("verify", work / "pool")
    assert str(path) in said
    if damage is overwritten:  # a run that does not read all of it again cannot know; it does what the report says
        path.unlink()
    made(*synthesize(name, work / "pool", f"data-{name}", "--overwrite"))
    assert contents(work / "pool") == before
    made("verify", work / "pool")
    how = {"cut": "truncated", "overwritten": "bytes at both ends overwritten", "deleted": "missing"}[damage.__name__]
    counted("damage", f"{how}: `verify`", FOUND)
    counted("damage", f"{how}: the command that made it", DELETED if damage is overwritten else REMADE)


@pytest.mark.parametrize("damage", [cut, overwritten, deleted])
@pytest.mark.parametrize("name", ["knn", "iclm"])
def test_a_dataset_that_cannot_be_verified_for_it_says_so(work, name, damage):
    path = kept(name)
    damage(path)
    said = failed("verify", f"data-{name}", "--pool", work / "pool")
    assert "error: " in said and str(path) in said
    assert "again" in said and "nextlong index" not in said


def test_a_dataset_that_needs_nothing_of_it_to_be_verified(work):
    shutil.rmtree(kept("quest").parent)
    made("verify", "data-quest", "--pool", work / "pool")


@pytest.mark.parametrize("name", KEPT)
def test_another_dataset_from_what_is_damaged_is_a_clear_error(work, name):
    path = kept(name)
    overwritten(path)
    said = failed(*synthesize(name, work / "pool", "another", "--seed", 1))
    assert said.startswith("error: ") and path.parent.name in said
    assert "again" in said and "nextlong index" not in said
    path.unlink()
    made(*synthesize(name, work / "pool", "another", "--seed", 1))
    made("verify", "another")
    counted("damage", "bytes at both ends overwritten: read by new work", ERROR)


def test_a_folder_of_what_is_kept_may_be_deleted(work):
    before = contents(work / "pool")
    shutil.rmtree("pool/derived")
    for name in KEPT:
        made(*synthesize(name, work / "pool", f"data-{name}", "--overwrite"))
    assert contents(work / "pool") == before


@pytest.mark.parametrize("change", [("--granularity", "400"), ("--dimensions", "24")])
def test_nothing_is_kept_of_a_pool_that_was_made_again(work, change):
    old = {path.name for path in Path("pool/derived").iterdir()}
    assert len(old) == len(KEPT)  # two methods share the vectors of documents, and one of them has a graph, too
    Path("pool/derived/notes.txt").write_text("somebody's own")
    made(*index(str(work / "pool")), *change, "--overwrite")
    assert [path.name for path in Path("pool/derived").iterdir()] == ["notes.txt"]
    Path("pool/derived/notes.txt").unlink()
    for name in KEPT:
        assert "pool: " in failed(*synthesize(name, work / "pool", f"data-{name}"), code=2)
        made(*synthesize(name, work / "pool", f"data-{name}", "--overwrite"))
        made("verify", f"data-{name}")
        made(*synthesize(name, work / "pool", f"new-{name}"))
        assert contents(Path(f"data-{name}")) == contents(Path(f"new-{name}"))
    made("verify", work / "pool")
    assert not old & {path.name for path in Path("pool/derived").iterdir()}


@pytest.fixture
def locked_pool(tmp_path) -> Iterator[Callable[[Path], Path]]:
    """A function that copies a pool to where nothing can be written."""
    disk = tmp_path / "disk"

    def locked(pool: Path) -> Path:
        mounted(disk, "size=128m")
        shutil.copytree(pool, disk / "pool")
        remounted(disk, "ro")
        return disk / "pool"

    yield locked
    if disk.exists() and disk.is_mount():
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_pool_that_cannot_be_written_is_a_clear_error_where_something_lacks(work, locked_pool):
    pool = locked_pool(work / "fresh")
    for name in KEPT:
        said = failed(*synthesize(name, pool, f"new-{name}"))
        assert said.startswith(f"error: Cannot write {pool}/derived/"), said
        assert "Read-only file system" in said


def test_a_pool_that_cannot_be_written_serves_where_nothing_lacks(work, locked_pool):
    pool = locked_pool(work / "pool")
    for name in KEPT:
        made(*synthesize(name, pool, f"new-{name}"))
        made("verify", f"new-{name}")
        found, expected = contents(work / f"new-{name}"), contents(work / f"data-{name}")
        assert {path for path in expected if found.get(path) != expected[path]} <= NAMING


def write_queries(path: Path, leave_out: int = 0, word: str = "") -> None:
    """A file of queries for the documents of the corpus: each document's first words; and of the first ones none."""
    rows = [json.loads(line) for part in sorted(Path("corpus").iterdir()) for line in part.read_text().splitlines()]
    lines = [json.dumps({"id": row["id"], "queries": [row["text"][:400], f"the {word} and"]}) for row in rows[leave_out:]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


WITH_QUERIES = ("--option", "queries=queries.jsonl")


def test_another_file_of_queries_is_another_dataset(work):
    write_queries(Path("queries.jsonl"))
    arguments = synthesize("quest", work / "pool", "data", *WITH_QUERIES)
    made(*arguments)
    first = contents(work / "data")
    assert "not in the file of queries" not in nextlong.load_dataset_card("data")["documents_passed_over"]
    write_queries(Path("queries.jsonl"), leave_out=30, word="common topic")
    said = failed(*arguments, code=2)
    assert "inputs: " in said and "--overwrite" in said
    assert contents(work / "data") == first
    made("verify", "data")  # it says itself what it was made from
    made(*arguments, "--overwrite")
    made("verify", "data")
    made(*synthesize("quest", work / "pool", "new", *WITH_QUERIES))
    assert contents(work / "data") == contents(work / "new") != first
    assert nextlong.load_dataset_card("data")["documents_passed_over"]["not in the file of queries"] == 30


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "document-1", "queries": ["what', "Unterminated string"),
        (b'{"id": "document-1"}', "queries"),
        (b'{"queries": ["what is it"]}', "id"),
        (b'["document-1"]', "list indices"),
        (b'{"id": "document-1", "queries": "what is it"}', "no list of texts"),
        (b'{"id": "document-1", "queries": [1]}', "no list of texts"),
        (b'{"id": "document-1", "queries": ["\xff"]}', "utf-8"),
        (b"[" * 100_000, "nested|recursion"),
    ],
)
def test_a_broken_line_of_queries_is_named(work, line, reason):
    write_queries(Path("queries.jsonl"))
    lines = Path("queries.jsonl").read_bytes().split(b"\n")
    Path("queries.jsonl").write_bytes(b"\n".join([*lines[:7], b"", line, *lines[7:]]))
    said = failed(*synthesize("quest", work / "pool", "data", *WITH_QUERIES))
    assert said.startswith(f"error: {work}/queries.jsonl, line 9 is no ")
    assert leftovers(work) == []
    Path("queries.jsonl").write_bytes(b"\n".join(lines))
    made(*synthesize("quest", work / "pool", "data", *WITH_QUERIES, "--overwrite"))


def test_a_file_of_queries_that_is_not_there_is_named(work):
    said = failed(*synthesize("quest", work / "pool", "data", *WITH_QUERIES), code=2)
    assert "There is no file of queries queries.jsonl" in said
    assert not Path("data").exists()


def test_queries_for_other_documents_are_what_the_error_tells(work):
    Path("queries.jsonl").write_text('{"id": "another", "queries": ["what is it"]}\n')
    said = failed(*synthesize("quest", work / "pool", "data", *WITH_QUERIES))
    assert f"not in the file of queries: {DOCUMENTS + BLANK}" in said
