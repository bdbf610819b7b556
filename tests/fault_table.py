"""Counts what the tests of faults did and how it ended; the table of `docs/faults.md` is made of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

# How a fault may end. Whatever is called the same was compared byte for byte.
SAME = "the same bytes, after the same command again"
ERROR = "a clear error; then the same bytes"
CLEAR = "a clear error"
RIGHT = "the same bytes"
FOUND = "`verify` names the file"
DELETED = "deleted, it is made anew: the same bytes"
REMADE = "made anew: the same bytes"
UNREAD = "not read: the same bytes"

_BEGIN, _END = "<!-- faults: begin -->", "<!-- faults: end -->"

_counts: dict[tuple[str, str], Counter[str]] = {}


def counted(fault: str, how: str, outcome: str, times: int = 1) -> None:
    """A fault was made so many times, and ended so: called by a test that has proved it."""
    _counts.setdefault((fault, how), Counter())[outcome] += times


def table() -> str:
    """What was counted so far, as Markdown."""
    lines = ["| fault | how it is made | times | outcome |", "|---|---|---:|---|"]
    for (fault, how), outcomes in sorted(_counts.items()):
        several = "; ".join(f"{times} times {end}" for end, times in outcomes.most_common())
        ends = next(iter(outcomes)) if len(outcomes) == 1 else several
        lines.append(f"| {fault} | {how} | {outcomes.total()} | {ends} |")
    total = sum(outcomes.total() for outcomes in _counts.values())
    return "\n".join([*lines, "", f"{total:,} faults in all."])


def write_table(path: Path) -> None:
    """Put the table into a document, between its marks."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the table: {_BEGIN} … {_END}")
    path.write_text(f"{before}{_BEGIN}\n{table()}\n{_END}{after}", encoding="utf-8")
