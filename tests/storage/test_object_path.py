"""Paths in an object store: what they do like paths of this machine, and what the mirror must never do."""

from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextlong.errors import NextlongError, UsageError
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.execution.files import atomic, checksum, read_json, write_json
from nextlong.execution.object_path import (
    ObjectPath,
    located,
    looked_over,
    on_this_machine,
    recorded,
    remove_folder,
)


def keys(bucket: str) -> list[str]:
    """All objects of a bucket, as the store itself tells."""
    name = bucket.removeprefix("s3://")
    return sorted(key.removeprefix(name + "/") for key in fsspec.filesystem("s3", use_listings_cache=False).find(name))


def put(path: Path, content: bytes) -> None:
    """Another machine writes an object."""
    fsspec.filesystem("s3", use_listings_cache=False).pipe_file(str(path), content)


def test_places_are_recognised():
    assert located("a/folder") == Path("a/folder") and not isinstance(located("a/folder"), ObjectPath)
    assert located("file:///a/folder") == Path("/a/folder")
    folder = located("s3://bucket/some/folder/")
    assert isinstance(folder, ObjectPath) and located(folder) is folder
    assert str(folder / "x.json") == f"{folder}/x.json" == "s3://bucket/some/folder/x.json"
    assert (folder / "x.json").name == "x.json" and (folder / "x.json").parent == folder
    assert (folder / "a" / "b").relative_to(folder).as_posix() == "a/b"
    assert folder.resolve() == folder.absolute() == folder.expanduser() == folder
    assert recorded(folder, "pool") == folder / "pool"
    assert str(recorded(folder, "s3://other/pool")) == "s3://other/pool"
    assert recorded(folder, "/a/pool") == Path("/a/pool") and not isinstance(recorded(folder, "/a/pool"), ObjectPath)


@pytest.mark.parametrize(
    "place",
    ["https://host/folder", "memory://folder", "s3://", "s3://bucket/../x", "s3://bucket/x?versionId=1", "ftp://h/x"],
)
def test_places_that_hold_no_folder_are_refused(place):
    with pytest.raises(UsageError):
        located(place)


@pytest.mark.parametrize("place", ["s3://key:secret@bucket/folder", "s3://key@bucket/folder"])
def test_credentials_are_refused_and_not_repeated(place):
    with pytest.raises(UsageError) as error:
        located(place)
    assert "secret" not in f"{error.value} {error.value.hint}" and "key" not in str(error.value)


def test_a_path_goes_to_a_machine_with_another_mirror(monkeypatch, tmp_path):
    path = located("s3://bucket/folder/x")
    pickled = pickle.dumps(path)
    monkeypatch.setenv("NEXTLONG_CACHE", str(tmp_path / "elsewhere"))
    moved = pickle.loads(pickled)  # noqa: S301 - our own
    assert str(moved) == "s3://bucket/folder/x"
    assert on_this_machine(moved).is_relative_to(tmp_path / "elsewhere")


def test_files_are_written_whole_and_read_back(bucket):
    folder = located(bucket) / "folder"
    write_json(folder / "a.json", {"one": 1})
    assert keys(bucket) == ["folder/a.json"]
    assert read_json(folder / "a.json") == {"one": 1}
    batch = pa.record_batch({"x": [1, 2, 3]}, schema=pa.schema([pa.field("x", pa.int64(), nullable=False)]))
    write_arrow(folder / "b.arrow", batch)
    assert open_arrow(folder / "b.arrow", batch.schema).equals(batch)
    with atomic(folder / "c.parquet") as temporary:
        pq.write_table(pa.table(batch.to_pydict()), temporary)
    assert pq.read_table(folder / "c.parquet").to_pydict() == {"x": [1, 2, 3]}
    with atomic(folder / "d.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.arange(5))
    assert np.load(folder / "d.npy", mmap_mode="r").tolist() == [0, 1, 2, 3, 4]
    assert [path.name for path in folder.iterdir()] == ["a.json", "b.arrow", "c.parquet", "d.npy"]
    assert [path.name for path in folder.glob("*.json")] == ["a.json"]
    assert folder.exists() and folder.is_dir() and not folder.is_file()
    assert (folder / "a.json").is_file() and not (folder / "a.json").is_dir() and not (folder / "nothing").exists()
    assert (folder / "d.npy").stat().st_size == len((folder / "d.npy").read_bytes())


def test_what_fails_is_not_there(bucket):
    path = located(bucket) / "x"
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert keys(bucket) == [] and not path.exists()
    assert not list(on_this_machine(located(bucket)).rglob("*"))


def test_only_commits_write(bucket):
    with pytest.raises(ValueError, match="atomic"):
        (located(bucket) / "x").open("w")


def test_another_machines_version_is_fetched(bucket):
    path = located(bucket) / "x.json"
    write_json(path, {"version": 1})
    put(path, b'{"version": 2}')  # of the same size
    assert read_json(path) == {"version": 2}
    put(path, b'{"version": 3}')
    assert read_json(path) == {"version": 3}


def test_what_another_machine_removed_is_not_there(bucket):
    path = located(bucket) / "x.json"
    write_json(path, 1)
    fsspec.filesystem("s3", use_listings_cache=False).rm_file(str(path))
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.read_text()
    with pytest.raises(FileNotFoundError):
        path.unlink()
    path.unlink(missing_ok=True)


def test_a_copy_without_a_mark_is_not_trusted(bucket):
    """As a kill leaves it between the file and its mark."""
    path = located(bucket) / "x.json"
    write_json(path, {"version": 1})
    on_this_machine(path).write_text('{"version": 0}')
    (on_this_machine(path).parents[2] / ".." / "marks" / "s3" / bucket.removeprefix("s3://") / "x.json").resolve().unlink()
    assert read_json(path) == {"version": 1}


def test_a_listing_answers_for_its_folder(bucket, monkeypatch):
    folder = located(bucket) / "folder"
    for number in range(3):
        put(folder / "receipts" / f"{number}.json", b'{"number": %d}' % number)
    with looked_over(folder):
        # The copies are there already, and nothing more is asked of the store.
        monkeypatch.setattr("nextlong.execution.object_store._store", lambda protocol: pytest.fail("asked the store"))
        for number in range(3):
            assert read_json(folder / "receipts" / f"{number}.json") == {"number": number}
        assert (folder / "receipts").is_dir() and not (folder / "other").exists()
        assert not (folder / "receipts" / "3.json").exists()
        monkeypatch.undo()


def test_removing_a_folder(bucket):
    folder = located(bucket) / "folder"
    write_json(folder / "a" / "x.json", 1)
    write_json(located(bucket) / "beside.json", 2)
    remove_folder(folder)
    assert keys(bucket) == ["beside.json"] and not on_this_machine(folder).exists()


def test_checksums_are_of_the_stores_bytes(bucket, tmp_path):
    path, here = located(bucket) / "x", tmp_path / "x"
    for file in (path, here):
        with atomic(file) as temporary:
            temporary.write_bytes(b"bytes")
    assert checksum(path) == checksum(here)


def test_a_missing_bucket_is_an_error_for_people(s3_environment):
    with pytest.raises(NextlongError, match=r"s3://no-such-bucket/x"), atomic(located("s3://no-such-bucket/x")) as temporary:
        temporary.write_bytes(b"x")
