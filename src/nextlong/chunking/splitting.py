"""Where a text that is too long for one chunk is cut."""

from __future__ import annotations

import re
import unicodedata

_TEXT = re.compile(r"\S")
_PARAGRAPH_END = re.compile(r".*\n(?=[^\S\n]*\S)", re.DOTALL)
_WORD_END = re.compile(r".*\s(?=\S)", re.DOTALL)
# Chinese and Japanese sentences end without white space; closing quotes and brackets belong to the sentence.
_CLOSERS = r"[\"'”’»)\]}」』）】》]*"  # noqa: RUF001
_SENTENCE_END = re.compile(rf"(?:[.!?…]{_CLOSERS}\s+|[。！？｡]{_CLOSERS}\s*)(?=\S)")  # noqa: RUF001

_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# Longer stacks of combining marks are no language's; cutting one must not cost more.
_LONGEST_CLUSTER = 32


def split_span(text: str, start: int, end: int, cap: int) -> list[tuple[int, int]]:
    r"""Cut ``text[start:end]`` into parts of at most ``cap`` characters.

    Each cut is at the last paragraph end, else sentence end, else white space that leaves the part at least half of the
    cap, else at the cap (before a character with its combining marks, not inside). White space stays with the part before
    it; the ``"\n"`` right before a cut is in no part. As long as every ``cap + 1`` characters in a row hold two that are not
    white space, every part holds one.

    Args:
        text: the document.
        start: offset of the first character.
        end: offset after the last character.
        cap: the most characters of a part, at least 1.

    Returns:
        (start, end) offsets of the parts, in order; the text between two parts is ``""`` or ``"\n"``.
    """
    parts = []
    while end - start > cap:
        cut = _cut(text, start, cap)
        parts.append((start, cut - 1 if text[cut - 1] == "\n" else cut))
        start = cut
    parts.append((start, end))
    return parts


def _cut(text: str, start: int, cap: int) -> int:
    limit = start + cap
    first = _TEXT.search(text, start, limit)
    if first is None:
        return _whole_line_break(text, start, limit)
    # A part of less than half of the cap is worse than a cut at a lesser boundary.
    lowest = max(start + cap // 2, first.end())
    if paragraph := _PARAGRAPH_END.match(text, lowest, limit + 1):
        return paragraph.end()
    if sentences := list(_SENTENCE_END.finditer(text, lowest, limit + 1)):
        return sentences[-1].end()
    if word := _WORD_END.match(text, lowest, limit + 1):
        return word.end()
    if not text[limit].isspace():
        return _whole_character(text, limit, first.end())
    # White space runs across the limit: some text must stay with it, or the rest could be blank.
    if word := _WORD_END.match(text, first.end(), limit + 1):
        return word.end()
    last = start + len(text[start:limit].rstrip()) - 1
    return _whole_character(text, last, first.end()) if last >= first.end() else _whole_line_break(text, start, limit)


def _whole_line_break(text: str, start: int, cut: int) -> int:
    return cut - 1 if cut - start > 1 and text[cut - 1 : cut + 1] == "\r\n" else cut


def _whole_character(text: str, cut: int, lowest: int) -> int:
    for place in range(cut, max(lowest, cut - _LONGEST_CLUSTER) - 1, -1):
        if not _continues_character(text, place):
            return place
    return cut


def _continues_character(text: str, place: int) -> bool:
    following = text[place]
    return (
        following == _JOINER
        or text[place - 1] == _JOINER
        or ord(following) in _SKIN_TONES
        or unicodedata.category(following).startswith("M")
    )
