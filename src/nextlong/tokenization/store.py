"""The tokens of chunks, kept in the pool: a chunk is tokenised once, when the first dataset uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextlong.config import config_hash
from nextlong.errors import NextlongError
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.execution.progress import advance
from nextlong.execution.tasks import RECEIPTS, Outcome
from nextlong.pool import layout
from nextlong.pool.pool import Ordinals, Pool, open_pool
from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.tokenizer import load_tokenizer
from nextlong.tokenization.units import Unit, carrying, pack, unpack

VERSION = 1
STAGE = "tokenize"

TOKEN_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),  # in the chunks shard of the same name
        pa.field("tokens", pa.large_list(pa.int32()), nullable=False),
        pa.field("flags", pa.uint8(), nullable=False),  # see units.py
    ]
)

# Chunks tokenised in one call of the tokenizer.
_BATCH = 2048


def store_folder(pool: Pool, joiner: Joiner) -> Path:
    """Where the tokens of this pool's chunks for this tokenizer and separator lie."""
    return pool.folder / layout.TOKENS / f"{pool.chunks_id}-{config_hash(joiner.fingerprint, VERSION)}"


@dataclass(frozen=True)
class _Part:
    """One file of a shard's tokens."""

    flat: npt.NDArray[np.int32]
    offsets: Ordinals
    flags: npt.NDArray[np.uint8]


