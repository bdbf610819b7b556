"""Whole runs over a real S3-compatible server: the same bytes as in a folder, also after kills and on another machine."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from fault_table import CLEAR, ERROR, FOUND, SAME, counted
from small_runs import LENGTH, POOL_OPTIONS, contents, finished, train_tokenizer, write_corpus

ROOTS = 8
KILLS = 4


def index(corpus: object, pool: str) -> tuple[object, ...]:
    return ("index", corpus, "--out", pool, *POOL_OPTIONS, "--quiet", "--workers", 2)


def synthesize(pool: str, data: str, given: Path) -> tuple[object, ...]:
    options = ("--length", LENGTH, "--roots", ROOTS, "--tokenizer", given / "tokenizer", "--quiet", "--workers", 2)
    return ("synthesize", pool, "--out", data, *options)


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    train_tokenizer(write_corpus(folder / "corpus"), folder / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def here(given, tmp_path_factory) -> dict[str, str]:
    """What the same commands make in folders of this machine."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "corpus").symlink_to(given / "corpus", target_is_directory=True)
    for arguments in (index("corpus", "pool"), synthesize("pool", "data", given)):
        succeeded(*arguments, cwd=folder)
    return contents(folder / "pool") | contents(folder / "data")


def succeeded(*arguments: object, cwd: Path) -> str:
    result = finished(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def system():
    return fsspec.filesystem("s3", use_listings_cache=False)


def there(bucket: str, folder: Path) -> dict[str, str]:
    """What lies in the bucket's pool and dataset."""
    found: dict[str, str] = {}
    for name in ("pool", "data"):
        place = folder / bucket.removeprefix("s3://") / name
        shutil.rmtree(place, ignore_errors=True)
        system().get(f"{bucket}/{name}/", str(place) + "/", recursive=True)
        found |= contents(place)
    return found


def same(found: dict[str, str], expected: dict[str, str]) -> None:
    """Descriptions name the pool's place, which is another one; all else is the same bytes."""
    differ = {path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)}
    assert differ <= {"dataset.yaml"}


@pytest.mark.slow
def test_a_run_is_the_same_there_and_verified(given, here, bucket, tmp_path):
    succeeded(*index("corpus", f"{bucket}/pool"), cwd=given)
    succeeded(*synthesize(f"{bucket}/pool", f"{bucket}/data", given), cwd=given)
    same(there(bucket, tmp_path), here)
    for name in ("pool", "data"):
        assert "is verified" in succeeded("verify", f"{bucket}/{name}", cwd=given)
    # An export, with the mirror deleted: another machine.
    shutil.rmtree(os.environ["NEXTLONG_CACHE"])
    succeeded("export", f"{bucket}/data", "--out", f"{bucket}/mds", "--format", "mds", "--quiet", cwd=given)
    succeeded("mix", f"{bucket}/data:1", "--out", f"{bucket}/mix", "--length", 2 * LENGTH, "--quiet", cwd=given)
    for name in ("mds", "mix"):
        assert "is verified" in succeeded("verify", f"{bucket}/{name}", cwd=given)
    # The rows are where any reader of the store finds them.
    with system().open(f"{bucket}/data/tokens/00000.parquet") as file:
        assert len(pq.read_table(file).column("input_ids")[0]) == LENGTH
    assert not [key for key in system().find(bucket) if key.endswith(".tmp")]


def test_a_corpus_is_read_from_there(given, here, bucket, tmp_path):
    system().put(str(given / "corpus") + "/", f"{bucket}/corpus/", recursive=True)
    succeeded(*index(f"{bucket}/corpus", "pool"), cwd=tmp_path)
    made = contents(tmp_path / "pool")
    assert {path: made[path] for path in made if path.startswith(("vectors/", "fingerprints/"))} == {
        path: here[path] for path in here if path.startswith(("vectors/", "fingerprints/"))
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_random_moments_it_is_finished_by_another_machine(given, here, bucket, tmp_path, monkeypatch):
    """Every try has a mirror of its own, and no wait for the dead: the launcher lowers that time."""
    generator = random.Random(4)
    commands = (index("corpus", f"{bucket}/pool"), synthesize(f"{bucket}/pool", f"{bucket}/data", given))
    killed = 0
    for number in range(60):
        monkeypatch.setenv("NEXTLONG_CACHE", str(tmp_path / f"cache-{number}"))
        process = _start(commands, given)
        try:
            code = process.wait(generator.uniform(1.5, 6) if killed < KILLS else 200)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        assert code == 0, process.stderr.read() if process.stderr else ""
        break
    assert killed >= 1
    same(there(bucket, tmp_path), here)
    counted("object store", "SIGKILL of all processes at random moments; each time another machine goes on", SAME, killed)


_BOTH = """
import sys
from nextlong.execution import locks
locks.HEARTBEAT_SECONDS, locks.DEAD_AFTER_SECONDS, locks._POLL_SECONDS = 0.2, 2.0, 0.1
from nextlong.dataset import layout
from nextlong.pool import layout as pool_layout
layout.SHARD_TOKENS = 1 << 12
pool_layout.SOURCE_GROUP_BYTES = 1
from nextlong.cli.main import main
for words in eval(sys.argv[1]):
    sys.argv = ["nextlong", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def _start(commands: tuple[tuple[object, ...], ...], cwd: Path) -> subprocess.Popen[str]:
    words = repr([[str(word) for word in command] for command in commands])
    return subprocess.Popen(
        [sys.executable, "-c", _BOTH, words], cwd=cwd, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_a_second_run_is_refused(given, bucket):
    first = _start((index("corpus", f"{bucket}/pool"),), given)
    try:
        deadline = time.monotonic() + 60
        while not system().exists(f"{bucket}/pool/.lock/00000001") and time.monotonic() < deadline:
            time.sleep(0.05)
        second = finished(*index("corpus", f"{bucket}/pool"), cwd=given)
        assert first.poll() is None or second.returncode == 0  # on a slow machine the first may have ended
        if second.returncode:
            assert "Another process is working on s3://" in second.stderr
            counted("object store", "two processes on one folder: the second is refused", ERROR)
        else:
            assert first.wait(100) == 0
    finally:
        first.wait(100)


@pytest.mark.parametrize("harm", ["changed", "removed"])
def test_a_damaged_object_is_found(given, bucket, harm):
    succeeded(*index("corpus", f"{bucket}/pool"), cwd=given)
    victim = sorted(key for key in system().find(f"{bucket}/pool/vectors"))[0]
    if harm == "changed":
        content = bytearray(system().cat_file(victim))
        content[-1] ^= 1
        system().pipe_file(victim, bytes(content))
    else:
        system().rm_file(victim)
    result = finished("verify", f"{bucket}/pool", cwd=given)
    assert result.returncode == 1
    assert f"s3://{victim}" in result.stdout + result.stderr
    counted("object store", f"an object was {harm}: `verify`", FOUND)


def test_a_store_that_cannot_be_reached_is_an_error_for_people(given, s3_environment, monkeypatch):
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    result = finished(*index("corpus", "s3://bucket/pool"), cwd=given)
    assert result.returncode == 1
    assert "object store" in result.stderr and "s3://bucket/pool" in result.stderr
    assert "Traceback" not in result.stderr and "a-secret-of-the-tests" not in result.stderr
    counted("object store", "it cannot be reached", CLEAR)
