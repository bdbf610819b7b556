"""Pools with a screening, and what they say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import nextlong
from nextlong.execution.run import read_metrics
from nextlong.pool import layout
from nextlong.records import SCREENED_SCHEMA

ENCODER = {"name": "lsa", "dimensions": 16}


def build(inputs: Any, out: Path, screening: dict[str, Any] | None = None, **keys: Any) -> nextlong.Pool:
    """A pool of small chunks by one worker."""
    sections = {"screening": screening} if screening else {}
    given = {"encoder": ENCODER, "index": {"kind": "flat"}, "workers": 1, "chunking": {"granularity": 300}, **keys}
    return nextlong.build_pool(inputs, out, **sections, **given)


def report_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of the report, of all shards in order."""
    tables = [pq.read_table(path) for path in sorted((folder / layout.REPORT).glob("*.parquet"))]
    assert all(table.schema.equals(SCREENED_SCHEMA) for table in tables)
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist() if tables else []
    return rows


def texts_of(pool: nextlong.Pool) -> dict[str, list[str]]:
    """Document id → the texts of its chunks."""
    ids = pool.document_ids(np.arange(pool.documents))
    return {identity: pool.texts(pool.chunks_of(number)) for number, identity in enumerate(ids)}


def stages(folder: Path) -> list[str]:
    """The stages that runs worked on, in order."""
    return [line["stage"] for line in read_metrics(folder)]


def verified(folder: Path) -> bool:
    """Whether nothing is wrong with a pool."""
    return nextlong.verify(folder, workers=1).failures == []
