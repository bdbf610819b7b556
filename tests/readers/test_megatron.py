"""What megatron-core itself reads from a dataset in its format: each row whole, and samples that do not drift."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import run_cli
from environments import read_with
from megatron_shards import random_rows, write_joined

import nextlong
from nextlong.dataset import layout
from nextlong.formats.registry import token_dtype

pytestmark = pytest.mark.readers

LENGTH, ROOTS = 1024, 11
END = 1  # the end token of the tests' tokenizer
DTYPES = ("uint16", "int32")


def sequences(prefix, **options):
    return {"call": "sequences", "prefix": str(prefix), **options}


def samples(prefix, cache, length=LENGTH, **options):
    cache = None if cache is None else str(cache)
    return {"call": "samples", "prefix": str(prefix), "length": length, "eod": END, "path_to_cache": cache, **options}


def megatron(*calls):
    return read_with("megatron", json.dumps(calls))


@pytest.fixture(scope="module")
def rows_and_folder(family_pool, tokenizer_folder, tmp_path_factory):
    """The rows as the parquet dataset has them, and the folder with datasets of both types."""
    folder = tmp_path_factory.mktemp("datasets")
    keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", 4 * LENGTH)
        nextlong.synthesize(family_pool, folder / "parquet", workers=1, **keys)
        for dtype in DTYPES:
            nextlong.synthesize(family_pool, folder / dtype, workers=1, format="megatron", dtype=dtype, **keys)
    parts = [pq.read_table(path) for path in sorted((folder / "parquet" / "tokens").iterdir())]
    rows = [row for part in parts for row in part.column("input_ids").to_pylist()]
    assert len(parts) > 1 and len(rows) == ROOTS
    assert {(row[0], row[-1]) for row in rows} == {(0, END)} and len(set(map(tuple, rows))) == ROOTS
    return rows, folder


def prefix_of(folder):
    return folder / "tokens" / "rows"


@pytest.fixture(scope="module")
def read(rows_and_folder, tmp_path_factory):
    """What Megatron reads of these datasets in several ways, by name."""
    _, folder = rows_and_folder
    prefixes = {dtype: prefix_of(folder / dtype) for dtype in DTYPES}

    def cache():
        return tmp_path_factory.mktemp("cache")

    calls = {
        **{(dtype, mmap): sequences(prefixes[dtype], mmap=mmap) for dtype in DTYPES for mmap in (True, False)},
        **{dtype: samples(prefixes[dtype], cache()) for dtype in DTYPES},
        "four epochs": samples(prefixes["uint16"], cache(), count=3 * ROOTS + 2),
        "no extra token": samples(prefixes["uint16"], cache(), add_extra_token_to_sequence=False),
        "no cache": samples(prefixes["uint16"], None),
    }
    return dict(zip(calls, megatron(*calls.values()), strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mmap", [True, False])
def test_indexed_dataset_reads_the_rows_of_parquet(rows_and_folder, read, dtype, mmap):
    rows, _ = rows_and_folder
    found = read[dtype, mmap]
    assert found["dtype"] == dtype
    assert found["sequences"] == rows and found["slice"] == rows
    assert found["documents"] == list(range(ROOTS + 1))


def test_indexed_dataset_reads_every_token(tmp_path):
    kinds = {"uint16": random_rows(7, 50, 1 << 16), "int32": random_rows(7, 50, (1 << 31) - 1)}
    joined = [write_joined(tmp_path / dtype, np.split(rows, [2, 5]), dtype) for dtype, rows in kinds.items()]
    answers = megatron(*(sequences(path.with_suffix("")) for path in joined))
    for (dtype, rows), found in zip(kinds.items(), answers, strict=True):
        assert found["sequences"] == rows.tolist() and found["dtype"] == dtype


def assert_samples_are_rows(found, rows):
    """Sample i, before shuffling, is the i-th row of Megatron's order of documents; its last label begins the next row."""
    order = found["order"]
    for place, sample in enumerate(found["samples"]):
        row = rows[order[place]]
        assert found["starts"][place] == [place, 0]
        assert sample["tokens"] == row
        assert sample["labels"] == [*row[1:], rows[order[place + 1]][0]]
        # A whole row is attended to, every token is learned, and positions count through.
        assert (sample["seen_from"], sample["unlearned"]) == ([0] * LENGTH, [])
        assert sample["positions"] == list(range(LENGTH))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sample_of_gpt_dataset_is_a_row(rows_and_folder, read, dtype):
    rows, _ = rows_and_folder
    found = read[dtype]
    assert sorted(found["order"]) == list(range(ROOTS)) and found["order"] != list(range(ROOTS))
    # The extra token, the label of the last, has to come from somewhere: an epoch leaves one row out.
    assert len(found["samples"]) == ROOTS - 1
    assert_samples_are_rows(found, rows)


