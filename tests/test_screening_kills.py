"""A screening that is killed at any write goes on where it stopped, to the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import killed_at_writes
import pytest
from cli_runs import run_cli
from corpora import make_documents, with_copies, write_corpus
from fault_table import SAME, counted
from small_runs import contents, leftovers

from nextlong.pool import layout

# What is killed: name → options.
EVALUATION = ("--decontaminate", "evaluation.jsonl")
SCREENINGS = {
    "drop": (*EVALUATION, "--deduplicate", "drop", "--max-ngram-documents", "9"),
    "report": (*EVALUATION, "--contaminated", "report", "--deduplicate", "report"),
}


def index(name):
    options = ("--encoder", "lsa", "--dimensions", "16", "--granularity", "300", "--workers", "1", "--quiet")
    return ["index", "corpus", "--out", f"pool-{name}", *SCREENINGS[name], *options]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    documents = with_copies(make_documents(32))
    for number in range(2):
        write_corpus(folder / "corpus" / f"{number}.jsonl", documents[number::2])
    write_corpus(folder / "evaluation.jsonl", [{"text": each["text"][200:420]} for each in documents[::6]])
    return folder


@pytest.mark.slow
def test_kills_at_any_write_change_nothing(given, monkeypatch):
    monkeypatch.chdir(given)
    monkeypatch.setattr(layout, "SOURCE_GROUP_BYTES", 1)
    expected = {}
    for name in SCREENINGS:
        result = run_cli(*index(name))
        assert (result.exit_code, result.stderr) == (0, "")
        expected[name] = contents(given / f"pool-{name}")
        (given / f"pool-{name}").rename(given / f"undisturbed-{name}")
    killed = subprocess.run(
        [sys.executable, killed_at_writes.__file__, "4096"],
        input=json.dumps({name: index(name) for name in SCREENINGS}),
        cwd=given,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (killed.returncode, killed.stderr) == (0, ""), killed.stdout
    kills = Counter(line.split()[0] for line in killed.stdout.splitlines())
    for name, files in expected.items():
        assert kills[name] >= 3
        assert contents(given / f"pool-{name}") == files and leftovers(given / f"pool-{name}") == []
        assert any(path.startswith("screening/report/") for path in files)
        counted(
            "SIGKILL of all processes", "`index` with a screening, before or after a file gets its name", SAME, kills[name]
        )
