"""The formats by name."""

from __future__ import annotations

from typing import cast

from nextlong.formats import jsonl, parquet
from nextlong.formats.protocol import Format

FORMATS: dict[str, Format] = {"parquet": cast(Format, parquet), "jsonl": cast(Format, jsonl)}
