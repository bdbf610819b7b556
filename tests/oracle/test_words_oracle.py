"""Negatives found by words, and by words and vectors, against brute force."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from corpora import GRANULARITY, make_documents, with_copies, write_corpus
from test_oracle import check

import nextlong


@pytest.fixture(scope="module")
def corpus(family_corpus, family_pool, tokenizer_folder):
    vectors = family_pool.vectors.take(np.arange(family_pool.chunks))
    return oracle.Corpus(family_corpus, GRANULARITY, vectors, tokenizer_folder)


@pytest.mark.parametrize("retrieval", ["bm25", "hybrid"])
@pytest.mark.parametrize(
    ("length", "amount", "seed", "mining", "composition"),
    [
        pytest.param(2048, 10, 0, {}, {}, id="default"),
        pytest.param(8192, 2, 1, {}, {"position": "tail"}, id="long, tail"),
        pytest.param(2048, 10, 2, {"range_min": 3, "range_max": 80}, {}, id="ranks"),
        pytest.param(2048, 8, 3, {"max_score": 0.9, "min_score": 0.05}, {}, id="scores"),
        pytest.param(2048, 8, 4, {"relative_margin": 0.2, "max_jaccard": None}, {}, id="margin, near-copies"),
        pytest.param(2048, 12, 5, {"max_reuse": 1}, {}, id="each negative once"),
        pytest.param(2048, 8, 6, {}, {"mode": "paper", "position": "random"}, id="paper"),
    ],
)
def test_equals_the_oracle(
    corpus, family_pool, tokenizer_folder, tmp_path, retrieval, length, amount, seed, mining, composition
):
    mining = {**mining, "retrieval": retrieval}
    rows = check(corpus, family_pool, tokenizer_folder, tmp_path / "data", length, amount, seed, mining, composition)
    assert nextlong.verify(tmp_path / "data", workers=1).failures == []
    # The score is the cosine whatever ranked, so it does not descend.
    assert any(np.diff([span["score"] for span in row["spans"] if span["role"] == "negative"]).max() > 0 for row in rows)


def library(folder, tokenizer, documents):
    path = write_corpus(folder / "corpus.jsonl", documents)
    pool = nextlong.build_pool(
        path,
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": 24},
        index={"kind": "flat"},
    )
    return oracle.Corpus(path, GRANULARITY, pool.vectors.take(np.arange(pool.chunks)), tokenizer), pool


@pytest.fixture(scope="module")
def larger(tmp_path_factory, tokenizer_folder):
    """More than 1,000 chunks, of which most share words: the window of the fusion ends inside both rankings."""
    documents = with_copies(make_documents(560, 4, seed=7, paragraphs=(4, 20)))
    corpus, pool = library(tmp_path_factory.mktemp("larger"), tokenizer_folder, documents)
    assert pool.chunks > 1800
    return corpus, pool


@pytest.fixture(scope="module")
def strangers(tmp_path_factory, tokenizer_folder):
    """Groups of documents that share no word with those of other groups."""
    documents = make_documents(80, 8, seed=6, paragraphs=(1, 12))
    for number, document in enumerate(documents):
        lines = [
            [f"{word.strip('.')}{'abcdefgh'[number % 8]}x" for word in line.split()] for line in document["text"].split("\n")
        ]
        document["text"] = "\n".join(" ".join(line) for line in lines)
    return library(tmp_path_factory.mktemp("strangers"), tokenizer_folder, documents)


def test_bm25_over_much_of_the_pool(larger, tokenizer_folder, tmp_path):
    corpus, pool = larger
    rows = check(corpus, pool, tokenizer_folder, tmp_path / "data", 4096, 3, mining={"retrieval": "bm25", "range_min": 990})
    assert min(span["rank"] for row in rows for span in row["spans"] if span["role"] == "negative") > 990


def test_hybrid_beyond_its_window(larger, tokenizer_folder, tmp_path):
    corpus, pool = larger
    mining = {"retrieval": "hybrid", "range_min": 1450}
    rows = check(corpus, pool, tokenizer_folder, tmp_path / "data", 4096, 3, mining=mining)
    beyond = 0
    for row in rows:
        groups = {span["group"]: span["chunk"] for span in row["spans"] if span["role"] == "meta"}
        for span in row["spans"]:
            rankings = [ranking(corpus, groups[span["group"]])[:1000] for ranking in (oracle.by_vectors, oracle.by_words)]
            beyond += not any(span["chunk"] in ranking for ranking in rankings)
    assert beyond > 10


def test_words_rank_otherwise_than_vectors(corpus):
    """The corpus tells the three apart, and has ties in words."""
    meta = corpus.chunks_of[3][0]
    rankings = [ranking(corpus, meta)[:50] for ranking in (oracle.by_vectors, oracle.by_words, oracle.by_both)]
    assert len({tuple(ranking) for ranking in rankings}) == 3
    assert all(ranking[0] == meta or corpus.folded[ranking[0]] == corpus.folded[meta] for ranking in rankings)


@pytest.mark.parametrize("retrieval", ["bm25", "hybrid"])
@pytest.mark.parametrize("mode", ["token-exact", "paper"])
def test_chunks_that_share_no_word(strangers, tokenizer_folder, tmp_path, retrieval, mode):
    corpus, pool = strangers
    mining, composition = {"retrieval": retrieval}, {"mode": mode}
    rows = check(corpus, pool, tokenizer_folder, tmp_path / "data", 8192, 5, mining=mining, composition=composition)
    groups = [{int(span["document"].split("-")[1]) % 8 for span in row["spans"]} for row in rows]
    assert max(map(len, groups)) > 1


@pytest.mark.parametrize("retrieval", ["bm25", "hybrid"])
def test_a_pool_that_runs_out(corpus, family_pool, tokenizer_folder, tmp_path, retrieval):
    mining = {"retrieval": retrieval, "range_min": 100, "range_max": 110}
    with pytest.raises(oracle.OutOfText):
        oracle.sequences(corpus, oracle.Options(4096, 0, mining), 3)
    with pytest.raises(nextlong.NextlongError, match=r"lacks [\d,]+ of 4,096 tokens"):
        nextlong.synthesize(
            family_pool, tmp_path / "data", workers=1, length=4096, roots=3, tokenizer=tokenizer_folder, mining=mining
        )
