"""Putting chunks into a pool's token store, on all workers."""

from __future__ import annotations

import numpy as np

from nextlong.config import config_hash
from nextlong.execution.run import Run
from nextlong.execution.tasks import Task
from nextlong.pool.derived import held
from nextlong.pool.pool import Ordinals, Pool
from nextlong.tokenization.store import STAGE, TokenStore, grouped, open_joiner, part_path, tokenize


def fill(run: Run, pool: Pool, joiner: tuple[str, str, str], chunks: Ordinals) -> bool:
    """Tokenise those of the chunks that the store lacks. Another run may be doing the same: one waits for the other.

    Args:
        run: what the work is part of.
        pool: the pool of the chunks.
        joiner: tokenizer, separator and fingerprint, as :func:`~nextlong.tokenization.store.open_joiner` takes them.
        chunks: chunk ordinals.

    Returns:
        Whether any were lacking.

    Raises:
        NextlongError: the pool cannot be written.
    """
    store = TokenStore(pool, open_joiner(*joiner))
    if not len(store.missing(chunks)):
        return False
    with held(store.folder, run.progress.say):
        store = TokenStore(pool, open_joiner(*joiner))  # what the other run made is there now
        lacking = store.missing(chunks)
        version = config_hash(pool.id, joiner[2])
        tasks = []
        for shard, rows in grouped(pool, lacking):
            path = part_path(store, pool, shard)
            arguments = (pool.folder, pool.id, joiner, shard, np.sort(rows), path)
            inputs = {"rows": config_hash(np.sort(rows).tolist())}
            tasks.append(Task(STAGE, path.stem, tokenize, arguments, version, inputs))
        if tasks:
            run.add(tasks, "chunks", len(lacking), store.folder)
    return True
