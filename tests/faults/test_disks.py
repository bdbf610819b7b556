"""A full disk, a limit of sizes, folders that cannot be written, an output that is a file, a pool that can only be read."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_table import ERROR, RIGHT, counted
from memory_disks import mount, mounted, remounted
from small_runs import leftovers
from works import CALLED, WORKS, Place, before


def sizes(folder: Path) -> list[int]:
    """Of all files that are larger than what a run says of one, ascending, each once."""
    return sorted({size for path in folder.rglob("*") if path.is_file() and (size := path.stat().st_size) > 512})


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of file sizes on this system")
@pytest.mark.parametrize("name", WORKS)
def test_no_file_may_grow_beyond_a_size(place, all_faults, name):
    """Each time the limit is a little higher, so that each time it is another file that does not fit."""
    place.restore(name)
    steps = sizes(place.folder / name)
    few = steps[:: max(1, len(steps) // 4)]
    place.restore(before(name))
    errors = 0
    for limit in steps if all_faults else few:
        run = place.run(*WORKS[name], "--workers", 1 + errors % 2 if all_faults else 1, file_bytes=limit - 1)
        if not run.code():
            break
        assert run.code() == 1, run.said()
        assert run.said().startswith("error: No space left to write "), run.said()
        assert "what is finished is kept" in run.said()
        assert "Traceback" not in run.said()
        assert leftovers(place.folder) == []
        errors += 1
    assert errors >= min(3, len(few))
    place.succeed(*WORKS[name])
    place.same_as(name)
    counted("full disk", f"{CALLED[name]}, files may not grow larger than one of them is (`RLIMIT_FSIZE`)", ERROR, errors)


@pytest.fixture
def disk(place) -> Iterator[Callable[[str], Path]]:
    """A function that makes the place a file system of its own, with options; it is none any more after the test."""
    folder = place.folder

    def as_disk(options: str) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        mounted(folder, options)
        return folder

    yield as_disk
    if folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)


def copied(place: Place, name: str) -> None:
    """What stands after a work, into the place as it is."""
    shutil.copytree(place.states / name, place.folder, symlinks=True, dirs_exist_ok=True)


def pages(folder: Path) -> int:
    """How many pages of 4 KiB a memory file system needs for a folder."""
    return sum(-(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WORKS)
def test_a_full_disk_loses_nothing(place, disk, all_faults, name):
    """Again and again the disk is full, each time a little later."""
    given = pages(place.states / before(name))
    made = pages(place.states / name) - given
    disk(f"size={4 * given + 16}k")
    copied(place, before(name))
    errors, steps = 0, 24 if all_faults else 5
    for step in range(1, 3 * steps):
        run = place.run(*WORKS[name])
        if not run.code():
            break
        errors += 1
        assert run.code() == 1, run.said()
        assert run.said().startswith("error: No space left"), run.said()
        assert "what is finished is kept" in run.said()
        assert leftovers(place.folder) == []
        remounted(place.folder, f"size={4 * (given + step * made // steps) + 16}k")
    assert errors >= 2
    assert run.code() == 0
    place.same_as(name)
    counted("full disk", f"{CALLED[name]}, on a small disk that grows a little after each error (tmpfs)", ERROR, errors)


@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_can_only_be_read(place, disk, name):
    disk("size=64m")
    copied(place, before(name))
    remounted(place.folder, "ro")
    said = place.fail(*WORKS[name])
    assert said.startswith("error: Cannot write "), said
    assert "Read-only file system" in said
    remounted(place.folder, "rw")
    place.succeed(*WORKS[name])
    place.same_as(name)
    remounted(place.folder, "ro")
    place.verified(name)
    counted("output that cannot be written", f"{CALLED[name]}, a disk mounted read-only", ERROR)


@pytest.mark.parametrize("name", WORKS)
def test_a_folder_without_the_right_to_write(place, name):
    place.restore(before(name))
    for begun in (False, True):
        if begun:
            place.restore(name)
            shutil.rmtree(min((place.folder / name / "receipts").iterdir()))
        closed = place.folder / name if begun else place.folder
        closed.chmod(0o555)
        try:
            said = place.fail(*WORKS[name], plain_user=True)
        finally:
            closed.chmod(0o755)
        assert said.startswith("error: Cannot write "), said
        assert "Permission denied" in said
        place.succeed(*WORKS[name])
        place.same_as(name)
        counted("output that cannot be written", f"{CALLED[name]}, a folder without the right to write", ERROR)


@pytest.mark.parametrize("name", WORKS)
def test_an_output_that_is_a_file(place, name):
    place.restore(before(name))
    (place.folder / name).write_text("somebody's own")
    said = place.fail(*WORKS[name], code=2)
    assert f"{name} is a file" in said
    assert (place.folder / name).read_text() == "somebody's own"
    (place.folder / name).unlink()
    place.succeed(*WORKS[name])
    place.same_as(name)
    counted("output that cannot be written", f"{CALLED[name]}, where a file lies", ERROR)


def test_an_output_that_holds_something_else(place):
    for name in WORKS:
        place.restore(before(name))
        (place.folder / name).mkdir()
        (place.folder / name / "notes.txt").write_text("somebody's own")
        said = place.fail(*WORKS[name], code=2)
        assert "nothing was touched" in said
        assert [path.name for path in (place.folder / name).iterdir()] == ["notes.txt"]
        shutil.rmtree(place.folder / name)
        place.succeed(*WORKS[name])
        place.same_as(name)
        counted("output that cannot be written", f"{CALLED[name]}, where a folder with something else lies", ERROR)


@pytest.mark.parametrize("name", ["data", "documents", "export"])
def test_a_pool_that_can_only_be_read(place, disk, name):
    """It serves as long as it has all: then nothing is written to it. Else that is a clear error."""
    disk("size=64m")
    copied(place, "mix")
    shutil.rmtree(place.folder / name)
    pool = place.folder / "pool"
    mount("--bind", pool, pool)
    mount("-o", "remount,ro,bind", pool)
    try:
        place.succeed(*WORKS[name])
        place.same_as("mix")
        counted("pool that cannot be written", f"{CALLED[name]}, the pool has all that it needs", RIGHT)
        if name != "export":
            subprocess.run(["umount", pool], check=True)
            for kept in ("tokens", "derived"):
                shutil.rmtree(pool / kept, ignore_errors=True)
            mount("--bind", pool, pool)
            mount("-o", "remount,ro,bind", pool)
            shutil.rmtree(place.folder / name)
            said = place.fail(*WORKS[name])
            assert said.startswith("error: Cannot write pool/"), said
            counted("pool that cannot be written", f"{CALLED[name]}, tokens or vectors of documents are lacking", ERROR)
    finally:
        subprocess.run(["umount", "-l", pool], check=True)
    place.succeed(*WORKS[name])
    place.verified("pool", name)
