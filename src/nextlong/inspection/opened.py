"""A finished dataset, opened for looking at: its description, its pool, and a sample of its sequences in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextlong.config import DatasetConfig, validated
from nextlong.dataset import layout
from nextlong.dataset.describe import load_dataset_card, pool_folder, right_pool
from nextlong.errors import NextlongError, UsageError
from nextlong.execution.object_path import located
from nextlong.execution.tables import count_rows, read_table
from nextlong.pool.pool import Ordinals, Pool
from nextlong.records import ROLES, SEQUENCE_SCHEMA

# Sequences that figures are made of where a dataset has more, unless told otherwise: of a mean of shares the standard error
# is below 0.008 then. Long ones are fewer, of so many tokens together: it is a matter of seconds.
MOST_SEQUENCES = 4096
MOST_TOKENS = 1 << 26
_LEAST_SEQUENCES = 64
# Of a sequence's number.
_MOST_DIGITS = 18
# Files of sequences that a sample is drawn from; each holds some 8M tokens.
_MOST_FILES = 128

META, NEGATIVE, DOCUMENT = (ROLES.index(role) for role in ("meta", "negative", "document"))


@dataclass(frozen=True, eq=False)
class Spans:
    """The chunks of some sequences in columns, those of the first sequence first.

    Attributes:
        starts: where those of each sequence begin, and the last end, int64 ``(sequences + 1,)``.
        roles: place in :data:`~nextlong.records.ROLES`, int8.
        documents: document ordinal in the pool, int64.
        chunks: chunk ordinal in the pool, int64.
        groups, ranks: int32, as in :data:`~nextlong.records.SPAN_TYPE`.
        scores: float32.
        token_starts, token_ends: int32, in the row.
    """

    starts: Ordinals
    roles: npt.NDArray[np.int8]
    documents: Ordinals
    chunks: Ordinals
    groups: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    token_starts: npt.NDArray[np.int32]
    token_ends: npt.NDArray[np.int32]

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """How many tokens each has, the separator after it included."""
        return self.token_ends - self.token_starts

    @cached_property
    def sequences(self) -> Ordinals:
        """The number of each one's sequence among these, 0-based."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def of(self, sequence: int) -> Spans:
        """Those of one sequence."""
        own = slice(int(self.starts[sequence]), int(self.starts[sequence + 1]))
        columns = {each.name: getattr(self, each.name)[own] for each in fields(self) if each.name != "starts"}
        return Spans(starts=np.array([0, own.stop - own.start], dtype=np.int64), **columns)


@dataclass(frozen=True, eq=False)
class Sample:
    """Some sequences of a dataset, in its order.

    Attributes:
        ids, roots, topics: of each, as in :data:`~nextlong.records.SEQUENCE_SCHEMA`.
        spans: what they are made of.
        whole: these are all that there are.
    """

    ids: list[str]
    roots: list[str]
    topics: list[str]
    spans: Spans
    whole: bool

    def __len__(self) -> int:
        return len(self.ids)


