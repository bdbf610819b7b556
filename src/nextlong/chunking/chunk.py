"""What a chunker makes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple


class Chunk(NamedTuple):
    r"""A run of consecutive text of a document.

    Attributes:
        text: the chunk; ``document[start : start + len(text)]``.
        start: character offset in the document's text.
        glue: the document's text between this chunk and the next: ``"\n"`` or ``""``; ``""`` for the last.
    """

    text: str
    start: int
    glue: str


def is_blank(text: str) -> bool:
    """Whether a chunk holds nothing to embed: it is empty or only white space (``str.isspace``)."""
    return not text or text.isspace()


def chunks_between(text: str, spans: Iterable[tuple[int, int]]) -> list[Chunk]:
    """Chunks of a document from their (start, end) offsets, in order, with what stands between them as glue."""
    bounds = [*spans, (len(text), len(text))]
    return [Chunk(text[start:end], start, text[end:following]) for (start, end), (following, _) in pairwise(bounds)]
