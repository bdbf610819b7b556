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
from nextlong.execution.object_path import last_change
from nextlong.execution.progress import advance
from nextlong.execution.tasks import RECEIPTS, Outcome
from nextlong.pool import layout
from nextlong.pool.pool import Ordinals, Pool, open_pool
from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.tokenizer import Tokens, load_tokenizer
from nextlong.tokenization.units import Packed, carrying

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


# Files of tokens that a process keeps open between its tasks; opening one looks at all its offsets.
_MOST_OPEN = 4096


@dataclass(frozen=True)
class _Part:
    """One file of a shard's tokens: rows of the shard, their tokens and flags."""

    rows: npt.NDArray[np.int32]
    flat: Tokens
    offsets: Ordinals
    flags: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Shard:
    """What is stored of a shard.

    Attributes:
        home: for each of its chunks the number of its tokens' flat array, int32; -1 where there are none.
        entry: for each of its chunks where its entry is in ``offsets``, the next one being its end, and in ``flags``; int32.
        offsets: of all files, one behind the other.
        flags: of all files, each with one more at its end.
    """

    home: npt.NDArray[np.int32]
    entry: npt.NDArray[np.int32]
    offsets: Ordinals
    flags: npt.NDArray[np.uint8]


class TokenStore:
    """Reads the stored tokens of a pool, memory-mapped. What it sees is what lay there when a shard was first asked for."""

    def __init__(self, pool: Pool, joiner: Joiner) -> None:
        self.folder = store_folder(pool, joiner)
        self._pool, self._joiner = pool, joiner
        self._flats: list[Tokens] = []
        self._shards: dict[int, _Shard] = {}
        self._here: dict[int, tuple[int, int, int, int]] = {}  # tokenised in this process, because the store lacks them

    def missing(self, chunks: Ordinals) -> Ordinals:
        """Those of the chunks that the store does not hold."""
        absent = np.zeros(len(chunks), dtype=bool)
        for shard, places in self._pool.by_shard(chunks):
            absent[places] = self._shard(shard).home[chunks[places] - self._pool.shard_start(shard)] < 0
        return chunks[absent]

    def find(self, chunks: Ordinals) -> Packed:
        """Where the units of chunks lie, in the order asked for; nowhere if the store does not hold them."""
        count = len(chunks)
        starts, stops = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        found = Packed(self._flats, np.full(count, -1, dtype=np.int32), starts, stops, np.zeros(count, dtype=np.uint8))
        for shard, places in self._pool.by_shard(chunks):
            stored, rows = self._shard(shard), chunks[places] - self._pool.shard_start(shard)
            homes = stored.home[rows]
            there = homes >= 0
            at, entries = places[there], stored.entry[rows[there]]
            found.home[at], found.flags[at] = homes[there], stored.flags[entries]
            starts[at], stops[at] = stored.offsets[entries], stored.offsets[entries + 1]
        return found

    def units(self, chunks: Ordinals) -> Packed:
        """:meth:`find`, and chunks that are not in the store are tokenised here."""
        found = self.find(chunks)
        self.add_lacking(chunks, found)
        return found

    def add_lacking(self, chunks: Ordinals, found: Packed) -> None:
        """Tokenise here those of the chunks that :meth:`find` found nowhere, and put them into ``found``."""
        lacking = np.flatnonzero(found.home < 0)
        if not len(lacking):
            return
        new = [chunk for chunk in np.unique(chunks[lacking]).tolist() if chunk not in self._here]
        if new:
            flat, offsets, flags = self._joiner.encode_packed(self._pool.texts(new))
            home = [len(self._flats)] * len(new)
            self._flats.append(flat)
            lie = zip(home, offsets[:-1].tolist(), offsets[1:].tolist(), flags.tolist(), strict=True)
            self._here |= dict(zip(new, lie, strict=True))
        for place, chunk in zip(lacking.tolist(), chunks[lacking].tolist(), strict=True):
            found.home[place], found.starts[place], found.stops[place], found.flags[place] = self._here[chunk]

    def lengths(self, chunks: Ordinals) -> Ordinals:
        """How many tokens each chunk adds to a sequence, its separator included; those not in the store are tokenised."""
        return self.lengths_of(self.units(chunks))

    def lengths_of(self, found: Packed) -> Ordinals:
        """:meth:`lengths` of units that were found, with -1 for those that were not. int64."""
        return np.where(found.home < 0, -1, self._joiner.lengths(found.counts, carrying(found.flags)))

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

    def _shard(self, shard: int) -> _Shard:
        if shard not in self._shards:
            size = self._pool.shard_size(shard)
            home, entry = np.full(size, -1, dtype=np.int32), np.zeros(size, dtype=np.int32)
            offsets, flags = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.uint8)]
            first = 0
            for path in self.parts(shard):
                part = _opened(path, last_change(path))
                # A row below 0 would count from the end, and give one chunk the tokens of another.
                if len(part.rows) and not 0 <= part.rows.min() <= part.rows.max() < size:
                    raise NextlongError(
                        f"{path} is damaged: it names chunk {part.rows.min()} or {part.rows.max()} of a shard of {size:,}.",
                        "Delete it and run the command that made it again: only it is remade.",
                    )
                home[part.rows], entry[part.rows] = len(self._flats), np.arange(first, first + len(part.rows))
                offsets.append(part.offsets)
                flags += [part.flags, np.zeros(1, dtype=np.uint8)]
                first += len(part.offsets)
                self._flats.append(part.flat)
            self._shards[shard] = _Shard(home, entry, np.concatenate(offsets), np.concatenate(flags))
        return self._shards[shard]


@lru_cache(maxsize=_MOST_OPEN)
def _opened(path: Path, written: object) -> _Part:
    batch = open_arrow(path, TOKEN_SCHEMA)
    tokens = batch.column("tokens")
    rows, flags = batch.column("row").to_numpy(), batch.column("flags").to_numpy()
    return _Part(rows, tokens.values.to_numpy(), tokens.offsets.to_numpy(), flags)


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
        flat, ends, flag = opened.encode_packed(texts)
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
