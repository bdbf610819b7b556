"""The rows of shards as they were written, wherever they lie now: in files of their own, or joined in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from nextlong.formats.protocol import WrittenRow
from nextlong.formats.shards import is_joined, read_rows


@dataclass(frozen=True)
class Shard:
    """A shard as the tables beside the written rows have it.

    Attributes:
        name: of its files.
        first: how many rows the shards before it have.
        rows: how many it has.
        last: whether none follows.
    """

    name: str
    first: int
    rows: int
    last: bool


@dataclass(frozen=True)
class Written:
    """The written rows of a shard.

    Attributes:
        shard: which one.
        path: the file they lie in.
        before: how many rows of other shards the file has before them.
        rows: they; and what follows in the file, unless that belongs to another shard.
    """

    shard: Shard
    path: Path
    before: int
    rows: Iterator[WrittenRow]


def shard_groups(folder: Path, format: str, rows: Mapping[str, int], workers: int) -> list[list[Shard]]:
    """What is verified in one task each: one shard; where shards are joined, all those that one worker reads.

    Some formats can be read from their beginning only, so a joined file is read once for each worker, not for each shard.

    Args:
        folder: of the written rows.
        format: the format's name.
        rows: how many rows each shard has, in order.
        workers: how many tasks run at once.
    """
    shards: list[Shard] = []
    for name, amount in rows.items():
        first = shards[-1].first + shards[-1].rows if shards else 0
        shards.append(Shard(name, first, amount, len(shards) == len(rows) - 1))
    if not is_joined(folder, format):
        return [[shard] for shard in shards]
    total = max(1, sum(rows.values()))
    return [list(group) for _, group in groupby(shards, lambda shard: min(workers - 1, shard.first * workers // total))]


def written_shards(folder: Path, format: str, group: Sequence[Shard]) -> Iterator[Written]:
    """The written rows of the shards of a group, one after the other; the file of joined shards is read once.

    Rows of a shard that the caller did not take are passed over.

    Args:
        folder: of the written rows.
        format: the format's name.
        group: shards that follow each other.
    """
    if not is_joined(folder, format):
        for shard in group:
            path, rows = read_rows(folder, format, shard.name, shard.first)
            yield Written(shard, path, 0, rows)
        return
    path, all_rows = read_rows(folder, format, group[0].name, group[0].first)
    for shard in group:
        own = all_rows if shard.last else islice(all_rows, shard.rows)
        yield Written(shard, path, shard.first, own)
        if not shard.last:
            for _ in own:
                pass
