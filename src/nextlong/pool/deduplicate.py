"""Which chunks of the pool are copies of others: one task, over the fingerprints of all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.config import ScreeningConfig
from nextlong.execution.arrays import load_array
from nextlong.execution.arrow import record_batch, write_arrow
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.pool import layout
from nextlong.pool.screen import contaminated_rows
from nextlong.records import COPY_SCHEMA
from nextlong.screening.duplicates import Copies, find_copies
from nextlong.screening.signatures import Signatures

VERSION = 1


def deduplicate(folder: Path, base: Path, shards: list[str], screening: ScreeningConfig, gone: list[str]) -> Outcome:
    """Write ``screening/copies/<shard>.arrow`` for each shard that has copies.

    Takes some 120 bytes of memory a chunk (``benchmarks/screening.py``), most of them for bands that it shares with others.

    Args:
        folder: the pool's.
        base: where the chunks are whose fingerprints are compared.
        shards: their names, in the order of the corpus.
        screening: what a copy is.
        gone: shards of which chunks are dropped for another reason; what is dropped is no copy, and nothing is one of it.
    """
    keys = np.concatenate([load_array(_path(base, shard, "keys"), np.uint64) for shard in shards])
    signatures = Signatures([load_array(_path(base, shard, "signatures"), np.uint16, 2) for shard in shards])
    sizes = [len(load_array(_path(base, shard, "keys"), np.uint64)) for shard in shards]
    ends = np.cumsum(sizes)
    left_out = np.zeros(len(keys), dtype=bool)
    for shard in gone:
        number = shards.index(shard)
        left_out[ends[number] - sizes[number] + contaminated_rows(folder, base, shard, screening)] = True
    copies = find_copies(keys, signatures, screening.duplicate_jaccard, left_out, advance)
    files = []
    names = np.array(shards)
    borders = np.searchsorted(copies.chunks, np.concatenate([[0], ends]))
    for number, shard in enumerate(shards):
        part = slice(borders[number], borders[number + 1])
        if part.start == part.stop:
            continue
        kept_in = np.searchsorted(ends, copies.kept[part], side="right")
        columns: dict[str, Any] = {
            "row": copies.chunks[part] - (ends[number] - sizes[number]),
            "kept_shard": names[kept_in].tolist(),
            "kept_row": copies.kept[part] - (ends[kept_in] - np.array(sizes)[kept_in]),
            "matches": copies.matches[part],
            "repeated": copies.repeated[part],
        }
        files.append(folder / layout.COPIES / f"{shard}.arrow")
        write_arrow(files[-1], record_batch(columns, COPY_SCHEMA))
    return Outcome(files, len(keys), _figures(copies))


def _path(base: Path, shard: str, kind: str) -> Path:
    return base / layout.FINGERPRINTS / f"{shard}.{kind}.npy"


def _figures(copies: Copies) -> dict[str, Any]:
    """What is said of the groups: a group is a kept chunk with its copies."""
    _, amounts = np.unique(copies.kept, return_counts=True)
    sizes: npt.NDArray[np.int64] = amounts + 1
    powers = Counter(int(size).bit_length() - 1 for size in sizes.tolist())
    return {
        "copies": int(copies.repeated.sum()),
        "near_copies": int((~copies.repeated).sum()),
        "groups": len(sizes),
        "largest_group": int(sizes.max(initial=0)),
        # 2 to 3, 4 to 7, 8 to 15 …
        "groups_by_size": {f"{1 << power}-{(2 << power) - 1}": powers[power] for power in sorted(powers)},
    }
