"""The methods that put whole documents together, against an independent implementation: every span, every token."""

from __future__ import annotations

import json
from collections import Counter

import document_methods
import numpy as np
import oracle
import pyarrow.parquet as pq
import pytest
from corpora import GRANULARITY, write_corpus
from topical_corpus import topical_documents

import nextlong
from nextlong.dataset import layout as dataset_layout
from nextlong.pool.document_vectors import open_document_vectors


class Library:
    """A corpus, its pool and its tokenizer, and what the oracle needs of them."""

    def __init__(self, folder, tokenizer, documents):
        self.tokenizer = tokenizer
        path = write_corpus(folder / "corpus.jsonl", documents)
        self.pool = nextlong.build_pool(
            path,
            folder / "pool",
            workers=1,
            chunking={"granularity": GRANULARITY},
            encoder={"name": "lsa", "dimensions": 24},
            index={"kind": "flat"},
        )
        chunk_vectors = self.pool.vectors.take(np.arange(self.pool.chunks))
        self.corpus = oracle.Corpus(path, GRANULARITY, chunk_vectors, tokenizer)
        self.texts = [document["text"] for document in documents]

    def document_vectors(self):
        """As they are stored; the pool has them as soon as a method needed them."""
        return open_document_vectors(self.pool)[0].take(np.arange(self.pool.documents))

    def synthesize(self, folder, method, length, amount, seed=0, composition=None, options=None):
        """The dataset's rows, and its card."""
        card = nextlong.synthesize(
            self.pool,
            folder,
            workers=1,
            length=length,
            tokens=(amount - 1) * length + 1,
            seed=seed,
            tokenizer=self.tokenizer,
            composition={"method": method, **(composition or {})},
            options=options or {},
        )
        rows = []
        for path in sorted((folder / "sequences").glob("*.parquet")):
            written = pq.read_table(folder / "tokens" / path.name).to_pylist()
            for sequence, row in zip(pq.read_table(path).to_pylist(), written, strict=True):
                assert (row["id"], row["spans"]) == (sequence["id"], sequence["spans"])
                assert (sequence["method"], sequence["length"]) == (method, length)
                kept = {"root": sequence["root"], "topic": sequence["topic"]}
                rows.append({**kept, "tokens": row["input_ids"], "spans": row["spans"]})
        return rows, card

    def expected(self, method, length, amount, seed=0, composition=None, options=None):
        """What the oracle makes."""
        plan = oracle.Options(length, seed, composition=composition)
        known = {"knn": [self.document_vectors], "iclm": [self.document_vectors], "quest": [lambda: self.texts]}
        arguments = [give() for give in known.get(method, [])]
        return getattr(document_methods, method)(self.corpus, plan, amount, *arguments, **(options or {}))

    def check(self, folder, method, length, amount, seed=0, composition=None, options=None):
        """Make a dataset and compare it with the oracle's; returns the rows."""
        rows, card = self.synthesize(folder, method, length, amount, seed, composition, options)
        expected = self.expected(method, length, amount, seed, composition, options)
        assert card["counts"]["sequences"] == len(rows) == amount
        for number, (row, wanted) in enumerate(zip(rows, expected.sequences, strict=True)):
            for name in ("root", "topic", "spans", "tokens"):
                assert row[name] == wanted[name], f"row {number}, {name}"
        assert card["counts"]["tokens_wasted"] == expected.wasted
        assert card["counts"]["discarded"] == 0
        assert nextlong.verify(folder, workers=1).failures == []
        return rows


@pytest.fixture(scope="module")
def library(tmp_path_factory, tokenizer_folder):
    """Documents of one chunk to six, copies, and documents without a vector."""
    return Library(tmp_path_factory.mktemp("library"), tokenizer_folder, topical_documents())


def test_the_corpus_has_what_makes_it_hard(library, tmp_path):
    library.synthesize(tmp_path / "data", "knn", 500, 1)
    corpus, stored = library.corpus, library.document_vectors()
    lengths = [sum(corpus.length(chunk, "\n\n") for chunk in chunks) for chunks in corpus.chunks_of]
    assert min(lengths) < 100 and max(lengths) > 1000
    assert min(map(len, corpus.chunks_of)) == 1
    assert len(set(library.texts)) < len(library.texts) - 10
    assert (~stored.any(axis=1)).sum() == 4
    means = np.array([corpus.vectors[chunks].mean(axis=0) for chunks in corpus.chunks_of])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(stored, means / np.where(norms, norms, 1), atol=1e-3)


