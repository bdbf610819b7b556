"""Verification of whatever lies in a folder."""

from __future__ import annotations

from pathlib import Path

from nextlong.errors import NextlongError
from nextlong.execution.executor import Executor
from nextlong.execution.progress import Progress
from nextlong.execution.run import read_plan
from nextlong.verification.dataset import verify_dataset
from nextlong.verification.export import verify_export
from nextlong.verification.pool import verify_pool
from nextlong.verification.report import Report


def verify_path(
    folder: Path, executor: Executor, progress: Progress, pool: Path | None = None, tokenizer: str | None = None
) -> Report:
    """Verify a pool, a dataset or an export; see :func:`verify_pool`, :func:`verify_dataset` and :func:`verify_export`.

    Raises:
        NextlongError: the folder holds neither, or what it holds is not finished.
    """
    kind = read_plan(folder).get("kind")
    if kind == "pool":
        return verify_pool(folder, executor, progress)
    if kind == "dataset":
        return verify_dataset(folder, executor, progress, pool, tokenizer)
    if kind == "export":
        return verify_export(folder, executor, progress, pool, tokenizer)
    raise NextlongError(f"{folder} holds neither a pool nor a dataset.", "Name the folder given to --out.")
