"""Units → candidates, as the method's search finds them; and a forecast of the chunks that the sequences will use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextlong.composition.method import Method, Unit
from nextlong.composition.registry import make_method
from nextlong.composition.session import Session
from nextlong.dataset import layout
from nextlong.dataset.search import answered
from nextlong.execution.arrays import save_array
from nextlong.execution.arrow import open_batches, write_batches
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.mining.nearest import Parts
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.pool import Ordinals
from nextlong.records import NEIGHBOUR_SCHEMA

VERSION = 5

# Candidates that are written together, of 12 bytes each.
_TOGETHER = 1 << 20


def mine(session: Session, batch: str, units: list[Unit], parts: Parts | None) -> Outcome:
    """Search for a batch of units; write ``neighbours/<batch>.arrow`` and ``wanted/<batch>.npy`` (int64, sorted).

    Args:
        session: the dataset.
        batch: name of the batch.
        units: what to search for.
        parts: what a grid of tasks has found for it; None where there was none.
    """
    method = answered(make_method(session), units, parts)
    forecasts: list[Ordinals] = []
    files = [session.folder / layout.NEIGHBOURS / f"{batch}.arrow", session.folder / layout.WANTED / f"{batch}.npy"]
    write_batches(files[0], NEIGHBOUR_SCHEMA, _written(_searched(method, units, forecasts)))
    wanted = np.unique(np.concatenate(forecasts))
    save_array(files[1], wanted)
    return Outcome(files, len(units), {"wanted": len(wanted), "queried": method.nearest.queried})


def _searched(method: Method, units: list[Unit], forecasts: list[Ordinals]) -> Iterator[Neighbours]:
    """What is found for each unit; what it will use is put to the forecasts."""
    for searched in method.search(units):
        forecasts.append(searched.forecast)
        yield searched.neighbours
        advance(1)


def _written(found: Iterator[Neighbours]) -> Iterator[pa.RecordBatch]:
    held: list[Neighbours] = []
    candidates = 0
    for neighbours in found:
        held.append(neighbours)
        candidates += sum(map(len, neighbours.chunks))
        if candidates >= _TOGETHER:
            yield _record_batch(held)
            held, candidates = [], 0
    if held:
        yield _record_batch(held)


def _record_batch(found: list[Neighbours]) -> pa.RecordBatch:
    chunks = [row for neighbours in found for row in neighbours.chunks]
    scores = [row for neighbours in found for row in neighbours.scores]
    offsets = pa.array(np.cumsum([0, *map(len, chunks)], dtype=np.int64))
    columns = [
        pa.array(np.repeat([neighbours.root for neighbours in found], [len(each.chunks) for each in found])),
        pa.array(np.concatenate([neighbours.meta_chunks for neighbours in found])),
        pa.LargeListArray.from_arrays(offsets, pa.array(np.concatenate(chunks))),
        pa.LargeListArray.from_arrays(offsets, pa.array(np.concatenate(scores))),
    ]
    return pa.record_batch(columns, schema=NEIGHBOUR_SCHEMA)


def read_neighbours(path: Path) -> list[Neighbours]:
    """What :func:`mine` found, a unit after the other. Candidates stay on disk, memory-mapped."""
    return [neighbours for batch in open_batches(path, NEIGHBOUR_SCHEMA) for neighbours in _read(batch)]


def _read(batch: pa.RecordBatch) -> Iterator[Neighbours]:
    roots, metas = batch.column("root").to_numpy(), batch.column("meta_chunk").to_numpy()
    chunks, scores = _lists(batch.column("chunks")), _lists(batch.column("scores"))
    starts = np.flatnonzero(np.concatenate([[True], roots[1:] != roots[:-1], [True]]))
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        own = slice(start, stop)
        depth = max(map(len, chunks[own]))
        yield Neighbours(int(roots[start]), metas[own], chunks[own], scores[own], depth)


def _lists(column: pa.LargeListArray) -> list[npt.NDArray[Any]]:
    offsets = column.offsets.to_numpy()
    return np.split(column.values.to_numpy()[: offsets[-1]], offsets[1:-1])
