"""`verify` of a dataset in the format numpy, with shards apart and joined."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run_cli
from numpy_shards import offsets_of, rewrite_offsets
from tampering import flip_a_byte, forge_receipts

import nextlong
from nextlong.dataset import layout

LENGTH, ROOTS = 1024, 8
SHARD_ROWS = 3


@pytest.fixture(scope="module")
def made(family_pool, tokenizer_folder, tmp_path_factory):
    """A dataset of three shards, and the same joined."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder, "format": "numpy"}
        nextlong.synthesize(family_pool, folder / "apart", workers=1, **keys)
        nextlong.synthesize(family_pool, folder / "joined", workers=1, merge=True, **keys)
    return folder


@pytest.fixture(params=["apart", "joined"])
def dataset(made, tmp_path, request):
    """A dataset to be damaged, and the shard with its sixth row, which is row 2 or 5 there."""
    folder = Path(shutil.copytree(made / request.param, tmp_path / "data"))
    name, place = {"apart": ("00001.npy", 2), "joined": ("rows.npy", 5)}[request.param]
    return folder, folder / "tokens" / name, place


def failures(folder):
    result = run_cli("verify", folder, "--workers", 1)
    assert result.exit_code == 1
    return result.stderr


def test_verify_is_content(dataset):
    folder, _, _ = dataset
    result = run_cli("verify", folder, "--workers", 1)
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("suffix", [".npy", ".csv.gz"])
def test_verify_finds_a_damaged_file(dataset, suffix):
    folder, shard, _ = dataset
    path = shard.with_suffix(suffix)
    flip_a_byte(path)
    assert f"{path}: the checksum is" in failures(folder)


def test_verify_finds_another_token_that_the_receipts_agree_to(dataset):
    folder, shard, place = dataset
    tokens = np.fromfile(shard, dtype="<u2").reshape(-1, LENGTH)
    tokens[place, 7] ^= 1
    tokens.tofile(shard)
    forge_receipts(folder)
    found = failures(folder)
    assert f"nextlong-{5:08d}): its token 7 is {tokens[place, 7]}" in found
    assert found.count("its token 7") == 1


def test_verify_finds_exchanged_rows(dataset):
    folder, shard, place = dataset
    lines = gzip.decompress(offsets_of(shard).read_bytes()).decode().splitlines()
    fields = [line.split(",") for line in lines]
    fields[place][2:4], fields[place - 1][2:4] = fields[place - 1][2:4], fields[place][2:4]
    rewrite_offsets(shard, map(",".join, fields))
    forge_receipts(folder)
    assert f"nextlong-{4:08d}): it is nextlong-{5:08d}, not nextlong-{4:08d}" in failures(folder)


def test_verify_finds_a_border_too_many(dataset):
    folder, shard, place = dataset
    lines = gzip.decompress(offsets_of(shard).read_bytes()).decode().splitlines()
    start, end, _, row, _ = lines[place].split(",")
    border = int(start) + 9
    lines[place : place + 1] = [f"{start},{border},a,{row},0", f"{border},{end},b,{row},9"]
    rewrite_offsets(shard, lines)
    forge_receipts(folder)
    assert f"nextlong-{5:08d}): its indices are [[0, 9], [9, {LENGTH}]]" in failures(folder)


def test_verify_refuses_an_array_that_the_receipts_agree_to(dataset):
    folder, shard, _ = dataset
    shard.write_bytes(shard.read_bytes()[: -2 * LENGTH])
    forge_receipts(folder)
    found = failures(folder)
    assert f"{shard} is damaged" in found and "run the command" in found
