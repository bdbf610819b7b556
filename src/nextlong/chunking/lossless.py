"""The default chunker: the paper's grouping, made lossless and with a cap."""

from __future__ import annotations

from itertools import accumulate

from nextlong.chunking.chunk import Chunk, chunks_between, is_blank
from nextlong.chunking.grouping import Span, absorb_blank, group
from nextlong.chunking.splitting import split_span


def chunk_lossless(text: str, granularity: int, cap: int) -> list[Chunk]:
    r"""Cut a document into chunks that give it back: ``"".join(c.text + c.glue for c in chunks) == text``.

    - A chunk holds at most ``granularity`` characters, newlines not counted, and at most ``cap`` with them. A paragraph
      between the two is a chunk of its own; one over the cap is split (:func:`~nextlong.chunking.splitting.split_span`)
      and its parts are grouped like paragraphs, with glue ``""`` between them.
    - No chunk is only white space, unless the document is, or has ``cap + 1`` characters in a row of which fewer than two
      are not white space. A group without text goes to a neighbour with room, or takes text from the chunk before it.
    - The chunks are those of the paper wherever the paper's are lossless, within the cap and not blank.

    Args:
        text: the document.
        granularity: characters, at least 1.
        cap: characters, at least ``granularity``.
    """
    if len(text) <= granularity:
        return [Chunk(text, 0, "")]
    spans = _grouped(text, granularity, cap) if _is_within(text, cap) else _grouped_parts(text, granularity, cap)
    chunks = chunks_between(text, spans)
    if not any(is_blank(chunk.text) for chunk in chunks):
        return chunks

    def split(span: Span) -> list[Span]:
        return [Span(start, end, end - start) for start, end in split_span(text, span.start, span.end, cap)]

    sized = [Span(start, end, end - start) for start, end in spans]
    return chunks_between(text, [(span.start, span.end) for span in absorb_blank(text, sized, cap, split)])


def _is_within(text: str, cap: int) -> bool:
    """Whether no paragraph has more characters than the cap."""
    start = 0
    while start + cap < len(text):
        newline = text.rfind("\n", start, start + cap + 1)
        if newline < 0:
            return False
        start = newline + 1
    return True


def _grouped(text: str, granularity: int, cap: int) -> list[tuple[int, int]]:
    """Start and end offsets of :func:`~nextlong.chunking.grouping.group`'s groups, where no paragraph is over the cap.

    Paragraphs are not looked at one by one: newlines are counted and searched.
    """
    spans = []
    start, length = 0, len(text)
    while length - start > granularity:
        # As far as a group may reach: ``granularity`` characters besides newlines, and all newlines after these.
        most = min(start + cap, length)
        reach = min(start + granularity, most)
        newlines = text.count("\n", start, reach)
        while (further := min(start + granularity + newlines, most)) > reach:
            newlines += text.count("\n", reach, further)
            reach = further
        while reach < most and text[reach] == "\n":
            reach += 1
        end = length
        if reach < length:
            end = text.rfind("\n", start, reach + 1)
            if end < 0:  # the group's only paragraph has more than ``granularity`` characters
                end = text.find("\n", reach)
                end = length if end < 0 else end
        spans.append((start, end))
        if end == length:
            return spans
        start = end + 1
    return [*spans, (start, length)]


def _grouped_parts(text: str, granularity: int, cap: int) -> list[tuple[int, int]]:
    """The same where paragraphs over the cap are split, and their parts grouped like paragraphs."""
    lengths, ends = _split_paragraphs(text, list(map(len, text.split("\n"))), cap)
    groups = group(list(accumulate(lengths)), ends, granularity, cap)
    return [(ends[first] - lengths[first], ends[stop - 1]) for first, stop in groups]


def _split_paragraphs(text: str, lengths: list[int], cap: int) -> tuple[list[int], list[int]]:
    """Lengths and end offsets of the paragraphs, those over the cap replaced by their parts."""
    new_lengths, ends = [], []
    start = 0
    for length in lengths:
        for part_start, part_end in split_span(text, start, start + length, cap):
            new_lengths.append(part_end - part_start)
            ends.append(part_end)
        start += length + 1
    return new_lengths, ends
