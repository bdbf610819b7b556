"""Runs of the command line that :mod:`launcher` forks: quick to start, each a process group that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import launcher
from small_runs import SHARD_TOKENS

# No run here takes a tenth of it where nothing else runs.
PATIENCE_SECONDS = 120


class Launched:
    """A run.

    Attributes:
        process: its process id, which is that of its process group.
        stderr: the file that has what it says.
    """

    def __init__(self, stdout: Path, stderr: Path) -> None:
        self.process = 0
        self.stdout, self.stderr = stdout, stderr
        self._code: int | None = None
        self._since, self._seconds = time.monotonic(), 0.0
        self._started, self._ended = threading.Event(), threading.Event()

    def tell(self, message: dict[str, Any]) -> None:
        """What the launcher says of it."""
        if "process" in message:
            self.process = message["process"]
            self._started.set()
        else:
            self._code = message["code"]
            self._seconds = time.monotonic() - self._since
            self._ended.set()

    def started(self) -> Launched:
        """Wait for its start."""
        assert self._started.wait(PATIENCE_SECONDS), "the launcher does not start a run"
        return self

    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set()

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end."""
        return self._ended.wait(seconds)

    def code(self) -> int:
        """Wait for its end; its exit status, or the number of the signal that killed it, negative."""
        assert self.ends_within(PATIENCE_SECONDS), f"a run does not end: {self.said()}"
        assert self._code is not None
        return self._code

    def seconds(self) -> float:
        """Wait for its end; how long it took."""
        self.code()
        return self._seconds

    def said(self) -> str:
        """What it has written to standard error so far."""
        return self.stderr.read_text(encoding="utf-8") if self.stderr.exists() else ""

    def kill_group(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it and all its workers, if any is left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process, number)


class Launcher:
    """The program, as long as tests need it."""

    def __init__(self, folder: Path, tokenizer: Path) -> None:
        """Start it.

        Args:
            folder: gets what runs print.
            tokenizer: what most runs use.
        """
        self._folder, self._runs = folder, dict[int, Launched]()
        self._program = subprocess.Popen(
            [sys.executable, launcher.__file__, tokenizer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},  # its threads would not outlive a fork
        )
        assert self._program.stdout is not None
        assert json.loads(self._program.stdout.readline()) == {"ready": True}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._program.stdout is not None
        for line in self._program.stdout:
            message = json.loads(line)
            self._runs[message["number"]].tell(message)

    def start(self, *arguments: object, cwd: Path, environment: dict[str, str] | None = None, **faults: Any) -> Launched:
        """Start ``nextlong ARGUMENTS…``; for the faults see :mod:`launcher`."""
        assert self._program.stdin is not None
        number = len(self._runs)
        launched = self._runs[number] = Launched(self._folder / f"{number}.out", self._folder / f"{number}.err")
        request = {
            "number": number,
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "stdout": str(launched.stdout),
            "stderr": str(launched.stderr),
            "environment": {"COLUMNS": "200", **(environment or {})},
            "shard_tokens": SHARD_TOKENS,
            "file_bytes": 0,
            "impatient": False,
            "plain_user": False,
            "hold": "",
            "hold_folder": "",
            **faults,
        }
        self._program.stdin.write(json.dumps(request) + "\n")
        self._program.stdin.flush()
        return launched.started()

    def finished(self, *arguments: object, cwd: Path, **more: Any) -> Launched:
        """Run ``nextlong ARGUMENTS…`` to its end."""
        launched = self.start(*arguments, cwd=cwd, **more)
        launched.code()
        return launched

    def close(self) -> None:
        """End the program."""
        assert self._program.stdin is not None
        self._program.stdin.close()
        self._program.wait(PATIENCE_SECONDS)
