"""The files of the format numpy: tokens that NumPy maps, offsets that dolma's tools take, and read back or refused."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy_shards import join, offsets_of, rewrite_offsets, write_rows

import nextlong
from nextlong.formats import numpy_tokens
from nextlong.formats.registry import token_dtype
from nextlong.formats.shards import write_shard
from nextlong.records import ROW_SCHEMA

LARGEST = {"uint16": (1 << 16) - 1, "uint32": (1 << 31) - 1}


def random_rows(rows, length, dtype="uint16", seed=0):
    """``(rows, length)`` tokens, int32; the smallest and the largest possible are among them."""
    tokens = np.random.default_rng(seed).integers(0, LARGEST[dtype], (rows, length), dtype=np.int32, endpoint=True)
    tokens.flat[-1:], tokens.flat[:1] = 0, LARGEST[dtype]
    return tokens


def files_of(path):
    return path.read_bytes(), offsets_of(path).read_bytes()


def contents(path):
    return [row.content.tolist() for row in numpy_tokens.read(path)]


@st.composite
def packed(draw):
    """Rows, and where the sequences of each end."""
    rows, length = draw(st.integers(0, 7)), draw(st.integers(1, 30))
    inner = st.sets(st.integers(1, length - 1)) if length > 1 else st.just(set())
    return random_rows(rows, length), [[*sorted(draw(inner)), length] for _ in range(rows)]


def test_the_bytes(tmp_path):
    rows = np.array([[1, 2, 65535], [4, 5, 6]], dtype=np.int32)
    path = write_rows(tmp_path, "00000", rows, "uint16", [[3], [1, 3]])
    assert path == tmp_path / "00000.npy" and sorted(tmp_path.iterdir()) == [offsets_of(path), path]
    assert path.read_bytes() == b"\1\0\2\0\xff\xff\4\0\5\0\6\0"
    assert gzip.decompress(offsets_of(path).read_bytes()).decode() == (
        "0,3,seq-0-0,row-0,0\n3,4,seq-1-0,row-1,0\n4,6,seq-1-1,row-1,1\n"
    )
    path = write_rows(tmp_path, "00001", np.array([[7, 70000]], dtype=np.int32), "uint32")
    assert path.read_bytes() == b"\7\0\0\0\x70\x11\1\0"


def test_the_offsets_have_no_time_and_say_what_the_tokens_are(tmp_path):
    for dtype in LARGEST:
        header = offsets_of(write_rows(tmp_path, dtype, random_rows(2, 4), dtype)).read_bytes()
        assert header[:10] == b"\x1f\x8b\x08\x08\0\0\0\0\x02\xff"
        assert header[10:].startswith(f"tokens.{dtype}.csv\0".encode())


@given(packed(), st.sampled_from(sorted(LARGEST)), st.integers(0, 8))
def test_what_was_written_is_read_from_any_row_on(tmp_path_factory, rows_and_ends, dtype, first):
    tokens, ends = rows_and_ends
    path = write_rows(tmp_path_factory.mktemp("shards"), "00000", tokens, dtype, ends)
    read = list(numpy_tokens.read(path, first))
    assert [row.id for row in read] == [f"row-{number}" for number in range(first, len(tokens))]
    for row, expected, own in zip(read, tokens[first:], ends[first:], strict=True):
        assert row.content.dtype == np.int32 and (row.content == expected).all()
        assert row.indices == [[start, end] for start, end in zip([0, *own], own, strict=False)]
        assert row.spans is None


@given(packed(), st.sampled_from(sorted(LARGEST)), st.sets(st.integers(0, 7)))
def test_joined_shards_are_what_is_written_at_once(tmp_path_factory, rows_and_ends, dtype, cuts):
    (tokens, ends), folder = rows_and_ends, tmp_path_factory.mktemp("shards")
    borders = [0, *sorted(min(cut, len(tokens)) for cut in cuts), len(tokens)]  # some shards may be empty
    names = [f"{number:05d}" for number in range(len(borders) - 1)]
    for name, start, stop in zip(names, borders, borders[1:], strict=False):
        write_rows(folder / "parts", name, tokens[start:stop], dtype, ends[start:stop], start)
    whole = write_rows(folder / "whole", "rows", tokens, dtype, ends)
    assert files_of(join(folder / "parts", names, len(tokens))) == files_of(whole)


def test_joining_does_not_hold_the_shards_in_memory(tmp_path):
    """64 MiB of shards are joined by a process that may allocate 48 MiB beyond what it needs to start."""
    for number in range(4):
        write_rows(tmp_path, f"{number:05d}", random_rows(4, 1 << 20, seed=number), "uint32", first=4 * number)
    code = """
