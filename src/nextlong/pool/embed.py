"""Chunks → vectors: one task for each shard. A fitted encoder is fitted first, on a sample of the pool."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import fit_encoder, load_encoder
from nextlong.embedding.vectors import to_unit_float16
from nextlong.errors import NextlongError
from nextlong.execution.arrays import save_array
from nextlong.execution.arrow import open_arrow
from nextlong.execution.files import atomic, checksum
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.pool import layout
from nextlong.records import CHUNK_SCHEMA, DOCUMENT_SCHEMA

VERSION = 2

# Chunks encoded in one call: enough to sort by length well, few enough that progress moves.
_BATCH = 1024

# What a fitted encoder sees. LSA's neighbours change little beyond some ten thousand chunks.
FIT_CHUNKS = 20_000


def fit(folder: Path, shards: list[tuple[str, int]], encoder: EncoderConfig) -> Outcome:
    """Fit the encoder on evenly spaced chunks of the pool and save it.

    Args:
        shards: names and chunk counts.
    """
    total = sum(count for _, count in shards)
    wanted = np.unique(np.linspace(0, total - 1, min(total, FIT_CHUNKS)).astype(np.int64))

    def sample() -> Iterator[str]:
        first = 0
        for name, count in shards:
            rows = wanted[(wanted >= first) & (wanted < first + count)] - first
            texts = open_arrow(folder / layout.CHUNKS / f"{name}.arrow", CHUNK_SCHEMA).column("text")
            yield from (texts[int(row)].as_py() for row in rows)
            first += count

    path = fitted_path(folder)
    with atomic(path) as temporary:
        fit_encoder(encoder, sample(), temporary)
    return Outcome([path], len(wanted))


def fitted_path(folder: Path) -> Path:
    """Where a fitted encoder lies."""
    return folder / layout.ENCODER / "fitted"


@lru_cache(maxsize=1)
def _encoder(config: EncoderConfig, fitted: Path | None, version: str) -> Encoder:
    """Kept by a worker between its tasks; ``version`` (the fitted file's checksum) makes a new fit a new encoder."""
    return load_encoder(config, fitted)


def embed(folder: Path, shard: str, config: EncoderConfig, fitted: Path | None, fingerprint: str) -> Outcome:
    """Write ``<shard>.npy``: float16, ``(chunks, dimensions)``, each row of length one.

    A chunk that the encoder maps to the zero vector gets a zero row; it is never a neighbour, and its document is no root.

    Args:
        fingerprint: of the encoder that all shards are to be encoded by.

    Raises:
        NextlongError: a vector holds NaN or infinity; names the chunk. Or this worker's encoder is another one.
    """
    encoder = _encoder(config, fitted, checksum(fitted) if fitted else "")
    if encoder.fingerprint != fingerprint:
        raise NextlongError(
            f"The encoder `{config.name}` of a worker is not the one of the machine that runs the command: "
            f"{encoder.fingerprint}, not {fingerprint}. Their vectors do not mix.",
            "Give all machines the same model and the same packages; for `minilm`, processors of the same kind, too.",
        )
    chunks = open_arrow(folder / layout.CHUNKS / f"{shard}.arrow", CHUNK_SCHEMA)
    texts = chunks.column("text")
    documents = open_arrow(folder / layout.DOCUMENTS / f"{shard}.arrow", DOCUMENT_SCHEMA)

    def name_of(row: int) -> str:
        document = documents.slice(chunks.column("document")[row].as_py(), 1).to_pylist()[0]
        position = chunks.column("position")[row].as_py()
        return f"chunk {position} of document {document['id']!r} ({document['source']}, row {document['row']})"

    parts = []
    for start in range(0, len(texts), _BATCH):
        batch = texts.slice(start, _BATCH).to_pylist()
        parts.append(to_unit_float16(encoder.encode(batch), lambda row, start=start: name_of(start + row)))  # type: ignore[misc]
        advance(len(batch))
    vectors = np.concatenate(parts)
    zero = np.flatnonzero(~vectors.any(axis=1))
    path = folder / layout.VECTORS / f"{shard}.npy"
    save_array(path, vectors)
    info = {
        "dimensions": encoder.dimensions,
        "zero_vectors": len(zero),
        "zero_examples": [name_of(int(row)) for row in zero[:3]],
    }
    return Outcome([path], len(vectors), info)
