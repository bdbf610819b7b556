"""The calls of one stage on a Ray cluster: given out a few at a time, and again when a worker or a machine was lost."""

from __future__ import annotations

import itertools
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nextlong
from nextlong.errors import NextlongError
from nextlong.execution import ray_connection
from nextlong.execution.executor import Needs
from nextlong.execution.progress import Advance
from nextlong.execution.ray_worker import Answer, Worker, wait_for_ends, work
from nextlong.execution.run_mark import Mark, content_of, held_mark
from nextlong.execution.tasks import Task

if TYPE_CHECKING:
    from nextlong.execution.ray_cluster import RayExecutor

# How often the same call may lose its worker. Machines that come and go take some; memory that does not suffice, all.
MOST_TRIES = 4
# Calls given to Ray for each that can be done: the next one is there when one ends, and an autoscaler sees that more wait.
CALLS_AHEAD = 2
# Progress is told this often by each worker, and no more often than this many times a second by all together.
REPORT_SECONDS = 1.0
REPORTS_PER_SECOND = 1000
# How often to look whether the cluster has grown or shrunk, and how often at the reports.
LOOK_SECONDS = 5.0
_WAIT_SECONDS = 0.5
# How long workers get to end after a failure or an interruption.
_END_SECONDS = 20.0

# Each try of each call of this process has its own, so that a late report is nobody else's.
_numbers = itertools.count(1)


