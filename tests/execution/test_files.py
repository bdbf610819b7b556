from __future__ import annotations

import resource
import threading
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

from nextlong.errors import NextlongError
from nextlong.execution.arrays import save_array
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.execution.files import atomic, read_json, read_yaml, write_json, write_yaml
from nextlong.execution.locks import locked
from nextlong.records import UNIT_SCHEMA


@contextmanager
def files_of_at_most(size):
    """No file may grow beyond so many bytes in this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_array(path, amount):
    save_array(path, np.arange(amount, dtype=np.int64))


def write_batch(path, amount):
    write_arrow(path, pa.record_batch({"number": np.arange(amount)}))


WRITERS = {
    "array.npy": write_array,
    "batch.arrow": write_batch,
    "content.json": lambda path, amount: write_json(path, list(range(amount))),
    "content.yaml": lambda path, amount: write_yaml(path, list(range(amount))),
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_space_is_a_clear_error_and_leaves_what_was(tmp_path, name):
    path = tmp_path / "folder" / name
    WRITERS[name](path, 10)
    before = path.read_bytes()
    with files_of_at_most(10_000), pytest.raises(NextlongError, match="No space left to write") as caught:
        WRITERS[name](path, 20_000)
    assert str(path) in caught.value.message
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", (ValueError, KeyboardInterrupt))
def test_a_block_that_fails_leaves_what_was(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_a_folder_is_no_lost_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), atomic(tmp_path / "file" / "below") as temporary:
        temporary.write_text("never")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 4), dtype=np.float16),
        np.arange(12, dtype=np.float16).reshape(3, 4),
        np.arange(12).reshape(3, 4).T,
        np.arange(24, dtype=np.uint16)[::2],
        np.array(5),
    ],
)
def test_arrays_are_what_numpy_reads(tmp_path, array):
    save_array(tmp_path / "array.npy", array)
    found = np.load(tmp_path / "array.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("read", "content"), [(read_json, b"{"), (read_json, b"\xff"), (read_yaml, b"a: ["), (read_yaml, b"\xff")]
)
def test_damaged_descriptions_name_the_file(tmp_path, read, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(NextlongError, match="file is damaged"):
        read(tmp_path / "file")


@pytest.mark.parametrize("content", (b"", b"not arrow"))
def test_a_damaged_arrow_file_names_itself(tmp_path, content):
    (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(NextlongError, match=r"a\.arrow is missing or damaged"):
        open_arrow(tmp_path / "a.arrow", UNIT_SCHEMA)
    with pytest.raises(NextlongError, match=r"none\.arrow is missing or damaged"):
        open_arrow(tmp_path / "none.arrow", UNIT_SCHEMA)


def test_who_waits_for_a_lock_says_so(tmp_path):
    said: list[str] = []
    told = threading.Event()

    def wait() -> None:
        with locked(tmp_path, wait=True, say=lambda line: (said.append(line), told.set())):
            said.append("mine")

    with locked(tmp_path, wait=True, say=said.append):
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        assert told.wait(20)
        assert len(said) == 1 and "held by another process: waiting" in said[0] and str(tmp_path) in said[0]
    waiting.join(20)
    assert said[1:] == ["mine"]
