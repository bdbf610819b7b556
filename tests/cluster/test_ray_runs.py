"""Whole jobs on Ray: the same bytes as on this machine's own processes, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")

from machines import processes, wait_until, workers_of
from small_runs import (
    DIMENSIONS,
    GRANULARITY,
    LENGTH,
    POOL_OPTIONS,
    SHARD_TOKENS,
    contents,
    finished,
    leftovers,
    receipts,
    start,
    train_tokenizer,
    write_corpus,
)

import nextlong
from nextlong.dataset import layout
from nextlong.execution import ray_connection
from nextlong.execution.progress import Quiet

ROOTS = 12
MOST_KILLS = 6  # each costs the start of a process
FOLDERS = ("pool", "data", "packed", "mixed")
SECTIONS = {
    "chunking": {"granularity": GRANULARITY},
    "encoder": {"name": "lsa", "dimensions": DIMENSIONS},
    "index": {"kind": "flat"},
}
RAY = ("--executor", "ray", "--workers", 2)
INDEX = ("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--index", "flat")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]


class Noted(Quiet):
    """Shows nothing, and remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """See :class:`~nextlong.execution.progress.Progress`."""
        self.lines.append(line)


def make_all(**run) -> None:
    """A pool, a dataset, its rows packed, and a mix, all by relative paths."""
    nextlong.build_pool("corpus", "pool", **run, **SECTIONS)
    nextlong.synthesize("pool", "data", length=LENGTH, roots=ROOTS, tokenizer="tokenizer", **run)
    nextlong.export("data", "packed", length=2 * LENGTH, format="mds", **run)
    nextlong.mix({"data": 1}, "mixed", length=LENGTH, seed=1, **run)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with a corpus and a tokenizer."""
    folder = tmp_path_factory.mktemp("given")
    train_tokenizer(write_corpus(folder / "corpus"), folder / "tokenizer")
    return folder


def work_in(folder: Path, given: Path) -> Path:
    """Make them reachable by the same relative names."""
    for name in ("corpus", "tokenizer"):
        (folder / name).symlink_to(given / name, target_is_directory=True)
    return folder


@pytest.fixture(scope="module")
def local(given, tmp_path_factory) -> Path:
    """A folder in which everything was made by this process."""
    folder = work_in(tmp_path_factory.mktemp("local"), given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
        patch.chdir(folder)
        make_all(workers=1)
    return folder


@pytest.fixture(scope="module")
def ray():
    """Options for a Ray that the first call starts here."""
    yield {"executor": "ray", "workers": 2}
    ray_connection.disconnect()


def assert_same(folder: Path, local: Path, *names: str) -> None:
    """What is in these folders is what this process made, and nothing else lies there."""
    for name in names:
        expected, found = contents(local / name), contents(folder / name)
        if name == "pool" and "data" not in names:  # the other one has been used
            expected = {path: value for path, value in expected.items() if not path.startswith("tokens/")}
        assert found == expected
    assert leftovers(folder) == []


def test_ray_makes_the_same_bytes(local, given, ray, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
    monkeypatch.chdir(work_in(tmp_path, given))
    make_all(**ray)
    assert_same(tmp_path, local, *FOLDERS)
    assert receipts(tmp_path) == receipts(local)
    assert len(receipts(tmp_path / "data")) > 8  # there were several batches
    assert all(nextlong.verify(name, **ray).ok for name in FOLDERS)


def test_killed_workers_change_nothing(local, given, ray, tmp_path, monkeypatch):
    """Workers are killed in the midst of tasks of every kind that can be caught."""
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
    monkeypatch.chdir(work_in(tmp_path, given))
    killed: set[str] = set()
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.005) and len(killed) < MOST_KILLS:
            for process, call in workers_of(os.getpid()).items():
                if call.startswith("nextlong ") and call not in killed:
                    killed.add(call)
                    os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    noted = Noted()
    killer.start()
    try:
        make_all(progress=noted, **ray)
    finally:
        over.set()
        killer.join()
    assert len(killed) >= 3
    assert any("was lost" in line for line in noted.lines)
    assert_same(tmp_path, local, *FOLDERS)


def test_a_killed_command_is_finished_by_the_next_one(local, given, tmp_path):
    """And the workers that it had end."""
    folder = work_in(tmp_path, given)
    process = start(*INDEX, *RAY, "--quiet", cwd=folder)
    wait_until(lambda: (folder / "pool" / "receipts" / "ingest").exists())
    workers = workers_of(process.pid)
    process.kill()
    process.wait()
    assert workers
    wait_until(lambda: not set(workers) & set(processes()))
    for stream in (process.stdout, process.stderr):
        stream.close()
    result = finished(*INDEX, *RAY, "--quiet", cwd=folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert_same(folder, local, "pool")


def test_results_are_all_that_standard_output_gets(given, tmp_path):
    """Ray would print there what happens to workers."""
    process = start(*INDEX, *RAY, "--json", cwd=work_in(tmp_path, given))
    wait_until(lambda: any(call.startswith("nextlong ") for call in workers_of(process.pid).values()))
    for worker in workers_of(process.pid):
        os.kill(worker, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["counts"]["documents"] > 0
    assert stderr == ""


def test_a_job_goes_on_without_a_machine_that_is_lost(local, given, machines, tmp_path):
    staying, leaving = machines.add(), machines.add()
    folder = work_in(tmp_path, given)
    process = start(*INDEX, "--executor", "ray", "--ray-address", machines.address, "--quiet", cwd=folder)
    wait_until(lambda: (folder / "pool" / "receipts" / "ingest").exists())
    machines.lose(leaving)
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stdout) == (0, ""), stderr
    assert_same(folder, local, "pool")
    machines.remove(staying)


def test_interrupting_is_as_without_ray(local, given, tmp_path):
    folder = work_in(tmp_path, given)
    process = start(*INDEX, *RAY, cwd=folder)
    wait_until(lambda: (folder / "pool" / "receipts" / "ingest").exists())
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 130, stderr
    assert "Interrupted. Run the same command again" in stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    time.sleep(1)
    assert leftovers(folder) == []
    assert finished(*INDEX, "--workers", 1, "--quiet", cwd=folder).returncode == 0
    assert_same(folder, local, "pool")
