"""A pool in which most of the nearest neighbours are copies still fills every sequence, with what the oracle takes."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from corpora import GRANULARITY, make_documents, write_corpus
from test_oracle import check

import nextlong


@pytest.fixture(scope="module")
def copied(tmp_path_factory, tokenizer_folder):
    """Twenty-four documents in twenty copies each."""
    folder = tmp_path_factory.mktemp("copied")
    documents = make_documents(24, families=1, seed=5, paragraphs=(6, 10))
    copies = [
        {"id": f"copy-{number}-of-{document['id']}", "text": document["text"].replace(" ", "\t", number % 5)}
        for document in documents
        for number in range(19)
    ]
    path = write_corpus(folder / "corpus.jsonl", copies + documents)
    pool = nextlong.build_pool(
        path,
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": 32},
        index={"kind": "flat"},
    )
    vectors = np.concatenate([np.load(file) for file in sorted((pool.folder / "vectors").glob("*.npy"))])
    return oracle.Corpus(path, GRANULARITY, vectors, tokenizer_folder), pool


@pytest.mark.parametrize("mode", ["token-exact", "paper"])
def test_deeper_searches_fill_every_sequence(copied, tokenizer_folder, tmp_path, mode):
    corpus, pool = copied
    composition = {"mode": mode}
    rows = check(corpus, pool, tokenizer_folder, tmp_path / "data", 4096, 12, composition=composition)
    for row in rows:
        assert max(span["rank"] for span in row["spans"]) > 5 * len(row["spans"])
    assert nextlong.verify(tmp_path / "data", workers=1).failures == []


def test_chunks_used_up_by_other_sequences_are_replaced(copied, tokenizer_folder, tmp_path):
    corpus, pool = copied
    check(corpus, pool, tokenizer_folder, tmp_path / "data", 4096, 40, mining={"max_reuse": 1})
    assert nextlong.load_dataset_card(tmp_path / "data")["counts"]["searched_deeper"] > 0
    assert nextlong.verify(tmp_path / "data", workers=1).failures == []


def test_copies_of_the_root_are_none_of_its_negatives(copied, tokenizer_folder, tmp_path):
    corpus, pool = copied
    rows = check(corpus, pool, tokenizer_folder, tmp_path / "data", 4096, 12, seed=3)
    from_copies = [row for row in rows if row["root"].startswith("copy-")]
    assert from_copies
    for row in from_copies:
        original = row["root"].split("-of-")[1]
        negatives = [span["document"] for span in row["spans"] if span["role"] == "negative"]
        assert not [name for name in negatives if name.endswith(f"-of-{original}") or name == original]
