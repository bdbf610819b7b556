"""Two processes on one folder: the second is refused, whatever the first is doing. Two on one pool: both end right."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_table import ERROR, RIGHT, counted
from launched import Launched
from run_processes import wait_until
from works import CALLED, WORKS, Place, before, clear_error, synthesize

# Work → of each of its stages, what its files are called.
STAGES = {
    "pool": ("/plan.json", "chunks/", "catalog/", "fingerprints/", "encoder/", "vectors/", "index/", "pool.yaml"),
    "data": ("/plan.json", "pool/tokens/", "units/", "neighbours/", "sequences/", "data/tokens/", "dataset.yaml"),
    "documents": ("derived/",),
    "export": ("gathered/", "rows/", "export/tokens/", "dataset.yaml"),
    "mix": ("gathered/", "rows/", "mix/tokens/", "dataset.yaml"),
}
# Of each, where not all faults are made.
FEW = {"pool": 5, "data": 1, "documents": 0, "export": 1, "mix": 2}


@contextmanager
def held(place: Place, arguments: tuple[object, ...], at: str, folder: Path) -> Iterator[Launched]:
    """A run that stands still before it writes the first file with this in its path; it goes on at the end."""
    folder.mkdir()
    run = place.start((*arguments, "--workers", 1), hold=at, hold_folder=str(folder))
    try:
        wait_until(lambda: (folder / "reached").exists() or not run.running(), "a run does not come so far")
        assert run.running(), run.said()
        yield run
    finally:
        (folder / "go").touch()
    assert run.code() == 0, run.said()


@pytest.mark.parametrize("name", WORKS)
def test_the_second_of_two_on_one_folder_is_refused(place, all_faults, tmp_path, name):
    stages = STAGES[name] if all_faults else (STAGES[name][FEW[name]],)
    for number, stage in enumerate(stages):
        place.restore(before(name))
        with held(place, WORKS[name], stage, tmp_path / str(number)):
            said = place.fail(*WORKS[name])
            assert said.startswith(f"error: Another process is working on {name}."), said
            said = place.fail(*WORKS[name], "--overwrite")
            assert said.startswith(f"error: Another process is working on {name}."), said
        place.same_as(name)
        counted("two processes on one folder", f"{CALLED[name]}, twice at once: the second is refused, the first", RIGHT, 2)


@pytest.mark.parametrize("kept", ["pool/tokens/", "pool/derived/"])
def test_two_datasets_of_one_pool_at_once(place, tmp_path, kept):
    """While the one writes what both need, the other waits; then it finds it done."""
    made = {"one": synthesize("one", "--method", "knn"), "two": synthesize("two", "--method", "knn")}
    place.restore("pool")
    with held(place, made["one"], kept, tmp_path / "hold"):
        other = place.start((*made["two"], "--workers", 1))
        wait_until(lambda: (place.folder / "two" / "plan.json").exists(), "the second run does not begin")
        assert not other.ends_within(0.5)
    assert other.code() == 0, other.said()
    together = place.folder.rename(place.folder.with_name("together"))
    try:
        place.restore("pool")
        for arguments in made.values():
            place.succeed(*arguments)
        place.keep("two after each other")
    finally:
        shutil.rmtree(place.folder)
        together.rename(place.folder)
    place.same_as("two after each other")
    place.verified("pool", *made)
    counted("two processes on one pool", f"`synthesize` twice at once, into two folders; both need `{kept[5:]}`", RIGHT, 2)


def test_a_pool_that_is_made_again_while_it_is_read(place, tmp_path):
    """It is another pool then: who reads it says so, and what it had made so far is no dataset."""
    place.restore("pool")
    folder = tmp_path / "hold"
    folder.mkdir()
    run = place.start((*WORKS["data"], "--workers", 1), hold="neighbours/", hold_folder=str(folder))
    wait_until(lambda: (folder / "reached").exists() or not run.running(), "a run does not come so far")
    place.succeed(*WORKS["pool"], "--granularity", "300", "--overwrite")
    (folder / "go").touch()
    assert run.code() == 1, run.said()
    assert "pool was changed while it was in use" in clear_error(run.said())
    assert not (place.folder / "data" / "dataset.yaml").exists()
    place.succeed(*WORKS["pool"], "--overwrite")
    place.succeed(*WORKS["data"])
    place.same_as("data", but_for="pool/tokens/")  # of another plan's chunks, too
    counted("two processes on one pool", "`index` makes it another one while `synthesize` reads it", ERROR)
