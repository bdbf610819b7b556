"""MDS shards: what is written, what comes back, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

import nextlong
from nextlong.dataset import layout
from nextlong.errors import NextlongError
from nextlong.formats import mds
from nextlong.formats.protocol import Rows
from nextlong.formats.shards import list_shards, write_shard
from nextlong.records import ROW_SCHEMA


def table_of(rows):
    """``ROW_SCHEMA`` of (id, domain, indices)."""
    return pa.table(
        {
            "id": [row[0] for row in rows],
            "domain": [row[1] for row in rows],
            "indices": [row[2] for row in rows],
            "sequences": [[f"{row[0]}-{number}" for number in range(len(row[2]))] for row in rows],
            "spans": [[] for _ in rows],
        },
        schema=ROW_SCHEMA,
    )


def write(path, rows, tokens):
    return mds.write([path], Rows(table_of(rows), [np.asarray(row, dtype=np.int32) for row in tokens], "uint32", str))


def some_shard(folder: Path) -> Path:
    """A shard of three rows, each with two sequences."""
    rows = [(f"row-{number}", "nextlong", [[0, 100], [100, 300]]) for number in range(3)]
    write(folder / "00000.mds", rows, np.random.default_rng(0).integers(0, 50_000, (3, 300)))
    return folder / "00000.mds"


@st.composite
def rows_of_tokens(draw):
    """Rows of equally many tokens, each cut into sequences."""
    # Lengths whose shapes take one, two and four bytes, and the edges between.
    length = draw(st.sampled_from([1, 2, 17, 255, 256, 1000, 65535, 65536]))
    seed = draw(st.integers(0, 1000))
    rows, tokens = [], []
    for _ in range(draw(st.integers(1, 4))):
        cuts = sorted(draw(st.sets(st.integers(1, length - 1), max_size=3))) if length > 1 else []
        indices = [list(pair) for pair in zip([0, *cuts], [*cuts, length], strict=True)]
        rows.append((draw(st.text(max_size=9)), draw(st.text(max_size=9)), indices))
        tokens.append(np.random.default_rng(seed + len(rows)).integers(0, 1 << 31, length).astype(np.int32))
    return rows, tokens


@settings(deadline=None)
@given(rows_of_tokens(), st.integers(0, 4))
def test_what_is_written_comes_back(tmp_path_factory, made, first):
    rows, tokens = made
    path = tmp_path_factory.mktemp("mds") / "00000.mds"
    info = write(path, rows, tokens)
    assert info == {
        "samples": len(rows),
        "bytes": path.stat().st_size,
        "hash": xxhash.xxh3_64_hexdigest(path.read_bytes()),
    }
    found = list(mds.read(path, first))
    assert [(row.id, row.indices, row.spans) for row in found] == [(row[0], row[2], None) for row in rows[first:]]
    for row, expected in zip(found, tokens[first:], strict=True):
        assert row.content.dtype == np.int32 and np.array_equal(row.content, expected)


def test_the_bytes_of_a_shard(tmp_path):
    """Against the layout written down by hand."""
    write(
        tmp_path / "x",
        [("row-0", "né", [[0, 1], [1, 3]]), ("r", "quest", [[0, 3]])],
        [[7, 1 << 16, (1 << 31) - 1], [1, 2, 3]],
    )
    header = json.dumps(
        {
            "column_encodings": ["str", "str", "ndarray:uint32", "ndarray:uint32", "int"],
            "column_names": ["domain", "id", "indices", "input_ids", "length"],
            "column_sizes": [None, None, None, None, 8],
            "compression": None,
            "format": "mds",
            "hashes": ["xxh3_64"],
            "size_limit": None,
            "version": 2,
        }
    ).encode()
    samples = [
        struct.pack("<4I", 3, 5, 19, 14) + "né".encode() + b"row-0"
        # two axes, shape in single bytes
        + bytes([2 << 2, 2, 2]) + struct.pack("<4I", 0, 1, 1, 3)
        + bytes([1 << 2, 3]) + struct.pack("<3I", 7, 1 << 16, (1 << 31) - 1)
        + struct.pack("<q", 3),
        struct.pack("<4I", 5, 1, 11, 14) + b"quest" + b"r"
        + bytes([2 << 2, 1, 2]) + struct.pack("<2I", 0, 3)
        + bytes([1 << 2, 3]) + struct.pack("<3I", 1, 2, 3)
        + struct.pack("<q", 3),
    ]  # fmt: skip
    begin = 4 + 3 * 4 + len(header)
    offsets = [begin, begin + len(samples[0]), begin + len(samples[0]) + len(samples[1])]
    expected = struct.pack("<4I", 2, *offsets) + header + b"".join(samples)
    assert (tmp_path / "x").read_bytes() == expected


def test_the_index_lists_the_shards(tmp_path):
    infos = []
    for name in ("00000", "00001"):
        rows = [(f"{name}-{number}", "nextlong", [[0, 4]]) for number in range(3)]
        outcome = write_shard(
            tmp_path / "tokens", "mds", name, table_of(rows), [np.arange(4, dtype=np.int32)] * 3, "uint32", str
        )
        assert [path.name for path in outcome.files] == [f"{name}.mds"]
        infos.append(outcome.info["format"])
    list_shards(tmp_path, "tokens", "mds", ["00000", "00001"], infos)
    index = json.loads((tmp_path / "tokens" / "index.json").read_text())
    assert index["version"] == 2
    for name, shard in zip(("00000", "00001"), index["shards"], strict=True):
        content = (tmp_path / "tokens" / f"{name}.mds").read_bytes()
        assert shard["raw_data"] == {
            "basename": f"{name}.mds",
            "bytes": len(content),
            "hashes": {"xxh3_64": xxhash.xxh3_64_hexdigest(content)},
        }
        # A shard says of itself what the index says of it.
        own = {key: value for key, value in shard.items() if key not in ("raw_data", "zip_data", "samples")}
        assert json.dumps(own, sort_keys=True).encode() in content
        assert shard["samples"] == 3 and shard["zip_data"] is None


def test_a_shard_that_its_offsets_cannot_address_is_refused(tmp_path):
    """Rows of 2³⁰ tokens, which take no memory as they are all the same one."""
    row = np.broadcast_to(np.int32(1), 1 << 30)
    with pytest.raises(NextlongError, match=r"1 rows and 1,073,741,824 tokens would have 4,294,967,\d{3} bytes"):
        mds.write([tmp_path / "x"], Rows(table_of([("row", "nextlong", [[0, 1 << 30]])]), [row], "uint32", str))
    assert not (tmp_path / "x").exists()


def test_truncated_at_any_place(tmp_path):
    path = some_shard(tmp_path)
    content = path.read_bytes()
    for size in [*range(0, 600, 7), *range(600, len(content), 101), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(NextlongError, match=r"00000\.mds is damaged"):
            list(mds.read(path))
    path.write_bytes(content + b"\0")
    with pytest.raises(NextlongError, match="and its samples end at"):
        list(mds.read(path))


def test_a_flipped_bit_in_what_finds_the_tokens(tmp_path):
    """In the number of samples, in the offsets, in the header, in the sizes and the shapes: nothing but an error comes."""
    path = some_shard(tmp_path)
    content = path.read_bytes()
    begin = struct.unpack_from("<I", content, 4)[0]
    assert len(list(mds.read(path))) == 3
    before_tokens = content.index(bytes([1 << 2 | 1]) + struct.pack("<H", 300), begin) + 3
    text = range(begin + 16, begin + 16 + len("nextlongrow-0"))
    borders = range(before_tokens - 3 - 16, before_tokens - 3)
    for place in range(before_tokens):
        if place in text or place in borders:
            continue  # another name or border is as good as any, and for a checksum to tell
        for bit in (0, 3, 7):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            with pytest.raises(NextlongError, match=r"00000\.mds is damaged"):
                list(mds.read(path))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda content: content.replace(b'"ndarray:uint32", "int"', b'"ndarray:uint16", "int"'), "header does not name"),
        (lambda content: content.replace(struct.pack("<q", 300), struct.pack("<q", 299), 1), "in row 0 `length` is 299"),
        (
            lambda content: content.replace(struct.pack("<I", 100), struct.pack("<I", 301), 1),
            "in row 0 `indices` are no pairs",
        ),
        (lambda content: content.replace(b"row-1", b"row\xff1"), "in row 1 .*utf-8"),
        (lambda content: content[:-12] + struct.pack("<I", 1 << 31) + content[-8:], "in row 2 2,147,483,648 is no token"),
        (
            lambda content: content[:8] + struct.pack("<I", struct.unpack_from("<I", content, 4)[0] + 9) + content[12:],
            "even room",
        ),
        (lambda content: b"PAR1" + content[4:], "header does not name"),
        (lambda content: b"", "ends before its first sample"),
    ],
)
def test_nonsense_is_refused(tmp_path, edit, words):
    path = some_shard(tmp_path)
    content = path.read_bytes()
    path.write_bytes(edit(content))
    assert path.read_bytes() != content
    with pytest.raises(NextlongError, match=words) as caught:
        list(mds.read(path))
    assert caught.value.hint


@pytest.fixture(scope="module")
def dataset(family_pool, tokenizer_folder, tmp_path_factory):
    """A dataset of three shards."""
    folder = tmp_path_factory.mktemp("mds") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", 2 * 1024)
        options = {"length": 1024, "roots": 5, "tokenizer": tokenizer_folder, "format": "mds"}
        nextlong.synthesize(family_pool, folder, workers=1, **options)
    return folder


def test_verify_finds_a_damaged_shard_or_index(dataset):
    names = ["00000.mds", "00001.mds", "00002.mds", "index.json"]
    assert sorted(path.name for path in (dataset / "tokens").iterdir()) == names
    assert not nextlong.verify(dataset).failures
    for name in names[1::2]:
        path = dataset / "tokens" / name
        content = path.read_bytes()
        path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
        (failure,) = nextlong.verify(dataset).failures
        assert name in str(failure)
        path.write_bytes(content)
    assert not nextlong.verify(dataset).failures


def test_shards_are_not_joined(family_pool, tokenizer_folder, tmp_path):
    with pytest.raises(NextlongError, match="mds stay apart"):
        nextlong.synthesize(
            family_pool, tmp_path / "data", length=1024, roots=1, tokenizer=tokenizer_folder, format="mds", merge=True
        )
