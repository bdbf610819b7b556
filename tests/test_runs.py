"""The scripts in ``runs`` do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpora import write_corpus
from topical_corpus import topical_documents

REPOSITORY = Path(__file__).parent.parent


@pytest.mark.slow
def test_one_pool_six_methods_five_formats(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", topical_documents(260, 3, paragraphs=(8, 24)))
    script = REPOSITORY / "runs" / "six_methods_five_formats.sh"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [script, corpus, tmp_path / "out", "2K", "8K"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.count(" is verified.") == 6 * 5
