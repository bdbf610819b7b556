"""Nothing outside of the folders that a command is given is read or written through a name in a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from contextlib import contextmanager

import pytest
from cli_runs import run_cli
from small_runs import LENGTH, POOL_OPTIONS, train_tokenizer, write_corpus

from nextlong.execution.files import write_record

ONE = ("--workers", 1)
SECRET = "outside-secret"

# Python calls hooks for every file that it opens and every folder that it lists, and offers no way to take one back.
_touched: list[str] = []
_watching = False


def _hook(event, arguments):
    if _watching and event in ("open", "os.listdir", "os.scandir", "os.remove", "os.rename") and arguments:
        _touched.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else "")


sys.addaudithook(_hook)


@contextmanager
def watched():
    """What is opened, listed, removed or renamed meanwhile."""
    global _watching
    _touched.clear()
    _watching = True
    try:
        yield _touched
    finally:
        _watching = False


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool and a dataset, and beside them what is nobody's business."""
    folder = tmp_path_factory.mktemp("made")
    train_tokenizer(write_corpus(folder / "corpus", files=1, documents=10), folder / "tokenizer")
    size = ("--length", LENGTH, "--roots", 2, "--tokenizer", folder / "tokenizer")
    assert run_cli("index", folder / "corpus", "--out", folder / "pool", *POOL_OPTIONS, *ONE, "--quiet").exit_code == 0
    assert run_cli("synthesize", folder / "pool", "--out", folder / "data", *size, *ONE, "--quiet").exit_code == 0
    return folder


@pytest.fixture
def folder(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    # The dataset knows its pool by its whole path; here it lies beside it.
    (tmp_path / SECRET).mkdir()
    for name in ("secret.txt", "secret.arrow", "secret.npy", "secret.parquet", "secret.json"):
        (tmp_path / SECRET / name).write_text("nobody's business")
    return copy


def edited(path, edit):
    """Edit a JSON file, and whoever does that can forge its checksum."""
    content = json.loads(path.read_text())
    edit(content)
    if isinstance(content, dict) and content.pop("checksum", None):
        write_record(path, content)
    else:
        path.write_text(json.dumps(content))


def commands(folder):
    return (
        ("verify", folder / "pool", *ONE),
        ("verify", folder / "data", "--pool", folder / "pool", *ONE),
        ("export", folder / "data", "--out", folder / "rows", *ONE),
        ("mix", folder / "data", "--out", folder / "mixed", *ONE),
    )


def test_the_watch_sees_what_is_opened(folder):
    with watched() as touched:
        (folder.parent / SECRET / "secret.txt").read_text()
    assert any(SECRET in path for path in touched)


@pytest.mark.parametrize("up", ("../..", "absolute"))
@pytest.mark.parametrize("part", ("pool", "data"))
def test_names_in_receipts_open_nothing_outside(folder, part, up):
    outside = str(folder.parent) if up == "absolute" else up
    for path in sorted((folder / part).glob("receipts/*/*.json")):
        name = f"{outside}/{SECRET}/secret.txt"
        edited(path, lambda content, name=name: content["outputs"].update({name: {"checksum": "0", "bytes": 17}}))
    for command in commands(folder):
        with watched() as touched:
            result = run_cli(*command)
        assert not any(SECRET in path for path in touched), command
        assert "nobody's business" not in result.stdout + result.stderr
    result = run_cli("verify", folder / part, "--pool", folder / "pool", *ONE)
    assert result.exit_code == 1 and "is no name of a file" in result.stderr


def test_names_of_shards_open_nothing_outside(folder):
    edited(
        folder / "pool" / "catalog" / "shards.json",
        lambda table: table[0].update({"name": f"../../../{SECRET}/secret"}),
    )
    for command in commands(folder):
        with watched() as touched:
            run_cli(*command)
        assert not any(SECRET in path for path in touched), command
    result = run_cli("verify", folder / "pool", *ONE)
    assert result.exit_code == 1 and "is no name of a file" in result.stderr


def test_names_in_the_index_of_a_format_open_nothing_outside(folder):
    made = ("export", folder / "data", "--out", folder / "mds", "--format", "mds", *ONE, "--quiet")
    if run_cli(*made).exit_code:
        pytest.skip("the dataset's pool is known by its whole path only")
    path = folder / "mds" / "tokens" / "index.json"
    edited(path, lambda index: index["shards"][0]["raw_data"].update({"basename": f"../../../{SECRET}/secret.txt"}))
    with watched() as touched:
        result = run_cli("verify", folder / "mds", *ONE)
    assert result.exit_code == 1
    assert not any(SECRET in path for path in touched)


HOSTILE_NAMES = (
    "two\nlines.jsonl",
    "..jsonl.jsonl",
    "~root.jsonl",
    "$HOME.jsonl",
    "-rf.jsonl",
    "a" * 249 + ".jsonl",
    "*.jsonl",
)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_hostile_names_of_files_and_ids_stay_inside(tmp_path, monkeypatch, name):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    write_corpus(tmp_path / "run" / "corpus", files=1, documents=6)
    rows = [
        {"id": identity, "text": f"a text of its own, number {number}"}
        for number, identity in enumerate(("../../escaped", "/etc/passwd", "..", "a/../b", "x" * 4000, "nul\0", "a\nb", "~"))
    ]
    (tmp_path / "run" / "corpus" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run_cli("index", "corpus", "--out", "pool", *POOL_OPTIONS, *ONE, "--quiet").exit_code == 0
    assert run_cli("verify", "pool", *ONE, "--quiet").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["corpus", "pool"]
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in (tmp_path / "run" / "pool").rglob("*"))


@pytest.mark.parametrize("value", ("a\\0b", "\\ud800", "x" * 5000, "../" * 3000))
def test_hostile_names_in_recipes_are_errors(tmp_path, value):
    for place in (
        "pool: {{corpus: {{inputs: [{}]}}}}",
        "pool: {{corpus: {{inputs: [demo]}}, chunking: {{chunker: tokens, tokenizer: {}}}}}",
    ):
        (tmp_path / "recipe.yaml").write_text(place.format(f'"{value}"'))
        result = run_cli("index", "--recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "pool")
        assert result.exit_code in (1, 2) and "error: " in result.stderr