import resource, sys
from pathlib import Path
from nextlong.formats import numpy_tokens
folder = Path(sys.argv[1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20),) * 2)
numpy_tokens.merge(sorted(folder.glob("*.npy")), [folder / "rows.npy", folder / "rows.csv.gz"])
assert sum(1 for row in numpy_tokens.read(folder / "rows.npy")) == 16
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("reads its memory in /proc")
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, timeout=120)
    assert (tmp_path / "rows.npy").stat().st_size == 64 << 20


def test_what_stands_in_ids_does_not_break_lines_or_columns(tmp_path):
    ids = ['comma, "quoted"', "#", "漢字", ""]
    columns = {
        "id": ids,
        "domain": ["test"] * 4,
        "indices": [[[0, 2]]] * 4,
        "sequences": [[identity] for identity in ids],
        "spans": [[]] * 4,
    }
    table, tokens = pa.table(columns, schema=ROW_SCHEMA), random_rows(4, 2)
    path = write_shard(tmp_path, "numpy", "00000", table, list(tokens), "uint16", str).files[0]
    assert [row.id for row in numpy_tokens.read(path)] == ids
    # As OLMo-core splits lines, and as dolma's tools read them.
    lines = gzip.decompress(offsets_of(path).read_bytes()).decode().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["0", "2"], ["2", "4"], ["4", "6"], ["6", "8"]]
    for _, _, _, _, location in csv.reader(lines):
        assert int(location) == 0


def test_the_loading_snippet_takes_packed_rows_and_empty_shards(tmp_path, capsys):
    tokens = random_rows(3, 20, "uint32")
    write_rows(tmp_path / "tokens", "00000", tokens[:2], "uint32", [[20], [4, 20]])
    write_rows(tmp_path / "tokens", "00001", tokens[:0], "uint32")
    write_rows(tmp_path / "tokens", "00002", tokens[2:], "uint32", [[19, 20]])
    names = {}
    exec(numpy_tokens.LOADING.format(folder=tmp_path), names)
    expected = [tokens[0], tokens[1, :4], tokens[1, 4:], tokens[2, :19], tokens[2, 19:]]
    assert [row.tolist() for row in names["rows"]] == [row.tolist() for row in expected]
    assert all(isinstance(row, np.memmap) for row in names["rows"])
    assert capsys.readouterr().out.startswith("5 uint32 ")


@pytest.mark.parametrize(
    ("vocabulary", "dtype"), [(256, "uint16"), (65_536, "uint16"), (65_537, "uint32"), (200_000, "uint32")]
)
def test_the_type_of_a_vocabulary(vocabulary, dtype):
    assert token_dtype("numpy", None, vocabulary) == dtype


@pytest.mark.parametrize("token", [65_536, -1])
def test_a_token_that_the_type_cannot_hold(tmp_path, token):
    with pytest.raises(nextlong.NextlongError, match="as uint16"):
        write_rows(tmp_path, "00000", np.array([[1, token]], dtype=np.int32), "uint16")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_different_lengths(tmp_path):
    with pytest.raises(nextlong.NextlongError, match="same length"):
        write_rows(tmp_path, "00000", [np.zeros(4, dtype=np.int32), np.zeros(5, dtype=np.int32)], "uint16")


@pytest.mark.parametrize("indices", [[[0, 3]], [[1, 4]], [[0, 2], [3, 4]], [[0, 3], [2, 4]]])
def test_sequences_that_do_not_fill_a_row(tmp_path, indices):
    columns = {"id": ["one"], "domain": ["test"], "indices": [indices], "sequences": [["s"] * len(indices)], "spans": [[]]}
    table = pa.table(columns, schema=ROW_SCHEMA)
    with pytest.raises(nextlong.NextlongError, match=r"The sequences of the row one .* do not fill 4 tokens"):
        write_shard(tmp_path, "numpy", "00000", table, [np.zeros(4, dtype=np.int32)], "uint16", str)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("length", "dtype"), [(4, "uint32"), (5, "uint16")])
def test_shards_that_do_not_belong_together(tmp_path, length, dtype):
    write_rows(tmp_path, "00000", random_rows(2, 4), "uint16")
    write_rows(tmp_path, "00001", random_rows(2, length), dtype)
    with pytest.raises(nextlong.NextlongError, match="do not belong together"):
        join(tmp_path, ["00000", "00001"], 4)
    assert len(list(tmp_path.iterdir())) == 4


