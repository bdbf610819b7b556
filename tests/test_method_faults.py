"""Kills, worker counts and runs at the same time: of every method, and of what methods keep in the pool."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import killed_at_writes
import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import run_cli
from fault_table import RIGHT, SAME, counted
from method_runs import DATASETS, OVERSAMPLING, ROOTS, everything, fresh_pool, place_in, synthesize, write_given
from run_processes import group_members, needs_proc, wait_until
from small_runs import GRANULARITY, LENGTH, SHARD_TOKENS, contents, finished, start

import nextlong
from nextlong.dataset import layout
from nextlong.pool.derived import held
from nextlong.pool.document_vectors import document_vectors
from nextlong.pool.pool import Pool

WORKERS = (1, 2, 4)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with a corpus, a tokenizer, a recipe and a pool that nothing was made from."""
    return write_given(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def made(given, tmp_path_factory) -> dict[int, Path]:
    """Number of workers → a folder with each dataset, made from a pool of its own."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
        for workers in WORKERS:
            folders[workers] = place_in(tmp_path_factory.mktemp(f"workers-{workers}") / "run", given)
            patch.chdir(folders[workers])
            for name in DATASETS:
                fresh_pool(given / "pool", folders[workers] / f"pool-{name}")
                result = run_cli(*synthesize(name, f"pool-{name}", f"data-{name}", "--workers", workers))
                assert (result.exit_code, result.stdout, result.stderr) == (0, "", ""), name
    return folders


@pytest.fixture(scope="module")
def killed(given, tmp_path_factory) -> tuple[Path, Counter[str]]:
    """A folder with each dataset, whose runs were killed at writes; and how many kills each had."""
    folder = place_in(tmp_path_factory.mktemp("killed") / "run", given)
    commands = {}
    for name in DATASETS:
        fresh_pool(given / "pool", folder / f"pool-{name}")
        arguments = synthesize(name, f"pool-{name}", f"data-{name}", "--workers", 1)
        commands[name] = [str(argument) for argument in arguments]
    result = subprocess.run(
        [sys.executable, killed_at_writes.__file__, str(SHARD_TOKENS)],
        input=json.dumps(commands),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    return folder, Counter(line.split()[0] for line in result.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name", DATASETS)
def test_workers_do_not_change_a_byte_of_any_method(made, name):
    expected = everything(made[1], name)
    for workers in WORKERS[1:]:
        assert everything(made[workers], name) == expected


@pytest.mark.slow
def test_there_was_something_to_compare_of_every_method(made):
    """Batches, shards, what is kept in the pool, and sequences that were discarded."""
    for name in DATASETS:
        found = everything(made[1], name)
        for part in ("receipts/compose", "receipts/write", "tokens"):
            assert sum(path.startswith(f"data-{name}/{part}/") for path in found) >= 3, name
        assert nextlong.verify(made[1] / f"data-{name}", workers=1).failures == []
    for folder in made.values():
        assert list(folder.rglob(".run")) == []  # nobody was killed
    derived = {name: len(list((made[1] / f"pool-{name}" / "derived").glob("*/*"))) for name in DATASETS}
    assert [name for name, files in derived.items() if files] == ["knn", "iclm", "quest", "bm25", "hybrid"]


@pytest.mark.slow
@pytest.mark.parametrize("name", DATASETS)
def test_kills_at_any_write_change_nothing(made, killed, name):
    folder, kills = killed
    assert kills[name] >= 2
    assert everything(folder, name) == everything(made[1], name)
    counted(
        "SIGKILL of all processes", "`synthesize` by every method, before or after a file gets its name", SAME, kills[name]
    )


# What there is when a run derives, searches and writes, or derives, plans and composes.
MOMENTS = {
    "hybrid": ("pool-hybrid/derived/*/*.npy", "data-hybrid/wanted/*", "data-hybrid/tokens/*"),
    "quest": ("pool-quest/derived/*/*.arrow", "data-quest/units/*", "data-quest/sequences/*"),
}


def killed_when(arguments: tuple[object, ...], folder: Path, moment: Callable[[], bool]) -> bool:
    """Start a run and kill -9 its process group when something holds; False when it ended before that."""
    process = start(*arguments, cwd=folder)
    while not moment() and process.poll() is None:
        time.sleep(0.001)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=100)
    wait_until(lambda: not group_members(process.pid), "workers outlive their run")
    assert running or process.returncode == 0, stderr
    return running


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("name", MOMENTS)
def test_killing_all_processes_at_every_stage_changes_nothing(given, made, tmp_path, name):
    folder = place_in(tmp_path / "run", given)
    fresh_pool(given / "pool", folder / f"pool-{name}")
    arguments = synthesize(name, f"pool-{name}", f"data-{name}")
    kills = 0
    for number, pattern in enumerate(MOMENTS[name]):
        workers = 2 + number % 2
        kills += killed_when((*arguments, "--workers", workers), folder, lambda path=pattern: any(folder.glob(path)))
    assert kills >= 2
    result = finished(*arguments, "--workers", 2, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert everything(folder, name) == everything(made[1], name)
    counted(
        "SIGKILL of all processes", f"`synthesize` of {name}, as soon as a stage has a file, --workers 2 or 3", SAME, kills
    )


@pytest.mark.slow
def test_two_methods_that_need_the_same_of_a_pool_at_the_same_time(given, made, tmp_path):
    folder = place_in(tmp_path / "run", given)
    pool = Pool(fresh_pool(given / "pool", folder / "pool"))
    derived = document_vectors(pool).folder(pool)
    names = ("knn", "iclm")
    with held(derived, print):  # so that both want it at the same time
        runs = [start(*synthesize(name, "pool", f"data-{name}", "--workers", 1), cwd=folder) for name in names]
        for name, run in zip(names, runs, strict=True):
            plan = folder / f"data-{name}" / "plan.json"
            wait_until(lambda path=plan, one=run: path.exists() or one.poll() is not None, "a run does not begin")
        time.sleep(0.5)
        assert [run.poll() for run in runs] == [None, None]
        assert {path.name for path in derived.iterdir()} == {".lock", ".run"}
    for run in runs:
        _, stderr = run.communicate(timeout=100)
        assert run.returncode == 0, stderr
    for name in names:
        assert nextlong.verify(folder / f"data-{name}", workers=1).failures == []
        found, expected = contents(folder / f"data-{name}"), contents(made[1] / f"data-{name}")
        assert {path for path in expected if found.get(path) != expected[path]} <= {"dataset.yaml"}  # it names the pool
        assert found.keys() == expected.keys()
    assert nextlong.verify(folder / "pool", workers=1).failures == []
    expected = contents(made[1] / "pool-iclm" / "derived")  # the vectors of documents, their index, and the graph
    assert contents(folder / "pool" / "derived") == expected and len(expected) == 2 * len(pool.shards) + 1
    assert contents(made[1] / "pool-knn" / "derived").items() < expected.items()
    counted(
        "two processes on one pool", "`synthesize` of `knn` and `iclm` at once: both need the document vectors", RIGHT, 2
    )


def loaded_oracle() -> ModuleType:
    """``oracle/oracle.py``, which is no module for tests outside of its folder."""
    spec = importlib.util.spec_from_file_location("discarding_oracle", Path(__file__).parent / "oracle" / "oracle.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_discarded_sequences_are_replaced_as_the_oracle_does_it(given, made):
    folder = made[2] / "data-paper"
    assert nextlong.load_dataset_card(folder)["counts"]["discarded"] >= ROOTS
    pool = Pool(made[2] / "pool-paper")
    corpus = given / "all.jsonl"
    corpus.write_text("".join(path.read_text() for path in sorted((given / "corpus").iterdir())), encoding="utf-8")
    oracle = loaded_oracle()
    known = oracle.Corpus(corpus, GRANULARITY, pool.vectors.take(np.arange(pool.chunks)), given / "tokenizer")
    options = oracle.Options(LENGTH, 0, {}, {"mode": "paper", "oversampling": OVERSAMPLING})
    rows = [row for path in sorted((folder / "tokens").iterdir()) for row in pq.read_table(path).to_pylist()]
    expected = oracle.sequences(known, options, ROOTS)
    assert [row["spans"] for row in rows] == [sequence["spans"] for sequence in expected]
    assert [row["input_ids"] for row in rows] == [sequence["tokens"] for sequence in expected]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "quest"])
def test_a_finished_dataset_is_not_made_again(made, monkeypatch, name):
    """Not even where sequences were discarded, so that it took several plans."""
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
    monkeypatch.chdir(made[1])
    times = {path: path.stat().st_mtime_ns for path in (made[1] / f"data-{name}").rglob("*") if path.is_file()}
    assert run_cli(*synthesize(name, f"pool-{name}", f"data-{name}", "--workers", 1)).exit_code == 0
    changed = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed <= {"plan.json", ".lock"}
