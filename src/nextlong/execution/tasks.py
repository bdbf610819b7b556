"""A task, its receipt, and the ledger that knows which tasks are done.

A task takes named inputs and writes output files atomically; then its receipt is written. A task whose receipt matches
its configuration and inputs, and whose outputs lie there with the recorded sizes, is not run again. So killing the
process at any moment loses at most the tasks in flight.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nextlong.errors import NextlongError
from nextlong.execution.files import checksum, mapping, plain_path, read_record, write_record
from nextlong.execution.run_mark import check_run

RECEIPTS = "receipts"


@dataclass(frozen=True)
class Outcome:
    """What a task's function returns.

    Attributes:
        files: the files it wrote, all below the ledger's folder.
        rows: how many of the stage's units it handled.
        info: figures for people and for later stages; plain JSON values, the same on every run.
    """

    files: list[Path]
    rows: int
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A unit of work that can run on any worker.

    Attributes:
        stage: the stage it belongs to.
        name: unique within the stage.
        function: importable from a module; called with ``arguments``.
        arguments: picklable.
        config: hash of everything besides the inputs that the output depends on.
        inputs: name to checksum (or fingerprint) of what it reads.
    """

    stage: str
    name: str
    function: Callable[..., Outcome]
    arguments: tuple[Any, ...]
    config: str
    inputs: dict[str, str]


@dataclass(frozen=True)
class Receipt:
    """What is known of a finished task.

    Attributes:
        outputs: path below the ledger's folder to ``{"checksum": …, "bytes": …}``.
        seconds: how long it took; the one field that differs from run to run, with ``peak_memory``.
        peak_memory: the largest resident size of its process so far, in bytes.
    """

    stage: str
    name: str
    config: str
    inputs: dict[str, str]
    outputs: dict[str, dict[str, Any]]
    rows: int
    info: dict[str, Any]
    seconds: float
    peak_memory: int

    def checksums(self) -> dict[str, str]:
        """Output path to checksum: what a later task names as its inputs."""
        return {path: entry["checksum"] for path, entry in self.outputs.items()}


_RECEIPT_FIELDS: dict[str, type] = {
    "stage": str,
    "name": str,
    "config": str,
    "inputs": dict,
    "outputs": dict,
    "rows": int,
    "info": dict,
    "seconds": float,
    "peak_memory": int,
}


def _read_receipt(path: Path) -> Receipt:
    content = read_record(path, *_RECEIPT_FIELDS)
    wrong = [name for name in content if name not in _RECEIPT_FIELDS]
    wrong += [name for name, kind in _RECEIPT_FIELDS.items() if not isinstance(content[name], kind)]
    for output, entry in () if wrong else content["outputs"].items():
        plain_path(output, path)
        known = mapping(entry, path, "checksum", "bytes")
        if not (isinstance(known["checksum"], str) and isinstance(known["bytes"], int)):
            wrong.append("outputs")
    if wrong or (content["stage"], content["name"]) != (path.parent.name, path.stem):
        what = f"`{wrong[0]}` is not what it should be" if wrong else "it is the receipt of another task"
        raise NextlongError(f"{path} is damaged or was edited: {what}.", "Delete it and run the command that made it again.")
    return Receipt(**{name: content[name] for name in _RECEIPT_FIELDS})


def _has_size(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size == size


class Ledger:
    """The receipts of one pool or dataset folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, stage: str, name: str) -> Path:
        return self.folder / RECEIPTS / stage / f"{name}.json"

    def receipt(self, task: Task) -> Receipt | None:
        """The task's receipt if it is done with this very configuration and these inputs, else None."""
        path = self._path(task.stage, task.name)
        if not path.exists():
            return None
        receipt = _read_receipt(path)
        if receipt.config != task.config or receipt.inputs != task.inputs:
            return None
        there = all(_has_size(self.folder / output, entry["bytes"]) for output, entry in receipt.outputs.items())
        return receipt if there else None

    def forget(self, task: Task) -> None:
        """Remove the task's receipt, if there is one."""
        self._path(task.stage, task.name).unlink(missing_ok=True)

    def record(self, task: Task, outcome: Outcome, seconds: float) -> Receipt:
        """Write the receipt of a task that has just been done."""
        outputs = {
            str(file.relative_to(self.folder)): {"checksum": checksum(file), "bytes": file.stat().st_size}
            for file in outcome.files
        }
        receipt = Receipt(
            task.stage, task.name, task.config, task.inputs, outputs, outcome.rows, outcome.info, seconds, peak_memory()
        )
        path = self._path(task.stage, task.name)
        write_record(path, asdict(receipt))
        return _read_receipt(path)  # as a later run reads it: the order of its keys shows in descriptions

    def checksums(self) -> dict[Path, str]:
        """File → checksum, of all outputs of all receipts but those that a run makes anew: of another size, or not there."""
        every = (receipt for stage in self.stages() for receipt in self.receipts(stage))
        outputs = {self.folder / path: entry for receipt in every for path, entry in receipt.outputs.items()}
        return {path: entry["checksum"] for path, entry in outputs.items() if _has_size(path, entry["bytes"])}

    def receipts(self, stage: str) -> list[Receipt]:
        """All receipts of a stage, by name."""
        return [_read_receipt(path) for path in sorted((self.folder / RECEIPTS / stage).glob("*.json"))]

    def stages(self) -> list[str]:
        """The stages with receipts."""
        folder = self.folder / RECEIPTS
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.exists() else []

    def keep_only(self, stage: str, receipts: Sequence[Receipt], *folders: str) -> None:
        """Forget the stage's other receipts, and remove from ``folders`` the files that none of ``receipts`` wrote.

        Called after a stage is complete, so that nothing of an earlier configuration stays behind, not even a folder that is
        empty then.
        """
        self.keep_stages((stage,), receipts, *folders)

    def keep_stages(self, stages: Sequence[str], receipts: Sequence[Receipt], *folders: str) -> None:
        """:meth:`keep_only` for several stages that write to the same folders."""
        names = {(receipt.stage, receipt.name) for receipt in receipts}
        for stage in stages:
            for path in (self.folder / RECEIPTS / stage).glob("*.json"):
                if (stage, path.stem) not in names:
                    path.unlink()
        outputs = {output for receipt in receipts for output in receipt.outputs}
        for folder in folders:
            for path in (self.folder / folder).glob("*"):
                if path.is_file() and str(path.relative_to(self.folder)) not in outputs:
                    path.unlink()
        for path in (self.folder / name for name in (*folders, *(f"{RECEIPTS}/{stage}" for stage in stages))):
            if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()


def perform(task: Task, folder: Path) -> Receipt:
    """Run a task in this process and record it in the ledger of ``folder``."""
    started = time.perf_counter()
    ledger = Ledger(folder)
    check_run(folder / RECEIPTS)
    # Else, after a kill between here and the new receipt, an old one might vouch for a new file of the same size.
    ledger.forget(task)
    outcome = task.function(*task.arguments)
    return ledger.record(task, outcome, round(time.perf_counter() - started, 3))


def peak_memory() -> int:
    """The largest resident size that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
