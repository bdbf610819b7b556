"""Texts of evaluation data: every string in JSON, JSON Lines and Parquet at any depth, and files of text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from nextlong.config import CorpusConfig
from nextlong.corpus import Source, read_source
from nextlong.corpus.decompression import DamagedFile, blocks_of
from nextlong.corpus.jsonl import UTF8_BOM, json_rows
from nextlong.corpus.parquet import table_rows
from nextlong.corpus.rows import MOST_DOCUMENT_BYTES
from nextlong.errors import NextlongError
from nextlong.public_text import printable
from nextlong.records import Reject

# A path in a hostile file may have thousands of keys of any length.
_MOST_CHARACTERS_OF_A_NAME = 200
_MAYBE_ONE_VALUE = re.compile(r"\.json(?:\.gz|\.zst|\.zstd)?$", re.IGNORECASE)
_HINT = "Mend it or leave it out: evaluation data that is not read is not looked for."


@dataclass(frozen=True, slots=True)
class EvaluationText:
    """A text of evaluation data.

    Attributes:
        source: name of its file.
        row: line or row in it, 1-based; of a JSON file that is a list, its element; of text, the file in its folder.
        name: the path of keys that leads to it; of a file of text its name.
        text: the whole text.
    """

    source: str
    row: int
    name: str
    text: str


def evaluation_texts(source: Source, fields: Sequence[str]) -> Iterator[EvaluationText]:
    """All texts of a source in order.

    Args:
        source: a file, or a batch of files of text.
        fields: take strings below keys of these names only; empty takes all. A file of text has none.

    Raises:
        NextlongError: a row cannot be read, or there is no such field in any row.
    """
    if source.kind == "text":
        for record in read_source(source, CorpusConfig()):
            if isinstance(record, Reject):
                raise NextlongError(f"The evaluation data {source.name}: {record.reason}.", _HINT)
            yield EvaluationText(source.name, record.row, record.id or "", record.text)
        return
    if source.kind not in ("jsonl", "parquet"):
        raise NextlongError(
            f"Evaluation data is read from files, and {source.name} is none.", "Save it as JSON Lines first."
        )
    found = not fields
    for row, values in _rows(source):
        for name, text, is_below in _strings(values, frozenset(fields)):
            if is_below or not fields:
                found = True
                yield EvaluationText(source.name, row, name, text)
    if not found:
        raise NextlongError(
            f"The evaluation data {source.name} has no text in {', '.join(printable(field) for field in fields)}.",
            "Name other fields with --evaluation-field, or leave the option out to take all.",
        )


def _rows(source: Source) -> Iterator[tuple[int, Any]]:
    if source.kind == "parquet":
        rows: Iterator[tuple[int, Any]] = table_rows(source)
    else:
        whole = _whole_json(source.location) if _MAYBE_ONE_VALUE.search(source.name) else None
        rows = json_rows(source.location) if whole is None else iter(whole)
    for row, values in rows:
        if isinstance(values, Reject):
            raise NextlongError(f"The evaluation data {source.name}, row {row}: {values.reason}.", _HINT)
        yield row, values


def _whole_json(location: str) -> list[tuple[int, Any]] | None:
    """The rows of a file that is one JSON value: a list's elements, else the value; None if it is JSON Lines, or damaged."""
    blocks: list[bytes] = []
    held = 0
    try:
        for block in blocks_of(location):
            blocks.append(block)
            held += len(block)
            if held > MOST_DOCUMENT_BYTES:
                return None
        value = msgspec.json.decode(b"".join(blocks).removeprefix(UTF8_BOM))
    except (DamagedFile, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return list(enumerate(value, start=1)) if isinstance(value, list) else [(1, value)]


def _strings(value: Any, fields: frozenset[str]) -> Iterator[tuple[str, str, bool]]:
    """Path, text, and whether it is below one of the fields, of each string in a value, in order."""
    waiting: list[tuple[str, Any, bool]] = [("", value, False)]
    while waiting:
        path, each, is_below = waiting.pop()
        if isinstance(each, str):
            yield path, each, is_below
        elif isinstance(each, dict):
            inner = [
                (_cut(f"{path}.{key}" if path else str(key)), one, is_below or key in fields) for key, one in each.items()
            ]
            waiting += reversed(inner)
        elif isinstance(each, list | tuple):
            waiting += reversed([(_cut(f"{path}[{place}]"), one, is_below) for place, one in enumerate(each)])


def _cut(path: str) -> str:
    path = path.encode("utf-8", "backslashreplace").decode()
    return path if len(path) <= _MOST_CHARACTERS_OF_A_NAME else f"{path[: _MOST_CHARACTERS_OF_A_NAME - 1]}…"
