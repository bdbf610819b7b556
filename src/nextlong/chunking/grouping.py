"""Greedy grouping of paragraphs (paper §3.1), in whatever unit lengths are counted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nextlong.chunking.chunk import is_blank


class Span(NamedTuple):
    """A run of text: character offsets, and its size in the unit of the chunker's cap."""

    start: int
    end: int
    size: int


def group(content: Sequence[int], weight: Sequence[int], granularity: int, cap: int) -> list[tuple[int, int]]:
    """Group consecutive paragraphs: a group closes when the next paragraph would push it over a limit.

    Args:
        content: for each paragraph, the length of all paragraphs up to and with it, newlines not counted.
        weight: the same with the newlines between them counted.
        granularity: the most content of a group.
        cap: the most weight of a group.

    Returns:
        (first, stop) paragraph numbers of every group. A paragraph over a limit is a group of its own.
    """
    groups = []
    first, before, count = 0, 0, len(content)
    while first < count:
        stop = max(bisect_right(content, before + granularity, first), first + 1)
        heaviest = weight[first] - (content[first] - before) + cap
        if weight[stop - 1] > heaviest:
            stop = max(bisect_right(weight, heaviest, first, stop), first + 1)
        groups.append((first, stop))
        first, before = stop, content[stop - 1]
    return groups


def absorb_blank(text: str, spans: list[Span], cap: int, split: Callable[[Span], list[Span]]) -> list[Span]:
    """Give every white-space-only span to a neighbour, so that no chunk is without text.

    A blank run goes to the span before it if both fit in the cap, else to the span after it; where neither has room,
    the span before it and the blank run are split anew, which moves some text into the part with the blanks.
    A document that is all white space stays as it is.

    Args:
        text: the document.
        spans: all of the document, in order.
        cap: the most size of a span.
        split: cuts a span over the cap.
    """
    blank = [is_blank(text[span.start : span.end]) for span in spans]
    if all(blank) or not any(blank):
        return spans
    runs: list[tuple[Span, bool]] = []
    for span, span_blank in zip(spans, blank, strict=True):
        if runs and span_blank and runs[-1][1]:
            runs[-1] = (_joined(runs[-1][0], span), True)
        else:
            runs.append((span, span_blank))
    kept: list[Span] = []
    leading: Span | None = None  # a blank run that goes to the span after it
    for number, (span, span_blank) in enumerate(runs):
        if not span_blank:
            whole = span if leading is None else _joined(leading, span)
            kept += split(whole) if whole.size > cap else [whole]
            leading = None
        elif kept and _joined(kept[-1], span).size <= cap:
            kept[-1] = _joined(kept[-1], span)
        elif number + 1 < len(runs) and (not kept or _joined(span, runs[number + 1][0]).size <= cap):
            leading = span
        else:
            kept += split(_joined(kept.pop(), span))
    return kept


def _joined(first: Span, second: Span) -> Span:
    newline = second.start - first.end
    return Span(first.start, second.end, first.size + newline + second.size)
