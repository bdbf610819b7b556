"""A screening on Ray: the same bytes as by this machine's own processes."""

from __future__ import annotations

import pytest

pytest.importorskip("ray")

from corpora import make_documents, with_copies, write_corpus
from small_runs import contents, finished

pytestmark = pytest.mark.slow

OPTIONS = ("--encoder", "lsa", "--dimensions", "16", "--granularity", "300", "--index", "flat", "--quiet", "--workers", "2")
SCREENING = ("--decontaminate", "evaluation.jsonl", "--max-ngram-documents", "9", "--deduplicate", "drop")


def test_the_same_bytes_on_ray(tmp_path):
    documents = with_copies(make_documents(24))
    for number in range(2):
        write_corpus(tmp_path / "corpus" / f"{number}.jsonl", documents[number * 15 : (number + 1) * 15])
    write_corpus(tmp_path / "evaluation.jsonl", [{"text": each["text"][200:420]} for each in documents[::6]])
    for place in ("local", "ray"):
        (tmp_path / place).mkdir()
        run = finished("index", "corpus", "--out", f"{place}/pool", *SCREENING, *OPTIONS, "--executor", place, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    assert contents(tmp_path / "ray" / "pool") == contents(tmp_path / "local" / "pool")
    assert "contaminated_chunks" in (tmp_path / "ray" / "pool" / "pool.yaml").read_text()
    done = finished("verify", "ray/pool", "--executor", "ray", "--workers", "2", cwd=tmp_path)
    assert done.returncode == 0 and "is verified" in done.stdout, done.stderr