def assert_refused(path, named, *words):
    with pytest.raises(nextlong.NextlongError) as caught:
        next(numpy_tokens.read(path))
    assert str(named) in caught.value.message and "run the command" in caught.value.hint
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize("dtype", LARGEST)
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-1],
        lambda content: content[:-10],
        lambda content: content[: len(content) // 2],  # of uint32: as many bytes as uint16 would have
        lambda content: content * 2,  # of uint16: as many as uint32
        lambda content: content + b"\0",
        lambda content: b"",
    ],
)
def test_tokens_cut_short_or_with_more_behind(tmp_path, dtype, change):
    path = write_rows(tmp_path, "00000", random_rows(4, 5, dtype), dtype)
    path.write_bytes(change(path.read_bytes()))
    assert_refused(path, path, f"4 rows of 5 tokens as {dtype} need {4 * 5 * np.dtype(dtype).itemsize}")


def test_tokens_cut_short_while_they_are_read(tmp_path):
    path = write_rows(tmp_path, "00000", random_rows(3, 1 << 16), "uint16")
    rows = numpy_tokens.read(path)
    next(rows)
    with path.open("rb+") as file:
        file.truncate(100)
    with pytest.raises(nextlong.NextlongError, match="ends within a row"):
        list(rows)


def test_a_number_that_is_no_token(tmp_path):
    path = write_rows(tmp_path, "00000", random_rows(1, 3), "uint32")
    path.write_bytes(path.read_bytes()[:-1] + b"\x80")
    assert_refused(path, path, "2,147,483,648 is no token")


def test_damaged_offsets_are_refused_or_say_the_same(tmp_path):
    path = write_rows(tmp_path, "00000", random_rows(3, 5), "uint16", [[5], [2, 5], [5]])
    offsets = offsets_of(path)
    whole, rows = offsets.read_bytes(), read_plainly(path)
    unused = 0  # some bits of a compressed stream mean nothing, as those that fill its last byte
    for bit in range(8 * len(whole)):
        place, flip = bit // 8, 1 << bit % 8
        offsets.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        if gzip_content(offsets) == gzip.decompress(whole) and place >= whole.index(b"csv\0") + 4:
            assert read_plainly(path) == rows
            unused += 1
        else:
            assert_refused(path, offsets)
    assert unused < 16
    for size in range(len(whole)):
        offsets.write_bytes(whole[:size])
        assert_refused(path, offsets)


def read_plainly(path):
    return [(row.id, row.indices, row.content.tolist()) for row in numpy_tokens.read(path)]


def gzip_content(path):
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        return None


@pytest.mark.parametrize(
    "lines",
    [
        ["0,5,a,a,0", "5,10,b,b,0", "10,14,c,c,0"],  # a row too short
        ["0,5,a,a,0", "6,10,b,b,0", "10,15,c,c,0"],  # a gap
        ["0,5,a,a,0", "5,10,b,b,0"],  # a row too few
        ["0,5,a,a,0", "5,10,b,b,0", "10,15,c,c,0", "15,20,d,d,0"],
        ["0,5,a,a,0", "5,10,b,b,1", "10,15,c,c,0"],
        ["0,3,a,a,0", "3,5,b,b,3", "5,10,b,b,0", "10,15,c,c,0"],  # two sequences in a row, and two names of it
        ["0,5,a,a,0", "5,5,b,b,0", "5,15,c,c,0"],
        ["0,5,a,a,0", "5,10,b,b,x", "10,15,c,c,0"],
        ["start,end,id,source,location", "0,5,a,a,0", "5,10,b,b,0", "10,15,c,c,0"],
        ["0,5,a,a", "5,10,b,b", "10,15,c,c"],
        ["0,5", "5,10", "10,15"],  # as OLMo-core itself writes offsets
        ["0,5,a,a,0", '5,10,"b,b,0', "10,15,c,c,0"],
        [],
    ],
)
def test_offsets_that_do_not_fit_the_tokens(tmp_path, lines):
    path = write_rows(tmp_path, "00000", random_rows(3, 5), "uint16")
    rewrite_offsets(path, lines)
    assert_refused(path, tmp_path / "00000.")


def test_offsets_that_do_not_say_what_the_tokens_are(tmp_path):
    path = write_rows(tmp_path, "00000", random_rows(3, 5), "uint16")
    good = gzip.decompress(offsets_of(path).read_bytes()).decode().splitlines()
    for name in ("tokens.int64.csv", "00000.csv", ""):
        rewrite_offsets(path, good, name)
        assert_refused(path, offsets_of(path), "does not say what the tokens are")
    rewrite_offsets(path, good)
    assert len(contents(path)) == 3


def test_a_missing_file(tmp_path):
    for lost in (".npy", ".csv.gz"):
        path = write_rows(tmp_path, "00000", random_rows(3, 5), "uint16")
        path.with_suffix(lost).unlink()
        assert_refused(path, path.with_suffix(lost), "missing")
