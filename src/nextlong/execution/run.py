"""A run over one output folder: claims the folder, does the stages that are not done, writes down what it took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xxhash

from nextlong.errors import NextlongError, UsageError
from nextlong.execution.executor import ANY_WORKER, Executor, Needs, OverlappingExecutor
from nextlong.execution.files import atomic, explained, is_temporary, mapping, read_record, without_leftovers, write_record
from nextlong.execution.intact import Checksums, require_all_intact, require_intact
from nextlong.execution.locks import LOCK, Busy, locked
from nextlong.execution.object_path import is_stored, looked_over
from nextlong.execution.progress import Advance, Progress, finished_line
from nextlong.execution.run_mark import MARK
from nextlong.execution.tasks import RECEIPTS, Ledger, Receipt, Task, perform

PLAN = "plan.json"
METRICS = "metrics.jsonl"

# In an object store, so many tasks are looked up one by one; for more, the whole folder is listed.
_FEW_TASKS = 4

# Files whose checksums one task computes: a gigabyte or less, so a fraction of a second.
_CHECKED_TOGETHER = 64

# What every line of the metrics has that is read.
_METRICS = {"stage", "unit", "rows", "seconds", "peak_memory"}

# Given the tasks that are to be done, the files that they read.
Reads = Callable[[Sequence[Task]], Checksums]


@dataclass
class Run:
    """A claimed output folder with what runs its stages.

    Attributes:
        sources: what any new work may read besides what stages name: asked for when there is any.
        worked: whether any stage had something to do so far.
    """

    folder: Path
    executor: Executor
    progress: Progress
    sources: Callable[[], Checksums] = dict
    worked: bool = False
    # Stage and name of tasks that were done while an earlier stage was worked on.
    _meanwhile: set[tuple[str, str]] = field(default_factory=set)
    _begun: bool = False
    # Files that this run made, or found to be what they should be.
    _intact: dict[Path, str] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        """The folder's receipts."""
        return Ledger(self.folder)

    def stage(
        self,
        tasks: Sequence[Task],
        unit: str,
        total: int | None,
        owns: Sequence[str] | None = None,
        needs: Needs = ANY_WORKER,
        reads: Reads | None = None,
        following: Callable[[Any], Sequence[Task]] | None = None,
    ) -> list[Receipt]:
        """Do the tasks of one stage that have no valid receipt.

        Args:
            tasks: all tasks of the stage, at least one.
            unit: what the stage counts, in the plural.
            total: how many of them, if known.
            owns: folders in which only this stage writes: what an earlier configuration left in them, and its receipts,
                are removed. None while the stage may get more tasks; :meth:`clear` then does it at the end.
            needs: what its tasks need of their workers.
            reads: the files that tasks read which an earlier run may have made; they are looked at first.
            following: what tasks of later stages could begin now that a task of this one has announced something. Where
                the executor can, workers that would have nothing to do work on them; their stages find them done.

        Returns:
            The receipts of all tasks, in order, of this run and earlier ones.

        Raises:
            NextlongError: a file that tasks read is damaged or missing, and what they raise.
        """
        name = tasks[0].stage
        with looked_over(self.folder) if len(tasks) > _FEW_TASKS else nullcontext():
            receipts = {task.name: receipt for task in tasks if (receipt := self.ledger.receipt(task))}
        todo = [task for task in tasks if task.name not in receipts]
        self._look_at_inputs(todo, reads)
        meanwhile = [receipt for receipt in receipts.values() if (name, receipt.name) in self._meanwhile]
        if todo or meanwhile:
            self.worked = True
            skipped = sum(receipt.rows for receipt in receipts.values())
            early = sum(receipt.rows for receipt in meanwhile)
            if early:
                self.progress.say(f"{name:<12} {early:,} {unit} were done meanwhile")
            if len(receipts) > len(meanwhile):
                self.progress.say(f"{name:<12} {skipped - early:,} {unit} are done already")
            started, done = time.perf_counter(), meanwhile
            if todo:
                with self.progress.stage(name, None if total is None else total - skipped, unit) as show:
                    done = meanwhile + self._map(todo, show, needs, following)
                self._made(self.folder, done)
            receipts |= {receipt.name: receipt for receipt in done}
            self._write_metrics(name, unit, done, len(tasks) - len(done), time.perf_counter() - started)
        ordered = [receipts[task.name] for task in tasks]
        if owns is not None:
            self.clear(ordered, *owns)
        return ordered

    def _map(
        self, tasks: Sequence[Task], show: Advance, needs: Needs, following: Callable[[Any], Sequence[Task]] | None
    ) -> list[Receipt]:
        if following is None or not isinstance(self.executor, OverlappingExecutor):
            return self._perform(tasks, self.folder, show, needs)

        def calls(message: Any) -> list[tuple[Any, ...]]:
            return [(task, self.folder) for task in following(message) if self.ledger.receipt(task) is None]

        arguments = [(task, self.folder) for task in tasks]
        done, more = self.executor.map_with_more(perform, arguments, show, calls, _sharing(self.folder, needs))
        self._meanwhile |= {(receipt.stage, receipt.name) for receipt in more}
        self._made(self.folder, more)
        return done

    def _perform(self, tasks: Sequence[Task], folder: Path, show: Advance, needs: Needs) -> list[Receipt]:
        return self.executor.map(perform, [(task, folder) for task in tasks], show, _sharing(folder, needs))

    def require_intact(self, files: Checksums) -> None:
        """Make sure that files are what they should be. Each is read once in a run, on all workers; none that the run made.

        Nor is what lies in an object store, which looks after its objects itself: it would all have to be fetched.

        Raises:
            NextlongError: one is damaged or missing.
        """
        here = {path: expected for path, expected in files.items() if not is_stored(path)}
        new = [(path, expected) for path, expected in here.items() if self._intact.get(path) != expected]
        if len(new) <= _CHECKED_TOGETHER:
            for path, expected in new:
                require_intact(path, expected)
        else:
            groups = [(dict(new[first : first + _CHECKED_TOGETHER]),) for first in range(0, len(new), _CHECKED_TOGETHER)]
            with self.progress.stage("checksums", len(new), "files") as show:
                self.executor.map(require_all_intact, groups, show, _sharing(self.folder, ANY_WORKER))
        self._intact.update(new)

    def _look_at_inputs(self, todo: Sequence[Task], reads: Reads | None) -> None:
        if todo and not self._begun:
            self._begun = True
            self.require_intact(self.sources())
        if todo and reads:
            self.require_intact(reads(todo))

    def outputs(self, receipts: Iterable[Receipt], *folders: str) -> dict[Path, str]:
        """What tasks wrote to these folders of the run's → checksum."""
        found = {Path(path): checksum for receipt in receipts for path, checksum in receipt.checksums().items()}
        return {self.folder / path: checksum for path, checksum in found.items() if path.parts[0] in folders}

    def outputs_by_name(self, receipts: Iterable[Receipt], *folders: str) -> Reads:
        """For tasks that read :meth:`outputs` of the same names as their own."""
        by_name: dict[str, dict[Path, str]] = {}
        for path, checksum in self.outputs(receipts, *folders).items():
            by_name.setdefault(path.stem, {})[path] = checksum
        return lambda todo: {path: checksum for task in todo for path, checksum in by_name.get(task.name, {}).items()}

    def _made(self, folder: Path, receipts: Iterable[Receipt]) -> None:
        for receipt in receipts:
            self._intact |= {folder / path: checksum for path, checksum in receipt.checksums().items()}

    def clear(self, receipts: Sequence[Receipt], *folders: str) -> None:
        """Remove what other tasks than these ever wrote to the stage's folders, and their receipts."""
        self.ledger.keep_only(receipts[0].stage, receipts, *folders)

    def drop(self, stage: str, *folders: str) -> None:
        """Remove all that a stage ever wrote to its folders, and its receipts: it is not part of this configuration."""
        self.ledger.keep_only(stage, [], *folders)

    def add(self, tasks: Sequence[Task], unit: str, total: int | None, folder: Path, reads: Reads | None = None) -> None:
        """Do tasks whose outputs and receipts belong to another folder, as one more stage of this run.

        Tasks with a valid receipt there are left out. For ``reads`` see :meth:`stage`.
        """
        ledger = Ledger(folder)
        todo = [task for task in tasks if ledger.receipt(task) is None]
        if not todo:
            return
        self._look_at_inputs(todo, reads)
        started = time.perf_counter()
        with self.progress.stage(tasks[0].stage, total, unit) as show:
            done = self._perform(todo, folder, show, ANY_WORKER)
        self._made(folder, done)
        self._write_metrics(tasks[0].stage, unit, done, len(tasks) - len(todo), time.perf_counter() - started)

    def here(self, task: Task, unit: str) -> Receipt:
        """Do one task in this process, if it has no valid receipt. Its function may itself run stages."""
        receipt = self.ledger.receipt(task)
        if receipt is None:
            self.worked = True
            self._look_at_inputs([task], None)
            started = time.perf_counter()
            receipt = perform(task, self.folder)
            self._made(self.folder, [receipt])
            seconds = time.perf_counter() - started
            self._write_metrics(task.stage, unit, [receipt], 0, seconds)
            self.progress.say(finished_line(task.stage, receipt.rows, unit, seconds))
        return receipt

    def _write_metrics(self, stage: str, unit: str, done: list[Receipt], skipped: int, seconds: float) -> None:
        plan = self.folder / PLAN
        line = {
            "stage": stage,
            "plan": xxhash.xxh3_64_hexdigest(plan.read_bytes()) if plan.exists() else None,  # which configuration it was
            "unit": unit,
            "rows": sum(receipt.rows for receipt in done),
            "tasks": len(done),
            "tasks_skipped": skipped,
            "seconds": round(seconds, 3),
            "task_seconds": round(sum(receipt.seconds for receipt in done), 3),
            "peak_memory": max(receipt.peak_memory for receipt in done),
        }
        path = self.folder / METRICS
        # Not appended: a kill or a full disk would leave half a line.
        with atomic(path) as temporary:
            before = path.read_bytes() if path.exists() else b""  # as it is, even if something damaged it
            temporary.write_bytes(before + json.dumps(line).encode() + b"\n")


