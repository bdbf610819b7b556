"""JSON Lines: plain, gzip or Zstandard, one document a line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from nextlong.config import CorpusConfig
from nextlong.corpus.decompression import DamagedFile, blocks_of
from nextlong.corpus.rows import MOST_DOCUMENT_BYTES, document_from_row, utf8_problem
from nextlong.corpus.source import Source
from nextlong.records import Document, Reject

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")

# A value takes some 60 bytes of memory, and two bytes of JSON; in a short line that is little all the same.
_LONG_LINE_BYTES = 1 << 23
_MOST_VALUES = 1 << 23
_BETWEEN_VALUES = (b",", b"[", b"{")

# What JSON calls white space, less the line feed.
_JSON_SPACE = b" \t\r"


def read_jsonl(source: Source, config: CorpusConfig) -> Iterator[Document | Reject]:
    """The rows of a JSON Lines file, in order; a row is a line, blank lines are counted and passed over.

    Memory is bounded by the longest line, which may have 256 MiB. A file that ends early or is damaged gives what stands
    before the damage, then one reject.

    Raises:
        NextlongError: the file cannot be opened or the storage fails.
    """
    for row, values in json_rows(source.location):
        yield values if isinstance(values, Reject) else document_from_row(row, values, config)


def json_rows(location: str) -> Iterator[tuple[int, dict[str, object] | Reject]]:
    """The objects of a JSON Lines file with their rows, or why a line is none; see :func:`read_jsonl`."""
    row = 0
    try:
        for line in _lines(blocks_of(location)):
            row += 1
            if line is None:
                yield row, Reject(row, f"the line has more than {MOST_DOCUMENT_BYTES >> 20} MiB")
                continue
            if row == 1:
                if line.startswith(UTF16_BOMS):
                    yield 0, Reject(0, "the file is UTF-16, not UTF-8; convert it, for example with iconv")
                    return
                line = line.removeprefix(UTF8_BOM)
            line = line.strip(_JSON_SPACE)
            if line:
                yield row, _parsed(row, line)
    except DamagedFile as damage:
        # Zero rows read may still be a good header: the damage is the file's, not the first row's.
        place = row + 1 if row else 0
        yield place, Reject(place, f"{damage} after row {row:,}; what follows is lost")


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes | None]:
    """Lines without their line feed; None for one that is too long to be a document's.

    A line that is cut by damage is not given: ``blocks`` raises before it ends.
    """
    open_line: list[bytes] = []
    held = 0
    for block in blocks:
        head, *rest = block.split(b"\n")
        held += len(head)
        open_line.append(head)
        if held > MOST_DOCUMENT_BYTES:
            open_line = []
        if rest:
            line, open_line = b"".join(open_line), [rest.pop()]
            yield None if held > MOST_DOCUMENT_BYTES else line
            held = len(open_line[0])
            yield from rest
    last = b"".join(open_line)
    if last or held > MOST_DOCUMENT_BYTES:
        yield None if held > MOST_DOCUMENT_BYTES else last


def _fast(line: bytes) -> object:
    """The value of a line of plain JSON, as ``json`` gives it; None where ``json`` has to say what the line is."""
    # msgspec refuses more than json does (half surrogates, NaN, numbers beyond those of a float) and reads the rest alike.
    try:
        return msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _parsed(row: int, line: bytes) -> dict[str, object] | Reject:
    if len(line) > _LONG_LINE_BYTES and sum(map(line.count, _BETWEEN_VALUES)) > _MOST_VALUES:
        return Reject(row, f"the line has more than {_MOST_VALUES:,} values")
    try:
        values = _fast(line)
        if values is None:
            # Not json.loads(line): it takes bytes with NULs for UTF-16 or UTF-32.
            values = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Reject(row, f"the line {utf8_problem(error)}")
    except json.JSONDecodeError as error:
        return Reject(row, f"broken JSON at column {error.colno}: {error.msg}")
    except RecursionError:
        return Reject(row, "broken JSON: nested too deeply")
    except ValueError:  # the one that json raises beside JSONDecodeError: int() has a limit of digits
        return Reject(row, "broken JSON: a number has too many digits")
    if not isinstance(values, dict):
        hint = "; this is JSON, not JSON Lines" if row == 1 and isinstance(values, list) else ""
        return Reject(row, f"the line is not a JSON object{hint}")
    return values
