"""Figures of a sample with their 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

# The percentile bootstrap (Efron 1979) over whole sequences: chunks of one sequence are not independent of each other.
_RESAMPLES = 1000
_INTERVAL = (2.5, 97.5)
# Drawn at once: 32 MiB of 64-bit numbers.
_DRAWN = 1 << 22


@dataclass(frozen=True)
class Estimate:
    """A figure of a sample of sequences.

    Attributes:
        value: of the sample.
        low, high: the 95 % interval of what other samples of as many sequences would give. It knows nothing of sequences
            that could not be drawn; of very few sequences it is too narrow, and of one it is no interval.
    """

    value: float
    low: float
    high: float


def ratio(numerators: npt.ArrayLike, denominators: npt.ArrayLike, seed: int = 0) -> Estimate | None:
    """The sum of some numbers over the sum of others, one of each for every sequence; None where the latter is 0.

    Args:
        numerators, denominators: shape ``(sequences,)``.
        seed: of the resampling.
    """
    above, below = (np.asarray(values, dtype=np.float64) for values in (numerators, denominators))
    if not len(above) or not below.sum():
        return None
    counts = len(above)
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWN // counts)
    resampled: list[Numbers] = []
    for start in range(0, _RESAMPLES, at_once):
        drawn = generator.integers(0, counts, (min(at_once, _RESAMPLES - start), counts))
        sums = below[drawn].sum(axis=1)
        # A resample may hold nothing to divide by; it says nothing then.
        resampled.append(above[drawn].sum(axis=1)[sums != 0] / sums[sums != 0])
    low, high = np.percentile(np.concatenate(resampled), _INTERVAL)
    return Estimate(float(above.sum() / below.sum()), float(low), float(high))


def mean(values: npt.ArrayLike, seed: int = 0) -> Estimate | None:
    """The mean of one number for every sequence; None of none."""
    numbers = np.asarray(values, dtype=np.float64)
    return ratio(numbers, np.ones(len(numbers)), seed)
