"""Shards of rows of random tokens in the format megatron."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from nextlong.formats.shards import join_shards, write_shard
from nextlong.records import ROW_SCHEMA


def random_rows(rows: int, length: int, below: int, seed: int = 0) -> np.ndarray:
    """``(rows, length)`` tokens, int32; the smallest and the largest possible are among them."""
    tokens = np.random.default_rng(seed).integers(0, below, (rows, length), dtype=np.int32)
    tokens.flat[-1], tokens.flat[0] = 0, below - 1
    return tokens


def write_rows(folder: Path, name: str, tokens, dtype: str) -> Path:
    """Write rows as a shard; returns its main file."""
    columns = {
        "id": [f"row-{number}" for number in range(len(tokens))],
        "domain": ["test"] * len(tokens),
        "indices": [[[0, len(row)]] for row in tokens],
        "sequences": [[f"row-{number}"] for number in range(len(tokens))],
        "spans": [[]] * len(tokens),
    }
    table = pa.table(columns, schema=ROW_SCHEMA)
    return write_shard(folder, "megatron", name, table, list(tokens), dtype, str).files[0]


def write_joined(folder: Path, shards, dtype: str) -> Path:
    """Write shards and join them; returns the joined main file."""
    names = [f"{number:05d}" for number in range(len(shards))]
    for name, tokens in zip(names, shards, strict=True):
        write_rows(folder, name, tokens, dtype)
    return join_shards(folder.parent, folder.name, "megatron", names, sum(map(len, shards))).files[0]
