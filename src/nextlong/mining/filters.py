"""Which candidates may become negatives of a sequence, and why the others may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.config import MiningConfig
from nextlong.mining.candidates import CODES, REASON_NAMES, Group, Looked, look_up
from nextlong.mining.fingerprints import Fingerprints, Rows
from nextlong.mining.neighbours import Neighbours
from nextlong.mining.together import Question, Work
from nextlong.pool.pool import Ordinals, Pool

# Candidates are looked at in blocks: those that are likely to be needed and a few more, since those of a block are compared
# with each other.
_SMALLEST_BLOCK, _LARGEST_BLOCK = 32, 512
_SPARE = 1.1
# Where not so many candidates of a meta-chunk were looked up as are needed, so many are, and then ever more.
_LOOKED_UP, _MORE = 512, 4

_NONE = np.empty(0, dtype=np.int64)

# The lengths in tokens of the chunks in these rows, as far as they are needed to reach so many tokens; those behind may be
# left out.
Lengths = Callable[[Fingerprints, Rows, int], Ordinals]


@dataclass(frozen=True, slots=True)
class Negative:
    """A hard negative of a meta-chunk.

    Attributes:
        chunk: chunk ordinal.
        rank: among the meta-chunk's neighbours outside the root document, 1-based.
        score: cosine similarity to the meta-chunk.
    """

    chunk: int
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Negatives:
    """The hard negatives of a meta-chunk, best first.

    Attributes:
        chunks, ranks, scores: as in :class:`Negative`: int64, int64, float32.
    """

    chunks: Ordinals
    ranks: Ordinals
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Negative]:
        return map(Negative, self.chunks.tolist(), self.ranks.tolist(), self.scores.tolist())

    def __add__(self, more: Negatives) -> Negatives:
        return Negatives(
            np.concatenate([self.chunks, more.chunks]),
            np.concatenate([self.ranks, more.ranks]),
            np.concatenate([self.scores, more.scores]),
        )

    def without_last(self) -> Negatives:
        """All but the last one."""
        return Negatives(self.chunks[:-1], self.ranks[:-1], self.scores[:-1])


@dataclass(frozen=True, slots=True)
class Taken:
    """What :meth:`SequenceFilter.take` took.

    Attributes:
        negatives: they.
        tokens: how many they have.
        exhausted: there was room for more, and there are no more candidates.
    """

    negatives: Negatives
    tokens: int
    exhausted: bool


class SequenceFilter:
    """Gives the acceptable candidates of one sequence, group by group, best first (method of the paper, §3.1–3.2).

    A chunk is used once in a sequence; chunks of the root document and copies of what is in the sequence are not used.

    Attributes:
        passed_over: reason → how many candidates were looked at and not taken for it.
        refused: chunks that were acceptable and had too many tokens for the room that there was.
    """

    def __init__(
        self,
        pool: Pool,
        neighbours: Neighbours,
        config: MiningConfig,
        usage: Counter[int] | None = None,
        looked: Looked | None = None,
        likely: int = 128,
    ) -> None:
        """Begin a sequence.

        Args:
            pool: where the candidates come from.
            neighbours: the candidates.
            config: the filters.
            usage: how often the dataset has used each chunk so far; needed for ``max_reuse``.
            looked: what was looked up of them.
            likely: how many negatives a meta-chunk is likely to get.
        """
        self.passed_over: Counter[str] = Counter()
        self.refused: list[int] = []
        self._pool, self._neighbours, self._config = pool, neighbours, config
        self._usage = usage if usage is not None else Counter()
        self._repeats = config.negatives == "self-repeat"
        self._places = [0] * len(neighbours.meta_chunks)
        self._looked = looked if looked is not None else self._look_up(_LOOKED_UP)
        self._put_in(self._looked.metas)
        # How many candidates that could be copies were looked at, and how many tokens those have that were taken.
        self._likely, self._compared, self._tokens = likely, 0, 0

    def _put_in(self, rows: Rows) -> None:
        """Say what is in the sequence: the meta-chunks and the negatives taken, as rows of the fingerprints at hand."""
        self._present = rows
        # What a chunk can have become for good: used, or a copy of what is in the sequence.
        self._known = np.zeros(len(self._looked.fingerprints), dtype=np.uint8)
        self._known[rows] = CODES["used"]

    def take(self, group: int, room: int, lengths: Lengths, overdraw: bool = True) -> Work[Taken]:
        """Take the best acceptable candidates of a group that have not been taken, until they have ``room`` tokens.

        Args:
            group: number of the meta-chunk.
            room: tokens.
            lengths: the candidates' lengths.
            overdraw: the last one may have more tokens than there is room for; otherwise it is not taken, and the next call
                begins with it.
        """
        taken: list[Ordinals] = []
        spent, refused = 0, False
        while spent < room and not refused and self._has_more(group):
            start, own = self._places[group], self._looked.groups[group]
            reasons = yield from self._reasons(own, start, self._block(room - spent))
            good = (reasons == 0).nonzero()[0]
            rows = own.rows[start:][good]
            totals = lengths(self._looked.fingerprints, rows, room - spent).cumsum()
            filling = int(totals.searchsorted(room - spent))  # the first that leaves no room
            count, end = len(totals), len(reasons)
            if filling < len(totals):
                refused = not overdraw and int(totals[filling]) > room - spent
                count = filling if refused else filling + 1
                end = int(good[filling]) + (0 if refused else 1)
            if refused:
                self.refused.append(int(own.chunks[start + end]))
            self._count(reasons[:end])
            self._known[own.rows[start : start + end][reasons[:end] == CODES["copy"]]] = CODES["copy"]
            self._places[group] += end
            taken.append(start + good[:count])
            if count:
                self._present = np.concatenate([self._present, rows[:count]])
                self._known[rows[:count]] = CODES["used"]
                self._tokens += int(totals[count - 1])
                spent += int(totals[count - 1])
        places, own = np.concatenate([_NONE, *taken]), self._looked.groups[group]
        return Taken(
            Negatives(own.chunks[places], own.ranks[places], own.scores[places]), spent, spent < room and not refused
        )

    def _has_more(self, group: int) -> bool:
        """Whether there are more candidates of a group; the next ones are then looked up."""
        own = self._looked.groups[group]
        if self._places[group] < len(own.chunks):
            return True
        if own.whole:
            return False
        present = self._looked.fingerprints.chunks[self._present]
        self._looked = self._look_up(max(_LOOKED_UP, _MORE * len(own.chunks)), present)
        self._put_in(self._looked.fingerprints.rows(present))
        return True

    def _look_up(self, most: int, others: Ordinals = _NONE) -> Looked:
        (looked,) = look_up(self._pool, [self._neighbours], [most], self._config, others)
        return looked

    def _block(self, room: int) -> int:
        """How many candidates to compare for so many tokens, from what those so far have given."""
        likely = (room * self._compared / self._tokens if self._tokens else self._likely) * _SPARE
        return int(min(max(likely, _SMALLEST_BLOCK), _LARGEST_BLOCK))

    def _count(self, reasons: npt.NDArray[np.uint8]) -> None:
        counts = np.bincount(reasons, minlength=len(REASON_NAMES)).tolist()
        self._compared += counts[0] + counts[CODES["copy"]]
        for code, amount in enumerate(counts):
            if code and amount:
                self.passed_over[REASON_NAMES[code]] += amount

    def _reasons(self, own: Group, start: int, most: int) -> Work[npt.NDArray[np.uint8]]:
        """For the next candidates of a group why each is not taken, if those before it that have no reason are; else 0.

        Args:
            own: the group.
            start: place of the first candidate.
            most: how many candidates that may be copies, and have no other reason, to look at.
        """
        rows, reasons = own.rows[start:], own.reasons[start:]
        if self._repeats:
            return reasons[:most]
        reasons = np.where(reasons == 0, self._known.take(rows), reasons)
        open_ = (reasons == 0).nonzero()[0]
        if self._config.max_reuse is not None:
            usage = [self._usage[chunk] for chunk in own.chunks[start + open_].tolist()]
            free = np.array(usage, dtype=np.int64) < self._config.max_reuse
            reasons[open_[~free]] = CODES["max_reuse"]
            open_ = open_[free]
        if len(open_) > most:
            reasons, open_ = reasons[: open_[most]], open_[:most]
        copies = yield Question(self._looked.fingerprints.copies, (rows[open_], self._present))
        reasons[open_[copies]] = CODES["copy"]
        return reasons
