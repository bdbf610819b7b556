"""The command line within the test's own process, which is quicker than a process for each run."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from typer.testing import CliRunner

from nextlong.cli.main import app


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
        exit_code: the exit status.
        stdout, stderr: what it printed.
    """

    exit_code: int
    stdout: str
    stderr: str


def run_cli(*arguments: object) -> Result:
    """Run ``nextlong ARGUMENTS…``; an exception that a person would see as a traceback fails the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError("a traceback:\n" + "".join(traceback.format_exception(result.exception))) from result.exception
    return Result(result.exit_code, result.stdout, result.stderr)
