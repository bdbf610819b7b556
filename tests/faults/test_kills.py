"""SIGKILL of a run and all its workers, at random moments; of one worker, in each stage; and what ends a run politely."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from contextlib import suppress

import pytest
from fault_table import ERROR, SAME, counted
from run_processes import group_members, needs_proc, wait_until, workers_of
from small_runs import command, leftovers
from works import CALLED, WORKS, Place, before

# In all of the works together; and of each of them when all faults are made.
FEW_KILLS, MANY_KILLS = 12, 12
WORKERS = (1, 2, 4)


def undisturbed_seconds(place: Place, name: str, workers: int, known: dict[tuple[str, int], float]) -> float:
    """How long a work takes here and now with so many workers."""
    if (name, workers) not in known:
        place.restore(before(name))
        run = place.start((*WORKS[name], "--workers", workers))
        assert run.code() == 0, run.said()
        known[name, workers] = run.seconds()
        place.same_as(name)
    return known[name, workers]


@pytest.mark.timeout(1800)
@needs_proc
def test_kills_at_random_moments_change_nothing(place, all_faults):
    generator = random.Random(4)
    known: dict[tuple[str, int], float] = {}
    for number, name in enumerate(WORKS):
        kills = dict.fromkeys(WORKERS, 0)
        wanted = MANY_KILLS if all_faults else FEW_KILLS // len(WORKS) + (number < FEW_KILLS % len(WORKS))
        begun = False
        while sum(kills.values()) < wanted:
            workers = WORKERS[sum(kills.values()) % len(WORKERS)]
            seconds = undisturbed_seconds(place, name, workers, known) if not begun else known.get((name, workers), 1.0)
            if not begun:
                place.restore(before(name))
            run = place.start((*WORKS[name], "--workers", workers))
            if not run.ends_within(generator.uniform(0, seconds)):
                run.kill_group()
            begun = run.code() == -signal.SIGKILL  # else it had ended before
            if begun:
                wait_until(lambda group=run.process: not group_members(group), "processes outlive a kill")
                kills[workers] += 1
            else:
                assert run.code() == 0, run.said()
                place.same_as(name)
        place.succeed(*WORKS[name])
        place.same_as(name)
        place.verified(name)
        for workers, times in kills.items():
            if times:
                counted("SIGKILL of all processes", f"{CALLED[name]}, at random moments, --workers {workers}", SAME, times)


# Work → what the files are called that its stages write.
STAGES = {
    "pool": ("chunks", "fingerprints", "vectors"),
    "data": ("tokens", "neighbours", "sequences", "data/tokens"),
    "documents": ("derived", "neighbours", "sequences"),
    "export": ("gathered", "rows", "export/tokens"),
    "mix": ("gathered", "rows", "mix/tokens"),
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", STAGES)
def test_a_killed_worker_is_a_clear_error_and_a_second_run_finishes(place, all_faults, tmp_path, name):
    """A worker kills itself, as if the system had done it for want of memory, when it has written a file."""
    if not all_faults and name not in ("pool", "data"):
        pytest.skip("one of those that are made with --all-faults")
    stages = STAGES[name] if all_faults else STAGES[name][-1:]
    for number, stage in enumerate(stages):
        place.restore(before(name))
        once = tmp_path / str(number)
        inside = {"FAULT_KILL": f"/{stage}/", "FAULT_ONCE": str(once)}
        said = place.fail(*WORKS[name], "--workers", 2, environment=place.with_faults(inside))
        assert "error: A worker process was killed" in said
        assert "Run the same command again" in said
        assert once.exists()
        place.succeed(*WORKS[name], "--workers", 2)
        place.same_as(name)
        counted("SIGKILL of one worker", f"{CALLED[name]}, while it writes `{stage}/`", ERROR)


@pytest.mark.parametrize("name", WORKS)
def test_a_run_that_was_killed_before_its_plan_had_a_name(place, tmp_path, name):
    place.restore(before(name))
    inside = place.with_faults({"FAULT_KILL": f"/{name}/plan.json", "FAULT_ONCE": str(tmp_path / "once")})
    # In a process that is new from the ground up: only such a one has the fault.
    killed = subprocess.run(command(*WORKS[name]), cwd=place.folder, env={**os.environ, **inside}, timeout=200)
    assert killed.returncode == -signal.SIGKILL
    assert len(leftovers(place.folder)) == 1
    place.succeed(*WORKS[name])
    place.same_as(name)
    counted("SIGKILL of all processes", f"{CALLED[name]}, before `plan.json` gets its name", SAME)


def test_orphans_of_a_killed_run_end_soon(place):
    place.restore(before("pool"))
    run = place.start((*WORKS["pool"], "--workers", 2))
    wait_until(lambda: workers_of(run.process), "no worker started")
    members = group_members(run.process)
    os.kill(run.process, signal.SIGKILL)
    assert len(members) > 1  # else there was no orphan
    wait_until(lambda: not group_members(run.process), "workers outlive their run")
    place.succeed(*WORKS["pool"])
    place.same_as("pool")
    counted("SIGKILL of the first process only", "`index --workers 2`: its workers end by themselves", SAME)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Ended.")])
def test_what_ends_a_run_politely(place, all_faults, number, code, word, workers):
    """Ctrl-C and what batch systems send, to the first process, and to all of them as a terminal does."""
    made = 0
    for name in WORKS if all_faults else ("pool",):
        for to_all in (False, True) if all_faults else (workers > 1,):
            place.restore(before(name))
            run = place.start((*WORKS[name], "--workers", workers))
            output = place.folder / name
            wait_until(lambda out=output: any(out.glob("receipts/*/*.json")), "nothing is done")
            if to_all:
                run.kill_group(number)
            else:
                with suppress(ProcessLookupError):
                    os.kill(run.process, number)
            if run.code() == 0:
                continue  # it had just ended
            assert run.code() == code, run.said()
            assert f"{word} Run the same command again to go on: what is finished is kept." in run.said()
            assert "Traceback" not in run.said(), run.said()
            wait_until(lambda group=run.process: not group_members(group), "workers outlive their run")
            place.succeed(*WORKS[name])
            place.same_as(name)
            how = f"{CALLED[name]}, --workers {workers}, {'all processes' if to_all else 'the first process'}"
            made += 1
            counted("Ctrl-C" if number == signal.SIGINT else "SIGTERM", how, SAME)
    assert made