class TokenStore:
    """Reads the stored tokens of a pool, memory-mapped. What it sees is what lay there when a shard was first asked for."""

    def __init__(self, pool: Pool, joiner: Joiner) -> None:
        self.folder = store_folder(pool, joiner)
        self._pool, self._joiner = pool, joiner
        self._shards: dict[int, tuple[list[_Part], npt.NDArray[np.int32], Ordinals]] = {}
        self._here: dict[int, Unit] = {}  # tokenised in this process, because the store lacks them

    def missing(self, chunks: Ordinals) -> Ordinals:
        """Those of the chunks that the store does not hold."""
        absent = np.zeros(len(chunks), dtype=bool)
        for shard, places in self._pool.by_shard(chunks):
            part_of = self._shard(shard)[1]
            absent[places] = part_of[chunks[places] - self._pool.shard_start(shard)] < 0
        return chunks[absent]

    def units(self, chunks: Ordinals) -> list[Unit]:
        """The units of chunks, in the order asked for; those not in the store are tokenised here."""
        lacking = [chunk for chunk in self.missing(chunks).tolist() if chunk not in self._here]
        if lacking:
            self._here |= dict(zip(lacking, self._joiner.encode_units(self._pool.texts(lacking)), strict=True))
        units: list[Unit | None] = [self._here.get(chunk) for chunk in chunks.tolist()]
        for shard, places in self._pool.by_shard(chunks):
            parts, part_of, place_in = self._shard(shard)
            rows = chunks[places] - self._pool.shard_start(shard)
            for place, number, entry in zip(places.tolist(), part_of[rows].tolist(), place_in[rows].tolist(), strict=True):
                if number >= 0:
                    part = parts[number]
                    units[place] = unpack(part.flat[part.offsets[entry] : part.offsets[entry + 1]], int(part.flags[entry]))
        return [unit for unit in units if unit is not None]

    def lengths(self, chunks: Ordinals) -> Ordinals:
        """How many tokens each chunk adds to a sequence, its separator included; those not in the store are tokenised."""
        lengths = self.stored_lengths(chunks)
        lacking = np.flatnonzero(lengths < 0)
        if len(lacking):
            lengths[lacking] = [self._joiner.length(unit) for unit in self.units(chunks[lacking])]
        return lengths

    def stored_lengths(self, chunks: Ordinals) -> Ordinals:
        """As :meth:`lengths`, with -1 for chunks that the store does not hold."""
        lengths = np.full(len(chunks), -1, dtype=np.int64)
        for shard, places in self._pool.by_shard(chunks):
            parts, part_of, place_in = self._shard(shard)
            rows = chunks[places] - self._pool.shard_start(shard)
            for number, part in enumerate(parts):
                here = part_of[rows] == number
                entries = place_in[rows[here]]
                counts = part.offsets[entries + 1] - part.offsets[entries]
                lengths[places[here]] = self._joiner.lengths(counts, carrying(part.flags[entries]))
        return lengths

    def parts(self, shard: int) -> list[Path]:
        """The files that hold tokens of a shard: those with a receipt, so a file that a kill left without one is remade.

        So is one that was deleted, as the error about a damaged file advises.
        """
        return self._parts.get(self._pool.shards[shard], [])

    @cached_property
    def _parts(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for receipt in sorted((self.folder / RECEIPTS / STAGE).glob("*.json")):
            if (path := self.folder / f"{receipt.stem}.arrow").exists():
                found.setdefault(receipt.name.split(".")[0], []).append(path)
        return found

    def _shard(self, shard: int) -> tuple[list[_Part], npt.NDArray[np.int32], Ordinals]:
        """The parts of a shard, and for each of its chunks the part (-1: none) and the place in it."""
        if shard not in self._shards:
            size = self._pool.shard_size(shard)
            parts, part_of, place_in = [], np.full(size, -1, dtype=np.int32), np.zeros(size, dtype=np.int64)
            for number, path in enumerate(self.parts(shard)):
                batch = open_arrow(path, TOKEN_SCHEMA)
                tokens = batch.column("tokens")
                rows = batch.column("row").to_numpy()
                part_of[rows], place_in[rows] = number, np.arange(len(rows))
                parts.append(_Part(tokens.values.to_numpy(), tokens.offsets.to_numpy(), batch.column("flags").to_numpy()))
            self._shards[shard] = parts, part_of, place_in
        return self._shards[shard]


@lru_cache(maxsize=2)
def open_joiner(tokenizer: str, separator: str, fingerprint: str) -> Joiner:
    """The joiner of a task; a worker keeps it between its tasks. ``fingerprint`` is the tokenizer's.

    Raises:
        NextlongError: the tokenizer is not the one that the run began with.
    """
    loaded = load_tokenizer(tokenizer)
    if loaded.fingerprint != fingerprint:
        raise NextlongError(f"The tokenizer {tokenizer} changed while the run was using it.", "Run the same command again.")
    return Joiner(loaded, separator)


def tokenize(
    pool_folder: Path, pool_id: str, joiner: tuple[str, str, str], shard: int, rows: npt.NDArray[np.int32], path: Path
) -> Outcome:
    """Tokenise chunks of one shard and write them as one more part of the store.

    Args:
        pool_folder, pool_id: the pool.
        joiner: what :func:`open_joiner` takes.
        shard: number of the shard.
        rows: rows of the shard, none of which is in the store.
        path: the part's file.
    """
    pool, opened = open_pool(pool_folder, pool_id), open_joiner(*joiner)
    flats, offsets, flags = [], [np.zeros(1, dtype=np.int64)], []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        texts = pool.texts(batch.astype(np.int64) + pool.shard_start(shard))
        flat, ends, flag = pack(opened.encode_units(texts))
        flats.append(flat)
        offsets.append(ends[1:] + offsets[-1][-1])
        flags.append(flag)
        advance(len(batch))
    tokens = pa.LargeListArray.from_arrays(pa.array(np.concatenate(offsets)), pa.array(np.concatenate(flats)))
    columns = [pa.array(rows), tokens, pa.array(np.concatenate(flags))]
    write_arrow(path, pa.record_batch(columns, schema=TOKEN_SCHEMA))
    return Outcome([path], len(rows), {"tokens": int(sum(map(len, flats)))})


def part_path(store: TokenStore, pool: Pool, shard: int) -> Path:
    """The file for the next part of a shard: the first number that is free."""
    taken = set(store.parts(shard))
    paths = (store.folder / f"{pool.shards[shard]}.{number:04d}.arrow" for number in range(len(taken) + 1))
    return next(path for path in paths if path not in taken)


def grouped(pool: Pool, chunks: Ordinals) -> Sequence[tuple[int, npt.NDArray[np.int32]]]:
    """Chunk ordinals as (shard, rows)."""
    return [(shard, (chunks[places] - pool.shard_start(shard)).astype(np.int32)) for shard, places in pool.by_shard(chunks)]
