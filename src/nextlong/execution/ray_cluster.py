"""The Ray executor: the same tasks on the machines of a Ray cluster. Ray places them; this module says what they need.

Plain calls are Ray tasks. Calls that load a model are done by Ray actors, which keep it, each with a GPU of its own where
the cluster has GPUs and the model can use one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nextlong.execution import ray_connection
from nextlong.execution.executor import ANY_WORKER, Needs, Result
from nextlong.execution.local import default_workers
from nextlong.execution.progress import Advance
from nextlong.execution.ray_calls import Calls


class RayExecutor:
    """Workers of a Ray cluster: one started on this machine, or one that is there.

    Attributes:
        workers: the most calls at once; as many as the cluster has processors at first, if not given.
        workers_wanted: what was given.
        ray: the library, connected.
        started_here: whether the cluster is this machine, and was started for this process.
        say: told what happens to the cluster.
    """

    def __init__(
        self, workers: int | None = None, address: str | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        """Connect.

        Args:
            workers: the most calls at once; None for as many as the cluster has processors, also when it grows.
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
        """How many processors (``CPU``) or GPUs (``GPU``) the cluster has now."""
        return int(self.ray.cluster_resources().get(name, 0))

    def at_once(self, needs: Needs) -> int:
        """The most calls that can be done at once now."""
        gpus = self.resources("GPU") if needs.gpu else 0
        limits = [gpus or self.resources("CPU"), self.workers_wanted, None if gpus else needs.workers]
        return max(1, min(limit for limit in limits if limit is not None))

    def options(self, needs: Needs, at_once: int) -> dict[str, Any]:
        """What Ray is told of calls or actors: what they take, on which machines, in which environment."""
        gpus = 1 if needs.gpu and self.resources("GPU") else 0
        threads = str(self._threads(at_once))
        environment = {
            # Libraries see what is in the environment before their process starts.
            "OMP_NUM_THREADS": threads,
            "RAYON_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "true",
            # Workers outlive a call; tasks may name relative paths, so other workers serve another working directory.
            "NEXTLONG_WORKING_DIRECTORY": str(Path.cwd()),
        }
        if needs.gpu and not gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # what the cluster does not give out is not taken
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
        counts = [int(node["Resources"].get("CPU", 0)) for node in self.ray.nodes() if node["Alive"]]
        working = [count for count in counts if count]
        return max(1, min(sum(working) // at_once, *working)) if working else 1

    def map(
        self,
        function: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        needs: Needs = ANY_WORKER,
    ) -> list[Result]:
        """See :class:`~nextlong.execution.executor.Executor`. A call that loses its worker is done again by another.

        Raises:
            NextlongError: a call has lost its worker again and again; whatever a call raises.
        """
        if not arguments:
            return []
        calls = Calls(self, function, arguments, show, needs)
        try:
            return calls.done()
        finally:
            calls.end()
