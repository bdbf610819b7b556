"""What runs tasks: on this machine's cores, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from nextlong.errors import UsageError
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
        shared: a file that every worker must see as this process does: else it works in another folder, or for a run that
            is over.
    """

    workers: int | None = None
    model: bool = False
    gpu: bool = False
    shared: Path | None = None


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


# Given what a call announced, the arguments of further calls that could be made now.
Following = Callable[[Any], Sequence[tuple[Any, ...]]]


@runtime_checkable
class OverlappingExecutor(Executor, Protocol):
    """One that can give workers which have nothing to do some work of the next stages."""

    def map_with_more(
        self,
        function: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        following: Following,
        needs: Needs = ANY_WORKER,
    ) -> tuple[list[Result], list[Result]]:
        """:meth:`Executor.map`, and meanwhile, on workers without work, calls that follow from announcements.

        Args:
            function: importable from a module.
            arguments: picklable.
            show: gets the amounts that the calls for ``arguments`` report, and no others.
            following: asked in this process for every :func:`~nextlong.execution.progress.announce` of those calls.
            needs: what all these calls need of their workers.

        Returns:
            The results for ``arguments``, in order, and those of the further calls that were made, in no order.
        """
        ...


EXECUTORS = ("local", "ray")


def make_executor(
    name: str = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Executor:
    """The executor of a name.

    Args:
        name: ``local``, processes on this machine; or ``ray``, a Ray cluster.
        workers: the most at once; None for as many as there are processors.
        ray_address: of the cluster: ``HOST:PORT`` or ``auto``; None for that in ``RAY_ADDRESS``, else Ray is started here.
        say: told what happens to the cluster.

    Raises:
        UsageError: no such executor, or an address for one that has none.
        NextlongError: Ray is not installed, or the cluster cannot be used.
    """
    if name not in EXECUTORS:
        raise UsageError(f"Unknown executor `{name}`.", f"It is one of {', '.join(EXECUTORS)}.")
    if name == "ray":
        from nextlong.execution.ray_cluster import RayExecutor

        return RayExecutor(workers, ray_address, say)
    if ray_address is not None:
        raise UsageError("Only the executor `ray` has an address.", "Give --executor ray as well.")
    from nextlong.execution.local import LocalExecutor

    return LocalExecutor(workers)
