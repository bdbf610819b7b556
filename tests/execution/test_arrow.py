"""Columns from Python values and back, without pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from nextlong.execution.arrow import open_arrow, record_batch, utf8, whole_numbers, write_arrow

SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("chunks", pa.int32(), nullable=False),
        pa.field("given", pa.bool_(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)


@pytest.mark.parametrize("rows", [0, 1, 8, 21])
def test_columns_of_python_values_are_those_of_pyarrow(tmp_path, rows):
    columns = {
        "text": [f"é{row}" * (row % 3) for row in range(rows)],
        "row": [row << 40 for row in range(rows)],
        "chunks": [-row for row in range(rows)],
        "given": [row % 3 == 1 for row in range(rows)],
        "id": pa.array([f"漢{row}" for row in range(rows)], pa.string()),
    }
    expected = pa.record_batch({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)
    batch = record_batch(columns, SCHEMA)
    batch.validate(full=True)
    assert batch.equals(expected)
    for name, each in (("ours", batch), ("pyarrow's", expected)):
        write_arrow(tmp_path / name, each)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "pyarrow's").read_bytes()
    read = open_arrow(tmp_path / "ours", SCHEMA)
    assert [bytes(text).decode() for text in utf8(read.column("id"))] == columns["id"].to_pylist()
    assert [bytes(text).decode() for text in utf8(read.column("text").slice(rows // 2))] == columns["text"][rows // 2 :]
    numbers = whole_numbers(read.column("chunks").slice(rows // 2))
    assert numbers.dtype == np.int32 and numbers.tolist() == columns["chunks"][rows // 2 :]


def test_a_pool_s_rows_are_written_and_read_without_pandas(tmp_path):
    """Importing it takes longer than to read a small corpus."""
    pytest.importorskip("pandas")
    code = f"""
import sys
from pathlib import Path
from nextlong.config import ChunkingConfig, CorpusConfig
from nextlong.corpus import find_sources
from nextlong.pool.catalog import catalog
from nextlong.pool.fingerprints import fingerprint
from nextlong.pool.ingest import ingest
corpus, folder = CorpusConfig(inputs=("demo",)), Path({str(tmp_path)!r})
print(ingest(find_sources(corpus), 0, corpus, ChunkingConfig(), folder, False, "").rows > 0)
print(catalog(folder, ["00000-00000"]).rows > 0, fingerprint(folder, "00000-00000").rows > 0, "pandas" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "True", "True", "False"]
