"""MDS as MosaicML's StreamingDataset reads it, and as ProLong's trainer batches it."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from environments import read_with

import nextlong
from nextlong.dataset import layout
from nextlong.formats.shards import list_shards, write_shard
from nextlong.records import ROW_SCHEMA

pytestmark = pytest.mark.readers

LENGTH = 1024
ROWS = 9
SHARDS = 3


@pytest.fixture(scope="module")
def datasets(family_pool, tokenizer_folder, tmp_path_factory):
    """The same dataset as mds, in several shards, and as parquet."""
    folder = tmp_path_factory.mktemp("mds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", LENGTH * ROWS // SHARDS)
        for form in ("mds", "parquet"):
            options = {"length": LENGTH, "roots": ROWS, "tokenizer": tokenizer_folder, "format": form}
            nextlong.synthesize(family_pool, folder / form, workers=1, **options)
    return folder


@pytest.fixture(scope="module")
def expected(datasets):
    """The rows as parquet has them."""
    return pq.read_table(datasets / "parquet" / "tokens").to_pylist()


@pytest.fixture(scope="module")
def found(datasets):
    """What StreamingDataset reads."""
    return read_with("streaming", "read", datasets / "mds" / "tokens")


def test_every_row_in_order(datasets, found, expected):
    assert len(list((datasets / "mds" / "tokens").glob("*.mds"))) == SHARDS
    assert found["length"] == len(found["rows"]) == len(expected) == ROWS
    for row, other in zip(found["rows"], expected, strict=True):
        assert row == {
            "id": other["id"],
            "domain": "nextlong",
            "length": LENGTH,
            "input_ids": other["input_ids"],
            "indices": [[0, LENGTH]],
            "dtypes": ["uint32", "uint32"],
        }


def test_a_shuffled_epoch_has_every_row_once(found, expected):
    ids = [row["id"] for row in expected]
    assert [sorted(epoch) for epoch in found["epochs"]] == [ids, ids]
    assert ids != found["epochs"][0] != found["epochs"][1]


def test_batches_of_a_data_loader(found, expected):
    assert len(found["batches"]) == (ROWS + 1) // 2
    assert {name for batch in found["batches"] for name in batch} == {"input_ids", "labels", "lengths"}
    tokens = [token for batch in found["batches"] for token in batch["input_ids"]]
    assert tokens == [token for row in expected for token in row["input_ids"]]
    assert [length for batch in found["batches"] for length in batch["lengths"]] == [LENGTH] * ROWS


def test_reading_leaves_the_dataset_as_it_is(datasets, found):
    assert found["length"] == ROWS and not nextlong.verify(datasets / "mds").failures


def test_shards_are_fetched_with_their_hashes_compared(datasets, expected, tmp_path):
    tokens, ids = datasets / "mds" / "tokens", [row["id"] for row in expected]
    assert read_with("streaming", "download", tokens, tmp_path / "good") == {"ids": ids, "error": None}
    remote = shutil.copytree(tokens, tmp_path / "remote")
    content = bytearray((remote / "00001.mds").read_bytes())
    content[-100] ^= 1  # in the tokens, where nothing but a hash can tell
    (remote / "00001.mds").write_bytes(content)
    found = read_with("streaming", "download", remote, tmp_path / "bad")
    assert found["ids"] == ids[: ROWS // SHARDS] and "Checksum failure" in found["error"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Rows of two and of three sequences, their tokens, and their borders, in one shard."""
    folder = tmp_path_factory.mktemp("packed")
    indices = [[[0, 300], [300, 700]], [[0, 1], [1, 699], [699, 700]]]
    columns = {
        "id": ["row-0", "rów-1"],
        "domain": ["nextlong", "quest"],
        "indices": indices,
        "sequences": [[f"{row}-{number}" for number in range(len(pairs))] for row, pairs in enumerate(indices)],
        "spans": [[], []],
    }
    tokens = np.random.default_rng(0).integers(0, 1 << 31, (2, 700), dtype=np.int64).astype(np.int32)
    tokens[0, :3] = 0, 65536, (1 << 31) - 1
    table = pa.table(columns, schema=ROW_SCHEMA)
    outcome = write_shard(folder / "tokens", "mds", "00000", table, list(tokens), "uint32", str)
    list_shards(folder, "tokens", "mds", ["00000"], [outcome.info["format"]])
    return folder / "tokens", tokens, indices


def test_the_borders_of_packed_rows(packed):
    folder, tokens, indices = packed
    found = read_with("streaming", "read", folder)
    assert [row["indices"] for row in found["rows"]] == indices
    assert [row["input_ids"] for row in found["rows"]] == tokens.tolist()
    assert [(row["id"], row["domain"]) for row in found["rows"]] == [("row-0", "nextlong"), ("rów-1", "quest")]
    (batch,) = found["batches"]
    assert batch["lengths"] == [300, 400, 1, 698, 1]
    assert batch["input_ids"] == tokens.flatten().tolist()
    # No sequence's first token is predicted from the sequence before it; all others are.
    assert [place for place, label in enumerate(batch["labels"]) if label == -100] == [0, 300, 700, 701, 1399]


def test_the_packages_own_writer_makes_the_same_bytes(packed, tmp_path):
    found = read_with("streaming", "rewrite", packed[0], tmp_path / "other")
    assert found == {"same_shard": True, "index": True}
