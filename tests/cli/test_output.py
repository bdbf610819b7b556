"""What the commands print, to whom: people at a terminal, logs, programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time

import pytest
from cli_runs import run_cli
from small_runs import LENGTH, POOL_OPTIONS, command, train_tokenizer, write_corpus

# An import that costs more is felt at every start. The limit leaves room for a busy machine.
IMPORT_SECONDS = 0.3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a corpus, a tokenizer and a pool."""
    folder = tmp_path_factory.mktemp("made")
    train_tokenizer(write_corpus(folder / "corpus", files=2, documents=8), folder / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_cli("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--workers", 1).exit_code == 0
    return folder


@pytest.fixture(autouse=True)
def in_folder(made, monkeypatch):
    monkeypatch.chdir(made)


def synthesize(out, *options):
    size = ("--length", LENGTH, "--roots", 2, "--tokenizer", "tokenizer", "--workers", 1)
    return run_cli("synthesize", "pool", "--out", out, *size, *options)


def test_json_is_all_that_is_printed(tmp_path):
    pool = run_cli("index", "corpus", "--out", tmp_path / "pool", *POOL_OPTIONS, "--workers", 1, "--json")
    assert json.loads(pool.stdout)["counts"]["documents"] == 16
    data = synthesize(tmp_path / "data", "--json")
    assert json.loads(data.stdout)["counts"] | {"sequences": 2, "tokens": 2 * LENGTH} == json.loads(data.stdout)["counts"]
    verified = run_cli("verify", tmp_path / "data", "--workers", 1, "--json")
    report = json.loads(verified.stdout)
    assert (report["ok"], report["kind"], report["failures"]) == (True, "dataset", [])
    for result in (pool, data, verified):
        assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)


def test_json_of_a_failed_verification(tmp_path):
    assert synthesize(tmp_path / "data", "--quiet").exit_code == 0
    (tmp_path / "data" / "tokens" / "00000.parquet").write_bytes(b"")
    result = run_cli("verify", tmp_path / "data", "--workers", 1, "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    assert report["failures"][0]["where"].endswith("00000.parquet")


def test_quiet_prints_nothing_when_all_is_well(tmp_path):
    for result in (
        run_cli("index", "corpus", "--out", tmp_path / "pool", *POOL_OPTIONS, "--workers", 1, "--quiet"),
        synthesize(tmp_path / "data", "--quiet"),
        run_cli("verify", tmp_path / "data", "--workers", 1, "--quiet"),
    ):
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_quiet_still_tells_what_is_wrong(tmp_path):
    result = synthesize(tmp_path / "data", "--quiet", "--length", "2M")
    assert result.exit_code == 1
    assert "error: " in result.stderr
    assert synthesize(tmp_path / "small", "--quiet").exit_code == 0
    (tmp_path / "small" / "tokens" / "00000.parquet").unlink()
    result = run_cli("verify", tmp_path / "small", "--quiet")
    assert (result.exit_code, "FAILED" in result.stderr) == (1, True)


def test_plan_writes_nothing(tmp_path, made):
    before = sorted(made.rglob("*"))
    result = run_cli("index", "corpus", "--out", tmp_path / "pool", *POOL_OPTIONS, "--plan")
    assert result.exit_code == 0
    assert all(stage in result.stdout for stage in ("ingest", "embed", "index", "memory", "Nothing was written"))
    result = synthesize(tmp_path / "data", "--plan")
    assert result.exit_code == 0
    assert all(stage in result.stdout for stage in ("search", "mine", "compose", "write", "Nothing was written"))
    straight = ("--length", LENGTH, "--tokens", "1M", *POOL_OPTIONS, "--tokenizer", "tokenizer", "--plan")
    assert run_cli("synthesize", "corpus", "--out", tmp_path / "data", *straight).exit_code == 0
    assert list(tmp_path.iterdir()) == []
    assert sorted(made.rglob("*")) == before


def test_plan_fails_where_the_run_would(tmp_path):
    assert run_cli("index", "nowhere", "--out", tmp_path / "pool", "--plan").exit_code == 2
    assert run_cli("index", "corpus", "--out", tmp_path / "pool", "--chunker", "magic", "--plan").exit_code == 2
    assert run_cli("synthesize", "pool", "--out", tmp_path / "data", "--plan").exit_code == 2
    assert synthesize(tmp_path / "data", "--roots", 1000, "--plan").exit_code != 0


def test_without_a_terminal_progress_is_plain_lines(tmp_path):
    result = synthesize(tmp_path / "data")
    assert "\x1b" not in result.stdout + result.stderr
    assert "\r" not in result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("tokenize")] == [
        "plan",
        "search",
        "mine",
        "compose",
        "write",
    ]
    assert all("/s)" in line for line in lines)


def test_a_terminal_gets_a_bar(tmp_path, made):
    words = ("index", "corpus", "--out", tmp_path / "pool", *POOL_OPTIONS, "--workers", 1)
    seen = on_a_terminal(command(*words), made)
    assert "━" in seen
    assert "\x1b[" in seen
    assert "documents" in seen


def on_a_terminal(words, cwd):
    """What a command writes to a terminal of its own."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(words, cwd=cwd, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    assert process.wait(100) == 0, b"".join(parts)
    return b"".join(parts).decode()


def test_importing_costs_next_to_nothing():
    code = (
        "import sys, time; before = set(sys.modules); start = time.perf_counter(); import nextlong; "
        "print(time.perf_counter() - start); print(*(set(sys.modules) - before))"
    )
    quickest = float("inf")
    for _ in range(3):  # the first one may have to read from a cold disk
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        seconds, modules = output.splitlines()
        quickest = min(quickest, float(seconds))
        assert not {"numpy", "pyarrow", "faiss", "typer", "rich", "pydantic", "tokenizers"} & set(modules.split())
    assert quickest < IMPORT_SECONDS


def test_help_loads_nothing_heavy():
    code = "import sys; from nextlong.cli.main import app; print(*sys.modules)"
    started = time.monotonic()
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"faiss", "sklearn", "onnxruntime", "datasets", "torch"} & set(modules)
    assert time.monotonic() - started < 30
