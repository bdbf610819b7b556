"""The examples, ``datasets``, transformers and torchtitan read rows as they were written, and attend where they should."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from environments import read_with

import nextlong
from nextlong.dataset import layout
from nextlong.formats import parquet
from nextlong.formats.shards import write_shard
from nextlong.records import ROW_SCHEMA

pytestmark = pytest.mark.readers

LENGTH = 512
ROWS = 9
IGNORED = -100


@pytest.fixture(scope="module")
def single(family_pool, tokenizer_folder, tmp_path_factory):
    """A dataset of one sequence a row, in three shards of two row groups each."""
    folder = tmp_path_factory.mktemp("single") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", 3 * LENGTH)
        patch.setattr(parquet, "_ROW_GROUP_TOKENS", 2 * LENGTH)
        options = {"length": LENGTH, "tokens": ROWS * LENGTH, "tokenizer": tokenizer_folder, "max_root_fraction": 0.8}
        composition = {"max_root_fraction": options.pop("max_root_fraction")}
        nextlong.synthesize(family_pool, folder, workers=1, format="parquet", composition=composition, **options)
    files = [pq.ParquetFile(path) for path in sorted((folder / "tokens").iterdir())]
    assert [file.num_row_groups for file in files] == [2, 2, 2]
    return folder


@pytest.fixture(scope="module")
def packed(single, tmp_path_factory):
    """The same tokens in rows of several sequences of unequal lengths, and one row of a single sequence."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / layout.TOKENS).mkdir()
    tokens = [np.array(row["input_ids"], dtype=np.int32) for row in rows_of(single)]
    borders = [[0, 128, 384, 512], [0, 200, 512], [0, 512], [0, 511, 512]]
    for shard, (first, last) in enumerate([(0, 2), (2, 4)]):
        described = [
            {
                "id": f"row-{row}",
                "domain": "nextlong",
                "indices": list(pairwise(borders[row])),
                "sequences": [f"{row}-{place}" for place in range(len(borders[row]) - 1)],
                "spans": [],
            }
            for row in range(first, last)
        ]
        table = pa.Table.from_pylist(described, schema=ROW_SCHEMA)
        write_shard(folder / layout.TOKENS, "parquet", f"{shard:05d}", table, tokens[first:last], "int32", lambda row: "")
    return folder


def rows_of(folder):
    return [row for path in sorted((folder / "tokens").iterdir()) for row in pq.read_table(path).to_pylist()]


def expected_labels(row):
    starts = {start for start, _ in row["indices"][1:]}
    return [IGNORED if place in starts else token for place, token in enumerate(row["input_ids"])]


def expected_positions(row):
    return [place for start, end in row["indices"] for place in range(end - start)]


@pytest.mark.parametrize("kind", ["single", "packed"])
def test_the_torch_dataset_gives_the_rows(kind, request):
    folder = request.getfixturevalue(kind)
    written = rows_of(folder)
    found = read_with("torch", "rows", folder)
    assert found["dtypes"] == ["torch.int64"]
    assert [row["input_ids"] for row in found["rows"]] == [row["input_ids"] for row in written]
    assert [row["labels"] for row in found["rows"]] == [expected_labels(row) for row in written]
    assert [row["position_ids"] for row in found["rows"]] == [expected_positions(row) for row in written]
    assert sorted(found["shuffled"]) == sorted(row["input_ids"] for row in written)
    if kind == "single":
        assert len(written) == ROWS
        for row in found["rows"]:
            assert row["labels"] == row["input_ids"] and row["position_ids"] == list(range(LENGTH))


def test_datasets_loads_the_rows_in_every_way(single, tmp_path):
    written = [{name: row[name] for name in ("id", "input_ids", "indices")} for row in rows_of(single)]
    found = read_with("torch", "loaded", single, tmp_path)
    assert found["dtype"] == "torch.int64"
    for way in ("cached", "streamed", "cached tensors", "streamed tensors"):
        assert found[way] == written, way
    assert found["shuffled"] != written
    assert sorted(found["shuffled"], key=lambda row: row["id"]) == written


@pytest.mark.slow
def test_transformers_attends_within_each_sequence(packed):
    found = read_with("torch", "attention", packed)
    for name in ("eager", "sdpa", "flex_attention"):
        assert found[name]["packed"] < 1e-3, name
        # What the documentation warns of: each of these attends across the border, silently.
        for way in ("no positions", "attention mask", "cache"):
            assert found[name][way] > 1, (name, way)
    packed_loss, separate_loss = found["loss"]
    assert packed_loss == pytest.approx(separate_loss, abs=1e-4)
    assert found["sdpa mask"] == [1, 1, LENGTH, LENGTH]
    assert found["sdpa mask of one sequence"] is None
    assert found["flash packed"] and not found["flash packed in a batch of two"]
    assert found["flash borders"] == [0, 128, 384, 512]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "packed"])
def test_the_hf_trainer_example_trains(kind, request, tmp_path):
    found = read_with("torch", "trained", request.getfixturevalue(kind), tmp_path)
    first, second = found["losses"]
    assert first == pytest.approx(found["expected"], abs=2e-3) and second < first
    assert found["moved"] > 0
    if kind == "packed":
        assert abs(found["naive"] - found["expected"]) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "packed"])
def test_torchtitans_loader_gives_rows_that_do_not_drift(kind, request):
    folder = request.getfixturevalue(kind)
    written = rows_of(folder)
    found = read_with("torch", "titan", folder)
    assert len(found["rows"]) == len(written)
    for row, given in zip(written, found["rows"], strict=True):
        assert given["input"] == row["input_ids"] and len(given["labels"]) == LENGTH
        assert given["labels"] == [*expected_labels(row)[1:], IGNORED]
        assert given["positions"] == expected_positions(row)
    tokens = [row["input_ids"] for row in written]
    half = len(tokens) // 2 * 2
    assert found["ranks"] == [tokens[0:half:2], tokens[1:half:2]]
    assert found["workers"] == tokens
    assert found["second round"] == [tokens[place % len(tokens)] for place in range(1, 2 * len(tokens), 2)]
    assert found["resumed"] and found["resumed workers"]
    assert f"have {LENGTH} tokens: set training.seq_len to {LENGTH}." in found["another length"]
    assert f"{len(written)} rows for 100 data-parallel ranks" in found["too few rows"]


@pytest.mark.slow
def test_torchtitans_llama_attends_within_each_sequence(packed):
    found = read_with("torch", "titan_model", packed)
    assert found["packed"] < 1e-4 and found["naive"] > 0.1
    packed_loss, separate_loss = found["loss"]
    assert packed_loss == pytest.approx(separate_loss, rel=1e-5)
    assert found["borders"] == [0, 128, 384, 512]
