"""What runs tasks: on this machine's cores, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from nextlong.execution.progress import Advance

Result = TypeVar("Result")


@dataclass(frozen=True)
class Needs:
    """What the tasks of a stage need of their workers.

    Attributes:
        workers: the most workers at once; None for as many as there are.
        model: a worker loads something for the first task that is worth keeping for the next ones.
        gpu: a worker computes on a GPU where it has one. Then ``workers`` counts those that share this machine's GPU; on a
            cluster each worker gets a GPU of its own, as many as there are.
    """

    workers: int | None = None
    model: bool = False
    gpu: bool = False


ANY_WORKER = Needs()


class Executor(Protocol):
    """Calls a function on many arguments, on as many workers as it has."""

    workers: int

    def map(
        self,
        function: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        needs: Needs = ANY_WORKER,
    ) -> list[Result]:
        """``[function(*each) for each in arguments]``, in any order of work.

        Args:
            function: importable from a module.
            arguments: picklable.
            show: gets the amounts that the calls report with :func:`~nextlong.execution.progress.advance`.
            needs: what the calls need of their workers.

        Raises:
            NextlongError: a worker process was killed; whatever a call raises.
        """
        ...
