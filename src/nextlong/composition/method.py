"""What a method is: it plans units of work from a pool, and composes the sequences of each unit.

A method is a class in a file of its own. The package finds its own ones in ``registry.py`` and anybody's through the entry
point group ``nextlong.methods``. Data flows so:

    units(wanted)          once, in order: which documents make which sequences     (what is global belongs here)
    search(units)          optional, in parallel: candidates for a batch of units    (what needs the index)
    compose(unit, found)   in parallel: the chunks of each sequence, in order

Everything random must come from (seed, document key), never from the order of work, so that any number of workers gives the
same sequences.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from nextlong.composition.session import Session
from nextlong.composition.tokens import ChunkTokens
from nextlong.config import Part
from nextlong.errors import NextlongError
from nextlong.index.protocol import Index
from nextlong.index.vectors import VectorShards
from nextlong.mining.nearest import Ask, Nearest
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.derived import Derived
from nextlong.pool.pool import Ordinals
from nextlong.records import Ends, Placed
from nextlong.sizes import format_length


@dataclass(frozen=True)
class Unit:
    """What is composed together.

    Attributes:
        documents: document ordinals, int64, in the order in which they are used; a root document comes first.
        sequences: how many sequences they give, at least one.
        topic: what they have in common, where the method says: the keyword of ``quest``.
        part: which of several units with the same documents this is, 0-based.
    """

    documents: Ordinals
    sequences: int = 1
    topic: str = ""
    part: int = 0


@dataclass(frozen=True)
class Searched:
    """What a search found for a unit.

    Attributes:
        neighbours: the candidates, best first, as they are kept on disk and handed to :meth:`Method.compose`.
        forecast: chunk ordinals that the sequences will use, nearly, int64: they are tokenised together, before composing.
    """

    neighbours: Neighbours
    forecast: Ordinals


@dataclass(frozen=True)
class Draft:
    """A sequence before it is written.

    Attributes:
        order: its chunks, best as an :class:`~nextlong.records.Order`. The last one is cut to the sequence's length.
        ends: where each chunk ends in the joined tokens, int32, as :meth:`ChunkTokens.ends` gives it. A draft that ends
            before the sequence is full is discarded, and counted.
        root: ordinal of the document that the sequence is about; without one, its first.
        topic: as in :class:`Unit`.
        dropped: chunk ordinals that were taken up for this sequence and stand in none: their tokens are wasted.
        passed_over: reason → how many candidates were looked at and not taken for it.
        searched_deeper: the candidates that :meth:`Method.search` found did not suffice.
        measured: chunk ordinals whose tokens were counted to choose the others: they are stored, too, so that the next
            dataset need not count them again.
    """

    order: Sequence[Placed]
    ends: Ends
    root: int
    topic: str = ""
    dropped: Ordinals = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    passed_over: Counter[str] = field(default_factory=Counter)
    searched_deeper: bool = False
    measured: Sequence[int] = ()


class NoOptions(Part):
    """The options of a method that has none."""


class Method(ABC):
    """A way of making sequences from a pool.

    Attributes:
        NAME: as in the configuration, and in the ids of sequences.
        SUMMARY: one line for ``nextlong methods`` and the data card.
        Options: its own options, the section ``options`` of the dataset; a pydantic model, so an unknown key is an error.
        READS: keys of ``mining`` and ``composition`` that it reads, such as ``mining.range_min``; ``composition.separator``,
            ``bos`` and ``eos`` are for all. What it does not read may not be set.
        USES_ONCE: what stands in at most one sequence of a dataset: a ``root`` (as root), a ``chunk``, or ``nothing``.
        VERSION: raise it when the same configuration gives other sequences.
        SEARCHES: whether there is a :meth:`search`.
        session: the dataset: its pool, configuration, tokenizer.
        options: an instance of ``Options``.
        tokens: how many tokens chunks have, and joining them.
        documents_passed_over: reason → how many documents :meth:`units` did not use for it.
        usage: how often the sequences made so far use each chunk as a negative; counted only if :attr:`in_order`.
        nearest: what :meth:`search` and :meth:`compose` should put their questions to.
    """

    NAME: ClassVar[str]
    SUMMARY: ClassVar[str]
    Options: ClassVar[type[Part]] = NoOptions
    READS: ClassVar[frozenset[str]] = frozenset()
    USES_ONCE: ClassVar[Literal["root", "chunk", "nothing"]] = "nothing"
    VERSION: ClassVar[int] = 1
    SEARCHES: ClassVar[bool] = False

    def __init__(self, session: Session, options: Any, tokens: ChunkTokens) -> None:
        self.session, self.options, self.tokens = session, options, tokens
        self.documents_passed_over: Counter[str] = Counter()
        self.usage: Counter[int] = Counter()
        self.nearest = Nearest()

    @property
    def in_order(self) -> bool:
        """Batches of sequences must be made one after the other, since each depends on those before."""
        return False

    def check(self, wanted: int) -> None:
        """Refuse what cannot work for this pool, before anything is done.

        Args:
            wanted: how many sequences are asked for.

        Raises:
            NextlongError: with what would work.
        """
        return

    def inputs(self) -> tuple[str, ...]:
        """Checksums of what it reads besides the pool and the configuration: another one makes another dataset."""
        return ()

    def derived(self) -> Sequence[Derived]:
        """What it needs of the whole pool (document vectors, keywords), made once and kept in the pool."""
        return ()

    @abstractmethod
    def units(self, wanted: int) -> Iterator[Unit]:
        """Plan the sequences, in the order in which they are numbered.

        Called once, in one process. Should be lazy: no more than needed is taken from it. Best, the units do not depend on
        ``wanted``, which then only tells how far to look ahead: a dataset of more tokens begins with the same sequences,
        and when sequences were discarded and more are planned, nothing is made again.

        Args:
            wanted: how many sequences will be taken.
        """

    def search(self, units: Sequence[Unit]) -> Iterator[Searched]:
        """Find candidates for each unit, in order; called only if ``SEARCHES``. Runs in a worker, on a batch of units.

        A result is written as soon as it is yielded, so that not all need be in memory.
        """
        raise NotImplementedError

    def asks(self, units: Sequence[Unit]) -> Iterator[Ask]:
        """What :meth:`search` will first ask :attr:`nearest` for these units: none unless a method knows.

        A grid of tasks answers this before, for many batches together and in each shard of the index by a task of its own:
        an inverted file is then several times as fast, and no machine reads all of a large index.
        """
        yield from ()

    def searched(self) -> tuple[VectorShards, Index]:
        """The vectors that the questions of :meth:`asks` are about, and their index."""
        raise NotImplementedError

    def prepare(self, units: Sequence[Unit], found: Sequence[Neighbours | None]) -> None:
        """Look up together what composing a batch of units needs. Called before it; :meth:`compose` must not rely on it.

        Args:
            units: what is about to be composed.
            found: what :meth:`search` found for each.
        """
        return

    @abstractmethod
    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """Compose the sequences of a unit, ``unit.sequences`` of them or fewer. Runs in a worker.

        Args:
            unit: what to compose.
            found: what :meth:`search` found for it.
        """

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """What in a row of the canonical table breaks what this method promises, in words; for ``nextlong verify``.

        Lengths, provenance, text and tokens are checked for every method, and need not be here.
        """
        yield from ()

    def promises(self) -> dict[str, str]:
        """What :meth:`failures` proves, in words, and in what it is counted: ``negatives``, ``documents`` or ``rows``."""
        return {}

    def shortage(self, wanted: int, made: int, discarded: int) -> NextlongError:
        """The error when the pool gives fewer sequences than asked for."""
        length = self.session.config.length
        reasons = ", ".join(f"{reason}: {amount:,}" for reason, amount in sorted(self.documents_passed_over.items()))
        return NextlongError(
            f"{wanted:,} sequences of {format_length(length)} tokens were asked for, and with the method {self.NAME} the "
            f"pool gives {made:,}" + (f" ({reasons})." if reasons else "."),
            (f"Ask for at most {made * length:,} tokens, or add" if made else "Add") + " documents to the corpus.",
        )
