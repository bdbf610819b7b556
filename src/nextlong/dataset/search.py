"""The grid of the search: (batches of units) × (shards of the index)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from nextlong.composition.method import Method, Unit
from nextlong.composition.registry import make_method
from nextlong.composition.session import Session
from nextlong.config import config_hash
from nextlong.dataset import layout
from nextlong.dataset.plan import hash_of
from nextlong.execution.arrow import write_batches
from nextlong.execution.progress import advance
from nextlong.execution.run import Run
from nextlong.execution.tasks import Outcome, Task
from nextlong.mining.nearest import Ask, Nearest, Parts, found_in
from nextlong.records import FOUND_SCHEMA

VERSION = 1

# Units that a task searches for, in whole batches: a shard is read once for all of them, and each list of an inverted file
# once for all questions of the same depth, of which there are five or six: the more there are, the less one costs. So a task
# has as many units as leave this number of tasks for each shard, within bounds: fewer than the least make an inverted file
# slow, and more than the most gain little and lose much when a run is killed.
_TASKS = 16
_LEAST_TOGETHER, _MOST_TOGETHER = 1 << 12, 1 << 14

# Neighbours that a task holds before it writes them, of 12 bytes: 192 MiB.
_MOST_FOUND = 1 << 24


def search(run: Run, session: Session, batches: dict[str, list[Unit]], undone: set[str], version: str) -> dict[str, Parts]:
    """Answer what mining the undone batches will first ask, many batches together, shard by shard of the index.

    A file holds 12 bytes for each query and neighbour asked for; so all of them hold 12 × queries × depth × shards bytes
    until the sequences are composed and they are removed.

    Args:
        run: the dataset's.
        session: the dataset.
        batches: all batches.
        undone: names of those that are still to be mined.
        version: a hash of what the answers depend on besides the units.

    Returns:
        Where the answers are, for each undone batch and for others as far as theirs are still there; empty where mining
        asks the index nothing at first.
    """
    if not batches or not (undone or (session.folder / layout.SEARCH).exists()):
        return {}
    method = make_method(session)
    if next(iter(method.asks(next(iter(batches.values())))), None) is None:
        return {}
    shards = method.searched()[1].shards
    config = config_hash(version, VERSION, shards)
    hashes = {batch: hash_of(units) for batch, units in batches.items()}

    def task(group: Sequence[str], shard: int) -> Task:
        path, units = _path(session, group[0], shard), [batches[batch] for batch in group]
        inputs = {batch: hashes[batch] for batch in group}
        return Task("search", path.stem, search_shard, (session, units, shard, path), config, inputs)

    groups = list(_groups(batches))
    wanted = [group for group in groups if not undone.isdisjoint(group)]
    if wanted:
        # All groups in a shard, then all in the next: what a machine has read of a shard is in its memory for the next task.
        tasks = [task(group, shard) for shard in range(shards) for group in wanted]
        run.stage(tasks, "units", shards * sum(len(batches[batch]) for group in wanted for batch in group))
    parts: dict[str, Parts] = {}
    for group in groups:
        receipts = [receipt for shard in range(shards) if (receipt := run.ledger.receipt(task(group, shard)))]
        if len(receipts) == shards:
            run.require_intact(run.outputs(receipts, layout.SEARCH))
            paths = tuple(_path(session, group[0], shard) for shard in range(shards))
            parts |= {batch: Parts(paths, place) for place, batch in enumerate(group)}
    return parts


def answered(method: Method, units: Sequence[Unit], parts: Parts | None) -> Method:
    """The method, which has the answers to its first questions about a batch, where a grid of tasks has found them."""
    if parts is not None:
        method.nearest = Nearest(parts, list(method.asks(units)))
    return method


def _path(session: Session, group: str, shard: int) -> Path:
    return session.folder / layout.SEARCH / f"{group}-{shard:05d}.arrow"


def _groups(batches: dict[str, list[Unit]]) -> Iterator[list[str]]:
    """Names of batches that follow each other; also of those that are done, so that a run that goes on groups alike."""
    together = searched_together(sum(map(len, batches.values())))
    group: list[str] = []
    held = 0
    for batch, units in batches.items():
        group.append(batch)
        held += len(units)
        if held >= together:
            yield group
            group, held = [], 0
    if group:
        yield group


def searched_together(units: int) -> int:
    """How many of a dataset's units a task searches for."""
    return min(max(units // _TASKS, _LEAST_TOGETHER), _MOST_TOGETHER)


def search_shard(session: Session, batches: list[list[Unit]], shard: int, path: Path) -> Outcome:
    """Answer in one shard what mining each of the batches will first ask; write ``search/<batch>-<shard>.arrow``."""
    method = make_method(session)
    vectors, index = method.searched()

    def answers() -> Iterator[pa.RecordBatch]:
        for some in _held_together([(units, list(method.asks(units))) for units in batches]):
            found = iter(found_in(shard, [ask for _, asks in some for ask in asks], vectors, index))
            for units, asks in some:
                yield pa.concat_batches([next(found) for _ in asks])
                advance(len(units))

    write_batches(path, FOUND_SCHEMA, answers())
    return Outcome([path], sum(map(len, batches)))


def _held_together(asked: list[tuple[list[Unit], list[Ask]]]) -> Iterator[list[tuple[list[Unit], list[Ask]]]]:
    """Batches whose answers together are no more than memory should hold, or one whose own are more."""
    some: list[tuple[list[Unit], list[Ask]]] = []
    held = 0
    for units, asks in asked:
        found = sum(len(ask.rows) * ask.depth for ask in asks)
        if some and held + found > _MOST_FOUND:
            yield some
            some, held = [], 0
        some.append((units, asks))
        held += found
    yield some
