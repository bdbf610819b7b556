"""Killing an export at any moment and running it again gives the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from subprocess import TimeoutExpired

import pytest
from exported import LONG
from small_runs import contents, finished, leftovers, receipts, start

import nextlong
from nextlong.dataset import layout

EXPORT = ("export", "made/short", "--length", LONG, "--out", "out", "--quiet")
MIX = ("mix", "made/long:1", "made/short:2", "--out", "out", "--format", "mds", "--quiet")
RETOKENIZE = ("export", "made/long", "--tokenizer", "tokenizers/sparse", "--out", "out", "--merge", "--quiet")


@pytest.fixture
def place(made, tokenizers, tmp_path):
    """A function that makes a folder from which the datasets and tokenizers are reached by the same relative names."""

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "made").symlink_to(made, target_is_directory=True)
        (folder / "tokenizers").symlink_to(tokenizers, target_is_directory=True)
        return folder

    return make


def killed(arguments, folder, stop) -> bool:
    """Start, kill -9 with all its workers when ``stop`` returns, and say whether it was still running."""
    process = start(*arguments, cwd=folder)
    stop(process)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=100)
    assert running or process.returncode == 0, stderr
    return running


def when_there(path, pattern):
    """Wait until a file that the run writes is there, or the run has ended."""

    def wait(process):
        end = time.monotonic() + 100
        while process.poll() is None and not any(path.glob(pattern)):
            assert time.monotonic() < end
            time.sleep(0.001)

    return wait


def assert_finishes_as(folder, undisturbed, arguments):
    result = finished(*arguments, "--workers", 1, cwd=folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert contents(folder / "out") == contents(undisturbed / "out")
    assert receipts(folder / "out") == receipts(undisturbed / "out")
    assert leftovers(folder / "out") == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [EXPORT, MIX, RETOKENIZE], ids=["pack", "mix", "retokenize"])
def test_kills_at_every_stage_change_nothing(place, arguments):
    undisturbed = place("undisturbed")
    result = finished(*arguments, "--workers", 1, cwd=undisturbed)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    stages = ("plan.json", "gathered/*.arrow", "receipts/gather/*", "rows/*.parquet", "receipts/rows/*", "receipts/write/*")
    folder, kills = place("killed"), 0
    for number, pattern in enumerate(stages):
        kills += killed((*arguments, "--workers", 1 + number % 2), folder, when_there(folder / "out", pattern))
    assert kills >= 3
    assert_finishes_as(folder, undisturbed, arguments)


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(place):
    undisturbed = place("undisturbed")
    finished(*MIX, "--workers", 1, cwd=undisturbed)
    generator, folder, kills = random.Random(0), place("0"), 0
    for number in range(1, 9):

        def after_a_while(process, plan=folder / "out" / "plan.json"):
            when_there(plan.parent, plan.name)(process)
            with suppress(TimeoutExpired):
                process.wait(generator.uniform(0, 1.5))

        if killed((*MIX, "--workers", 1 + number % 2), folder, after_a_while):
            kills += 1
        else:
            assert_finishes_as(folder, undisturbed, MIX)
            folder = place(str(number))
    assert kills
    assert_finishes_as(folder, undisturbed, MIX)


def test_what_is_deleted_is_made_again(place):
    undisturbed = place("undisturbed")
    finished(*MIX, "--workers", 1, cwd=undisturbed)
    folder = place("again")
    finished(*MIX, "--workers", 1, cwd=folder)
    for name in ("rows/00001.parquet", "tokens/00002.mds", "gathered/01-00000.arrow", "dataset.yaml"):
        (folder / "out" / name).unlink()
    assert_finishes_as(folder, undisturbed, MIX)


def test_only_sequences_that_are_not_gathered_yet_are_read(made, tmp_path):
    """Files of sequences whose bytes are not what their receipts say cannot be read without a complaint."""
    data, out = shutil.copytree(made / "short", tmp_path / "data"), tmp_path / "out"
    nextlong.export(data, out, length=LONG, workers=1)
    whole = contents(out)
    files = sorted((data / layout.SEQUENCES).iterdir())
    kept = files[1].read_bytes()
    for path in files:
        path.write_bytes(bytes(path.stat().st_size))
    nextlong.export(data, out, length=LONG, workers=1)
    assert contents(out) == whole
    min(out.glob("gathered/*-00001.arrow")).unlink()
    with pytest.raises(nextlong.NextlongError, match=r"00001.parquet is not what its receipt says"):
        nextlong.export(data, out, length=LONG, workers=1)
    files[1].write_bytes(kept)
    nextlong.export(data, out, length=LONG, workers=1)
    assert contents(out) == whole
