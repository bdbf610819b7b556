"""JSON Lines of text with provenance, zstd-compressed: readable by anything, for any tokenizer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from nextlong.formats.protocol import Tokens

SUFFIX = ".jsonl.zst"
HOLDS_TOKENS = False
COLUMNS = {
    "id": "the sequence's id; the same row of `sequences/` has everything about it",
    "text": "the decoded tokens, without begin and end tokens",
    "method": "how it was made",
    "length": "target length in tokens",
    "root": "id of the root document",
    "spans": "what stands where, in tokens of the dataset's tokenizer",
}
LOADING = """from datasets import load_dataset

rows = load_dataset("json", data_files="{folder}/tokens/*.jsonl.zst", split="train")
print(rows[0]["text"][:1000])"""


def write(path: Path, sequences: pa.Table, rows: Sequence[Tokens], decode: Callable[[Tokens], str]) -> None:
    """See :class:`~nextlong.formats.protocol.Format`."""
    with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as sink:
        for sequence, row in zip(sequences.to_pylist(), rows, strict=True):
            line = {
                "id": sequence["id"],
                "text": decode(row),
                "method": sequence["method"],
                "length": sequence["length"],
                "root": sequence["root"],
                "spans": sequence["spans"],
            }
            sink.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")


def read(path: Path) -> Iterator[tuple[str, Tokens | str, list[dict[str, Any]]]]:
    """See :class:`~nextlong.formats.protocol.Format`."""
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as source:
        for line in io.TextIOWrapper(source, encoding="utf-8", newline="\n"):
            row = json.loads(line)
            yield row["id"], row["text"], row["spans"]