def test_later_epochs_do_not_drift(rows_and_folder, read):
    rows, _ = rows_and_folder
    found = read["four epochs"]
    assert len(found["samples"]) == 4 * ROOTS - 1
    assert np.bincount(found["order"]).tolist() == [4] * ROOTS
    assert_samples_are_rows(found, rows)


def test_without_the_extra_token_no_row_is_left_out(rows_and_folder, read):
    rows, _ = rows_and_folder
    found = read["no extra token"]
    assert [sample["tokens"] for sample in found["samples"]] == [rows[number] for number in found["order"]]
    assert sorted(found["order"]) == list(range(ROOTS))
    for sample in found["samples"]:
        assert sample["labels"][:-1] == sample["tokens"][1:] and sample["unlearned"] == [LENGTH - 1]


def test_what_megatron_leaves_beside_the_rows_is_no_damage(rows_and_folder, read):
    """Without --data-cache-path it writes its indices into a folder beside them."""
    rows, folder = rows_and_folder
    assert_samples_are_rows(read["no cache"], rows)
    assert any(prefix_of(folder / "uint16").rglob("*.npy"))
    result = run_cli("verify", folder / "uint16", "--workers", 1)
    assert result.exit_code == 0, result.stderr


def test_rows_of_another_length_would_drift(tmp_path):
    """The counterexample: were rows a token longer, sample i would begin i tokens before row i."""
    length = 64
    kinds = {more: random_rows(9, length + more, 1 << 16) for more in (1, -1)}
    joined = [write_joined(tmp_path / str(more), [rows[:4], rows[4:]], "uint16") for more, rows in kinds.items()]
    answers = megatron(*(samples(path.with_suffix(""), tmp_path / "cache", length) for path in joined))
    for (more, rows), found in zip(kinds.items(), answers, strict=True):
        stream = np.concatenate([rows[number] for number in found["order"]])
        assert len(found["samples"]) == (len(stream) - 1) // length > 7
        for place, sample in enumerate(found["samples"]):
            begin = place * len(rows[0]) - place * more
            assert sample["tokens"] == stream[begin : begin + length].tolist()
        halves = rows[:, : length // 2].tolist()
        whole = [sample["tokens"][: length // 2] in halves for sample in found["samples"]]
        assert whole == [True] + [False] * (len(whole) - 1)  # only the first begins as a row does


def test_the_type_is_the_one_megatron_expects_of_the_vocabulary(tmp_path):
    """With a file of counts Megatron does not look the type up, but derives it from the size of the vocabulary."""
    kinds = {65_499: "uint16", 65_500: "uint16", 65_536: "uint16", 65_537: "int32"}
    calls = []
    for vocabulary in kinds:
        chosen = token_dtype("megatron", None, vocabulary)
        joined = write_joined(tmp_path / str(vocabulary), [random_rows(6, LENGTH, vocabulary)], chosen)
        calls.append(samples(joined.with_suffix(""), tmp_path / "cache", vocabulary_size=vocabulary, counted=True))
        assert chosen == kinds[vocabulary]
    for vocabulary, found in zip(kinds, megatron(*calls), strict=True):
        assert_samples_are_rows(found, random_rows(6, LENGTH, vocabulary).tolist())


def test_end_tokens_tell_packed_sequences_apart(tmp_path):
    """With --reset-attention-mask and --reset-position-ids; without them a row is one sequence to Megatron."""
    rows = random_rows(5, LENGTH, 1 << 15) + END + 1  # no end token
    borders = [100, 101, 700, LENGTH]  # one sequence is an end token only
    rows[:, np.array(borders) - 1] = END
    joined = write_joined(tmp_path / "shards", [rows], "uint16").with_suffix("")
    begins = np.repeat([0, *borders[:-1]], np.diff([0, *borders]))
    reset = {"reset_position_ids": True, "reset_attention_mask": True}
    expected = (
        (reset, begins, []),
        ({**reset, "eod_mask_loss": True}, begins, [border - 1 for border in borders]),
        ({}, np.zeros(LENGTH, dtype=int), []),
    )
    answers = megatron(*(samples(joined, tmp_path / "cache", **options) for options, _, _ in expected))
    for (_, seen_from, unlearned), found in zip(expected, answers, strict=True):
        assert len(found["samples"]) == 4
        for place, sample in enumerate(found["samples"]):
            assert sample["tokens"] == rows[found["order"][place]].tolist()
            assert sample["seen_from"] == seen_from.tolist()
            assert sample["positions"] == (np.arange(LENGTH) - seen_from).tolist()
            assert sample["unlearned"] == unlearned
