"""An object store is all that the machines of a cluster need to share."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import fsspec
import pytest
from small_runs import LENGTH, POOL_OPTIONS, contents, finished, train_tokenizer, write_corpus

pytest.importorskip("ray")

ROOTS = 8


def commands(corpus: object, pool: object, data: object, tokenizer: Path) -> list[tuple[object, ...]]:
    """What makes a pool and a dataset."""
    index = ("index", corpus, "--out", pool, *POOL_OPTIONS, "--quiet", "--workers", 2)
    options = ("--length", LENGTH, "--roots", ROOTS, "--tokenizer", tokenizer, "--quiet", "--workers", 2)
    return [index, ("synthesize", pool, "--out", data, *options)]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "--mount", "true"]).returncode != 0,
    reason="no folder can be hidden from a process on this system",
)
def test_machines_that_share_nothing_else_make_the_same_bytes(machines, bucket, tmp_path):
    """The one that works does not see the folder where the command is run, and has a mirror of its own."""
    corpus = write_corpus(tmp_path / "given" / "corpus")
    tokenizer = train_tokenizer(corpus, tmp_path / "given" / "tokenizer")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    machines.add_apart(hidden, {"NEXTLONG_CACHE": str(tmp_path / "cache-apart")})
    try:
        ray = ("--executor", "ray", "--ray-address", machines.address)
        for arguments in commands(corpus, f"{bucket}/pool", f"{bucket}/data", tokenizer):
            result = finished(*arguments, *ray, cwd=hidden)
            assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    finally:
        machines.remove_apart()
    for arguments in commands(corpus, tmp_path / "pool", tmp_path / "data", tokenizer):
        assert finished(*arguments, cwd=tmp_path / "given").returncode == 0
    for name in ("pool", "data"):
        there = tmp_path / f"{name}-there"
        fsspec.filesystem("s3", use_listings_cache=False).get(f"{bucket}/{name}/", f"{there}/", recursive=True)
        expected, found = contents(tmp_path / name), contents(there)
        expected.pop("dataset.yaml", None), found.pop("dataset.yaml", None)  # it names the pool's place
        assert found == expected
    assert any((tmp_path / "cache-apart").rglob("*.arrow"))
