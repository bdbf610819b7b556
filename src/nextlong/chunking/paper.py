"""The authors' released chunker, byte for byte (paper §3.1)."""

from __future__ import annotations

from itertools import accumulate, count
from operator import add

from nextlong.chunking.chunk import Chunk
from nextlong.chunking.grouping import group


def paper_chunks(text: str, granularity: int) -> list[str]:
    r"""The texts of the chunks that the released chunker makes.

    Paragraphs (split at ``"\n"``) are appended in order while their characters, newlines not counted, are at most
    ``granularity``; a longer paragraph stays whole; a group of empty paragraphs is dropped when the paragraph after it does
    not fit; ``""`` gives one empty chunk.
    """
    return [text[start:end] for start, end in _spans(text, granularity)]


def chunk_as_paper(text: str, granularity: int) -> list[Chunk]:
    r"""The same as chunks with their offsets. Glue is ``"\n"`` also where a group of empty paragraphs was dropped."""
    spans = _spans(text, granularity)
    last = len(spans) - 1
    return [Chunk(text[start:end], start, "\n" if number < last else "") for number, (start, end) in enumerate(spans)]


def _spans(text: str, granularity: int) -> list[tuple[int, int]]:
    content = list(accumulate(map(len, text.split("\n"))))
    ends = list(map(add, content, count()))
    spans = []
    before = 0
    for first, stop in group(content, ends, granularity, cap=len(text)):
        after = content[stop - 1]
        if after > before or stop == len(content):
            spans.append((before + first, ends[stop - 1]))
        before = after
    return spans
