"""`verify` of a dataset whose shards are joined to one file without ids: in the format megatron."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run_cli
from tampering import flip_a_byte, forge_receipts

import nextlong
from nextlong.dataset import layout

LENGTH, ROOTS = 1024, 8
SHARD_ROWS = 3


@pytest.fixture(scope="module")
def made(family_pool, tokenizer_folder, tmp_path_factory):
    """A dataset of three shards, joined."""
    folder = tmp_path_factory.mktemp("made") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder, "format": "megatron"}
        nextlong.synthesize(family_pool, folder, workers=1, **keys)
    return folder


@pytest.fixture
def dataset(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "data"))


def verify(path):
    return run_cli("verify", path, "--workers", 1)


@pytest.mark.parametrize("name", ["rows.bin", "rows.idx"])
def test_verify_finds_a_damaged_file(dataset, name):
    flip_a_byte(dataset / "tokens" / name)
    result = verify(dataset)
    assert result.exit_code == 1
    assert f"{dataset / 'tokens' / name}: the checksum is" in result.stderr


def test_verify_finds_other_tokens_behind_the_first_shard(dataset):
    path = dataset / "tokens" / "rows.bin"
    tokens = np.fromfile(path, dtype="<u2").reshape(ROOTS, LENGTH)
    tokens[SHARD_ROWS + 1, 7] ^= 1
    tokens.tofile(path)
    forge_receipts(dataset)
    result = verify(dataset)
    assert result.exit_code == 1
    assert f"nextlong-{SHARD_ROWS + 1:08d}): its token 7 is {tokens[SHARD_ROWS + 1, 7]}" in result.stderr
    assert result.stderr.count("its token 7") == 1


def test_verify_finds_exchanged_rows(dataset):
    path = dataset / "tokens" / "rows.bin"
    tokens = np.fromfile(path, dtype="<u2").reshape(ROOTS, LENGTH)
    tokens[[1, 5]] = tokens[[5, 1]]
    tokens.tofile(path)
    forge_receipts(dataset)
    result = verify(dataset)
    assert result.exit_code == 1
    for row in (1, 5):
        assert f"nextlong-{row:08d}): its" in result.stderr


def test_verify_refuses_an_index_that_the_receipts_agree_to(dataset):
    flip_a_byte(dataset / "tokens" / "rows.idx")
    forge_receipts(dataset)
    result = verify(dataset)
    assert result.exit_code == 1
    assert "rows.idx is not what nextlong writes" in result.stderr
