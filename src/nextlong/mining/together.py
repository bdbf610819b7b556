"""Works that ask questions on their way, done in step: what many of them ask at a time is answered at once.

To choose the negatives of a sequence takes many small questions, one after the other, and asking costs more than answering.
The sequences of a batch do not depend on each other, so their questions can be put together. A work is a generator that
yields its questions and is sent the answers; it cannot see whether it is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be found out.

    Attributes:
        answers: answers many of them, in order. Questions with the same one can be put together.
        about: what it is given for this one.
    """

    answers: Callable[[list[Any]], Sequence[Any]]
    about: Any


# What asks questions, is sent the answers, and ends with a result.
Work = Generator[Question, Any, Result]


def together(works: Sequence[Work[Result]]) -> list[Result]:
    """The results of works that are done in step. What one of them raises ends all."""
    results: dict[int, Result] = {}
    # By how they are answered, the works that wait and what they ask.
    waiting: dict[Callable[[list[Any]], Sequence[Any]], dict[int, Any]] = {}

    def go_on(number: int, answer: Any) -> None:
        try:
            question = works[number].send(answer)
            waiting.setdefault(question.answers, {})[number] = question.about
        except StopIteration as end:
            results[number] = end.value

    for number in range(len(works)):
        go_on(number, None)
    while waiting:
        # Where few wait, more may come to ask the same.
        answers = max(waiting, key=lambda one: len(waiting[one]))
        asked = waiting.pop(answers)
        for number, answer in zip(asked, answers(list(asked.values())), strict=True):
            go_on(number, answer)
    return [results[number] for number in range(len(works))]


def alone(work: Work[Result]) -> Result:
    """The result of one work."""
    (result,) = together([work])
    return result
