"""A screening in an object store: the same bytes as in a folder, verified, changed, and gone when it is off."""

from __future__ import annotations

import fsspec
import pytest
from corpora import make_documents, with_copies, write_corpus
from screened import build, verified
from small_runs import contents

import nextlong
from nextlong.pool import layout


@pytest.mark.slow
def test_a_screening_there_is_that_of_a_folder(bucket, tmp_path):
    documents = with_copies(make_documents(24))
    corpus = [write_corpus(tmp_path / f"{n}.jsonl", documents[n * 15 : (n + 1) * 15]) for n in range(2)]
    evaluation = write_corpus(tmp_path / "evaluation.jsonl", [{"text": each["text"][200:420]} for each in documents[::6]])
    system = fsspec.filesystem("s3", use_listings_cache=False)
    system.put(str(evaluation), f"{bucket}/evaluation.jsonl")
    rules = {"deduplicate": "drop", "decontaminate": [f"{bucket}/evaluation.jsonl"]}
    here = build(corpus, tmp_path / "here" / "pool", rules)
    assert here.description["counts"]["contaminated_chunks"] > 3
    there = build(corpus, f"{bucket}/pool", rules)
    assert there.id == here.id and verified(f"{bucket}/pool")
    (tmp_path / "there").mkdir()
    system.get(f"{bucket}/pool/", f"{tmp_path}/there/pool/", recursive=True)
    assert contents(tmp_path / "there" / "pool") == contents(tmp_path / "here" / "pool")
    off = build(corpus, f"{bucket}/pool", overwrite=True)
    assert off.id == build(corpus, tmp_path / "plain").id and verified(f"{bucket}/pool")
    every = system.find(f"{bucket}/pool")
    assert not [path for path in every if f"/{layout.SCREENING}/" in path or f"/{layout.INGESTED}/" in path]
    with pytest.raises(nextlong.UsageError, match="nothing"):
        build(corpus, f"{bucket}/other", {"decontaminate": [f"{bucket}/nothing.jsonl"]})
