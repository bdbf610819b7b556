"""What ``quest`` does beyond its oracle: shards of a size, and verification without what it was planned from."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from corpora import GRANULARITY, write_corpus
from topical_corpus import topical_documents

import nextlong
from nextlong.dataset import layout

LENGTH = 512


@pytest.fixture(scope="module")
def documents():
    return topical_documents(120, 3, paragraphs=(4, 16))


@pytest.fixture(scope="module")
def pool(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quest")
    return nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", documents),
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": 8},
    )


def synthesize(pool, out, tokenizer, sequences, **options):
    composition = {"method": "quest"}
    return nextlong.synthesize(
        pool, out, workers=1, length=LENGTH, roots=sequences, tokenizer=tokenizer, composition=composition, options=options
    )


def test_a_keyword_of_many_sequences_makes_several_shards(pool, tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_TOKENS", 8 * LENGTH)
    synthesize(pool, tmp_path / "data", tokenizer_folder, 300)
    assert nextlong.verify(tmp_path / "data", workers=1).ok
    shards = [pq.read_table(path) for path in sorted((tmp_path / "data" / "sequences").glob("*.parquet"))]
    assert sum(shard.num_rows for shard in shards) == 300 and all(shard.num_rows < 2 * 8 for shard in shards)
    topics = [topic for shard in shards for topic in shard.column("topic").to_pylist()]
    most = max(topics, key=topics.count)
    assert topics.count(most) > 8
    # Each part of a keyword shuffles anew.
    rows = [row for shard in shards for row in shard.to_pylist() if row["topic"] == most]
    orders = [tuple(span["chunk"] for span in row["spans"]) for row in rows]
    assert orders[:8] != orders[8:16] and sorted(set(orders[:8])) != sorted(set(orders[8:16]))


def test_verifying_needs_no_queries(pool, documents, tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"id": row["id"], "queries": [row["text"].split("\n")[0]]}) for row in documents]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    synthesize(pool, tmp_path / "data", tokenizer_folder, 5, queries="queries.jsonl", per_document=None)
    (tmp_path / "queries.jsonl").unlink()
    monkeypatch.chdir("/")
    assert nextlong.verify(tmp_path / "data", workers=1).ok
