"""The clock of the wall jumps, and files bear wrong times: nothing is made of either."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from fault_table import ERROR, RIGHT, UNREAD, counted
from small_runs import command
from works import CALLED, WORKS, Place, before

_DAYS = 400


def jumping(place: Place, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A run, in processes that are new from the ground up, each of whose looks at the clock is some days off."""
    environment = {**os.environ, **place.with_faults({"FAULT_CLOCK": str(_DAYS)}), "COLUMNS": "200"}
    return subprocess.run(
        command(*arguments), cwd=place.folder, env=environment, capture_output=True, text=True, timeout=200
    )


def test_the_clock_jumps():
    program = "import time; looks = [time.time() for _ in range(9)]; print(max(looks) - min(looks))"
    environment = {**os.environ, **Place.with_faults({"FAULT_CLOCK": str(_DAYS)})}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert float(shown.stdout) > 86_400


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WORKS)
def test_a_clock_that_jumps_changes_nothing(place, all_faults, name):
    if not all_faults and name not in ("pool", "data"):
        pytest.skip("one of those that are made with --all-faults")
    for workers in (1, 2) if all_faults else (2,) if name == "data" else (1,):
        place.restore(before(name))
        run = jumping(place, *WORKS[name], "--workers", workers)
        assert (run.returncode, run.stderr) == (0, "")
        place.same_as(name)
        counted("clock", f"{CALLED[name]}, it jumps by up to {_DAYS} days at each look, --workers {workers}", RIGHT)


def date(folder: Path, year: int) -> None:
    """Give all files a date."""
    moment = datetime(year, 1, 1, tzinfo=timezone.utc).timestamp()
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (moment, moment))


def written(folder: Path) -> dict[Path, int]:
    """What tells that a file was written again."""
    return {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


# What every run writes, even if it finds all done.
_ALWAYS = {"plan.json", "pool.yaml", "checksums.json", ".lock", ".run"}


@pytest.mark.parametrize("year", [1970, 2100])
def test_dates_of_files_do_not_matter(place, year):
    place.restore("mix")
    for name in WORKS:
        date(place.folder / name, year)
    here = written(place.folder)
    for arguments in WORKS.values():
        place.succeed(*arguments)
        again = {path.name for path, file in written(place.folder).items() if here.get(path) != file}
        assert again <= _ALWAYS, again
        counted("clock", f"all files are of the year {year}: a run finds all done", UNREAD)
    place.same_as("mix")
    place.verified(*WORKS)


@pytest.mark.parametrize("year", [1970, 2100])
def test_dates_of_files_do_not_matter_to_a_run_that_goes_on(place, all_faults, tmp_path, year):
    for name in WORKS if all_faults else ("data",):
        place.restore(before(name))
        once = tmp_path / name
        inside = {"FAULT_KILL": "receipts/", "FAULT_ONCE": str(once)}
        assert place.run(*WORKS[name], "--workers", 2, environment=place.with_faults(inside)).code() == 1
        date(place.folder / name, year)
        place.succeed(*WORKS[name])
        place.same_as(name)
        counted("clock", f"all files are of the year {year}: a run that was killed goes on", RIGHT)


def test_a_corpus_with_another_date_is_another_corpus(place):
    """Its content may have changed: that is said, and asked."""
    place.restore("mix")
    date(place.folder / "corpus", 1970)
    said = place.fail(*WORKS["pool"], code=2)
    assert "sources.corpus/part-0.jsonl" in said and "--overwrite" in said
    place.succeed(*WORKS["pool"], "--overwrite")
    found, expected = place.found(), place.expected["mix"]
    differ = {path for path in expected if found.get(path) != expected[path]}
    assert differ <= {path for path in expected if path == "pool/plan.json" or path.startswith("pool/receipts/ingest/")}
    place.verified(*WORKS)
    counted("clock", "the corpus has another date: `--overwrite` makes it again, and nothing that depends on it", ERROR)
