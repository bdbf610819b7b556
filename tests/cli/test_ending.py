"""SIGTERM ends a command, also one that cannot tidy up."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from nextlong.cli.terminal import ENDED

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no alarms")

STUCK = """
import os, signal, threading
from nextlong.cli import terminal

terminal.END_SECONDS = 1
terminal.end_like_interrupted()
lock = threading.Lock()
try:
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            pass
except KeyboardInterrupt:
    lock.acquire()
    print("tidying up", flush=True)
    lock.acquire()  # for ever
"""


def test_a_command_that_cannot_tidy_up_ends_all_the_same():
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "tidying up\n"
    assert ended.returncode == ENDED
    assert ended.stderr == "Ended. Run the same command again to go on: what is finished is kept.\n"
