"""From one row of a corpus to a document, or to the reason why it is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nextlong.config import CorpusConfig
from nextlong.errors import NextlongError
from nextlong.public_text import printable
from nextlong.records import Document, Reject

DEFAULT_ID_COLUMN = "id"

# What one document may have, as bytes of its line or file: 50 million characters of any script. More is no document, and a
# few KiB of compressed zeros can be any number of GiB.
MOST_DOCUMENT_BYTES = 1 << 28
# An id stands beside every chunk that is used.
MOST_CHARACTERS_OF_AN_ID = 4096

# A hostile row may have thousands of keys of any length; a reason stays readable.
MOST_COLUMNS_LISTED = 20
MOST_CHARACTERS_OF_A_COLUMN = 40


def document_from_row(row: int, values: Mapping[str, object], config: CorpusConfig) -> Document | Reject:
    """The document in ``values``, the columns of the 1-based ``row``, or why it cannot be one.

    Bytes count as UTF-8 text. Integers become decimal ids. A row without a usable id is rejected only when the
    configuration names the id column.
    """
    if config.text_column not in values:
        return Reject(row, f"no column {quoted(config.text_column)}; the row has {listed(values)}")
    text, problem = _text(values[config.text_column])
    if problem:
        return Reject(row, f"the text in column {quoted(config.text_column)} {problem}")
    if problem := blank_problem(text):
        return Reject(row, f"the text in column {quoted(config.text_column)} {problem}")
    if config.id_column is None:
        identifier = "" if config.text_column == DEFAULT_ID_COLUMN else _id(values.get(DEFAULT_ID_COLUMN))[0]
        return Document(row, text, identifier or None)
    if config.id_column not in values:
        return Reject(row, f"no id column {quoted(config.id_column)}; the row has {listed(values)}")
    identifier, problem = _id(values[config.id_column])
    if problem:
        return Reject(row, f"the id in column {quoted(config.id_column)} {problem}")
    return Document(row, text, identifier)


def blank_problem(text: str) -> str:
    """What is wrong with a text that holds nothing to read; empty when it does."""
    if not text:
        return "is empty"
    return "is only white space" if text.isspace() else ""


def utf8_problem(error: UnicodeDecodeError) -> str:
    """Where text stops being UTF-8."""
    return f"is not UTF-8: byte {error.start} (counted from 0) is 0x{error.object[error.start]:02x}"


def quoted(name: str) -> str:
    """A column's name for a message: in backticks, cut when long, always valid Unicode without control characters."""
    readable = printable(name.encode("utf-8", "backslashreplace").decode("utf-8"), lines=False)
    cut = readable if len(readable) <= MOST_CHARACTERS_OF_A_COLUMN else readable[: MOST_CHARACTERS_OF_A_COLUMN - 1] + "…"
    return f"`{cut}`"


def listed(names: Iterable[str]) -> str:
    """Column names for a message."""
    every = list(names)
    shown = ", ".join(quoted(name) for name in every[:MOST_COLUMNS_LISTED])
    rest = f" and {len(every) - MOST_COLUMNS_LISTED:,} more" if len(every) > MOST_COLUMNS_LISTED else ""
    return shown + rest or "no columns"


def column_error(source_name: str, column: str, option: str, columns: Iterable[str]) -> NextlongError:
    """The error for a table that lacks a column that the configuration names."""
    return NextlongError(
        f"{source_name} has no column {quoted(column)}; it has {listed(columns)}.",
        f"Name the right column with `{option}`.",
    )


def _text(value: object) -> tuple[str, str]:
    """The text of a value and "", or "" and what is wrong with it."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8"), ""
        except UnicodeDecodeError as error:
            return "", utf8_problem(error)
    if value is None:
        return "", "is null"
    if not isinstance(value, str):
        return "", f"is {_kind(value)}, not a string"
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            return "", f"is not valid Unicode: character {error.start} (counted from 0) is half of a surrogate pair"
    return value, ""


def _id(value: object) -> tuple[str, str]:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str | bytes):
        return "", f"is {_kind(value)}, not a string or an integer"
    identifier, problem = _text(value)
    problem = problem or blank_problem(identifier)
    if len(identifier) > MOST_CHARACTERS_OF_AN_ID:
        problem = f"has {len(identifier):,} characters, more than {MOST_CHARACTERS_OF_AN_ID:,}"
    return ("", problem) if problem else (identifier, "")


def _kind(value: object) -> str:
    """A value's type in the words of JSON."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"of type {type(value).__name__}"
