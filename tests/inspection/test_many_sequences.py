"""A dataset of 10,000 sequences is looked at in seconds, in bounded memory, by a sample."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import pytest

import nextlong
from nextlong.inspection.opened import MOST_SEQUENCES

SEQUENCES, LENGTH = 10_000, 128
# Both are some three times what this takes on two busy cores.
SECONDS, BYTES = 30, 1 << 30


@pytest.fixture(scope="module")
def many(tokenizer_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 9))) for _ in range(3000)]
    lines = [json.dumps({"id": f"doc-{n}", "text": " ".join(draw.choices(words, k=300))}) for n in range(4000)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    pool = nextlong.build_pool(
        folder / "corpus.jsonl", folder / "pool", encoder={"name": "lsa", "dimensions": 16}, chunking={"granularity": 256}
    )
    keys = {"length": LENGTH, "tokens": SEQUENCES * LENGTH, "tokenizer": tokenizer_folder}
    nextlong.synthesize(pool, folder / "data", composition={"method": "standard"}, **keys)
    return folder / "data"


@pytest.mark.slow
@pytest.mark.parametrize("words", (("stats",), ("inspect", "--html", "report.html")))
def test_it_takes_seconds_and_little_memory(many, words, tmp_path):
    program = [sys.executable, "-c", "from nextlong.cli.main import main; main()"]
    started = time.monotonic()
    process = subprocess.Popen([*program, words[0], many, *words[1:]], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert time.monotonic() - started < SECONDS
    assert usage.ru_maxrss * 1024 < BYTES
    if words[0] == "stats":
        figures = json.loads(printed)
        assert (figures["counts"]["sequences"], figures["looked_at"], figures["whole"]) == (SEQUENCES, MOST_SEQUENCES, False)
