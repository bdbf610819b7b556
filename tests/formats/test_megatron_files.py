"""The files of the format megatron: byte for byte what Megatron defines, and read back or refused."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import run_cli
from hypothesis import given
from hypothesis import strategies as st
from megatron_shards import random_rows, write_joined, write_rows

import nextlong
from nextlong.dataset import layout
from nextlong.formats import megatron
from nextlong.formats.registry import check_packing, token_dtype

LENGTH, ROOTS = 1024, 8
SHARD_ROWS = 3

DTYPES = {"uint16": 1 << 16, "int32": (1 << 31) - 1}


def contents(path):
    return [row.content for row in megatron.read(path)]


def files_of(path):
    return path.read_bytes(), path.with_suffix(".idx").read_bytes()


def test_the_bytes(tmp_path):
    path = write_rows(tmp_path, "00000", np.array([[1, 2, 65535], [4, 5, 6]], dtype=np.int32), "uint16")
    tokens, index = files_of(path)
    assert tokens == struct.pack("<6H", 1, 2, 65535, 4, 5, 6)
    assert index == b"MMIDIDX\0\0" + struct.pack("<QBQQ2i2q3q", 1, 8, 2, 3, 3, 3, 0, 6, 0, 1, 2)
    path = write_rows(tmp_path, "00001", np.array([[1, 70000]], dtype=np.int32), "int32")
    tokens, index = files_of(path)
    assert tokens == struct.pack("<2i", 1, 70000)
    assert index == b"MMIDIDX\0\0" + struct.pack("<QBQQ1i1q2q", 1, 4, 1, 2, 2, 0, 0, 1)


@given(st.sampled_from(sorted(DTYPES)), st.integers(1, 9), st.integers(1, 40), st.integers(0, 12))
def test_what_was_written_is_read_from_any_row_on(tmp_path_factory, dtype, rows, length, first):
    tokens = random_rows(rows, length, DTYPES[dtype])
    path = write_rows(tmp_path_factory.mktemp("shards"), "00000", tokens, dtype)
    read = list(megatron.read(path, first))
    assert len(read) == max(0, rows - first)
    for row, expected in zip(read, tokens[first:], strict=True):
        assert row.content.dtype == np.int32 and (row.content == expected).all()
        assert (row.id, row.indices, row.spans) == (None, None, None)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("sizes", [(1,), (3, 3, 1), (2, 0, 5), (4000, 200, 5000)])
def test_joined_shards_are_what_is_written_at_once(tmp_path, dtype, sizes):
    tokens = random_rows(sum(sizes), 3, DTYPES[dtype])
    joined = write_joined(tmp_path / "shards", np.split(tokens, np.cumsum(sizes)[:-1]), dtype)
    assert files_of(joined) == files_of(write_rows(tmp_path / "whole", "rows", tokens, dtype))
    assert (np.stack(contents(joined)) == tokens).all()
    assert (next(megatron.read(joined, sum(sizes) - 1)).content == tokens[-1]).all()


def test_joining_does_not_hold_the_shards_in_memory(tmp_path):
    """64 MiB of shards are joined by a process that may allocate 48 MiB beyond what it needs to start."""
    shards = [random_rows(4, 1 << 20, 1 << 16, seed) for seed in range(4)]
    folder = tmp_path / "shards"
    for number, tokens in enumerate(shards):
        write_rows(folder, f"{number:05d}", tokens, "int32")
    code = """
import resource, sys
from pathlib import Path
from nextlong.formats import megatron
folder = Path(sys.argv[1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20),) * 2)
megatron.merge(sorted(folder.glob("*.bin")), [folder / "rows.bin", folder / "rows.idx"])
assert sum(1 for row in megatron.read(folder / "rows.bin")) == 16
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("reads its memory in /proc")
    subprocess.run([sys.executable, "-c", code, folder], check=True, timeout=120)
    assert (folder / "rows.bin").stat().st_size == 64 << 20


