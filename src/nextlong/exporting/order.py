"""Which sequences stand in which row: pure functions of numbers, weights and a seed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor, gcd, lcm, log10

import numpy as np
import xxhash

from nextlong.errors import UsageError
from nextlong.pool.pool import Ordinals
from nextlong.sizes import format_length


def sequences_in_a_row(sequence: int, row: int, whose: str) -> int:
    """How many sequences of ``sequence`` tokens a row of ``row`` tokens takes, exactly.

    Args:
        sequence: T.
        row: L.
        whose: what has these sequences, for the error: ``data`` or ``the part data-64k``.

    Raises:
        UsageError: rows and sequences do not go together.
    """
    if row % sequence == 0:
        return row // sequence
    what = f"A row of {row:,} tokens cannot be made of the sequences of {whose}, which have {sequence:,} tokens: "
    if row == sequence + 1 or row % sequence == 1:
        raise UsageError(
            what + "Megatron reads one token of the next row itself; rows of T+1 would drift by one a sample.",
            f"Leave --length away, or give {sequence:,} or a multiple of it.",
        )
    if row < sequence:
        raise UsageError(
            what + "cutting them would drop meta-chunks.",
            f"Make a dataset of that length instead: nextlong synthesize POOL --out FOLDER --length {format_length(row)} …",
        )
    raise UsageError(
        what + f"{row:,} is no multiple of that, so the last sequence of a row would be cut and every later one shift.",
        f"Give a multiple: {sequence * (row // sequence):,} or {sequence * (row // sequence + 1):,}.",
    )


def whole_weights(weights: Sequence[float | str]) -> list[int]:
    """Weights as whole numbers in the same proportions, as small as they can be: 0.5 and 1 as 1 and 2."""
    fractions = [Fraction(str(weight)) for weight in weights]
    scale = lcm(*(fraction.denominator for fraction in fractions))
    whole = [int(fraction * scale) for fraction in fractions]
    common = gcd(*whole)
    return [weight // common for weight in whole]


def interleaved(weights: Sequence[int]) -> Iterator[int]:
    """The part of each row, without end.

    Of every prefix of the rows each part has its share to within less than one row: after k rows, part i of weight w of W
    has more than k·w/W − 1 and less than k·w/W + 1 of them. The rule: row j of a part may come when the part is not ahead
    of its share, and of those that may, the one comes first that must be there soonest to be on time (earliest deadline
    first, which keeps every deadline since the shares add up to one).
    """
    total = sum(weights)
    counts = [0] * len(weights)
    row = 0
    while True:
        ready = [part for part, weight in enumerate(weights) if counts[part] * total // weight <= row]
        part = min(ready, key=lambda part: -(-(counts[part] + 1) * total // weights[part]))
        yield part
        counts[part] += 1
        row += 1


def mixed(weights: Sequence[int], rows_of: Sequence[int], wanted: int | None) -> list[int]:
    """The part of each row, as :func:`interleaved`, until a part is used up or there are ``wanted`` rows.

    Args:
        weights: of the parts.
        rows_of: how many rows each part can give.
        wanted: the most rows; None for as many as there can be.
    """
    counts = [0] * len(weights)
    rows: list[int] = []
    for part in interleaved(weights):
        if len(rows) == wanted or counts[part] == rows_of[part]:
            break
        counts[part] += 1
        rows.append(part)
    return rows


def least_weight(weights: Sequence[float], part: int, rows_of: Sequence[int], wanted: int | None) -> float | None:
    """The least weight with which a part stands in the first rows of a mix, the others' unchanged; to two digits.

    Args:
        weights: of the parts; with its own the part is in no row.
        part: its number.
        rows_of: how many rows each part can give.
        wanted: the most rows; None for as many as there can be.

    Returns:
        None if that takes more than the greatest weight of the others.
    """

    def written(step: int) -> str:  # 10e-1, 11e-1, … 99e-1, 10e0, …
        return f"{10 + step % 90}e{step // 90 - 1}"

    def stands(step: int) -> bool:
        tried: list[float | str] = [written(step) if number == part else weight for number, weight in enumerate(weights)]
        return part in mixed(whole_weights(tried), rows_of, wanted)

    most = max(weight for number, weight in enumerate(weights) if number != part)
    steps = range(90 * floor(log10(weights[part])), 90 * floor(log10(most)) + 91)
    # A greater weight comes no later.
    found = bisect_left(steps, True, key=stands)
    return float(written(steps[found])) if found < len(steps) else None


def drawn(seed: int, part: str, ids: Sequence[str]) -> Ordinals:
    """Positions in ``ids``, in the order in which a seed draws them.

    The place of a sequence depends on the seed, its part and its own id alone. The part is in it so that two datasets that
    number their sequences alike, and may have the same root documents in the same order, do not go in step.

    Args:
        seed: of the mix.
        part: what the part is, a hash of its sequences. Not its name: a folder may be renamed.
        ids: of sequences of the part.
    """
    keys = [xxhash.xxh3_64_intdigest(f"{part}\n{identity}".encode(), seed=seed) for identity in ids]
    return np.argsort(np.array(keys, dtype=np.uint64), kind="stable")