class RemoteTraceback(Exception):
    """Where on a worker an error happened: the cause of the error here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass
class _Flight:
    """A call that a worker has.

    Attributes:
        place: the call's place in the arguments.
        number: its own; the next try of the call has another one.
        actor: which has it; None for a Ray task.
        shown: the progress that was shown of it.
    """

    place: int
    number: int
    actor: Any
    shown: int = 0


class Calls:
    """The calls, at least one, of a :meth:`~nextlong.execution.ray_cluster.RayExecutor.map`.

    Ray itself tries nothing again: so tasks and actors are treated alike, each loss is counted and told, and work goes only
    to actors that are there, however long others wait for a place on a machine.
    """

    def __init__(
        self,
        executor: RayExecutor,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        needs: Needs,
    ) -> None:
        self._executor, self._ray, self._needs = executor, executor.ray, needs
        self._function, self._arguments, self._show = function, arguments, show
        self._waiting = deque(range(len(arguments)))
        self._results: list[Any] = [None] * len(arguments)
        self._tries = [0] * len(arguments)
        self._flying: dict[Any, _Flight] = {}  # by Ray's reference to the answer
        self._starting: dict[Any, Any] = {}  # actors by the reference to their being ready
        self._processes: dict[Any, tuple[str, int]] = {}  # of actors: their node and their process there
        self._idle: list[Any] = []
        self._failed_starts = 0
        self._at_once = executor.at_once(needs)
        shared_by = self._at_once if len(arguments) > 1 else 1
        # Ray keeps figures for each name: hence the stage's, and not each call's.
        self._stage = f"nextlong {self._name(0).split()[0]}"
        options = executor.options(needs, shared_by)
        self._takes = ("GPU", "GPUs") if options["num_gpus"] else ("CPU", "processors")
        self._task = self._ray.remote(work).options(**options, name=self._stage, max_retries=0).remote
        self._actor = self._ray.remote(Worker).options(**options, max_restarts=0, max_task_retries=0).remote
        self._reports = ray_connection.reports()
        self._asked_for: Any = None  # the reference to the reports that were asked for
        self._looked = self._asked = -math.inf
        self._dry = False
        self._expected = {
            "version": nextlong.__version__,
            "folder": str(Path.cwd()),
            "shared": _shared(needs.shared),
            "reports": self._reports,
            "seconds": max(REPORT_SECONDS, shared_by / REPORTS_PER_SECOND),
        }

    def done(self) -> list[Any]:
        """Do all, and give the results in the order of the arguments."""
        while self._waiting or self._flying:
            self._look()
            if self._needs.model:
                self._give_to_actors()
            else:
                self._give_to_ray()
            references = [*self._flying, *self._starting]
            some, _ = self._ray.wait(references, num_returns=1, timeout=_WAIT_SECONDS)
            if some:  # and whatever else has come
                some, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
            for reference in some:
                self._landed(reference)
        return self._results

    def end(self) -> None:
        """End what still works, and wait for it: nothing may write after this."""
        flying = list(self._flying)
        ended = set(self._ray.wait(flying, num_returns=len(flying), timeout=0)[0] if flying else ())
        for reference, flight in self._flying.items():
            if flight.actor is None and reference not in ended:  # to cancel what has just ended may crash Ray
                self._ray.cancel(reference, force=True)
        working = [flight.actor for flight in self._flying.values() if flight.actor is not None]
        for actor in [*self._idle, *self._starting.values(), *working]:
            self._ray.kill(actor)
        if flying:
            self._ray.wait(flying, num_returns=len(flying), timeout=_END_SECONDS)
        self._wait_for_ends(working)

    def _wait_for_ends(self, actors: Sequence[Any]) -> None:
        """Ray calls an actor dead from when it was told to end, and not from when its process has ended."""
        by_node: dict[str, list[int]] = {}
        for node, process in map(self._processes.__getitem__, actors):
            by_node.setdefault(node, []).append(process)
        here = by_node.pop(ray_connection.node(), [])
        elsewhere = [
            ray_connection.on_node(node, wait_for_ends).remote(processes, _END_SECONDS)
            for node, processes in by_node.items()
        ]
        wait_for_ends(here, _END_SECONDS)
        if elsewhere:
            self._ray.wait(elsewhere, num_returns=len(elsewhere), timeout=_END_SECONDS)

    def _look(self) -> None:
        """Now and then: how large the cluster is, and how far the calls are."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._at_once = self._executor.at_once(self._needs)
            resource, what = self._takes
            dry = not self._executor.resources(resource)
            if dry and not self._dry:
                self._executor.say(f"The Ray cluster has no {what} now: waiting for machines")
            self._dry = dry
        if self._asked_for is None:
            self._asked_for, self._asked = self._reports.taken.remote(), now
        elif now - self._asked > _WAIT_SECONDS and self._ray.wait([self._asked_for], timeout=0)[0]:
            self._show_reports()

    def _show_reports(self) -> None:
        from ray.exceptions import RayError

        try:
            amounts = self._ray.get(self._asked_for)
        except RayError:  # the actor's machine was lost; it starts again elsewhere, and sums come right when calls end
            amounts = {}
        self._asked_for = None
        for flight in self._flying.values():
            if flight.number in amounts:
                self._show_up_to(flight, amounts[flight.number])

    def _show_up_to(self, flight: _Flight, amount: int) -> None:
        if amount != flight.shown:
            self._show(amount - flight.shown)
            flight.shown = amount

    def _give_to_ray(self) -> None:
        # A number of workers that was asked for is kept to the letter.
        asked = self._executor.workers_wanted or self._needs.workers
        most = self._at_once * (1 if asked else CALLS_AHEAD)
        while self._waiting and len(self._flying) < most:
            self._give(self._waiting.popleft(), None, self._task)

    def _give_to_actors(self) -> None:
        while self._waiting and self._idle:
            actor = self._idle.pop()
            self._give(self._waiting.popleft(), actor, actor.work.options(name=self._stage).remote)
        wanted = min(self._at_once, len(self._waiting) + len(self._flying))
        while len(self._starting) + len(self._flying) + len(self._idle) < wanted:
            actor = self._actor()
            self._starting[actor.ready.remote(self._expected)] = actor

    def _give(self, place: int, actor: Any, remote: Callable[..., Any]) -> None:
        from ray import cloudpickle

        # Pickled here: else Ray would give workers read-only arrays, and errors of its own for what they cannot import.
        call = cloudpickle.dumps((self._function, self._arguments[place]))
        number = next(_numbers)
        self._flying[remote(self._expected, number, call)] = _Flight(place, number, actor)

    def _landed(self, reference: Any) -> None:
        if reference in self._starting:
            actor = self._starting.pop(reference)
            answer = self._answer(reference, actor, None)
            if answer is not None:
                self._processes[actor] = pickle.loads(answer[1])  # noqa: S301  (as below)
                self._failed_starts = 0
                self._idle.append(actor)
            return
        flight = self._flying.pop(reference)
        answer = self._answer(reference, flight.actor, flight)
        if answer is None:
            self._show_up_to(flight, 0)
            self._waiting.appendleft(flight.place)
            return
        self._show_up_to(flight, answer[2])
        self._results[flight.place] = pickle.loads(answer[1])  # noqa: S301  (made by our own worker, and brought by Ray)
        if flight.actor is not None and self._waiting:
            self._idle.append(flight.actor)
        elif flight.actor is not None:
            # Actors that wait for a place on the machines that are left get it now.
            self._ray.kill(flight.actor)

    def _answer(self, reference: Any, actor: Any, flight: _Flight | None) -> Answer | None:
        """What a worker answered; None if it was lost, and the call is to be given out again.

        Raises:
            NextlongError: it was lost too often; and whatever the call raised.
        """
        from ray.exceptions import RayError

        try:
            answer: Answer = self._ray.get(reference)
        except RayError as error:
            if actor is not None:
                self._ray.kill(actor)  # one that cannot be reached may still live
            if not ray_connection.is_loss(error):
                raise ray_connection.explained(error) from error
            self._count_loss(error, flight)
            return None
        if answer[0]:
            return answer
        if actor is not None:
            self._ray.kill(actor)
        raised, text = pickle.loads(answer[1])  # noqa: S301  (as above)
        raise raised from RemoteTraceback(text)

    def _count_loss(self, error: Exception, flight: _Flight | None) -> None:
        if flight is None:
            self._failed_starts += 1
            tries, what = self._failed_starts, "A worker was lost at its start"
        else:
            self._tries[flight.place] += 1
            tries, what = self._tries[flight.place], f"The worker was lost that did `{self._name(flight.place)}`"
        reason = ray_connection.reason(error)
        if tries >= MOST_TRIES:
            raise NextlongError(
                f"{what}, {tries} times, the last time because {reason}.",
                "Most often a machine ran out of memory, which fewer --workers need less of. Run the same command again: "
                "what is finished is kept.",
            ) from error
        self._executor.say(f"{what}, because {reason}: another one does it")

    def _name(self, place: int) -> str:
        """What people see of a call."""
        first = self._arguments[place][0] if self._arguments[place] else None
        if isinstance(first, Task):
            return f"{first.stage} {first.name}"
        return f"{self._function.__name__.strip('_')} {place + 1} of {len(self._arguments)}"


def _shared(path: Path | None) -> Mark | None:
    """A file that workers must see, with what must be in it."""
    return held_mark(path) or (None if path is None else (path, content_of(path) or b""))