def _sharing(folder: Path, needs: Needs) -> Needs:
    """With workers that see the folder as this process does, and for as long as this run holds it."""
    return replace(needs, shared=folder / MARK)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``: one for each stage that a run worked on.

    They only tell how fast it was: a line that something damaged is left out, and keeps nobody from what was made.
    """
    path = folder / METRICS
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [line for line in map(_metrics, lines) if line is not None]


def _metrics(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= _METRICS else None


def read_plan(folder: Path) -> dict[str, Any]:
    """The folder's ``plan.json``; empty where there is none.

    Raises:
        NextlongError: it is damaged.
    """
    path = folder / PLAN
    return read_record(path) if path.is_file() else {}


@contextmanager
def claimed(
    folder: Path, plan: dict[str, Any], description: str, overwrite: bool, progress: Progress, inside: Sequence[str] = ()
) -> Iterator[None]:
    """Hold the folder for this run.

    Args:
        folder: made when missing.
        plan: ``kind`` and ``config`` (and more); written as ``plan.json``, and compared with the one that lies there.
        description: the file that makes the folder's content finished; removed when the plan has changed.
        overwrite: go on although the plan has changed; the stages that depend on the change are then done again.
        progress: where to say what has changed.
        inside: folders in it that have a lock of their own, and may be there before it is begun.

    Raises:
        UsageError: the folder holds something else, or was made with another configuration and ``overwrite`` is not given.
        NextlongError: another process is working on it.
    """
    path = folder / PLAN
    refuse_foreign(folder, plan["kind"], inside)
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder, wait=False, say=progress.say))
        except Busy as error:
            raise NextlongError(f"Another process is working on {folder}.", "Wait for it to end, or stop it.") from error
        except OSError as error:
            raise explained(error, folder) from error
        # Without its plan, which may have been deleted, nothing is known to have been made with this one.
        changes = _changes(read_plan(folder), plan) if path.exists() else ["plan.json: not there"]
        if path.exists() and changes and not overwrite:
            raise UsageError(
                f"{folder} was made with another configuration:\n" + "\n".join(f"  {change}" for change in changes),
                "Give --overwrite to do again what depends on that, or choose another folder.",
            )
        if changes:
            # First of all: until it is finished again, what is there is no pool or dataset.
            (folder / description).unlink(missing_ok=True)
        if path.exists():
            for change in changes:
                progress.say(f"changed: {change}")
        stack.enter_context(without_leftovers(folder, inside))
        write_record(path, plan)
        yield


def refuse_foreign(folder: Path, kind: str, inside: Sequence[str] = ()) -> None:
    """Check that a run of this kind may write to the folder.

    Raises:
        UsageError: it is a file, or holds something that no such run made.
    """
    path = folder / PLAN
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; the output must be a folder.", "Choose another name, or remove the file.")
    if path.exists():
        found = mapping(read_plan(folder), path, "kind")["kind"]
        if found != kind:  # not even --overwrite makes the one of the other
            these = [f"an {each}" if each[0] in "aeiou" else f"a {each}" for each in (found, kind)]
            raise UsageError(f"{folder} holds {these[0]}, not {these[1]}.", "Choose another folder; nothing was touched.")
    elif folder.exists():
        expected = {LOCK, MARK, *inside}
        # A run that is just beginning, or was killed then, has not named its plan yet.
        entries = {entry.name for entry in folder.iterdir() if not is_temporary(entry.name, PLAN)}
        # Receipts without a plan are left when a damaged plan was deleted.
        if entries - expected and RECEIPTS not in entries:
            raise UsageError(
                f"{folder} holds something that is no {kind}.", "Choose a new or empty folder; nothing was touched."
            )


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before, after = _flat(old), _flat(json.loads(json.dumps(new)))
    keys = sorted(before.keys() | after.keys())
    return [
        f"{key}: {before.get(key, 'not there')} → {after.get(key, 'not there')}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[prefix + key] = inner
    return flat
