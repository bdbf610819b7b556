"""Chunk fingerprints, by which mining knows copies: a hash of the white-space-folded text, and a MinHash signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nextlong.execution.arrays import save_array
from nextlong.execution.arrow import open_arrow, utf8
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.mining.copies import fingerprints_of_utf8
from nextlong.pool import layout
from nextlong.records import CHUNK_SCHEMA

VERSION = 3

# Chunks whose words are hashed together: their arrays stay in the second-level cache.
_BATCH = 512


def fingerprint(folder: Path, shard: str) -> Outcome:
    """Write ``<shard>.keys.npy`` (uint64, one a chunk) and ``<shard>.signatures.npy`` (uint16, 128 a chunk).

    The signatures keep the low 16 bits of each hash: two different ones agree by chance once in 65,536 rows, which moves
    an estimate of Jaccard similarity by less than 0.0001, and it halves what lies on disk.
    """
    texts = open_arrow(folder / layout.CHUNKS / f"{shard}.arrow", CHUNK_SCHEMA).column("text")
    keys, parts = [], []
    for start in range(0, len(texts), _BATCH):
        batch = utf8(texts.slice(start, _BATCH))
        batch_keys, signatures = fingerprints_of_utf8(batch)
        keys.append(batch_keys)
        parts.append(signatures.astype(np.uint16))
        advance(len(batch))
    out = folder / layout.FINGERPRINTS
    files = [out / f"{shard}.keys.npy", out / f"{shard}.signatures.npy"]
    save_array(files[0], np.concatenate(keys))
    save_array(files[1], np.concatenate(parts))
    return Outcome(files, len(texts))
