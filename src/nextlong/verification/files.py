"""Checksums: every file that a receipt names is there, byte for byte."""

from __future__ import annotations

from pathlib import Path

from nextlong.execution.executor import ANY_WORKER, Executor, Needs
from nextlong.execution.files import checksum
from nextlong.execution.progress import Progress, advance
from nextlong.execution.run import PLAN
from nextlong.execution.tasks import Ledger
from nextlong.verification.report import Failure, Report


def verify_files(folder: Path, executor: Executor, progress: Progress, report: Report) -> None:
    """Read every output of every receipt of the folder again, and add what is found to the report."""
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
    folders = sorted({path.parent for path in known})
    present = (path for owned in folders for path in sorted(owned.iterdir()) if path.is_file() and path.name[0] != ".")
    report.failures += [Failure(str(path), "no task made this file; remove it") for path in present if path not in known]
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