PLAIN = {"bos": False, "eos": False}
ALL = [
    pytest.param(1024, 25, 0, {}, id="default"),
    pytest.param(4096, 8, 1, {}, id="long"),
    pytest.param(400, 60, 2, {}, id="shorter than most documents"),
    pytest.param(150, 60, 3, {}, id="shorter than a chunk"),
    pytest.param(1000, 15, 4, {"separator": "\n"}, id="newline"),
    pytest.param(1000, 15, 5, {"separator": " ", "bos": False}, id="space, no begin token"),
    pytest.param(1000, 15, 6, {"separator": "\n\n---\n\n", "eos": False}, id="rule, no end token"),
    pytest.param(1000, 15, 7, {"separator": "|", **PLAIN}, id="bar, no special tokens"),
]


@pytest.mark.parametrize(("length", "amount", "seed", "composition"), ALL)
def test_standard(library, tmp_path, length, amount, seed, composition):
    library.check(tmp_path / "data", "standard", length, amount, seed, composition)


@pytest.mark.parametrize(("length", "amount", "seed", "composition"), ALL)
def test_knn(library, tmp_path, length, amount, seed, composition):
    rows = library.check(tmp_path / "data", "knn", length, amount, seed, composition)
    assert not any(row["root"].startswith("blank") for row in rows)


def test_knn_over_most_of_the_pool(library, tmp_path):
    """Deeper searches than the first."""
    library.check(tmp_path / "data", "knn", 60_000, 2)


def test_knn_of_documents_of_very_different_lengths(library, tmp_path):
    rows = library.check(tmp_path / "data", "knn", 2048, 100, 4)
    assert len({len({span["document"] for span in row["spans"]}) for row in rows}) > 3


@pytest.mark.parametrize(("length", "amount", "seed", "composition"), ALL)
def test_iclm(library, tmp_path, length, amount, seed, composition):
    library.check(tmp_path / "data", "iclm", length, amount, seed, composition)


@pytest.mark.parametrize("start", ["min-degree", "random"])
@pytest.mark.parametrize("neighbours", [1, 3, 50, 155, 1000])
def test_iclm_over_nearly_all_documents(library, tmp_path, neighbours, start):
    options = {"neighbours": neighbours, "start": start}
    rows = library.check(tmp_path / "data", "iclm", 1000, 75, 8, options=options)
    assert len({span["document"] for row in rows for span in row["spans"]}) > 100


@pytest.mark.parametrize(("length", "amount", "seed", "composition"), ALL)
def test_untie(library, tmp_path, length, amount, seed, composition):
    library.check(tmp_path / "data", "untie", length, amount, seed, composition)


@pytest.mark.parametrize(
    "options", [{"piece": 2}, {"piece": 3, "probability": 0.5}, {"probability": 0.5}, {"probability": 0.0}, {"piece": 99}]
)
def test_options_of_untie(library, tmp_path, options):
    rows = library.check(tmp_path / "data", "untie", 2048, 20, 9, options=options)
    plain = library.expected("standard", 2048, 20, 9).sequences
    same = [row["spans"] == other["spans"] for row, other in zip(rows, plain, strict=True)]
    assert all(same) == (options.get("probability") == 0.0)
    # Of few pieces, some stand as they stood even so.
    assert 5 < sum(same) < 15 if options.get("probability") == 0.5 else sum(same) in (0, 1, 2, 20)


