from __future__ import annotations

import pytest
from tasks_for_tests import failing, killed, refused, square

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
