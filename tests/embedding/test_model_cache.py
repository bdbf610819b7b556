import multiprocessing
from pathlib import Path

import pytest

from nextlong.embedding.cache import built_once, cache_folder
from nextlong.errors import NextlongError


def _build_in_process(name: str, log: str) -> None:
    def build(folder: Path) -> None:
        with Path(log).open("a") as file:
            file.write("built\n")
        (folder / "a").write_text("whole")

    assert (built_once(name, build) / "a").read_text() == "whole"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTLONG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_is_the_users(monkeypatch, cache):
    assert cache_folder() == cache
    monkeypatch.delenv("NEXTLONG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/nextlong")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "nextlong"


def test_several_processes_build_once(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_build_in_process, args=("model", str(log))) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "built\n"


def test_a_failed_build_leaves_nothing_and_can_be_repeated(cache):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        built_once("model", fail)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    folder = built_once("model", lambda folder: (folder / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_a_cache_that_cannot_be_made_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NEXTLONG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(NextlongError) as raised:
        built_once("model", lambda folder: None)
    assert "NEXTLONG_CACHE" in raised.value.hint