@pytest.mark.parametrize(("vocabulary", "dtype"), [(65_499, "uint16"), (65_536, "uint16"), (65_537, "int32")])
def test_the_type_of_a_vocabulary(vocabulary, dtype):
    assert token_dtype("megatron", None, vocabulary) == dtype


def test_rows_are_packed_only_where_end_tokens_tell_them_apart():
    check_packing("megatron", has_end_token=True)
    with pytest.raises(nextlong.UsageError, match="only end tokens tell"):
        check_packing("megatron", has_end_token=False)


def test_a_token_that_the_type_cannot_hold(tmp_path):
    with pytest.raises(nextlong.NextlongError, match=r"up to 65,536 .* as uint16"):
        write_rows(tmp_path, "00000", np.array([[1, 65536]], dtype=np.int32), "uint16")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_different_lengths(tmp_path):
    with pytest.raises(nextlong.NextlongError, match="same length"):
        write_rows(tmp_path, "00000", [np.zeros(4, dtype=np.int32), np.zeros(5, dtype=np.int32)], "uint16")


@pytest.mark.parametrize(("length", "dtype"), [(4, "int32"), (5, "uint16")])
def test_shards_that_do_not_belong_together(tmp_path, length, dtype):
    first = write_rows(tmp_path, "00000", random_rows(2, 4, 9), "uint16")
    other = write_rows(tmp_path, "00001", random_rows(2, length, 9), dtype)
    with pytest.raises(nextlong.NextlongError, match="other types or lengths"):
        megatron.merge([first, other], [tmp_path / "rows.bin", tmp_path / "rows.idx"])


def assert_refused(path, *words):
    with pytest.raises(nextlong.NextlongError) as caught:
        list(megatron.read(path))
    assert str(path.with_suffix("")) in caught.value.message and "run the command" in caught.value.hint
    for word in words:
        assert word in caught.value.message


def test_every_byte_of_the_index_counts(tmp_path):
    path = write_rows(tmp_path, "00000", random_rows(3, 5, 1 << 16), "uint16")
    index = path.with_suffix(".idx")
    whole = index.read_bytes()
    for place in range(len(whole)):
        for flip in (0x01, 0x0C, 0x80):  # 0x0C makes the code of uint16 that of int32
            index.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            assert_refused(path)
    for size in range(len(whole)):
        index.write_bytes(whole[:size])
        assert_refused(path, "00000.idx", "bytes")
    index.write_bytes(whole + b"\0")
    assert_refused(path, "00000.idx", "bytes")
    index.write_bytes(whole)
    assert len(contents(path)) == 3


def test_only_the_rows_asked_for_are_checked_and_all_of_them(tmp_path):
    path = write_rows(tmp_path, "00000", random_rows(9000, 2, 99), "uint16")
    index = path.with_suffix(".idx")
    whole = bytearray(index.read_bytes())
    whole[34 + 4 * 9000 + 8 * 8500] ^= 1  # the pointer of row 8,500
    index.write_bytes(whole)
    assert sum(1 for _ in islice(megatron.read(path), 8000)) == 8000
    assert_refused(path, "rows 8,192 to 8,999")
    with pytest.raises(nextlong.NextlongError, match="rows 8,400 to 8,999"):
        next(megatron.read(path, 8400))


@pytest.mark.parametrize(
    "change", [lambda content: content[:-1], lambda content: content[:-10], lambda content: content + b"\0"]
)
def test_tokens_cut_short_or_with_more_behind(tmp_path, change):
    path = write_rows(tmp_path, "00000", random_rows(3, 5, 9), "uint16")
    path.write_bytes(change(path.read_bytes()))
    assert_refused(path, "00000.bin", "3 rows of 5 tokens need 30")


def test_tokens_cut_short_while_they_are_read(tmp_path):
    path = write_rows(tmp_path, "00000", random_rows(3, 1 << 16, 9), "uint16")
    rows = megatron.read(path)
    next(rows)
    with path.open("rb+") as file:
        file.truncate(100)
    with pytest.raises(nextlong.NextlongError, match="ends within a row"):
        list(rows)


