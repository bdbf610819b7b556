"""Locks of folders in an object store: one holder at a time, and a dead one does not hold for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from nextlong.errors import NextlongError
from nextlong.execution import locks, object_store
from nextlong.execution.files import write_json
from nextlong.execution.locks import Busy, locked
from nextlong.execution.object_path import located
from nextlong.execution.run_mark import MARK, content_of

# Holds the lock until it is killed.
_HOLDER = """
import sys, time
from nextlong.execution import locks
locks.HEARTBEAT_SECONDS = 0.2
from nextlong.execution.object_path import located
with locks.locked(located(sys.argv[1]), wait=False):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(locks, "DEAD_AFTER_SECONDS", 3.0)
    monkeypatch.setattr(locks, "_POLL_SECONDS", 0.05)


@pytest.fixture
def folder(bucket):
    return located(bucket) / "folder"


def test_it_is_held_and_released_again_and_again(folder):
    for _ in range(3):
        with locked(folder, wait=False), pytest.raises(Busy), locked(folder, wait=False):
            pytest.fail("held twice")


def test_who_waits_gets_it_when_it_is_free(folder):
    order: list[str] = []

    def wait() -> None:
        with locked(folder, wait=True):
            order.append("second")

    with locked(folder, wait=False):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(4)  # longer than the dead are waited for: the holder's heart beats
        order.append("first")
    waiting.join(20)
    assert order == ["first", "second"]


def test_of_many_one_holds_it_at_a_time(folder):
    inside, most, done = [0], [0], []

    def work() -> None:
        with locked(folder, wait=True):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            inside[0] -= 1
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, len(done)) == ([1], 6)


def test_a_killed_holder_is_followed(folder, s3_environment):
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(Busy), locked(folder, wait=False):
        pytest.fail("held twice")
    process.kill()
    process.wait()
    said: list[str] = []
    started = time.monotonic()
    with locked(folder, wait=False, say=said.append):
        assert time.monotonic() - started >= locks.DEAD_AFTER_SECONDS
    assert len(said) == 1 and "waiting" in said[0]


@pytest.mark.parametrize("later", (2, 3))  # of three takeovers, the first one's object is gone
def test_a_holder_that_stood_still_knows_that_it_lost_its_turn(folder, later):
    with ExitStack() as stack, pytest.raises(NextlongError, match="stood still"), locked(folder, wait=False):
        object_store.create(locks._turn(folder, later), locks._content())  # as one does that took it for dead
        time.sleep(1)
        stack.pop_all()
    assert object_store.read(locks._turn(folder, later)) is not None


# Holds the lock without a heartbeat, as a process does that stands still; told to, it works on.
_STANDING = """
import sys
from pathlib import Path
from nextlong.errors import NextlongError
from nextlong.execution import locks
from nextlong.execution.executor import Needs
from nextlong.execution.files import write_json
from nextlong.execution.local import LocalExecutor
from nextlong.execution.object_path import located
from nextlong.execution.run_mark import MARK

def tried(write):
    try:
        write()
        print("written", flush=True)
    except NextlongError as error:
        print(error.message, flush=True)

locks.HEARTBEAT_SECONDS = 600
folder = located(sys.argv[1])
calls = [(folder / f"{number}.json", number) for number in range(2)]

def on_workers():
    LocalExecutor(2).map(write_json, calls, lambda amount: None, Needs(shared=folder / MARK))

try:
    with locks.locked(folder, wait=False):
        print("held", flush=True)
        sys.stdin.readline()
        tried(lambda: write_json(folder / "own.json", 1))
        tried(on_workers)
except NextlongError as error:
    print(error.message, flush=True)
"""


def test_who_was_taken_for_dead_writes_nothing_any_more(folder, s3_environment):
    """Neither itself nor by its workers; and what the next holder writes is not in its way."""
    command = [sys.executable, "-c", _STANDING, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with locked(folder, wait=False):
        mark = content_of(folder / MARK)
        said = process.communicate("go on\n", timeout=120)[0].splitlines()
        assert content_of(folder / MARK) == mark is not None
        write_json(folder / "mine.json", 1)
    assert ["The run is over" in line for line in said] == [True, True, False]
    assert "stood still" in said[2]
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "mine.json"]