@pytest.mark.parametrize("method", ["standard", "iclm", "untie"])
@pytest.mark.parametrize("per_shard", [1, 3])
def test_shards_end_with_a_document(library, tmp_path, monkeypatch, method, per_shard):
    monkeypatch.setattr(dataset_layout, "SHARD_TOKENS", per_shard * 1024)
    monkeypatch.setattr(document_methods, "SHARD_TOKENS", per_shard * 1024)
    library.check(tmp_path / "data", method, 1024, 10, 10)
    assert len(list((tmp_path / "data" / "tokens").iterdir())) == -(-10 // per_shard)


def test_shards_of_knn_do_not_matter(library, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_layout, "SHARD_TOKENS", 3 * 500)
    library.check(tmp_path / "data", "knn", 500, 10, 11)
    assert len(list((tmp_path / "data" / "tokens").iterdir())) == 4


@pytest.mark.parametrize("per_shard", [1, 3])
def test_a_keyword_of_several_shards(library, tmp_path, monkeypatch, per_shard):
    monkeypatch.setattr(dataset_layout, "SHARD_TOKENS", per_shard * 300)
    monkeypatch.setattr(document_methods, "SHARD_TOKENS", per_shard * 300)
    rows = library.check(tmp_path / "data", "quest", 300, 120, 11)
    assert max(Counter(row["topic"] for row in rows).values()) > per_shard
    assert len(list((tmp_path / "data" / "tokens").iterdir())) > 12


@pytest.mark.parametrize(
    ("length", "amount", "seed", "composition", "options"),
    [
        pytest.param(600, 40, 0, {}, {}, id="default"),
        pytest.param(1000, 20, 1, {}, {"max_share": 0.1}, id="frequent keywords"),
        pytest.param(3000, 12, 2, {}, {"max_share": 0.3}, id="long"),
        pytest.param(300, 60, 3, {}, {"per_document": None}, id="all keywords of a document"),
        pytest.param(300, 60, 4, {}, {"per_document": 1, "split_ratio": 0.5}, id="one keyword, more oversampling"),
        pytest.param(600, 40, 5, {}, {"split_ratio": 0.0, "max_share": 0.1}, id="no oversampling"),
        pytest.param(600, 40, 6, {}, {"split_ratio": 1.0, "max_share": 0.1}, id="all oversampled"),
        pytest.param(600, 30, 7, {}, {"min_score": 5.0, "max_share": 0.1}, id="longer keywords"),
        pytest.param(600, 30, 8, {}, {"min_score": 0.0, "max_words": 2, "max_share": 0.1}, id="shorter keywords"),
        pytest.param(200, 30, 9, {}, {"min_documents": 1, "max_share": 0.001}, id="keywords of one document"),
        pytest.param(600, 30, 10, {"separator": "\n", "bos": False}, {"min_documents": 4}, id="newline, no begin token"),
        pytest.param(600, 30, 11, {"separator": "|", **PLAIN}, {"max_share": 0.1}, id="bar, no special tokens"),
        pytest.param(150, 300, 12, {}, {"max_share": 0.3}, id="the same documents again and again"),
    ],
)
def test_quest(library, tmp_path, length, amount, seed, composition, options):
    library.check(tmp_path / "data", "quest", length, amount, seed, composition, options)


@pytest.mark.parametrize("per_document", [3, None])
def test_quest_with_predicted_queries(library, tmp_path, per_document):
    """Most documents have queries, some have none, and some queries are of no document."""
    queries = tmp_path / "queries.jsonl"
    subjects = ["green apples", "old pears", "wild plums", "the taste of small cherries"]
    lines = [{"id": "unknown", "queries": ["what is an apple"]}]
    for number, identity in enumerate(library.corpus.ids):
        asked = [f"the price of {subjects[number % 4]}", f"the season for {subjects[number % 3]}, in {identity[-1] * 3}"]
        if number % 7:
            lines.append({"id": identity, "queries": asked})
    queries.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    options = {"queries": str(queries), "max_share": 0.9, "per_document": per_document}
    rows = library.check(tmp_path / "data", "quest", 2000, 20, 12, options=options)
    assert {row["topic"] for row in rows} <= {*subjects[:3], "small cherries"}


@pytest.mark.parametrize(
    ("method", "length", "amount"), [("standard", 4096, 200), ("untie", 4096, 200), ("iclm", 4096, 200), ("knn", 1024, 500)]
)
def test_a_pool_that_runs_out(library, tmp_path, method, length, amount):
    library.synthesize(tmp_path / "one", method, length, 1)  # so that there are vectors of documents
    with pytest.raises(oracle.OutOfText) as most:
        library.expected(method, length, amount)
    (made,) = most.value.args
    assert 1 < made < amount
    with pytest.raises(nextlong.NextlongError) as error:
        library.synthesize(tmp_path / "data", method, length, amount)
    assert f"{amount:,} sequences of" in error.value.message and f"gives {made:,}" in error.value.message
    assert f"at most {made * length:,} tokens" in error.value.hint
    library.check(tmp_path / "most", method, length, made)


def test_a_pool_without_a_keyword_of_enough_text(library, tmp_path):
    with pytest.raises(oracle.OutOfText):
        library.expected("quest", 20_000, 3)
    with pytest.raises(nextlong.NextlongError, match=r"3 sequences of 20,000 tokens .* gives 0 .*too little text") as error:
        library.synthesize(tmp_path / "data", "quest", 20_000, 3)
    assert "per_document=null" in error.value.hint


@pytest.mark.parametrize("method", ["standard", "iclm", "untie"])
def test_a_pool_too_short_for_one_sequence(library, tmp_path, method):
    with pytest.raises(nextlong.NextlongError, match="the pool gives 0") as error:
        library.synthesize(tmp_path / "data", method, 1_000_000, 1)
    assert error.value.hint == "Add documents to the corpus."


def test_a_pool_too_short_for_one_sequence_of_knn(library, tmp_path):
    with pytest.raises(nextlong.NextlongError, match=r"160 documents .* shorter than one sequence of 1,000,000 tokens"):
        library.synthesize(tmp_path / "data", "knn", 1_000_000, 2)
