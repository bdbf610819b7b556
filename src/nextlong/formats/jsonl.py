"""JSON Lines of text with provenance, zstd-compressed: readable by anything, for any tokenizer."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import zstandard

from nextlong.errors import NextlongError
from nextlong.formats.protocol import Borders, Merges, Rows, WrittenRow

SUFFIXES = (".jsonl.zst",)
INDEX = None
DTYPES = ()
BORDERS: Borders = "none"
MERGES: Merges = "on request"
COLUMNS = {
    "id": "the sequence's id; the same row of `sequences/` has everything about it",
    "text": "the decoded tokens, without begin and end tokens",
    "domain": "how it was made",
    "spans": "what stands where, in tokens of the dataset's tokenizer",
}
LOADING = """from datasets import load_dataset

rows = load_dataset("json", data_files="{folder}/tokens/*.jsonl.zst", split="train")
print(rows[0]["text"][:1000])"""


# A line of 2M tokens and their spans has some 30 MB; what has more is none of ours.
_LONGEST_LINE = 1 << 28


def write(paths: Sequence[Path], rows: Rows) -> dict[str, Any]:
    """See :class:`~nextlong.formats.protocol.Format`."""
    with paths[0].open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as sink:
        for row, tokens in zip(rows.table.to_pylist(), rows.tokens, strict=True):
            line = {"id": row["id"], "text": rows.decode(tokens), "domain": row["domain"], "spans": row["spans"]}
            sink.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")
    return {}


def read(path: Path, first: int = 0) -> Iterator[WrittenRow]:
    """See :class:`~nextlong.formats.protocol.Format`."""
    number = first
    try:
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as source:
            text = io.TextIOWrapper(source, encoding="utf-8", newline="\n")
            for line in islice(iter(lambda: text.readline(_LONGEST_LINE), ""), first, None):
                row = json.loads(line)
                read = WrittenRow(row["text"], row["id"], None, row["spans"])
                number += 1
                yield read
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NextlongError(
            f"{path}, line {number + 1}, cannot be read: {error}.", "It is damaged: run the command that made it again."
        ) from error


def merge(shards: Sequence[Path], paths: Sequence[Path]) -> None:
    """See :class:`~nextlong.formats.protocol.Format`. Compressed frames that follow each other are one file."""
    with paths[0].open("wb") as sink:
        for shard in shards:
            with shard.open("rb") as source:
                while block := source.read(1 << 22):
                    sink.write(block)
