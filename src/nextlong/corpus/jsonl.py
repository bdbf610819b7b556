"""JSON Lines: plain, gzip or Zstandard, one document a line."""

from __future__ import annotations

import json
from collections.abc import Iterator

from nextlong.config import CorpusConfig
from nextlong.corpus.decompression import DamagedFile, blocks_of
from nextlong.corpus.rows import document_from_row, utf8_problem
from nextlong.corpus.source import Source
from nextlong.records import Document, Reject

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")

# What JSON calls white space, less the line feed.
_JSON_SPACE = b" \t\r"


def read_jsonl(source: Source, config: CorpusConfig) -> Iterator[Document | Reject]:
    """The rows of a JSON Lines file, in order; a row is a line, blank lines are counted and passed over.

    Memory is bounded by the longest line. A file that ends early or is damaged gives what stands before the damage,
    then one reject.

    Raises:
        NextlongError: the file cannot be opened or the storage fails.
    """
    row = 0
    try:
        for line in _lines(blocks_of(source.location)):
            row += 1
            if row == 1:
                if line.startswith(UTF16_BOMS):
                    yield Reject(0, "the file is UTF-16, not UTF-8; convert it, for example with iconv")
                    return
                line = line.removeprefix(UTF8_BOM)
            line = line.strip(_JSON_SPACE)
            if line:
                yield _parsed(row, line, config)
    except DamagedFile as damage:
        # Zero rows read may still be a good header: the damage is the file's, not the first row's.
        yield Reject(row + 1 if row else 0, f"{damage} after row {row:,}; what follows is lost")


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their line feed. A line that is cut by damage is not given: ``blocks`` raises before it ends."""
    open_line: list[bytes] = []
    for block in blocks:
        head, *rest = block.split(b"\n")
        open_line.append(head)
        if rest:
            yield b"".join(open_line)
            open_line = [rest.pop()]
            yield from rest
    last = b"".join(open_line)
    if last:
        yield last


def _parsed(row: int, line: bytes, config: CorpusConfig) -> Document | Reject:
    try:
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
    return document_from_row(row, values, config)
