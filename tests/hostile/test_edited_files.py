"""Files of a pool or dataset that somebody edited: what is read from them is checked before it is used."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array
from nextlong.execution.arrow import open_arrow, strings, write_arrow
from nextlong.execution.files import checksum, read_description, read_json, read_record, write_record
from nextlong.execution.tables import count_rows, read_rows, read_table
from nextlong.execution.tasks import Ledger, Outcome, Task
from nextlong.pool.catalog import read_shard_table

SCHEMA = pa.schema(
    [
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("lists", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
    ]
)


@pytest.fixture
def arrow_file(tmp_path):
    texts = [f"text number {number}" for number in range(50)]
    write_arrow(
        tmp_path / "a.arrow", pa.record_batch({"text": texts, "lists": [[text, text] for text in texts]}, schema=SCHEMA)
    )
    return tmp_path / "a.arrow"


def replaced(path, old, new):
    """Put other bytes into the one place of a file that has these."""
    content = path.read_bytes()
    assert content.count(old) == 1 and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def offsets(values, dtype):
    return np.array(values, dtype=dtype).tobytes()


@pytest.mark.parametrize("evil", (1 << 40, -(1 << 40), 27))
def test_offsets_that_lead_out_of_an_arrow_file_are_not_followed(arrow_file, evil):
    batch = open_arrow(arrow_file, SCHEMA)
    known = np.frombuffer(batch.column("text").buffers()[1], dtype=np.int64)
    assert known[1:4].tolist() == [13, 26, 39]
    replaced(arrow_file, offsets([0, 13, 26, 39], np.int64), offsets([0, evil, 26, 39], np.int64))
    with pytest.raises(NextlongError, match="offsets of the column text lead out of it"):
        open_arrow(arrow_file, SCHEMA)


def test_offsets_of_lists_and_of_what_is_in_them_are_looked_at(arrow_file):
    good = arrow_file.read_bytes()
    replaced(arrow_file, offsets([0, 2, 4, 6, 8], np.int32), offsets([0, 2, 1 << 30, 6, 8], np.int32))
    with pytest.raises(NextlongError, match="offsets of the column lists"):
        open_arrow(arrow_file, SCHEMA)
    arrow_file.write_bytes(good)
    replaced(arrow_file, offsets([0, 13, 26, 39], np.int32), offsets([0, 13, -5, 39], np.int32))
    with pytest.raises(NextlongError, match="offsets of the column lists"):
        open_arrow(arrow_file, SCHEMA)


def test_a_slice_of_an_arrow_file_is_sound(tmp_path):
    whole = pa.record_batch({"text": ["a", "bc", "def"], "lists": [["x"], [], ["y", "z"]]}, schema=SCHEMA)
    write_arrow(tmp_path / "a.arrow", whole.slice(1))
    assert open_arrow(tmp_path / "a.arrow", SCHEMA).to_pylist() == whole.to_pylist()[1:]


def test_an_arrow_file_with_other_columns_or_nulls_is_refused(arrow_file, tmp_path):
    with pytest.raises(NextlongError, match="it has other columns than text"):
        open_arrow(arrow_file, pa.schema([SCHEMA.field("text")]))
    nullable = pa.schema([pa.field("text", pa.large_string())])
    write_arrow(tmp_path / "null.arrow", pa.record_batch({"text": ["a", None]}, schema=nullable))
    with pytest.raises(NextlongError, match="damaged"):
        open_arrow(tmp_path / "null.arrow", nullable)


def test_text_that_is_no_utf8_is_an_error_where_it_is_used(arrow_file):
    content = arrow_file.read_bytes()
    arrow_file.write_bytes(content.replace(b"text number 7", b"text number \xff"))
    with pytest.raises(NextlongError, match=r"a\.arrow is damaged: a text in it is no UTF-8"):
        strings(open_arrow(arrow_file, SCHEMA).column("text"), arrow_file)


class Evil:
    """Says so when it is loaded."""

    def __reduce__(self):
        return (print, ("a pickle was loaded",))


def hostile_arrays(folder):
    """NumPy files that hold pickles, in every way that `np.load` knows."""
    np.save(folder / "object.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    np.savez(folder / "archive.npz", evil=np.array([Evil()], dtype=object))
    (folder / "archive.npz").rename(folder / "archive.npy")
    (folder / "plain.npy").write_bytes(pickle.dumps(Evil()))
    return [folder / name for name in ("object.npy", "archive.npy", "plain.npy")]


@pytest.mark.parametrize("mapped", (True, False))
def test_no_pickle_is_loaded_from_an_array(tmp_path, capsys, mapped):
    for path in hostile_arrays(tmp_path):
        with pytest.raises(NextlongError, match=f"{path.name} is damaged"):
            load_array(path, np.int64, mapped=mapped)
    assert capsys.readouterr().out == ""


def npy(header, content=b"\n"):
    """A NumPy file of version 1.0 with this header."""
    return b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(0x75) + content


@pytest.mark.parametrize(
    "content",
    (
        b"",
        b"\x93NUMPY\x01\x00",
        npy(b"(" * 0x75),
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (9999999999999,)}"),
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (-1,)}"),
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}", b"\nabc"),
        npy(b"{'descr': 'O', 'fortran_order': False, 'shape': (1,)}", b"\nabcdefgh"),
    ),
)
def test_damaged_arrays_name_themselves(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(NextlongError, match=r"a\.npy is damaged"):
        load_array(tmp_path / "a.npy", np.int64)
    with pytest.raises(NextlongError, match=r"none\.npy is missing"):
        load_array(tmp_path / "none.npy", np.int64)


def test_an_array_of_another_kind_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), dtype=np.float32))
    assert load_array(tmp_path / "a.npy", np.float32, 2).shape == (2, 3)
    for dtype, dimensions in ((np.float32, 1), (np.int64, 2)):
        with pytest.raises(NextlongError, match="it holds float32 of 2 dimensions"):
            load_array(tmp_path / "a.npy", dtype, dimensions)


def test_a_table_of_another_kind_is_refused(tmp_path):
    table = pa.table({"text": ["a"], "lists": [["b"]]}, schema=SCHEMA)
    pq.write_table(table, tmp_path / "good.parquet")
    assert read_table(tmp_path / "good.parquet", SCHEMA, ["text"]).to_pylist() == [{"text": "a"}]
    assert count_rows(tmp_path / "good.parquet", SCHEMA) == len(list(read_rows(tmp_path / "good.parquet", SCHEMA, 4))) == 1
    pq.write_table(table.select(["text"]), tmp_path / "other.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:-3])
    for name in ("other", "cut", "none"):
        path = tmp_path / f"{name}.parquet"
        for read in (read_table, count_rows, lambda path, schema: list(read_rows(path, schema, 4))):
            with pytest.raises(NextlongError, match=rf"{name}\.parquet is (missing or )?damaged"):
                read(path, SCHEMA)


def task(folder, name="one"):
    def work():
        (folder / "out.txt").write_text("done")
        return Outcome([folder / "out.txt"], 1)

    return Task("stage", name, work, (), "config", {})


HOSTILE_NAMES = ("../secret", "/etc/passwd", "..", "", "a/../../b", "a\0b", "a\nb", "\x1b[31m")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_receipt_names_no_file_outside_its_folder(tmp_path, name):
    wanted = task(tmp_path)
    ledger = Ledger(tmp_path)
    ledger.record(wanted, wanted.function(), 0.0)
    assert ledger.receipt(wanted) is not None
    path = tmp_path / "receipts" / "stage" / "one.json"
    write_record(path, {**read_record(path), "outputs": {name: {"checksum": "", "bytes": 0}}})
    for read in (lambda: ledger.receipt(wanted), lambda: ledger.receipts("stage")):
        with pytest.raises(NextlongError, match="is no name of a file"):
            read()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../two"),
        ("stage", "other"),
        ("outputs", []),
        ("outputs", {"a": {"checksum": 1, "bytes": 2}}),
        ("outputs", {"a": {"checksum": "1", "bytes": "2"}}),
        ("outputs", {"a": 3}),
        ("rows", "many"),
        ("info", None),
        ("inputs", 3),
    ],
    ids=str,
)
def test_a_receipt_of_another_kind_is_refused(tmp_path, key, value):
    wanted = task(tmp_path)
    ledger = Ledger(tmp_path)
    ledger.record(wanted, wanted.function(), 0.0)
    path = tmp_path / "receipts" / "stage" / "one.json"
    write_record(path, {**read_record(path), key: value})
    with pytest.raises(NextlongError, match=r"one\.json is damaged"):
        ledger.receipts("stage")


def test_a_receipt_with_any_other_bit_is_refused(tmp_path):
    wanted = task(tmp_path)
    ledger = Ledger(tmp_path)
    ledger.record(wanted, wanted.function(), 0.0)
    path = tmp_path / "receipts" / "stage" / "one.json"
    good = path.read_bytes()
    for place in range(len(good)):
        for bit in range(8):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
            with suppress(NextlongError):  # white space has other bits, too
                assert ledger.receipts("stage")[0].checksums() == {"out.txt": checksum(tmp_path / "out.txt")}
                assert good[place : place + 1].isspace()


def test_a_receipt_of_an_earlier_version_has_no_checksum(tmp_path):
    wanted = task(tmp_path)
    ledger = Ledger(tmp_path)
    recorded = ledger.record(wanted, wanted.function(), 0.0)
    path = tmp_path / "receipts" / "stage" / "one.json"
    path.write_text(json.dumps(read_record(path)))
    assert ledger.receipt(wanted) == recorded


@pytest.mark.parametrize("name", (*HOSTILE_NAMES, 7, None, ["a"]))
def test_the_table_of_shards_names_no_file_outside_the_pool(tmp_path, name):
    (tmp_path / "catalog").mkdir()
    table = [{"name": "00000-00000", "documents": 1, "chunks": 1}]
    (tmp_path / "catalog" / "shards.json").write_text(json.dumps(table))
    assert read_shard_table(tmp_path) == table
    (tmp_path / "catalog" / "shards.json").write_text(json.dumps([*table, {**table[0], "name": name}]))
    with pytest.raises(NextlongError, match="is no name of a file"):
        read_shard_table(tmp_path)
    for wrong in ("1", -1, 1.5, None):
        (tmp_path / "catalog" / "shards.json").write_text(json.dumps([{**table[0], "chunks": wrong}]))
        with pytest.raises(NextlongError, match="a count is no number"):
            read_shard_table(tmp_path)


@pytest.mark.parametrize(
    "content", (b"[" * 100_000, b"1" * 5000, b"\xff\xfe", b'{"a": nul}'), ids=("deep", "digits", "utf16", "null")
)
def test_json_that_is_none_is_an_error_for_people(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(NextlongError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")


def test_a_description_of_values_that_have_no_checksum_is_damaged(tmp_path):
    for content in (
        "checksum: x\na: 2001-01-01\n",
        "checksum: x\n1: a\nb: c\n",
        "checksum: x\na: !!set {b}\n",
        "checksum: x\na: !!binary eA==\n",
    ):
        (tmp_path / "pool.yaml").write_text(content)
        with pytest.raises(NextlongError, match=r"pool\.yaml is damaged or was edited"):
            read_description(tmp_path / "pool.yaml")
