"""The default chunker: the paper's grouping, made lossless and with a cap."""

from __future__ import annotations

from itertools import accumulate, count
from operator import add

from nextlong.chunking.chunk import Chunk, chunks_between
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
    lengths = list(map(len, text.split("\n")))
    if max(lengths) <= cap:
        ends = list(map(add, accumulate(lengths), count()))
    else:
        lengths, ends = _split_paragraphs(text, lengths, cap)
    spans = []
    for first, stop in group(list(accumulate(lengths)), ends, granularity, cap):
        start, end = ends[first] - lengths[first], ends[stop - 1]
        spans.append(Span(start, end, end - start))

    def split(span: Span) -> list[Span]:
        return [Span(start, end, end - start) for start, end in split_span(text, span.start, span.end, cap)]

    return chunks_between(text, [(span.start, span.end) for span in absorb_blank(text, spans, cap, split)])


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
