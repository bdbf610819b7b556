"""A Ray whose connection the caller's own program has ended, or made anew, between two calls."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ray")

# In a process of its own, since a process has one connection.
_PROGRAM = """
import math
import ray
from nextlong.execution.ray_cluster import RayExecutor

def roots(workers):
    executor = RayExecutor(workers)
    assert executor.map(math.sqrt, [(4.0,), (9.0,)], lambda amount: None) == [2.0, 3.0]
    return executor.started_here

assert roots(1)
ray.shutdown()
assert roots(1)
ray.shutdown()
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
own = ray.get_runtime_context().get_node_id()
assert not roots(2)
assert ray.get_runtime_context().get_node_id() == own
"""


@pytest.mark.slow
def test_the_next_call_connects_anew_or_takes_the_callers_connection():
    process = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
