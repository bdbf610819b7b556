"""Units → candidates, as the method's search finds them; and a forecast of the chunks that the sequences will use."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextlong.composition.method import Unit
from nextlong.composition.registry import make_method
from nextlong.composition.session import Session
from nextlong.dataset import layout
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.catalog import save_array
from nextlong.records import NEIGHBOUR_SCHEMA

VERSION = 2


def mine(session: Session, batch: str, units: list[Unit]) -> Outcome:
    """Search for a batch of units; write ``neighbours/<batch>.arrow`` and ``wanted/<batch>.npy`` (int64, sorted)."""
    rows: dict[str, list[object]] = {name: [] for name in NEIGHBOUR_SCHEMA.names}
    wanted: set[int] = set()
    for searched in make_method(session).search(units):
        found = searched.neighbours
        wanted.update(searched.forecast.tolist())
        for meta, chunks, scores in zip(found.meta_chunks.tolist(), found.chunks, found.scores, strict=True):
            for name, value in zip(NEIGHBOUR_SCHEMA.names, (found.root, meta, chunks, scores), strict=True):
                rows[name].append(value)
        advance(1)
    files = [session.folder / layout.NEIGHBOURS / f"{batch}.arrow", session.folder / layout.WANTED / f"{batch}.npy"]
    write_arrow(files[0], pa.record_batch(rows, schema=NEIGHBOUR_SCHEMA))
    save_array(files[1], np.array(sorted(wanted), dtype=np.int64))
    return Outcome(files, len(units), {"wanted": len(wanted)})


def read_neighbours(path: Path) -> list[Neighbours]:
    """What :func:`mine` found, a unit after the other."""
    batch = open_arrow(path, NEIGHBOUR_SCHEMA)
    roots, metas = batch.column("root").to_numpy(), batch.column("meta_chunk").to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], roots[1:] != roots[:-1], [True]])).tolist()
    result = []
    for start, stop in pairwise(starts):
        chunks = [batch.column("chunks")[row].values.to_numpy() for row in range(start, stop)]
        scores = [batch.column("scores")[row].values.to_numpy() for row in range(start, stop)]
        result.append(Neighbours(int(roots[start]), metas[start:stop], chunks, scores, max(len(row) for row in chunks)))
    return result
