"""Which candidates may become negatives of a sequence, and why the others may not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.config import MiningConfig
from nextlong.mining.copies import PERMUTATIONS, required_matches
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.pool import Ordinals, Pool

# Why a candidate is passed over, in the order in which the reasons are looked at.
REASONS = {
    "own_document": "of the root document itself",
    "no_vector": "the encoder gave it a zero vector",
    "range_min": "nearer than range_min allows",
    "range_max": "farther than range_max allows",
    "max_score": "more similar than max_score allows",
    "min_score": "less similar than min_score allows",
    "relative_margin": "closer than relative_margin allows",
    "used": "already in the sequence",
    "max_reuse": "used max_reuse times in the dataset",
    "copy": "copies of a chunk of the root document or of a negative in the sequence",
}
_STATIC = list(REASONS)[:7]
# Those that a user has asked for, by the option of the same name.
OPTIONAL_REASONS = ("range_min", "range_max", "max_score", "min_score", "relative_margin", "max_reuse")

# Fingerprints are fetched for so many candidates at a time.
_BLOCK = 64


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


class SequenceFilter:
    """Yields the acceptable candidates of one sequence, group by group, best first (method of the paper, §3.1–3.2).

    A chunk is used once in a sequence; chunks of the root document and copies of what is in the sequence are not used.

    Attributes:
        passed_over: reason → how many candidates were looked at and not taken for it.
    """

    def __init__(self, pool: Pool, neighbours: Neighbours, config: MiningConfig, usage: Counter[int] | None = None) -> None:
        """Begin a sequence.

        Args:
            pool: where the candidates come from.
            neighbours: the candidates.
            config: the filters.
            usage: how often the dataset has used each chunk so far; needed for ``max_reuse``.
        """
        self.passed_over: Counter[str] = Counter()
        self._pool, self._neighbours, self._config = pool, neighbours, config
        self._usage = usage if usage is not None else Counter()
        self._repeats = config.negatives == "self-repeat"
        self._places = [0] * len(neighbours.meta_chunks)
        self._static = [self._static_reasons(group) for group in range(len(neighbours.meta_chunks))]
        self._blocks: dict[tuple[int, int], tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint16]]] = {}
        self._used: set[int] = set()
        self._fold_keys = set(pool.fold_keys(neighbours.meta_chunks).tolist())
        self._signatures = pool.signatures(neighbours.meta_chunks)
        self._filled = len(self._signatures)
        self._most_equal = PERMUTATIONS + 1  # more equal rows than there are: nothing is a near-copy
        if config.max_jaccard is not None:
            self._most_equal = required_matches(config.max_jaccard)

    def next(self, group: int) -> Negative | None:
        """The best acceptable candidate of a group that has not been taken, or None when there are no more."""
        chunks, ranks, reasons = self._neighbours.chunks[group], *self._static[group]
        while (place := self._places[group]) < len(chunks):
            chunk = int(chunks[place])
            reason = reasons[place] or self._reason_in_sequence(group, place, chunk)
            if not reason:
                return Negative(chunk, int(ranks[place]), float(self._neighbours.scores[group][place]))
            self.passed_over[reason] += 1
            self._places[group] += 1
        return None

    def take(self, group: int, negative: Negative) -> None:
        """Put into the sequence what :meth:`next` has just returned for the group."""
        place = self._places[group]
        self._places[group] += 1
        if self._repeats:
            return
        keys, signatures = self._fingerprints(group, place)
        self._used.add(negative.chunk)
        self._fold_keys.add(int(keys[place % _BLOCK]))
        if self._filled == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty_like(self._signatures)])
        self._signatures[self._filled] = signatures[place % _BLOCK]
        self._filled += 1

    def _reason_in_sequence(self, group: int, place: int, chunk: int) -> str:
        if self._repeats:
            return ""
        if chunk in self._used:
            return "used"
        if self._config.max_reuse is not None and self._usage[chunk] >= self._config.max_reuse:
            return "max_reuse"
        keys, signatures = self._fingerprints(group, place)
        if int(keys[place % _BLOCK]) in self._fold_keys:
            return "copy"
        equal = (self._signatures[: self._filled] == signatures[place % _BLOCK]).sum(axis=1)
        return "copy" if equal.max(initial=0) >= self._most_equal else ""

    def _fingerprints(self, group: int, place: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint16]]:
        block = place // _BLOCK
        if (group, block) not in self._blocks:
            chunks = self._neighbours.chunks[group][block * _BLOCK : (block + 1) * _BLOCK]
            self._blocks[group, block] = self._pool.fold_keys(chunks), self._pool.signatures(chunks)
        return self._blocks[group, block]

    def _static_reasons(self, group: int) -> tuple[Ordinals, list[str]]:
        """Ranks, and for every candidate the first reason that does not depend on the sequence so far ("" for none)."""
        chunks, scores = self._neighbours.chunks[group], self._neighbours.scores[group]
        own = self._pool.documents_of(chunks) == self._neighbours.root
        ranks = np.cumsum(~own).astype(np.int64)
        if self._repeats:
            return np.arange(1, len(chunks) + 1), [""] * len(chunks)
        config, never = self._config, np.zeros(len(chunks), dtype=bool)
        by_reason = {
            "own_document": own,
            "no_vector": self._without_vector(chunks, scores),
            "range_min": ranks <= config.range_min,
            "range_max": never if config.range_max is None else ranks > config.range_max,
            "max_score": never if config.max_score is None else scores > config.max_score,
            "min_score": never if config.min_score is None else scores < config.min_score,
            "relative_margin": never if config.relative_margin is None else scores > self._margin(group),
        }
        codes = np.select([by_reason[name] for name in _STATIC], range(1, len(_STATIC) + 1), default=0)
        return ranks, [_STATIC[code - 1] if code else "" for code in codes.tolist()]

    def _without_vector(self, chunks: Ordinals, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        zero = np.flatnonzero(scores == 0)  # orthogonal to the meta-chunk, or nothing at all
        result = np.zeros(len(chunks), dtype=bool)
        result[zero] = ~self._pool.vectors.take(chunks[zero]).any(axis=1)
        return result

    def _margin(self, group: int) -> float:
        vectors = self._pool.vectors.take(self._neighbours.meta_chunks).astype(np.float64)
        similar = np.delete(vectors @ vectors[group], group)
        return float(similar.max()) * (1 - (self._config.relative_margin or 0.0))
