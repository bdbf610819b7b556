"""Encode all chunks of a pool again, on all cores, and keep nothing: the encoder's own time, for `measures/overhead.py`.

python benchmarks/encode_alone.py POOL_FOLDER ENCODER
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import load_encoder
from nextlong.execution.arrow import open_arrow
from nextlong.execution.local import LocalExecutor
from nextlong.records import CHUNK_SCHEMA

TEXTS_AT_ONCE = 1024  # as in a pool


@cache
def loaded(name: str) -> Encoder:
    """An encoder that stays in its process from shard to shard."""
    return load_encoder(EncoderConfig(name=name))


def encode(shard: Path, name: str) -> int:
    """Encode a shard; returns how many chunks that were."""
    encoder = loaded(name)
    texts = open_arrow(shard, CHUNK_SCHEMA).column("text")
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        encoder.encode(texts.slice(start, TEXTS_AT_ONCE).to_pylist())
    return len(texts)


def main() -> None:
    """Say how many chunks were encoded."""
    pool, name = sys.argv[1:]
    shards = sorted((Path(pool) / "chunks").glob("*.arrow"))
    print(sum(LocalExecutor().map(encode, [(shard, name) for shard in shards], lambda amount: None)))


if __name__ == "__main__":
    import encode_alone  # by its name, so that worker processes find its functions

    encode_alone.main()
