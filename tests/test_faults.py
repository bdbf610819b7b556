"""Kills, full disks, folders that cannot be written: what is finished stays, and a second run finishes the rest."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cli_runs import run_cli
from small_runs import (
    LENGTH,
    POOL_OPTIONS,
    SHARD_TOKENS,
    command,
    contents,
    finished,
    leftovers,
    receipts,
    start,
    train_tokenizer,
    write_corpus,
)

from nextlong.dataset import layout

ROOTS = 12
INDEX = ("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--quiet")
SYNTHESIZE = (
    "synthesize",
    "pool",
    "--out",
    "data",
    "--length",
    LENGTH,
    "--roots",
    ROOTS,
    "--tokenizer",
    "tokenizer",
    "--quiet",
)

KILLS = 7  # of each of the two commands
# A killed run's workers look for their parent twice a second; the rest is for a busy machine.
ORPHAN_SECONDS = 20

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with a corpus and a tokenizer."""
    folder = tmp_path_factory.mktemp("given")
    corpus = write_corpus(folder / "corpus")
    train_tokenizer(corpus, folder / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def undisturbed(given, tmp_path_factory) -> Path:
    """A folder in which both commands ran to their end."""
    folder = work_in(tmp_path_factory.mktemp("undisturbed"), given)
    for arguments in (INDEX, SYNTHESIZE):
        result = finished(*arguments, "--workers", 1, cwd=folder)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return folder


def work_in(folder: Path, given: Path) -> Path:
    """Make the corpus and the tokenizer reachable by the same relative names."""
    for name in ("corpus", "tokenizer"):
        (folder / name).symlink_to(given / name, target_is_directory=True)
    return folder


def group_members(group: int) -> list[int]:
    """Processes of a process group that are alive."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(its_group) == group and state != "Z":
            alive.append(int(path.parent.name))
    return alive


def wait_until(condition, seconds: float, what: str) -> None:
    """Poll until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def begun(plan: Path, before: int) -> bool:
    """Whether a run has written the plan anew, which is the first that it does to its folder."""
    return plan.exists() and plan.stat().st_mtime_ns != before


def run_and_kill(arguments, cwd: Path, output: str, delay: float, whole_group: bool) -> bool:
    """Start, wait until the work has begun and then ``delay`` seconds, and kill -9. False when it had ended before."""
    plan = cwd / output / "plan.json"
    before = plan.stat().st_mtime_ns if plan.exists() else 0
    process = start(*arguments, cwd=cwd)
    wait_until(lambda: begun(plan, before) or process.poll() is not None, 100, "the run does not begin")
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    was_running = process.poll() is None
    if was_running and whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    elif was_running:
        process.kill()
    _, stderr = process.communicate(timeout=100) if whole_group or not was_running else ("", "")
    process.wait()
    if not was_running:
        assert process.returncode == 0, stderr
    for stream in (process.stdout, process.stderr):
        stream.close()
    return was_running


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(("arguments", "output", "seconds"), [(INDEX, "pool", 1.5), (SYNTHESIZE, "data", 1.5)])
def test_kills_change_nothing(given, undisturbed, tmp_path, arguments, output, seconds):
    generator = random.Random(output)
    kills, folder, number = 0, None, 0
    while kills < KILLS:
        if folder is None:
            number += 1
            folder = tmp_path / str(number)
            folder.mkdir()
            work_in(folder, given)
            if output == "data":
                shutil.copytree(undisturbed / "pool", folder / "pool", ignore=shutil.ignore_patterns("tokens"))
        # One worker and two in turn: resuming must not depend on it. Killing the parent alone leaves orphans to end.
        workers = 1 + kills % 2
        whole_group = generator.random() < 0.5
        delay = generator.uniform(0, seconds * workers)
        if run_and_kill((*arguments, "--workers", workers), folder, output, delay, whole_group):
            kills += 1
        else:
            assert_same(folder, undisturbed, output)
            folder = None
    if folder is not None:
        result = finished(*arguments, "--workers", 1, cwd=folder)
        assert result.returncode == 0, result.stderr
        assert_same(folder, undisturbed, output)


def assert_same(folder: Path, undisturbed: Path, output: str) -> None:
    """What the command wrote is what it writes when nobody disturbs it, and nothing else lies there."""
    expected, found = contents(undisturbed / output), contents(folder / output)
    if output == "pool":  # the undisturbed pool has been used since
        expected = {path: value for path, value in expected.items() if not path.startswith("tokens/")}
    assert found == expected
    wanted = receipts(undisturbed / output)
    assert receipts(folder / output) == {path: value for path, value in wanted.items() if not path.startswith("tokens/")}
    assert leftovers(folder) == []


@needs_proc
def test_orphans_of_a_killed_run_end_soon(given, tmp_path):
    folder = work_in(tmp_path, given)
    process = start(*INDEX, "--workers", 2, cwd=folder)
    wait_until(lambda: (folder / "pool" / "receipts" / "ingest").exists(), 100, "no worker finished anything")
    members = group_members(process.pid)
    process.kill()
    process.wait()
    assert len(members) > 1  # else there was no orphan
    wait_until(lambda: not group_members(process.pid), ORPHAN_SECONDS, "workers outlive their run")
    process.stdout.close()
    process.stderr.close()


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a run."""
    found = []
    for member in group_members(process.pid):
        try:
            words = Path(f"/proc/{member}/cmdline").read_bytes()
        except OSError:
            continue
        if b"popen_loky" in words:
            found.append(member)
    return found


@needs_proc
def test_a_killed_worker_is_a_clear_error_and_a_second_run_finishes(given, undisturbed, tmp_path):
    folder = work_in(tmp_path, given)
    process = start(*INDEX, "--workers", 2, cwd=folder)
    wait_until(lambda: workers_of(process), 100, "no worker started")
    os.kill(workers_of(process)[0], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=100)
    assert (process.returncode, stdout) == (1, "")
    assert "error: A worker process was killed" in stderr
    assert "Run the same command again" in stderr
    assert "Traceback" not in stderr
    wait_until(lambda: not group_members(process.pid), ORPHAN_SECONDS, "workers outlive their run")
    assert finished(*INDEX, "--workers", 1, cwd=folder).returncode == 0
    assert_same(folder, undisturbed, "pool")


def test_interrupting_is_no_traceback(given, undisturbed, tmp_path):
    folder = work_in(tmp_path, given)
    process = start(*INDEX, "--workers", 1, cwd=folder)
    wait_until(lambda: (folder / "pool" / "plan.json").exists(), 100, "the run does not begin")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 130, stderr
    assert "Interrupted. Run the same command again" in stderr
    assert "Traceback" not in stderr
    assert leftovers(folder) == []
    assert finished(*INDEX, "--workers", 1, cwd=folder).returncode == 0
    assert_same(folder, undisturbed, "pool")


def mounted(folder: Path, options: str) -> None:
    """A memory file system in a folder; skips where this process may not mount one."""
    folder.mkdir(exist_ok=True)
    try:
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if result.returncode:
        pytest.skip(f"cannot mount a small file system: {result.stderr.strip()}")


def remounted(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a file system with options; it is gone after the test."""
    folder = tmp_path / "disk"
    yield lambda options: (mounted(folder, options), folder)[1]
    if folder.exists() and folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_loses_nothing(given, undisturbed, small_disk, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
    kibibytes = sum(path.stat().st_size + 4096 for path in undisturbed.rglob("*") if path.is_file()) // 1024
    disk = small_disk("size=64k")
    work_in(disk, given)
    monkeypatch.chdir(disk)
    expected = {
        f"{output}/{path}": value for output in ("pool", "data") for path, value in contents(undisturbed / output).items()
    }
    failures = 0
    for step in range(1, 40):
        for arguments in (INDEX, SYNTHESIZE):
            result = run_cli(*arguments, "--workers", 1)
            if result.exit_code:
                break
        if not result.exit_code:
            break
        failures += 1
        assert result.exit_code == 1, result.stderr
        assert result.stderr.startswith("error: No space left"), result.stderr
        assert "what is finished is kept" in result.stderr
        assert leftovers(disk) == []
        found = {f"{output}/{path}": value for output in ("pool", "data") for path, value in contents(disk / output).items()}
        assert found.items() <= expected.items() | {(path, found[path]) for path in found if path.endswith("plan.json")}
        remounted(disk, f"size={64 + step * kibibytes // 12}k")
    assert failures >= 6
    for output in ("pool", "data"):
        assert contents(disk / output) == contents(undisturbed / output)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of file sizes on this system")
def test_a_file_size_limit_is_a_clear_error(given, undisturbed, tmp_path):
    folder = work_in(tmp_path, given)
    largest = max(path.stat().st_size for path in (undisturbed / "pool" / "vectors").iterdir())
    result = subprocess.run(
        command(*INDEX, "--workers", 1),
        cwd=folder,
        capture_output=True,
        text=True,
        # Measuring coverage writes files of its own, for which the limit is too small.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, resource.RLIM_INFINITY)),
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: No space left to write pool/"), result.stderr
    assert "Traceback" not in result.stderr
    assert leftovers(folder) == []
    assert finished(*INDEX, "--workers", 1, cwd=folder).returncode == 0
    assert_same(folder, undisturbed, "pool")


def test_read_only_folders_are_clear_errors(given, undisturbed, small_disk, monkeypatch):
    disk = small_disk("size=128m")
    work_in(disk, given)
    shutil.copytree(undisturbed / "pool", disk / "pool", ignore=shutil.ignore_patterns("tokens"))
    remounted(disk, "ro")
    monkeypatch.chdir(disk)
    for arguments in (INDEX, SYNTHESIZE, ("index", "corpus", "--out", "new", *POOL_OPTIONS)):
        result = run_cli(*arguments, "--workers", 1)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: Cannot write "), result.stderr
        assert "Read-only file system" in result.stderr
    assert run_cli("verify", "pool", "--workers", 1).exit_code == 0


def test_a_pool_that_cannot_be_written_to_is_a_clear_error(given, undisturbed, small_disk, monkeypatch, tmp_path):
    """The tokens of its chunks are kept in the pool."""
    disk = small_disk("size=128m")
    shutil.copytree(undisturbed / "pool", disk / "pool", ignore=shutil.ignore_patterns("tokens"))
    remounted(disk, "ro")
    monkeypatch.chdir(work_in(tmp_path, given))
    result = run_cli("synthesize", disk / "pool", *SYNTHESIZE[2:], "--workers", 1)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: Cannot write {disk}/pool/tokens"), result.stderr
