"""What OLMo-core's own datasets read from the format numpy: row i as instance i, and where its sequences end."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from environments import read_with
from numpy_shards import join, write_rows

import nextlong
from nextlong.dataset import layout
from nextlong.formats.registry import token_dtype

pytestmark = pytest.mark.readers

LENGTH, ROOTS = 1024, 8
SHARD_ROWS = 3
BEGIN, END = 0, 1  # of the tests' tokenizer
KINDS = {"uint16": {}, "uint32": {"dtype": "uint32"}, "joined": {"merge": True}}


def olmo(work_dir, *calls):
    """The answers to calls of ``olmo_reader.py``."""
    common = {"eos": END, "work_dir": str(work_dir)}
    calls = [{**common, **call, "paths": list(map(str, call["paths"]))} for call in calls]
    return read_with("olmo", json.dumps(calls))


def fsl(paths, **options):
    return {"call": "fsl", "paths": paths, "sequence_length": LENGTH, "generate_doc_lengths": True, **options}


@pytest.fixture(scope="module")
def rows_and_paths(family_pool, tokenizer_folder, tmp_path_factory):
    """The rows as the parquet dataset has them, and the arrays of each kind of dataset."""
    folder = tmp_path_factory.mktemp("datasets")
    keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        nextlong.synthesize(family_pool, folder / "parquet", workers=1, **keys)
        for kind, options in KINDS.items():
            nextlong.synthesize(family_pool, folder / kind, workers=1, format="numpy", **options, **keys)
    rows = pq.read_table(folder / "parquet" / "tokens").column("input_ids").to_pylist()
    assert len(rows) == ROOTS and {(row[0], row[-1]) for row in rows} == {(BEGIN, END)}
    paths = {kind: sorted((folder / kind / "tokens").glob("*.npy")) for kind in KINDS}
    assert [len(own) for own in paths.values()] == [3, 3, 1]
    return rows, paths


@pytest.fixture(scope="module")
def found(rows_and_paths, tmp_path_factory):
    """What each of OLMo-core's datasets makes of each kind."""
    _, paths = rows_and_paths
    calls = {kind: fsl(own, dtype=kind if kind != "joined" else "uint16") for kind, own in paths.items()}
    calls["begin token"] = fsl(paths["uint16"], dtype="uint16", bos=BEGIN)
    lengths = {"max_sequence_length": LENGTH, "min_sequence_length": LENGTH // 4}
    calls["vsl"] = {"call": "vsl", "paths": paths["uint32"], "dtype": "uint32", **lengths}
    calls["packed"] = fsl(paths["uint16"], dtype="uint16", call="packed", use_array_if_local=False)
    return dict(zip(calls, olmo(tmp_path_factory.mktemp("work"), *calls.values()), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_instance_i_is_row_i(rows_and_paths, found, kind):
    rows, _ = rows_and_paths
    assert len(found[kind]["instances"]) == ROOTS
    assert found[kind]["instances"] == rows
    assert found[kind]["dtype"] == ("uint32" if kind == "uint32" else "uint16")


@pytest.mark.parametrize("kind", [*KINDS, "begin token"])
def test_each_instance_is_one_document(found, kind):
    assert found[kind]["doc_lens"] == [[LENGTH]] * ROOTS
    assert found[kind]["borders"] == [LENGTH * row for row in range(ROOTS + 1)]


def test_the_reader_of_offsets_finds_the_rows(found):
    def lines(rows):
        return [[LENGTH * row, LENGTH * (row + 1)] for row in range(rows)]

    assert found["uint16"]["documents"] == found["uint32"]["documents"] == [lines(3), lines(3), lines(2)]
    assert found["joined"]["documents"] == [lines(ROOTS)]


def test_variable_lengths_come_out_as_rows(rows_and_paths, found):
    rows, _ = rows_and_paths
    assert found["vsl"]["instances"] == rows


def test_packing_by_offsets_packs_rows_alone(rows_and_paths, found):
    rows, _ = rows_and_paths
    assert sorted(found["packed"]["instances"]) == sorted(rows)
    assert found["packed"]["doc_lens"] == [[LENGTH]] * ROOTS


# Rows of several sequences: where they end.
BORDERS = [[400, LENGTH], [LENGTH], [1, 2, LENGTH], [512, LENGTH]]
LENGTHS = [np.diff([0, *own]).tolist() for own in BORDERS]
SIZES = (257, 1 << 16, (1 << 16) + 1)


def sequences(rows, lengths):
    """The sequences in rows, in an order of their own."""
    return sorted(
        part.tolist() for row, own in zip(rows, lengths, strict=True) for part in np.split(row, np.cumsum(own)[:-1])
    )


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Rows that were written by hand, and what OLMo-core makes of them."""
    folder = tmp_path_factory.mktemp("by_hand")
    without = np.random.default_rng(0).integers(END + 1, 1 << 16, (len(BORDERS), LENGTH), dtype=np.int32)
    tokens = {"end tokens": without.copy(), "no end tokens": without}
    for row, own in zip(tokens["end tokens"], BORDERS, strict=True):
        row[np.array(own) - 1] = END
    tokens["begin is end"] = tokens["end tokens"].copy()
    for row, own in zip(tokens["begin is end"][:2], BORDERS[:2], strict=True):
        row[[0, *own[:-1]]] = END
    paths = {}
    for kind, rows in tokens.items():
        write_rows(folder / kind, "00000", rows[:3], "uint16", BORDERS[:3])
        write_rows(folder / kind, "00001", rows[3:], "uint16", BORDERS[3:], first=3)
        paths[kind] = [join(folder / kind, ["00000", "00001"], len(rows))]
    calls = {kind: fsl(own, dtype="uint16") for kind, own in paths.items()}
    calls["begin is end, told"] = {**calls["begin is end"], "bos": END}
    calls["offsets"] = {**calls["no end tokens"], "call": "packed", "use_array_if_local": False}
    for size in SIZES:
        rows = np.arange(4 * LENGTH, dtype=np.int32).reshape(4, LENGTH) % size
        rows[-1, -1] = size - 1
        path = write_rows(folder / str(size), "00000", rows, token_dtype("numpy", None, size))
        tokens[size], calls[size] = rows, fsl([path], vocab_size=size)
    return tokens, dict(zip(calls, olmo(folder, *calls.values()), strict=True))


def test_end_tokens_tell_the_sequences_of_a_row_apart(by_hand):
    tokens, found = by_hand
    assert found["end tokens"]["instances"] == tokens["end tokens"].tolist()
    assert found["end tokens"]["doc_lens"] == LENGTHS


def test_offsets_tell_the_sequences_of_a_row_apart_where_there_are_no_end_tokens(by_hand):
    tokens, found = by_hand
    # It packs anew, so that a sequence may stand in another row; rows are as full as they were.
    answer = found["offsets"]
    assert sequences(answer["instances"], answer["doc_lens"]) == sequences(tokens["no end tokens"], LENGTHS)
    assert [sum(own) for own in answer["doc_lens"]] == [LENGTH] * len(BORDERS)
    # Of this the format's description warns.
    assert found["no end tokens"]["doc_lens"] == [[LENGTH]] * len(BORDERS)


def test_a_begin_token_that_is_the_end_token(by_hand):
    _, found = by_hand
    assert found["begin is end"]["doc_lens"][:2] == [[1, 399, 1, LENGTH - 401], [1, LENGTH - 1]]
    assert found["begin is end, told"]["doc_lens"][:2] == LENGTHS[:2]


@pytest.mark.parametrize("size", SIZES)
def test_the_type_that_olmo_core_takes_for_a_vocabulary(by_hand, size):
    tokens, found = by_hand
    assert found[size]["dtype"] == token_dtype("numpy", None, size)
    assert found[size]["instances"] == tokens[size].tolist()
