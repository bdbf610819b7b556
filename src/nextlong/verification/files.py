"""Checksums: every file that a receipt names is there, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nextlong.execution.executor import ANY_WORKER, Executor, Needs
from nextlong.execution.files import checksum
from nextlong.execution.progress import Progress, advance
from nextlong.execution.run import PLAN
from nextlong.execution.tasks import Ledger
from nextlong.verification.report import Failure, Report

_UNKNOWN = "no task made this file, as far as receipts tell: run the command that made its folder again, or remove it"


def verify_files(folder: Path, executor: Executor, progress: Progress, report: Report, owned: Sequence[str] = ()) -> None:
    """Read every output of every receipt of the folder again, and add what is found to the report.

    Args:
        folder: with receipts.
        executor: what reads the files.
        progress: where to show it.
        report: gets what is found.
        owned: folders in it in which only tasks write, besides those in which the receipts say that they did: there may be
            none left that does.
    """
    ledger = Ledger(folder)
    outputs = [
        (folder / path, entry["checksum"])
        for stage in ledger.stages()
        for receipt in ledger.receipts(stage)
        for path, entry in sorted(receipt.outputs.items())
    ]
    with progress.stage("checksums", len(outputs), "files") as show:
        found = executor.map(_failure, outputs, show, seen_by_all(folder))
    # Whoever reads a folder by pattern would read a stray file, too.
    known = {path for path, _ in outputs}
    folders = sorted({path.parent for path in known} | {folder / name for name in owned})
    present = (
        path
        for each in folders
        if each.is_dir()
        for path in sorted(each.iterdir())
        if path.is_file() and path.name[0] != "."
    )
    report.failures += [Failure(str(path), _UNKNOWN) for path in present if path not in known]
    what = "files with the recorded checksum"
    report.checks[what] = report.checks.get(what, 0) + len(outputs)
    report.failures += [failure for failure in found if failure]


def seen_by_all(folder: Path) -> Needs:
    """That every worker sees this folder as this process does: else what it does not see would be taken for missing."""
    plan = folder / PLAN
    return Needs(shared=plan) if plan.is_file() else ANY_WORKER


def _failure(path: Path, expected: str) -> Failure | None:
    try:
        if not path.exists():
            return Failure(str(path), "the file is missing; run the command that made it again")
        found = checksum(path)
    finally:
        advance(1)
    if found != expected:
        return Failure(
            str(path), f"the checksum is {found}, not {expected}: the file was damaged; delete it and run the command again"
        )
    return None
