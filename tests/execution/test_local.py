from __future__ import annotations

import pytest
from tasks_for_tests import (
    announces_and_fails_later,
    failing,
    killed,
    killed_while_it_reports,
    refused,
    square,
    waits_or_makes,
)

from nextlong.errors import NextlongError, UsageError
from nextlong.execution.local import LocalExecutor

NUMBERS = [(number,) for number in range(8)]


@pytest.fixture(scope="module")
def executor():
    return LocalExecutor(2)


@pytest.mark.parametrize("workers", (1, 2))
def test_results_are_in_order_and_progress_adds_up(workers):
    shown = []
    assert LocalExecutor(workers).map(square, NUMBERS, shown.append) == [number * number for number in range(8)]
    assert sum(shown) == sum(range(8))


def test_progress_is_shown_no_longer_when_a_call_has_ended():
    shown = []
    with pytest.raises(UsageError):
        LocalExecutor(1).map(refused, NUMBERS, shown.append)
    assert LocalExecutor(1).map(square, [(7,)], shown.append) == [49]
    square(8)
    assert shown == [7]


def test_nothing_to_do(executor):
    assert executor.map(square, [], lambda amount: None) == []


def test_an_error_for_people_arrives_whole(executor):
    """Its hint too, and from a process as from here."""
    for tried in (executor, LocalExecutor(1)):
        with pytest.raises(UsageError) as caught:
            tried.map(refused, NUMBERS, lambda amount: None)
        assert caught.value.hint == "choose another"


def test_an_unforeseen_error_is_not_hidden(executor):
    with pytest.raises(ZeroDivisionError):
        executor.map(failing, NUMBERS, lambda amount: None)


def test_a_killed_worker_is_an_error_and_the_executor_works_again(executor):
    with pytest.raises(NextlongError, match="A worker process was killed") as caught:
        executor.map(killed, NUMBERS, lambda amount: None)
    assert "Fewer --workers" in caught.value.hint
    assert executor.map(square, NUMBERS, lambda amount: None) == [number * number for number in range(8)]


def test_a_worker_killed_while_it_reports_silences_no_later_ones(executor):
    with pytest.raises(NextlongError, match="A worker process was killed"):
        executor.map(killed_while_it_reports, NUMBERS, lambda amount: None)
    shown = []
    executor.map(square, NUMBERS, shown.append)
    assert sum(shown) == sum(range(8))


def follow(message):
    path, _ = message
    return [(path, 0)]


def test_idle_workers_do_what_follows_from_announcements(executor, tmp_path):
    """The call that waits ends well only if the other one is made meanwhile."""
    shown = []
    done, more = executor.map_with_more(waits_or_makes, [(tmp_path / "file", 7)], shown.append, follow)
    assert (done, more, sum(shown)) == ([True], [False], 7)


def test_work_that_waits_comes_before_work_that_follows(executor, tmp_path):
    """With more calls than workers, what follows is done at the end or never, and no result is lost."""
    calls = [(tmp_path / "file", number) for number in (0, 1, 2)]
    done, more = executor.map_with_more(waits_or_makes, calls, lambda amount: None, follow)
    assert done == [False, True, True] and set(more) <= {False}


def test_one_worker_follows_nothing(tmp_path):
    (tmp_path / "file").touch()
    calls = [(tmp_path / "file", number) for number in (1, 0)]
    assert LocalExecutor(1).map_with_more(waits_or_makes, calls, lambda amount: None, follow) == ([True, False], [])


def test_a_failure_of_what_follows_is_an_error(executor, tmp_path):
    with pytest.raises(UsageError, match="no zero"):
        executor.map_with_more(announces_and_fails_later, [(tmp_path, 1)], lambda amount: None, follow)
