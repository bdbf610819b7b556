"""Changing what lies on disk, with and without making the receipts agree to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nextlong.execution.files import checksum, read_record, write_record

Row = dict[str, Any]


def flip_a_byte(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def forge_receipts(folder: Path) -> None:
    """Make every receipt below a folder agree with the files as they are now."""
    for path in folder.rglob("receipts/*/*.json"):
        receipt = read_record(path)
        home = path.parent.parent.parent
        for output, entry in receipt["outputs"].items():
            file = home / output
            entry["checksum"], entry["bytes"] = checksum(file), file.stat().st_size
        write_record(path, receipt)


def edit_rows(dataset: Path, part: str, edit: Callable[[list[Row]], None]) -> None:
    """Change the rows of the first file of ``sequences`` or ``tokens``, and forge its receipt."""
    path = min((dataset / part).glob("*.parquet"))
    table = pq.read_table(path)
    rows = table.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    forge_receipts(dataset)
