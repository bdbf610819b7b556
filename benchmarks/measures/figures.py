"""What an area is given, and what it gives back: figures measured against targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Bench:
    """What an area measures on.

    Attributes:
        corpus: one file of JSON Lines, ``.zst``, of documents with ``text``; a small one at smoke scale.
        work: an empty folder of the area's own.
        shared: a folder that outlives the area: what takes long to make (a large pool) is made there once for all of them.
        tokenizer: a folder, or whatever else ``--tokenizer`` of nextlong takes.
        smoke: only prove that it runs, in less than ten seconds.
    """

    corpus: Path
    work: Path
    shared: Path
    tokenizer: str
    smoke: bool


@dataclass(frozen=True)
class Figure:
    """One figure beside its target.

    Attributes:
        what: a line for people.
        measured, target: in ``unit``.
        bound: whether the target is the most or the least that is good.
        unit: ``×`` for a ratio, empty for a share, or a unit such as ``GiB``.
        on: what it was measured on: sizes, and the two raw figures of a ratio.
    """

    what: str
    measured: float
    target: float
    bound: Literal["at most", "at least"]
    unit: str
    on: str

    @property
    def met(self) -> bool:
        """Whether the measured figure is within the target."""
        return self.measured <= self.target if self.bound == "at most" else self.measured >= self.target
