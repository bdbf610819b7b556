"""``nextlong verify``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

import nextlong
from nextlong.cli import options
from nextlong.cli.terminal import FAILED, name, say
from nextlong.execution.object_path import located
from nextlong.verification.report import Report

# How many failures are printed; the first one is the one to look at.
_SHOWN_FAILURES = 5


def verify(
    path: Annotated[Path, typer.Argument(help="Folder of a pool or a dataset.", parser=located, metavar="PATH")],
    pool: options.MovedPool = None,
    tokenizer: Annotated[str | None, typer.Option(help="Where the dataset's tokenizer is now, if it was moved.")] = None,
    workers: options.Workers = None,
    executor: options.Executor = "local",
    ray_address: options.RayAddress = None,
    quiet: options.QuietOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Read everything again and prove that it is what it should be."""
    report = nextlong.verify(
        path,
        workers=workers,
        executor=executor,
        ray_address=ray_address,
        progress=options.shown(quiet, as_json),
        pool=pool,
        tokenizer=tokenizer,
    )
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(report), "ok": report.ok}))
    elif not quiet or not report.ok:
        print_report(path, report)
    elif report.gaps:  # quiet is for what is as it should be; this is not known to be
        say(verdict(path, report), err=True)
    if not report.ok:
        raise typer.Exit(FAILED)


def print_report(path: Path, report: Report) -> None:
    """What was proven, and the first failures if there are any."""
    for what, amount in report.checks.items():
        say(f"{amount:>12,}  {what}")
    for failure in report.failures[:_SHOWN_FAILURES]:
        say(f"FAILED  {name(failure)}", err=True)
    if len(report.failures) > _SHOWN_FAILURES:
        say(f"and {len(report.failures) - _SHOWN_FAILURES:,} more", err=True)
    say(verdict(path, report))


def verdict(path: Path, report: Report) -> str:
    """The line that sums up."""
    gaps = "".join(f", but for {report.checks[gap]:,} {gap}" for gap in report.gaps)
    return f"{name(path)}: the {report.kind} " + (f"is verified{gaps}." if report.ok else "is NOT what it should be.")
