"""The Ray executor: the same tasks on the machines of a Ray cluster. Ray places them; this module says what they need.

Plain calls are Ray tasks. Calls that load a model are done by Ray actors, which keep it, each with a GPU of its own where
the cluster has GPUs and the model can use one. Calls are given out a few at a time, and actors come and go with the
machines: what was lost with a worker or a machine is given out again.
"""

from __future__ import annotations

import itertools
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nextlong
from nextlong.errors import NextlongError
from nextlong.execution import ray_connection
from nextlong.execution.executor import ANY_WORKER, Needs, Result
from nextlong.execution.local import default_workers
from nextlong.execution.progress import Advance
from nextlong.execution.ray_worker import Answer, Worker, work
from nextlong.execution.tasks import Task

# How often the same call may lose its worker. Machines that come and go take some; memory that does not suffice, all.
MOST_TRIES = 4
# Calls given to Ray for each that can run: the next one lies ready when one ends, and an autoscaler sees that there is more.
CALLS_AHEAD = 2
# Progress is told this often by each worker, and no more often than this many times a second by all together.
REPORT_SECONDS = 1.0
REPORTS_PER_SECOND = 1000
# How often to look whether the cluster has grown or shrunk, and at the reports.
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


class RayExecutor:
    """Workers of a Ray cluster: one started on this machine, or one that is there.

    Attributes:
        workers: the most calls at once; as many as the cluster has processors now, if not given.
        workers_wanted: what was given.
        started_here: whether the cluster is this machine, and was started for this process.
    """

    def __init__(
        self, workers: int | None = None, address: str | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        """Connect.

        Args:
            workers: the most calls at once; None for all processors of the cluster.
            address: of the cluster: ``HOST:PORT`` or ``auto``; None for that in ``RAY_ADDRESS``, else Ray is started here.
            say: told what happens to the cluster.

        Raises:
            UsageError: no such address.
            NextlongError: Ray is not installed, or the cluster cannot be reached or has another version.
        """
        self.ray, self.started_here = ray_connection.connected(workers, address)
        self.workers_wanted = workers
        self.say = say or (lambda line: None)
        self.workers = workers or max(1, self.resources("CPU"))

    def resources(self, name: str) -> int:
        """How many processors (``CPU``) or ``GPU`` the cluster has now."""
        return int(self.ray.cluster_resources().get(name, 0))

    def at_once(self, needs: Needs) -> int:
        """The most calls that can run at once now."""
        gpus = self.resources("GPU") if needs.gpu else 0
        most = gpus or self.resources("CPU")
        if self.workers_wanted:
            most = min(most or self.workers_wanted, self.workers_wanted)
        return max(1, min(most, needs.workers) if needs.workers and not gpus else most)

    def options(self, needs: Needs, at_once: int) -> dict[str, Any]:
        """Ray's options of a call or an actor: resources, environment, and that Ray itself tries nothing again."""
        gpus = 1 if needs.gpu and self.resources("GPU") else 0
        environment = {
            # What stands in the environment before a process starts, every library sees.
            **{name: str(self._threads(at_once)) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")},
            "TOKENIZERS_PARALLELISM": "true",
            # Workers outlive a call; tasks may name relative paths, so other workers serve another working directory.
            "NEXTLONG_WORKING_DIRECTORY": str(Path.cwd()),
        }
        if needs.gpu and not gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # Ray gives none, so none may be taken
        return {
            "num_cpus": 1,
            "num_gpus": gpus,
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": environment},
        }

    def _threads(self, at_once: int) -> int:
        """Threads of each of so many calls: its share of the processors, but no more than the smallest machine has."""
        if self.started_here:
            return max(1, default_workers() // at_once)
        machines = [int(node["Resources"].get("CPU", 0)) for node in self.ray.nodes() if node["Alive"]]
        having = [processors for processors in machines if processors]
        return max(1, min(sum(having) // at_once, *having)) if having else 1

    def map(
        self,
        function: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        needs: Needs = ANY_WORKER,
    ) -> list[Result]:
        """See :class:`~nextlong.execution.executor.Executor`. A call that loses its worker is done again.

        Raises:
            NextlongError: a call has lost its worker again and again; whatever a call raises.
        """
        if not arguments:
            return []
        calls = _Calls(self, function, arguments, show, needs)
        try:
            return calls.done()
        finally:
            calls.end()


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


class _Calls:
    """The calls of one :meth:`RayExecutor.map`."""

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
        self._idle: list[Any] = []
        self._failed_starts = 0
        at_once = executor.at_once(needs) if len(arguments) > 1 else 1
        self._options = executor.options(needs, at_once)
        self._reports = ray_connection.reports()
        self._reported: Any = None  # the reference to the reports that were asked for
        self._looked = self._asked = -math.inf
        self._expected = {
            "version": nextlong.__version__,
            "folder": str(Path.cwd()),
            "shared": None if needs.shared is None else (needs.shared, needs.shared.read_bytes()),
            "reports": self._reports,
            "seconds": max(REPORT_SECONDS, at_once / REPORTS_PER_SECOND),
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
        for reference, flight in self._flying.items():
            if flight.actor is None:
                self._ray.cancel(reference, force=True)
        working = [flight.actor for flight in self._flying.values() if flight.actor is not None]
        for actor in [*self._idle, *self._starting.values(), *working]:
            self._ray.kill(actor)
        if flying:
            self._ray.wait(flying, num_returns=len(flying), timeout=_END_SECONDS)

    def _look(self) -> None:
        """Now and then: how large the cluster is, and how far the calls are."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._at_once = self._executor.at_once(self._needs)
            if not self._executor.resources("CPU"):
                self._executor.say("The Ray cluster has no processors now; waiting for machines")
        if self._reported is None:
            self._reported = self._reports.taken.remote()
            self._asked = now
        elif now - self._asked > _WAIT_SECONDS and self._ray.wait([self._reported], timeout=0)[0]:
            self._show_reports()

    def _show_reports(self) -> None:
        from ray.exceptions import RayError

        try:
            amounts = self._ray.get(self._reported)
        except RayError:  # its machine went; it starts again elsewhere, and the sums come right when calls end
            amounts = {}
        self._reported = None
        for flight in self._flying.values():
            if flight.number in amounts:
                self._show_up_to(flight, amounts[flight.number])

    def _show_up_to(self, flight: _Flight, amount: int) -> None:
        if amount != flight.shown:
            self._show(amount - flight.shown)
            flight.shown = amount

    def _give_to_ray(self) -> None:
        # A number of workers that was asked for is kept to the letter.
        most = self._at_once * (1 if self._executor.workers_wanted or self._needs.workers else CALLS_AHEAD)
        remote = self._ray.remote(work)
        while self._waiting and len(self._flying) < most:
            place = self._waiting.popleft()
            options = {**self._options, "max_retries": 0, "name": self._name(place)}
            self._fly(place, None, remote.options(**options).remote)

    def _give_to_actors(self) -> None:
        while self._waiting and self._idle:
            actor = self._idle.pop()
            place = self._waiting.popleft()
            self._fly(place, actor, actor.work.options(name=self._name(place)).remote)
        wanted = min(self._at_once, len(self._waiting) + len(self._flying))
        while len(self._starting) + len(self._flying) + len(self._idle) < wanted:
            actor = self._ray.remote(Worker).options(**self._options, max_restarts=0, max_task_retries=0).remote()
            self._starting[actor.ready.remote(self._expected)] = actor

    def _fly(self, place: int, actor: Any, remote: Callable[..., Any]) -> None:
        from ray import cloudpickle

        call = cloudpickle.dumps((self._function, self._arguments[place]))
        number = next(_numbers)
        self._flying[remote(self._expected, number, call)] = _Flight(place, number, actor)

    def _landed(self, reference: Any) -> None:
        if reference in self._starting:
            actor = self._starting.pop(reference)
            if self._answer(reference, actor, None) is not None:
                self._failed_starts = 0
                self._idle.append(actor)
            return
        flight = self._flying[reference]
        answer = self._answer(reference, flight.actor, flight)
        del self._flying[reference]
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
            if not ray_connection.is_loss(error):
                raise ray_connection.explained(error) from error
            if actor is not None:
                self._ray.kill(actor)  # one that cannot be reached may still live
            self._count_loss(error, flight)
            return None
        if not answer[0]:
            raised, text = pickle.loads(answer[1])  # noqa: S301  (as above)
            raise raised from RemoteTraceback(text)
        return answer

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
