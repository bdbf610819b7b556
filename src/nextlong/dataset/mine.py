"""Root documents → candidates for their negatives, and a forecast of the chunks that their sequences will use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextlong.composition.nextlong import OutOfCandidates, choose_k, choose_to_fill
from nextlong.composition.session import Session
from nextlong.dataset import layout
from nextlong.dataset.roots import negatives_in_paper_mode
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.mining.filters import SequenceFilter
from nextlong.mining.neighbours import Neighbours, find_neighbours, may_hold_more
from nextlong.pool.catalog import save_array
from nextlong.pool.pool import Ordinals, Pool
from nextlong.records import NEIGHBOUR_SCHEMA
from nextlong.tokenization.store import TokenStore

VERSION = 1

# Search this much deeper than the negatives that a sequence needs: some candidates are copies, or the root's own chunks.
_SURPLUS = 1.5
_SURPLUS_CHUNKS = 32
# Where the candidates do not suffice even so, search again this much deeper, until the whole pool has been seen.
DEEPER = 4

# Roots searched for in one call: exact search reads all vectors once for all of them.
_BATCH = 128
# Candidates held at once, of some 24 bytes.
_MOST_CANDIDATES = 1 << 22


def mine(session: Session, batch: str, roots: list[int]) -> Outcome:
    """Search for a batch of roots; write ``neighbours/<batch>.arrow`` and ``wanted/<batch>.npy`` (int64, sorted).

    The forecast runs the selection with lengths guessed from bytes, so that nearly all chunks of the sequences, and
    hardly any others, are tokenised in one go.
    """
    store = session.store()
    rows: dict[str, list[object]] = {name: [] for name in NEIGHBOUR_SCHEMA.names}
    wanted: set[int] = set()
    for start in range(0, len(roots), _BATCH):
        some = roots[start : start + _BATCH]
        for found, forecast in _searched(session, store, some):
            wanted |= forecast
            for meta, chunks, scores in zip(found.meta_chunks.tolist(), found.chunks, found.scores, strict=True):
                for name, value in zip(NEIGHBOUR_SCHEMA.names, (found.root, meta, chunks, scores), strict=True):
                    rows[name].append(value)
        advance(len(some))
    files = [session.folder / layout.NEIGHBOURS / f"{batch}.arrow", session.folder / layout.WANTED / f"{batch}.npy"]
    write_arrow(files[0], pa.record_batch(rows, schema=NEIGHBOUR_SCHEMA))
    save_array(files[1], np.array(sorted(wanted), dtype=np.int64))
    return Outcome(files, len(roots), {"wanted": len(wanted)})


def _searched(session: Session, store: TokenStore, roots: list[int]) -> list[tuple[Neighbours, set[int]]]:
    """Enough candidates for each root, as far as lengths guessed from bytes can tell, and the chunks it will use."""
    pool, config = session.pool(), session.config
    done: dict[int, tuple[Neighbours, set[int]]] = {}
    todo, depth = roots, max(_depth(session, store, root) for root in roots)
    while todo:
        short = []
        for some in _batches(pool, todo, depth):
            for found in find_neighbours(pool, some, depth, config.mining.negatives, config.seed):
                forecast = _forecast(session, found, store.lengths(found.meta_chunks))
                if forecast is None and may_hold_more(pool, found, config.mining):
                    short.append(found.root)
                else:
                    done[found.root] = found, forecast or set()
        todo, depth = short, depth * DEEPER
    return [done[root] for root in roots]


def _batches(pool: Pool, roots: list[int], depth: int) -> Iterator[list[int]]:
    """Roots whose candidates together are no more than memory should hold."""
    batch: list[int] = []
    held = 0
    for root in roots:
        candidates = len(pool.chunks_of(root)) * min(depth, pool.chunks)
        if batch and held + candidates > _MOST_CANDIDATES:
            yield batch
            batch, held = [], 0
        batch.append(root)
        held += candidates
    if batch:
        yield batch


def _depth(session: Session, store: TokenStore, root: int) -> int:
    """How deep to search for each meta-chunk of a root: all groups may want the same neighbours."""
    pool, config = session.pool(), session.config
    metas = pool.chunks_of(root)
    if config.composition.mode == "paper":
        needed = negatives_in_paper_mode(pool, root, config) * len(metas)
    else:
        bytes_per_token = pool.bytes_of(metas).sum() / max(1, store.lengths(metas).sum())
        chunk_tokens = pool.characters / pool.chunks / bytes_per_token
        needed = math.ceil(config.length / max(1.0, chunk_tokens))
    return math.ceil(needed * _SURPLUS) + _SURPLUS_CHUNKS + len(metas) + config.mining.range_min


def _forecast(session: Session, found: Neighbours, meta_lengths: Ordinals) -> set[int] | None:
    """The chunks that the sequence will use, nearly; None if the candidates do not suffice."""
    pool, config = session.pool(), session.config
    candidates = SequenceFilter(pool, found, config.mining)
    taken: set[int] = set(found.meta_chunks.tolist())
    bytes_per_token = pool.bytes_of(found.meta_chunks).sum() / max(1, int(meta_lengths.sum()))
    everything = np.unique(np.concatenate(found.chunks))
    guessed = np.maximum(1, pool.bytes_of(everything) / bytes_per_token).astype(np.int64)
    length_of = dict(zip(everything.tolist(), guessed.tolist(), strict=True))
    try:
        if config.composition.mode == "paper":
            chosen = choose_k(candidates, len(found.meta_chunks), negatives_in_paper_mode(pool, found.root, config))
        else:
            chosen = choose_to_fill(candidates, meta_lengths.tolist(), length_of.__getitem__, session.content)
    except OutOfCandidates:
        return None
    return taken | {negative.chunk for group in chosen for negative in group}


def read_neighbours(path: Path) -> list[Neighbours]:
    """What :func:`mine` found, a root after the other."""
    batch = open_arrow(path)
    roots, metas = batch.column("root").to_numpy(), batch.column("meta_chunk").to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], roots[1:] != roots[:-1], [True]])).tolist()
    result = []
    for start, stop in pairwise(starts):
        chunks = [batch.column("chunks")[row].values.to_numpy() for row in range(start, stop)]
        scores = [batch.column("scores")[row].values.to_numpy() for row in range(start, stop)]
        result.append(Neighbours(int(roots[start]), metas[start:stop], chunks, scores, max(len(row) for row in chunks)))
    return result
