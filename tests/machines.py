"""Machines of a Ray cluster, which are all this one: each a raylet with processors, GPUs and an environment of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

_STORE_BYTES = 80 << 20
_SECONDS = 60.0


class Machines:
    """A cluster whose head does no work.

    Attributes:
        address: of the cluster.
    """

    def __init__(self) -> None:
        head = {"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self._apart: subprocess.Popen[bytes] | None = None

    def add(self, processors: int = 1, gpus: int = 0, environment: dict[str, str] | None = None) -> Any:
        """A machine that takes work."""
        return self._cluster.add_node(
            num_cpus=processors, num_gpus=gpus, env_vars=environment, object_store_memory=_STORE_BYTES
        )

    def remove(self, machine: Any) -> None:
        """The machine takes no more work, and ends."""
        self._cluster.remove_node(machine)

    def lose(self, machine: Any) -> None:
        """The machine is gone, as when its power is."""
        self._cluster.remove_node(machine, allow_graceful=False)

    def add_apart(self, hidden: Path, environment: dict[str, str] | None = None) -> None:
        """A machine that does not see what is in a folder."""
        ray = Path(sys.executable).parent / "ray"
        start = f"{ray} start --block --address={self.address} --num-cpus=1 --object-store-memory={_STORE_BYTES}"
        before = self._alive()
        self._apart = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", f"mount -t tmpfs tmpfs {hidden}\nexec {start} --disable-usage-stats"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
        wait_until(lambda: self._alive() > before)

    def remove_apart(self) -> None:
        """That machine is gone."""
        if self._apart is not None:
            space = Path(f"/proc/{self._apart.pid}/ns/mnt").readlink()
            for process in processes():
                try:
                    if Path(f"/proc/{process}/ns/mnt").readlink() == space:
                        os.kill(process, signal.SIGKILL)
                except OSError:
                    continue  # it has ended meanwhile
            self._apart.wait()

    def shutdown(self) -> None:
        """End it."""
        self._cluster.shutdown()

    def _alive(self) -> int:
        return sum(node["Alive"] for node in self._cluster.global_state.node_table())


def processes() -> list[int]:
    """All processes of this machine that have not ended."""
    every = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [process for process in every if state_and_parent(process)[0] not in ("", "Z")]


def state_and_parent(process: int) -> tuple[str, int]:
    """How it is, and who its parent is; an empty string and 0 if it is not there any more."""
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(parent)


def descends(process: int, ancestor: int) -> bool:
    """Whether a process is a child of another, or of its children."""
    while process > 1 and process != ancestor:
        process = state_and_parent(process)[1]
    return process == ancestor


def workers_of(ancestor: int) -> dict[int, str]:
    """Process → what it does, or ``IDLE``, of the workers of the Ray that a process has started; as Ray itself shows it."""
    found = {}
    for process in processes():
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode().strip()
        except OSError:
            continue  # it has ended meanwhile
        # Its two agents end later, and do none of our work.
        if words.startswith("ray::") and not words.endswith("Agent") and descends(process, ancestor):
            found[process] = words.removeprefix("ray::")
    return found


def wait_until(condition: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Poll until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
