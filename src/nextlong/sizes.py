"""Sizes as people write and read them: ``128K`` tokens, ``4B`` tokens, ``1.5 GiB``, ``3m 20s``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_NUMBER = re.compile(r"\s*(\d[\d_,]*(?:\.\d+)?)\s*([kmgbt]?)\s*", re.IGNORECASE)

# A context length is a power of two in this field: 128K is 131,072.
_LENGTH_UNITS = {"": 1, "k": 2**10, "m": 2**20}
# An amount of tokens or documents is decimal: 4B tokens are 4,000,000,000.
_COUNT_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}


def _parse(value: object, units: dict[str, int], kind: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is not a {kind}")
    if isinstance(value, int):
        return value
    match = _NUMBER.fullmatch(value)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{value!r} is not a {kind}; write it like {'128K or 131072' if kind == 'length' else '100M'}")
    amount = float(match[1].replace("_", "").replace(",", "")) * units[match[2].lower()]
    if amount != int(amount):
        raise ValueError(f"{value!r} is not a whole number")
    return int(amount)


def parse_length(value: object) -> int:
    """A context length in tokens, or a granularity: ``"128K"`` is 131,072, ``"1M"`` is 1,048,576.

    Raises:
        ValueError: not a length.
    """
    return _parse(value, _LENGTH_UNITS, "length")


def parse_count(value: object) -> int:
    """An amount of tokens, documents or roots: ``"100M"`` is 100,000,000, ``"4B"`` is 4,000,000,000.

    Raises:
        ValueError: not a count.
    """
    return _parse(value, _COUNT_UNITS, "count")


Length = Annotated[int, BeforeValidator(parse_length), Field(gt=0)]
Count = Annotated[int, BeforeValidator(parse_count), Field(gt=0)]


def format_length(tokens: int) -> str:
    """``131072`` as ``128K``; what is no multiple of 1,024 in digits."""
    for unit, size in (("M", 2**20), ("K", 2**10)):
        if tokens and tokens % size == 0:
            return f"{tokens // size}{unit}"
    return f"{tokens:,}"


def format_count(amount: float) -> str:
    """``100000000`` as ``100.0M``; below ten thousand in digits."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if amount >= 10 * size or (amount >= size and unit != "K"):
            return f"{amount / size:.1f}{unit}"
    return f"{amount:,.0f}"


def format_bytes(amount: float) -> str:
    """``1610612736`` as ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """``200.4`` as ``3m 20s``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s"
