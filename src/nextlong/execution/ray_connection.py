"""The connection to a Ray cluster, one for the whole process; and Ray's errors in words for people."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from nextlong.errors import NextlongError, UsageError
from nextlong.execution.local import allow_many_open_files, default_workers

# Calls and answers are small: shards go through files. The least that Ray takes is some 80 MB.
OBJECT_STORE_BYTES = 256 << 20
_CONNECT_SECONDS = 10.0

# What the connection that this module made was made for, and its name: the caller's program may have ended it since then.
_started: tuple[tuple[int | None, str | None], str] | None = None


def connected(workers: int | None, address: str | None) -> tuple[Any, bool]:
    """Ray, connected, and whether it was started on this machine for this process.

    A connection that the caller's own program has made is used as it is. Ours stays until the process ends, for the next
    call, unless that one wants another.

    Args:
        workers: processors of a Ray that is started here; None for those of this machine.
        address: see :class:`~nextlong.execution.ray_cluster.RayExecutor`.
    """
    global _started
    ray = _ray()
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address == "local":
        address = None
    wanted = (None if address else workers or default_workers(), address)
    if _started is not None and not (ray.is_initialized() and _started[1] == _connection(ray)):
        _started = None
    if _started is not None and _started[0] != wanted:
        disconnect()
    if not ray.is_initialized():
        allow_many_open_files()
        if address is None:
            _start(ray, wanted[0])
        else:
            _connect(ray, address)
        _started = wanted, _connection(ray)
    return ray, _started is not None and _started[0][1] is None


def disconnect() -> None:
    """End the connection; a Ray that was started here ends."""
    global _started
    _started = None
    _ray().shutdown()


def reports() -> Any:
    """The actor that workers report their progress to, on this machine if it is one of the cluster's."""
    return _reports(_connection(_ray()))


@lru_cache(maxsize=1)
def _reports(connection: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from nextlong.execution.ray_worker import Reports

    here = NodeAffinitySchedulingStrategy(node(), soft=True)
    return _ray().remote(Reports).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


def node() -> str:
    """Ray's id of this machine, or of the one that this process is connected to."""
    here: str = _ray().get_runtime_context().get_node_id()
    return here


def on_node(node: str, function: Callable[..., Any]) -> Any:
    """A function as Ray's task that waits for no processor of one machine of the cluster; it fails if that is not there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return _ray().remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=there)


def is_loss(error: Exception) -> bool:
    """Whether a worker or a machine was lost, which another try may mend."""
    from ray import exceptions

    lost = (
        exceptions.LocalRayletDiedError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
    )
    return isinstance(error, lost) and not _lacks_nextlong(error)


def reason(error: Exception) -> str:
    """Why a worker was lost, in some words."""
    from ray import exceptions

    text = str(error)  # that of a lost actor has the reason in it
    if isinstance(error, exceptions.OutOfMemoryError) or "low on memory" in text:
        return "its machine ran out of memory"
    if isinstance(error, exceptions.NodeDiedError | exceptions.LocalRayletDiedError) or "node has died" in text:
        return "its machine was lost"
    return "its process was killed"


def explained(error: Exception) -> Exception:
    """An error that Ray raised in place of an answer, in words for people where we know any; else as it is."""
    from ray import exceptions

    if _lacks_nextlong(error):
        return NextlongError(
            "A machine of the Ray cluster has no nextlong, or another version of it.",
            "Install nextlong with the same extras on all machines of the cluster.",
        )
    if isinstance(error, exceptions.RuntimeEnvSetupError):
        return NextlongError(f"Ray cannot start workers: {error}", "See Ray's logs on the machine, in /tmp/ray.")
    return error


def _lacks_nextlong(error: Exception) -> bool:
    return "No module named 'nextlong" in str(error)


def _connection(ray: Any) -> str:
    """A name that each connection of this process has for itself: jobs are counted anew in each Ray that is started."""
    context = ray.get_runtime_context()
    return f"{context.get_node_id()} {context.get_job_id()}"


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else Ray prints what happens to workers on standard output, where results are; people are told by `say` and by errors.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
    try:
        import ray
    except ImportError as error:
        raise NextlongError("The executor `ray` needs Ray.", 'pip install "nextlong[ray]"') from error
    return ray


def _start(ray: Any, processors: int | None) -> None:
    try:
        ray.init(
            address="local",
            num_cpus=processors,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except _failures(ray) as error:
        raise NextlongError(
            f"Ray cannot be started on this machine: {_in_one_line(error)}", "Its logs are in /tmp/ray/session_latest/logs."
        ) from error


def _connect(ray: Any, address: str) -> None:
    if "://" in address:
        raise UsageError(
            f"{address} is the address of a Ray client server.",
            "Run nextlong on a machine of the cluster, which sees its folders, with --ray-address auto or HOST:PORT.",
        )
    if address != "auto":
        _check_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except _failures(ray) as error:
        raise NextlongError(
            f"Cannot connect to the Ray cluster at {address}: {_in_one_line(error)}",
            "`ray status` on its machines shows the cluster. Python and Ray must have the same versions everywhere, and one "
            "that wants a token needs RAY_AUTH_MODE=token here, too.",
        ) from error


def _failures(ray: Any) -> tuple[type[Exception], ...]:
    """What `ray.init` raises: it has no type for that."""
    return (ConnectionError, RuntimeError, TimeoutError, ValueError, ray.exceptions.RayError)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_reachable(address: str) -> None:
    """Ray itself waits long for a machine that does not answer, and ends the process then."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"{address} is no address of a Ray cluster.", "Write it as HOST:PORT, or auto.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise NextlongError(
            f"No Ray cluster answers at {address}: {error.strerror or error}.",
            "`ray status` on a machine of the cluster shows its address; the port is 6379 if none was chosen.",
        ) from error
