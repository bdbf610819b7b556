"""A Ray cluster of several machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def machines():
    """A cluster whose head does no work; tests add machines."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        # As the command sets them in its own process.
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
        # Ray would wait 15 seconds until it believes that a machine is lost.
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
        from machines import Machines

        from nextlong.execution import ray_connection

        made = Machines()
        yield made
        ray_connection.disconnect()
        made.shutdown()
