"""Many numbers in few: quantiles, and a histogram whose bins are the same for every dataset, for comparing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Bins of amounts: two an octave. Bins of cosine similarities are as wide as this.
_PER_OCTAVE = 2
_COSINE_STEP = 0.02


@dataclass(frozen=True)
class Bin:
    """A range of values, ``low`` included and ``high`` not, and how many lie in it."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Distribution:
    """What is known of many numbers.

    Attributes:
        count: how many they are.
        mean, least, low, median, high, most: the mean, the least, the quantiles 0.1, 0.5 and 0.9, and the largest; 0 where
            there are none.
        bins: a histogram, from the first bin that holds any to the last.
    """

    count: int
    mean: float
    least: float
    low: float
    median: float
    high: float
    most: float
    bins: list[Bin]


NOTHING = Distribution(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, [])


def of_amounts(values: npt.NDArray[np.generic]) -> Distribution:
    """Of lengths and other amounts, 0 or more: a bin for 0, then two for each doubling: [1, 2), [2, 2·√2), [2·√2, 4) …"""
    numbers = np.asarray(values, dtype=np.float64)
    octaves = int(np.floor(np.log2(max(1.0, numbers.max(initial=0.0))))) + 1
    powers = np.exp2(np.arange(octaves * _PER_OCTAVE + 1) / _PER_OCTAVE)
    powers[::_PER_OCTAVE] = np.round(powers[::_PER_OCTAVE])  # whole ones exactly
    # No whole number lies in [√2, 2).
    return _distribution(numbers, np.concatenate([np.zeros(1), np.delete(powers, 1)]))


def of_cosines(values: npt.NDArray[np.generic]) -> Distribution:
    """Of cosine similarities, which rounding may take a little out of [-1, 1]."""
    steps = round(1 / _COSINE_STEP) + 1
    edges = (np.arange(-steps, steps + 1) * _COSINE_STEP).astype(np.float64)
    return _distribution(np.asarray(values, dtype=np.float64), edges)


def _distribution(numbers: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> Distribution:
    if not len(numbers):
        return NOTHING
    counts = np.histogram(numbers, edges)[0]
    used = np.flatnonzero(counts)
    shown = slice(int(used[0]), int(used[-1]) + 1)
    bins = zip(edges[:-1][shown].tolist(), edges[1:][shown].tolist(), counts[shown].tolist(), strict=True)
    least, low, median, high, most = np.quantile(numbers, (0, 0.1, 0.5, 0.9, 1)).tolist()
    return Distribution(len(numbers), float(numbers.mean()), least, low, median, high, most, [Bin(*each) for each in bins])
