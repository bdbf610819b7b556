"""The units of work of a dataset, planned by its method and kept on disk, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextlong.composition.method import Unit
from nextlong.composition.registry import make_method
from nextlong.composition.session import Session
from nextlong.config import config_hash
from nextlong.dataset import layout
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.execution.tasks import Outcome
from nextlong.pool.pool import Ordinals
from nextlong.records import UNIT_SCHEMA

VERSION = 1


def plan(session: Session, wanted: int, put: Callable[[Ordinals], bool]) -> Outcome:
    """Ask the method for units of ``wanted`` sequences and write ``units/all.arrow``.

    Fewer are written where the pool gives no more.

    Args:
        session: the dataset.
        wanted: how many sequences.
        put: puts chunks into the token store, in parallel.
    """
    method = make_method(session, put)
    rows: dict[str, list[object]] = {name: [] for name in UNIT_SCHEMA.names}
    made = 0
    for whole in method.units(wanted) if wanted else ():
        unit = replace(whole, sequences=min(whole.sequences, wanted - made))
        for name, value in zip(UNIT_SCHEMA.names, _fields(unit), strict=True):
            rows[name].append(value)
        made += unit.sequences
        if made >= wanted:
            break
    path = session.folder / layout.UNITS / "all.arrow"
    write_arrow(path, pa.record_batch(rows, schema=UNIT_SCHEMA))
    passed_over = {reason: amount for reason, amount in sorted(method.documents_passed_over.items()) if amount}
    return Outcome([path], made, {"documents_passed_over": passed_over})


def _fields(unit: Unit) -> tuple[object, ...]:
    return unit.documents, unit.sequences, unit.topic, unit.part


def read_units(path: Path) -> list[Unit]:
    """What :func:`plan` wrote."""
    batch = open_arrow(path, UNIT_SCHEMA)
    documents = batch.column("documents")
    others = zip(*(batch.column(name).to_pylist() for name in UNIT_SCHEMA.names[1:]), strict=True)
    return [Unit(documents[row].values.to_numpy(), *other) for row, other in enumerate(others)]


def hash_of(units: Sequence[Unit]) -> str:
    """Changes with the units of a batch."""
    return config_hash([[unit.documents.tolist(), unit.sequences, unit.topic, unit.part] for unit in units])


def batches(units: list[Unit], sequences: int) -> Iterator[list[Unit]]:
    """Units in order, grouped so that each group gives about so many sequences."""
    batch: list[Unit] = []
    held = 0
    for unit in units:
        batch.append(unit)
        held += unit.sequences
        if held >= sequences:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def without_last(batches: dict[str, list[Unit]], sequences: int) -> dict[str, list[Unit]]:
    """The batches without so many sequences at their end."""
    result = dict(batches)
    for name in reversed(batches):
        units = list(result.pop(name))
        while units and sequences:
            last = units.pop()
            dropped = min(sequences, last.sequences)
            sequences -= dropped
            if dropped < last.sequences:
                units.append(replace(last, sequences=last.sequences - dropped))
        if units:
            result[name] = units
        if not sequences:
            break
    return result


def documents_of(units: list[Unit]) -> Ordinals:
    """The documents of units, one after the other."""
    return np.concatenate([unit.documents for unit in units])