def told_apart(names: Sequence[str]) -> list[str]:
    """Names of datasets, with their number where several are called the same."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


class Dataset:
    """A finished dataset.

    Attributes:
        folder: where it lies.
        card: what its ``dataset.yaml`` says.
        config: what it was made with.
        pool: what it was made from.
    """

    def __init__(self, folder: str | Path, pool: str | Path | None = None) -> None:
        """Open it.

        Args:
            folder: the dataset's.
            pool: where its pool is now, if it was moved.

        Raises:
            UsageError: it is an export or a mix, whose sequences are those of datasets.
            NextlongError: there is no finished dataset, or its pool is not to be found or another one.
        """
        self.folder = located(folder)
        self.card: dict[str, Any] = load_dataset_card(self.folder)
        if "kind" in self.card:
            raise UsageError(
                f"{folder} is an export of datasets.", "Look at these: its dataset.yaml says which they are, in `parts`."
            )
        known = pool_folder(self.folder, self.card)
        if pool is None and not known.exists():
            raise NextlongError(f"The pool of {folder} is not at {known} any more.", "Name where it is now with --pool.")
        hint = "Name the right one with --pool, or make the dataset again."
        self.pool: Pool = right_pool(located(pool) if pool else known, self.card["pool"]["id"], self.folder, hint)
        self.config = validated(DatasetConfig, self.card["config"], where=str(self.folder / layout.DESCRIPTION))

    @property
    def name(self) -> str:
        """What it is called among others."""
        return self.folder.absolute().name or str(self.folder)  # `.` has a name, too

    @property
    def method(self) -> str:
        """The method that it was made by."""
        return self.config.composition.method

    @cached_property
    def files(self) -> list[Path]:
        """The canonical table, in order."""
        return sorted((self.folder / layout.SEQUENCES).glob("*.parquet"))

    def sample(self, most: int | None = None, seed: int = 0) -> Sample:
        """Sequences drawn evenly from the dataset; all, where there are no more.

        Sequences that follow each other are as independent as any for methods that draw root documents; others put alike
        ones into the same file. So a sample comes from up to 128 files, which bounds what is read of a large dataset.

        Args:
            most: how many at most, at least 1; None for 4,096, or for 64M tokens of long ones.
            seed: which ones.

        Raises:
            NextlongError: a file is missing or damaged.
        """
        most = most or min(MOST_SEQUENCES, max(MOST_TOKENS // self.config.length, _LEAST_SEQUENCES))
        total = int(self.card["counts"]["sequences"])
        files = self.files
        rng = np.random.default_rng(seed)
        if total > most and len(files) > _MOST_FILES:
            files = [files[place] for place in np.sort(rng.choice(len(files), _MOST_FILES, replace=False))]
        sizes = [count_rows(path, SEQUENCE_SCHEMA) for path in files]
        if len(files) == len(self.files):
            self._require_all(sum(sizes))
        wanted = min(most, sum(sizes))
        rows = np.sort(rng.choice(sum(sizes), wanted, replace=False)) if wanted < sum(sizes) else np.arange(sum(sizes))
        tables: list[pa.Table] = [SEQUENCE_SCHEMA.empty_table()]
        first = 0
        for path, size in zip(files, sizes, strict=True):
            own = rows[(rows >= first) & (rows < first + size)] - first
            if len(own):
                tables.append(read_table(path, SEQUENCE_SCHEMA).take(pa.array(own)))
            first += size
        return self._sample_of(pa.concat_tables(tables), wanted == total)

    def named(self, identity: str) -> Sample:
        """One sequence, by its id or its number.

        Raises:
            UsageError: there is no such sequence.
        """
        number = identity.rpartition("-")[2]
        if not number.isdecimal() or len(number) > _MOST_DIGITS:
            raise UsageError(f"{identity} is no sequence.", f"Write it as {self.method}-00000000, or as its number, from 0.")
        one = self.numbered(int(number))
        if identity not in (number, one.ids[0]):
            raise UsageError(f"{self.folder} has no sequence {identity}; its number {int(number):,} is {one.ids[0]}.")
        return one

    def numbered(self, number: int) -> Sample:
        """One sequence, by its number in the dataset.

        Raises:
            UsageError: there is none of this number.
        """
        before = 0
        for path in self.files:
            size = count_rows(path, SEQUENCE_SCHEMA)
            if number < before + size:
                table = read_table(path, SEQUENCE_SCHEMA).slice(number - before, 1)
                return self._sample_of(table, int(self.card["counts"]["sequences"]) == 1)
            before += size
        self._require_all(before)
        raise UsageError(f"{self.folder} has {before:,} sequences, numbered from 0; there is no number {number:,}.")

    def tables(self) -> Iterator[tuple[Path, pa.Table]]:
        """The canonical table, file by file.

        Raises:
            NextlongError: a file is missing or damaged.
        """
        rows = 0
        for path in self.files:
            table = read_table(path, SEQUENCE_SCHEMA)
            rows += table.num_rows
            yield path, table
        self._require_all(rows)

    def _require_all(self, found: int) -> None:
        expected = int(self.card["counts"]["sequences"])
        if found != expected:
            raise NextlongError(
                f"{self.folder / layout.SEQUENCES} holds {found:,} sequences, and the dataset has {expected:,}.",
                "Run the command that made it again: only what is missing is remade.",
            )

    def _sample_of(self, table: pa.Table, whole: bool) -> Sample:
        ids, roots, topics = (table.column(column).to_pylist() for column in ("id", "root", "topic"))
        return Sample(ids, roots, topics, self._spans(table), whole)

    def _spans(self, table: pa.Table) -> Spans:
        lists = table.column("spans").combine_chunks()
        spans = lists.flatten()
        starts = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))])
        roles = pc.index_in(spans.field("role"), pa.array(ROLES)).to_numpy(zero_copy_only=False)
        chunks = spans.field("chunk").to_numpy()
        if len(chunks) and not 0 <= chunks.min() <= chunks.max() < self.pool.chunks:
            raise NextlongError(
                f"{self.folder} names chunks that its pool does not have.", "`nextlong verify` says which; make it again."
            )
        return Spans(
            starts.astype(np.int64),
            roles.astype(np.int8),
            self.pool.documents_of(chunks),
            chunks,
            *(spans.field(name).to_numpy() for name in ("group", "rank", "score", "token_start", "token_end")),
        )
