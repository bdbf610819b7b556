"""Sizes of the datasets that are exported in these tests, and reading exports back row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nextlong.dataset import layout
from nextlong.execution.files import checksum, read_record, write_record
from nextlong.formats.shards import is_joined, read_rows

LONG, SHORT = 2048, 512
LONG_ROWS, SHORT_ROWS = 7, 43
SHARD_TOKENS = 1 << 12


@contextmanager
def small_shards() -> Iterator[None]:
    """Two long sequences to a shard, so that few sequences make several shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
        yield


def rows_of(folder: Path) -> list[dict]:
    """The canonical table of an export."""
    return pq.read_table(folder / "rows").to_pylist()


def sequences_of(folder: Path) -> dict[str, dict]:
    """The canonical table of a dataset, by id."""
    return {row["id"]: row for row in pq.read_table(folder / layout.SEQUENCES).to_pylist()}


def tokens_of(folder: Path) -> dict[str, np.ndarray]:
    """The rows of a dataset or an export in Parquet, by id."""
    table = pq.read_table(folder / layout.TOKENS, columns=["id", "input_ids"])
    rows = [np.array(row, dtype=np.int32) for row in table.column("input_ids").to_pylist()]
    return dict(zip(table.column("id").to_pylist(), rows, strict=True))


def written_rows(folder: Path, form: str) -> list:
    """The rows of an export as its format reads them."""
    names = sorted(path.stem for path in (folder / "rows").glob("*.parquet"))
    tokens = folder / layout.TOKENS
    if is_joined(tokens, form):
        names = names[:1]
    return [row for name in names for row in read_rows(tokens, form, name, 0)[1]]


def shifted(spans: list[dict], by: int) -> list[dict]:
    """Spans so many tokens later."""
    return [{**span, "token_start": span["token_start"] + by, "token_end": span["token_end"] + by} for span in spans]


def flip_a_byte(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def forge_receipts(folder: Path) -> None:
    """Make every receipt of an export agree with the files as they are now."""
    for path in folder.glob("receipts/*/*.json"):
        receipt = read_record(path)
        for output, entry in receipt["outputs"].items():
            entry["checksum"], entry["bytes"] = checksum(folder / output), (folder / output).stat().st_size
        write_record(path, receipt)
