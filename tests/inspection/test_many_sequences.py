"""A dataset of 10,000 sequences is looked at in seconds, in bounded memory, by a sample."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time

import pytest
from run_processes import needs_proc

import nextlong
from nextlong.inspection.opened import MOST_SEQUENCES

SEQUENCES, LENGTH = 10_000, 128
# Both are some three times what this takes on two busy cores.
SECONDS, BYTES = 30, 1 << 30

# The command, which leaves at its end what the system says of its memory: what a parent is told counts its own, too.
PROGRAM = """
import atexit, sys
from pathlib import Path
status = Path(sys.argv.pop(1))
atexit.register(lambda: status.write_text(Path("/proc/self/status").read_text()))
from nextlong.cli.main import main
main()
"""


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


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("words", (("stats",), ("inspect", "--html", "report.html")))
def test_it_takes_seconds_and_little_memory(many, words, tmp_path):
    started = time.monotonic()
    program = [sys.executable, "-c", PROGRAM, tmp_path / "status", words[0], many, *words[1:]]
    ended = subprocess.run(program, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=200, check=True)
    assert time.monotonic() - started < SECONDS
    assert int(re.search(r"VmHWM:\s+(\d+) kB", (tmp_path / "status").read_text())[1]) * 1024 < BYTES
    if words[0] == "stats":
        figures = json.loads(ended.stdout)
        assert (figures["counts"]["sequences"], figures["looked_at"], figures["whole"]) == (SEQUENCES, MOST_SEQUENCES, False)