@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_a_missing_file(tmp_path, suffix):
    path = write_rows(tmp_path, "00000", random_rows(3, 5, 9), "uint16")
    path.with_suffix(suffix).unlink()
    assert_refused(path, f"00000{suffix}", "missing")


def test_a_foreign_file(tmp_path):
    path = tmp_path / "rows.bin"
    path.write_bytes(b"\0" * 400)
    path.with_suffix(".idx").write_bytes(b"TNTIDX\0\0" + b"\0" * 200)
    assert_refused(path, "rows.idx", "does not begin as Megatron's index")


# From here on: whole datasets.


@pytest.fixture(scope="module")
def datasets(family_pool, tokenizer_folder, tmp_path_factory):
    """The same rows in parquet and in megatron, of several shards."""
    folder = tmp_path_factory.mktemp("datasets")
    keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        for form in ("parquet", "megatron"):
            nextlong.synthesize(family_pool, folder / form, workers=1, format=form, **keys)
    assert len(list((folder / "parquet" / "tokens").iterdir())) > 1
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_dataset_is_one_pair_of_files_with_the_rows_of_parquet(datasets):
    assert names(datasets / "megatron" / "tokens") == ["rows.bin", "rows.idx"]
    rows = [row for path in sorted((datasets / "parquet" / "tokens").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [row.tolist() for row in contents(datasets / "megatron" / "tokens" / "rows.bin")] == [
        row["input_ids"] for row in rows
    ]
    assert len(rows) == ROOTS
    result = run_cli("verify", datasets / "megatron", "--workers", 1)
    assert result.exit_code == 0, result.stderr


# The kernel kills whoever writes a file beyond the limit, which only the joined one reaches.
_KILLED_IN_THE_JOIN = """
import json, resource, signal, sys
import nextlong
from nextlong.dataset import layout
pool, folder, shard_tokens, limit, keys = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:])
layout.SHARD_TOKENS = shard_tokens
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
nextlong.synthesize(nextlong.Pool(pool), folder, workers=1, **keys)
"""


def test_a_run_killed_while_it_joins_is_finished_by_the_next(family_pool, tokenizer_folder, tmp_path, monkeypatch):
    rows, length = 24, 4096
    keys = {"length": length, "roots": rows, "tokenizer": tokenizer_folder, "format": "megatron", "dtype": "int32"}
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * length)
    nextlong.synthesize(family_pool, tmp_path / "undisturbed", workers=1, **keys)
    whole = tmp_path / "undisturbed" / "tokens" / "rows.bin"
    limit = whole.stat().st_size * 3 // 4
    sizes = [path.stat().st_size for path in (tmp_path / "undisturbed").rglob("*") if path.is_file() and path != whole]
    assert max(sizes) < limit  # else the run would be killed elsewhere

    folder = tmp_path / "data"
    arguments = (family_pool.folder, folder, SHARD_ROWS * length, limit, json.dumps(keys))
    killed = subprocess.run([sys.executable, "-c", _KILLED_IN_THE_JOIN, *map(str, arguments)], capture_output=True)
    assert killed.returncode == -signal.SIGXFSZ, killed.stderr
    left = names(folder / "tokens")
    assert "rows.bin" not in left and any(name.endswith(".tmp") for name in left)
    assert {f"{number:05d}.bin" for number in range(rows // SHARD_ROWS)} <= set(left)

    nextlong.synthesize(family_pool, folder, workers=1, **keys)
    assert names(folder / "tokens") == ["rows.bin", "rows.idx"]
    assert files_of(folder / "tokens" / "rows.bin") == files_of(whole)
    assert len(contents(whole)) == rows
    result = run_cli("verify", folder, "--workers", 1)
    assert result.exit_code == 0, result.stderr
