"""Whole datasets in the format numpy: the rows of parquet, mapped by NumPy, byte for byte the same from run to run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import run_cli

import nextlong
from nextlong.dataset import layout
from nextlong.formats import numpy_tokens

LENGTH, ROOTS = 1024, 8
SHARD_ROWS = 3


@pytest.fixture(scope="module")
def datasets(family_pool, tokenizer_folder, tmp_path_factory):
    """The same rows in parquet, in numpy, and in numpy with joined shards."""
    folder = tmp_path_factory.mktemp("datasets")
    keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder}
    kinds = {"parquet": {}, "numpy": {"format": "numpy"}, "joined": {"format": "numpy", "merge": True, "dtype": "uint32"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        for kind, options in kinds.items():
            nextlong.synthesize(family_pool, folder / kind, workers=1, **options, **keys)
    return folder


def expected(datasets):
    rows = pq.read_table(datasets / "parquet" / "tokens").to_pylist()
    assert len(rows) == ROOTS
    return rows


def test_the_rows_are_those_of_parquet(datasets):
    rows = expected(datasets)
    shards = sorted((datasets / "numpy" / "tokens").glob("*.npy"))
    assert len(shards) == 3
    assert sorted(path.name for path in (datasets / "joined" / "tokens").iterdir()) == ["rows.csv.gz", "rows.npy"]
    for paths in (shards, [datasets / "joined" / "tokens" / "rows.npy"]):
        read = [row for path in paths for row in numpy_tokens.read(path)]
        assert [row.content.tolist() for row in read] == [row["input_ids"] for row in rows]
        assert [row.id for row in read] == [row["id"] for row in rows]
        assert [row.indices for row in read] == [row["indices"] for row in rows]


def test_numpy_maps_the_tokens(datasets):
    rows = [row["input_ids"] for row in expected(datasets)]
    joined = np.memmap(datasets / "joined" / "tokens" / "rows.npy", dtype="<u4", mode="r").reshape(-1, LENGTH)
    assert joined.tolist() == rows
    shards = sorted((datasets / "numpy" / "tokens").glob("*.npy"))
    assert [len(np.memmap(path, dtype="<u2", mode="r")) // LENGTH for path in shards] == [3, 3, 2]
    assert np.concatenate([np.memmap(path, dtype="<u2", mode="r") for path in shards]).reshape(-1, LENGTH).tolist() == rows


def test_the_end_token_stands_at_the_end_only(datasets):
    rows = np.fromfile(datasets / "joined" / "tokens" / "rows.npy", dtype="<u4").reshape(ROOTS, LENGTH)
    end = nextlong.load_dataset_card(datasets / "joined")["tokenizer"]["eos_id"]
    assert [np.flatnonzero(row == end).tolist() for row in rows] == [[LENGTH - 1]] * ROOTS


def test_another_run_gives_the_same_bytes(datasets, family_pool, tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
    keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder, "format": "numpy"}
    nextlong.synthesize(family_pool, tmp_path / "again", workers=2, **keys)
    for path in (datasets / "numpy" / "tokens").iterdir():
        assert (tmp_path / "again" / "tokens" / path.name).read_bytes() == path.read_bytes()


# A vocabulary beyond 16 bits.


@pytest.fixture(scope="module")
def large_tokenizer(tokenizer_folder, tmp_path_factory):
    """The tests' tokenizer with so many words more that it has 65,537 tokens."""
    folder = Path(shutil.copytree(tokenizer_folder, tmp_path_factory.mktemp("large") / "tokenizer"))
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    for number in range(len(vocabulary), (1 << 16) + 1):
        vocabulary[f"never-{number}"] = number
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


def test_uint16_is_refused_where_it_cannot_hold_the_vocabulary(family_pool, large_tokenizer, tmp_path):
    keys = {"length": LENGTH, "roots": 2, "tokenizer": large_tokenizer, "format": "numpy"}
    with pytest.raises(nextlong.UsageError, match="65,537 tokens, and uint16 can tell 65,536 apart") as caught:
        nextlong.synthesize(family_pool, tmp_path / "data", workers=1, dtype="uint16", **keys)
    assert "Leave --dtype away" in caught.value.hint
    assert not (tmp_path / "data").exists()
    arguments = (family_pool.folder, "--out", tmp_path / "data", "--length", LENGTH, "--roots", 2, "--format", "numpy")
    result = run_cli("synthesize", *arguments, "--tokenizer", large_tokenizer, "--dtype", "uint16")
    assert result.exit_code == 2 and "65,537 tokens, and uint16 can tell 65,536 apart" in result.stderr
    assert not (tmp_path / "data").exists()
    nextlong.synthesize(family_pool, tmp_path / "data", workers=1, **keys)
    assert (tmp_path / "data" / "tokens" / "00000.npy").stat().st_size == 2 * LENGTH * 4


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_a_type_that_the_format_does_not_write(family_pool, tokenizer_folder, tmp_path, dtype):
    keys = {"length": LENGTH, "roots": 2, "tokenizer": tokenizer_folder, "format": "numpy"}
    with pytest.raises(nextlong.UsageError):
        nextlong.synthesize(family_pool, tmp_path / "data", workers=1, dtype=dtype, **keys)
    assert not (tmp_path / "data").exists()
