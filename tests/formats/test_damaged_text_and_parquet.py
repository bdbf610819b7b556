"""What the formats ``jsonl`` and ``parquet`` say of files that are not what they write."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from nextlong.errors import NextlongError
from nextlong.formats.registry import FORMATS
from nextlong.formats.shards import shard_paths, write_shard
from nextlong.records import ROW_SCHEMA

LENGTH = 64


@pytest.fixture(params=["jsonl", "parquet"])
def shard(request, tmp_path):
    """A shard of five rows: its format, its file."""
    rows = [
        {"id": f"row-{row}", "domain": "test", "indices": [[0, LENGTH]], "sequences": [f"row-{row}"], "spans": []}
        for row in range(5)
    ]
    tokens = [np.arange(LENGTH, dtype=np.int32) + row for row in range(5)]
    table = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
    write_shard(tmp_path, request.param, "00000", table, tokens, "int32", lambda row: " ".join(map(str, row)))
    return request.param, shard_paths(tmp_path, request.param, "00000")[0]


def test_from_any_row_on(shard):
    form, path = shard
    for first in range(7):
        assert [row.id for row in FORMATS[form].read(path, first)] == [f"row-{row}" for row in range(first, 5)]


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_a_file_cut_short_is_an_error_for_people_or_lacks_its_end(shard, share):
    form, path = shard
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    try:
        rows = [row.id for row in FORMATS[form].read(path)]
    except NextlongError as error:
        assert str(path) in error.message and "made it again" in error.hint
    else:  # what is there of compressed text can be read, and the rows are too few
        assert form == "jsonl" and rows == [f"row-{row}" for row in range(len(rows))] and len(rows) < 5


def test_a_foreign_file(shard):
    form, path = shard
    path.write_bytes(b"neither of the two, for certain " * 9)
    with pytest.raises(NextlongError, match=r"cannot be read|is missing or damaged"):
        list(FORMATS[form].read(path))


@pytest.mark.parametrize("line", ["{", "[]", '"text"', json.dumps({"id": "x"})])
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    path = tmp_path / "00000.jsonl.zst"
    good = json.dumps({"id": "row-0", "text": "t", "domain": "test", "spans": []})
    path.write_bytes(zstandard.compress(f"{good}\n{line}\n".encode()))
    rows = FORMATS["jsonl"].read(path)
    assert next(rows).id == "row-0"
    with pytest.raises(NextlongError, match="line 2, cannot be read"):
        next(rows)
