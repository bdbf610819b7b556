"""Calls on a Ray that is started on this machine: the same answers and errors as those of the local executor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray")

from cluster_calls import doubled, killed_once, loaded, placed, slept, told_and_killed_once, untold, wrote
from tasks_for_tests import failing, killed, refused, square

from nextlong.errors import NextlongError, UsageError
from nextlong.execution import ray_calls, ray_connection
from nextlong.execution.executor import Needs
from nextlong.execution.local import default_workers
from nextlong.execution.ray_calls import MOST_TRIES
from nextlong.execution.ray_cluster import RayExecutor

TESTS = Path(__file__).parent.parent
NUMBERS = [(number,) for number in range(8)]
TASKS, ACTORS = Needs(), Needs(model=True)
WORKERS = 2


def quiet(amount: int) -> None:
    """Where nobody watches."""


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the executor has told."""
    return []


@pytest.fixture(scope="module")
def executor(said):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{TESTS / 'execution'}", prepend=os.pathsep)
        yield RayExecutor(WORKERS, say=said.append)
        ray_connection.disconnect()


@pytest.mark.parametrize("needs", (TASKS, ACTORS))
def test_results_are_in_order_and_progress_adds_up(executor, needs):
    shown = []
    assert executor.map(square, NUMBERS, shown.append, needs) == [number * number for number in range(8)]
    assert sum(shown) == sum(range(8))


def test_no_calls_are_no_work(executor):
    assert executor.map(square, [], quiet) == []


@pytest.mark.parametrize("needs", (TASKS, ACTORS))
def test_an_error_for_people_arrives_whole_from_the_cluster(executor, needs):
    with pytest.raises(UsageError) as caught:
        executor.map(refused, NUMBERS, quiet, needs)
    assert caught.value.hint == "choose another"
    assert caught.value.message.startswith("no ")


def test_an_unforeseen_error_arrives_with_its_traceback(executor):
    with pytest.raises(ZeroDivisionError) as caught:
        executor.map(failing, NUMBERS, quiet)
    assert "in failing" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="Untold: one"):
        executor.map(untold, [()], quiet)


@pytest.mark.parametrize("needs", (TASKS, ACTORS))
def test_calls_whose_worker_was_killed_are_done_again(executor, said, needs, tmp_path):
    said.clear()
    shown = []
    arguments = [(tmp_path, number) for number in range(5)]
    assert executor.map(killed_once, arguments, shown.append, needs) == list(range(5))
    assert sum(shown) == 500
    lost = [line for line in said if "was lost" in line]
    assert len(lost) >= 2, said  # 0 and 3 were; a call that waited behind one of them may have been
    assert all("its process was killed" in line for line in lost)


def test_progress_of_a_lost_call_is_taken_back(executor, tmp_path):
    shown = []
    executor.map(told_and_killed_once, [(tmp_path,)], shown.append)
    assert sum(shown) == 5
    assert min(shown) < 0 < len(shown) - 1


@pytest.mark.slow
def test_a_call_that_kills_its_worker_again_and_again_is_an_error(executor):
    with pytest.raises(NextlongError, match=f"The worker was lost that did `killed 1 of 1`, {MOST_TRIES} times") as caught:
        executor.map(killed, NUMBERS[:1], quiet)
    assert "what is finished is kept" in caught.value.hint
    assert executor.map(square, NUMBERS, quiet) == [number * number for number in range(8)]


def test_arguments_are_the_workers_own_and_may_be_large(executor):
    numbers = np.arange(1 << 18)  # 2 MiB, which Ray does not send along with a call
    (found,) = executor.map(doubled, [(numbers,)], quiet)
    assert np.array_equal(found, np.arange(1 << 18) * 2)
    assert np.array_equal(numbers, np.arange(1 << 18))
    found += 1  # the result is ours


def test_workers_have_the_callers_folder_and_their_share_of_threads(executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = executor.map(placed, [()] * 4, quiet)
    assert {each["folder"] for each in found} == {str(tmp_path)}
    assert len({each["process"] for each in found}) == WORKERS
    share = str(max(1, default_workers() // WORKERS))
    assert {(each["OMP_NUM_THREADS"], each["RAYON_NUM_THREADS"]) for each in found} == {(share, share)}
    (alone,) = executor.map(placed, [()], quiet)
    assert alone["OMP_NUM_THREADS"] == str(default_workers())


def test_actors_keep_what_they_load_and_are_as_many_as_may_be(executor):
    assert max(executor.map(loaded, [()] * 8, quiet, ACTORS)) >= 4
    assert executor.map(loaded, [()] * 3, quiet, Needs(model=True, workers=1)) == [1, 2, 3]


def test_many_calls_are_given_out_a_few_at_a_time(executor, monkeypatch):
    most = 0
    give = ray_calls.Calls._give

    def counted(calls, place, actor, remote):
        nonlocal most
        give(calls, place, actor, remote)
        most = max(most, len(calls._flying))

    monkeypatch.setattr(ray_calls.Calls, "_give", counted)
    assert executor.map(slept, [(0, number) for number in range(200)], quiet) == list(range(200))
    assert most == WORKERS


@pytest.mark.parametrize("needs", (TASKS, ACTORS))
def test_nothing_works_on_after_an_error(executor, tmp_path, needs):
    """What an error interrupts must have ended when the caller gets it: the folder is then free for another run."""

    def stop(amount: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "times"
    with pytest.raises(KeyboardInterrupt):
        executor.map(wrote, [(path, 30.0), (tmp_path / "other", 30.0)], stop, needs)
    before = path.read_text()
    assert before
    slept(0.5, 0)
    assert path.read_text() == before
