"""What each method promises of every sequence and of the whole dataset, for any small corpus and any options."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import GRANULARITY, write_corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import contents
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from topical_corpus import topical_documents

import nextlong
from nextlong.composition.keywords import document_keywords
from nextlong.dataset import layout as dataset_layout
from nextlong.pool.document_vectors import open_document_vectors

ANY = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """Seed → a pool of some 60 documents and its texts by id, made when first asked for."""
    folder = tmp_path_factory.mktemp("pools")

    @cache
    def made(seed):
        documents = topical_documents(60, 3, seed, (1, 16), blank=3)
        pool = nextlong.build_pool(
            write_corpus(folder / f"{seed}.jsonl", documents),
            folder / f"pool-{seed}",
            workers=1,
            chunking={"granularity": GRANULARITY // 2},
            encoder={"name": "lsa", "dimensions": 16},
            index={"kind": "flat"},
        )
        return pool, {document["id"]: document["text"] for document in documents}

    return made


@pytest.fixture
def make(pools, tokenizer_folder, tmp_path_factory):
    """Make a dataset of shards of three sequences, verify it, and return its rows."""

    def made(corpus, method, length, amount, seed=0, workers=1, **options):
        pool, _ = pools(corpus)
        folder = tmp_path_factory.mktemp("made") / "data"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dataset_layout, "SHARD_TOKENS", 3 * length)
            nextlong.synthesize(
                pool,
                folder,
                workers=workers,
                length=length,
                roots=amount,
                seed=seed,
                tokenizer=tokenizer_folder,
                composition={"method": method},
                options=options,
            )
            assert nextlong.verify(folder, workers=1).failures == []
        rows = [row for path in sorted((folder / "sequences").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
        assert len(rows) == amount
        for row in rows:
            assert row["spans"][-1]["token_end"] == length - 1
        return rows

    return made


def documents_of(row):
    """(id, positions) of each document of a row, in the order in which they appear."""
    found = {}
    for span in row["spans"]:
        found.setdefault(span["document"], []).append(span["position"])
    return found


corpora = st.integers(0, 3)
seeds = st.integers(0, 2**64 - 1)
lengths = st.integers(200, 1200)
amounts = st.integers(1, 8)
neighbours = st.sampled_from([1, 2, 5, 70])
starts = st.sampled_from(["min-degree", "random"])


@ANY
@given(corpora, seeds, lengths, amounts)
def test_standard(make, corpus, seed, length, amount):
    rows = make(corpus, "standard", length, amount, seed)
    assert_each_document_once_and_in_order(rows)


@ANY
@given(corpora, seeds, lengths, amounts, neighbours, starts)
def test_iclm(make, pools, corpus, seed, length, amount, neighbours, start):
    rows = make(corpus, "iclm", length, amount, seed, neighbours=neighbours, start=start)
    assert_each_document_once_and_in_order(rows)
    pool, _ = pools(corpus)
    ordinals = {identity: number for number, identity in enumerate(pool.document_ids(np.arange(pool.documents)))}
    vectors = open_document_vectors(pool)[0].take(np.arange(pool.documents)).astype(np.float64)
    scores = (vectors @ vectors.T).astype(np.float32)
    there = vectors.any(axis=1)
    # The document that each shard of three sequences has in reserve was visited, too, and stands in no sequence.
    path, visited, in_reserve = [], set(), set()
    for number, row in enumerate(rows):
        path += [None] if number % 3 == 0 else []
        path += [ordinals[identity] for identity in documents_of(row)]
    for before, after in pairwise(path):
        visited.add(before)
        if before is None or after is None or before == after:
            continue
        others = [other for other in range(len(scores)) if other != before and there[other] and there[before]]
        nearest = sorted(others, key=lambda other: (-scores[before, other], other))[:neighbours]
        unvisited = [other for other in nearest if other not in visited]
        in_reserve |= set(unvisited[: unvisited.index(after)] if after in unvisited else unvisited)
    assert len(in_reserve) <= (amount - 1) // 3
    assert not in_reserve & set(path)


def assert_each_document_once_and_in_order(rows):
    chunks = [span["chunk"] for row in rows for span in row["spans"]]
    assert len(set(chunks)) == len(chunks)
    whole = {}
    for row in rows:
        for identity, positions in documents_of(row).items():
            whole.setdefault(identity, []).append(positions)
    for pieces in whole.values():
        positions = [position for piece in pieces for position in piece]
        assert positions == list(range(len(positions)))
        assert len(pieces) == 1 or all(pieces)


@ANY
@given(corpora, seeds, lengths, amounts, st.integers(1, 4), st.sampled_from([0.0, 0.4, 1.0]))
def test_untie(make, corpus, seed, length, amount, piece, probability):
    rows = make(corpus, "untie", length, amount, seed, piece=piece, probability=probability)
    plain = make(corpus, "standard", length, amount, seed)
    for row, other in zip(rows, plain, strict=True):
        chunks, all_of_them = (Counter(span["chunk"] for span in each["spans"]) for each in (row, other))
        # The cut falls on what stands last then: a long chunk cut short by ``standard`` may stand whole, and short ones not.
        assert chunks <= all_of_them
        assert max(chunks.values()) == 1
        if probability == 0 or len(documents_of(other)) == 1:
            assert chunks == all_of_them
        for positions in documents_of(row).values():
            assert positions == list(range(positions[0], positions[0] + len(positions)))
        assert [span["group"] for span in row["spans"]] == _numbered(row)
        if probability == 0:
            assert row["spans"] == other["spans"]


def _numbered(row):
    names = list(documents_of(row))
    return [names.index(span["document"]) for span in row["spans"]]


@ANY
@given(corpora, seeds, lengths, amounts)
def test_knn(make, pools, corpus, seed, length, amount):
    rows = make(corpus, "knn", length, amount, seed)
    pool, _ = pools(corpus)
    ordinals = {identity: number for number, identity in enumerate(pool.document_ids(np.arange(pool.documents)))}
    vectors = open_document_vectors(pool)[0].take(np.arange(pool.documents)).astype(np.float64)
    assert len({row["root"] for row in rows}) == amount
    for row in rows:
        documents = [ordinals[identity] for identity in documents_of(row)]
        scores = vectors[documents] @ vectors[documents[0]]
        assert (np.diff(scores[1:]) <= 1e-6).all()
        left_out = [other for other in range(len(vectors)) if other not in documents and vectors[other].any()]
        assert len(documents) == 1 or max(vectors[left_out] @ vectors[documents[0]]) <= scores[-1] + 1e-6
        first = {span["document"]: (span["rank"], span["score"]) for span in reversed(row["spans"])}
        assert [first[identity][0] for identity in documents_of(row)] == list(range(len(documents)))
        assert [first[identity][1] for identity in documents_of(row)][1:] == pytest.approx(scores[1:], abs=1e-6)
        lengths_of = [len(pool.chunks_of(document)) for document in documents]
        assert [len(positions) for positions in documents_of(row).values()][:-1] == lengths_of[:-1]


@ANY
@given(
    corpora,
    seeds,
    st.integers(100, 500),
    amounts,
    st.sampled_from([0.1, 0.5]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.none() | st.integers(1, 3),
)
def test_quest(make, pools, corpus, seed, length, amount, max_share, split_ratio, per_document):
    options = {"max_share": max_share, "split_ratio": split_ratio, "per_document": per_document}
    rows = make(corpus, "quest", length, amount, seed, **options)
    pool, texts = pools(corpus)
    keyword_of = {}
    for row in rows:
        for identity, positions in documents_of(row).items():
            assert row["topic"] in {keyword for keyword, _ in document_keywords(texts[identity])}
            assert keyword_of.setdefault(identity, row["topic"]) == row["topic"]
            assert positions == list(range(len(positions)))
    shared = Counter(keyword for text in texts.values() for keyword, _ in document_keywords(text))
    assert all(2 <= shared[row["topic"]] <= max(2, int(max_share * pool.documents)) for row in rows)


@pytest.mark.parametrize("method", ["standard", "knn", "iclm", "quest", "untie"])
def test_any_number_of_workers_gives_the_same_bytes(pools, tokenizer_folder, tmp_path, method):
    pool, _ = pools(0)
    cards = []
    for workers in (1, 2):
        (tmp_path / str(workers)).mkdir()
        folder = tmp_path / str(workers) / "data"
        cards.append(
            nextlong.synthesize(
                pool,
                folder,
                workers=workers,
                length=400,
                roots=12,
                tokenizer=tokenizer_folder,
                composition={"method": method},
                options={"max_share": 0.5} if method == "quest" else {},
            )
        )
    assert cards[0] == cards[1]
    assert contents(tmp_path / "1" / "data") == contents(tmp_path / "2" / "data")


@pytest.fixture(scope="module")
def spaced(tmp_path_factory):
    """A pool whose chunks begin with white space, and a tokenizer that joins a space to what follows it."""
    folder = tmp_path_factory.mktemp("spaced")
    generator = np.random.default_rng(0)

    def line():
        words = generator.choice(["the", "of", "water", "12", "(x)", "_y"], generator.integers(3, 9))
        return generator.choice([" ", "  ", "_x ", "word "]) + " ".join(words)

    documents = [
        {"id": f"document-{number}", "text": "\n".join(line() for _ in range(generator.integers(1, 9)))}
        for number in range(120)
    ]
    pool = nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", documents),
        folder / "pool",
        workers=1,
        chunking={"granularity": 40},
        encoder={"name": "lsa", "dimensions": 8},
        index={"kind": "flat"},
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    tokenizer.train_from_iterator(["a a a a the water  of   a    word"] * 20, trainer)
    (folder / "tokenizer").mkdir()
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    return pool, folder / "tokenizer"


@pytest.mark.timeout(100)
@pytest.mark.parametrize("method", ["standard", "knn", "iclm", "untie"])
def test_a_joint_at_the_end_of_a_sequence(spaced, tmp_path, method):
    """Where the last separator is a token only if what follows is there, no number of chunks may be just enough."""
    pool, tokenizer = spaced
    empty = 0
    for length in range(56, 64):
        composition = {"method": method, "separator": " ", "bos": False, "eos": False}
        folder = tmp_path / str(length)
        card = nextlong.synthesize(
            pool, folder, workers=1, length=length, roots=50, tokenizer=str(tokenizer), composition=composition
        )
        assert card["counts"]["sequences"] == 50
        assert nextlong.verify(folder, workers=1).failures == []
        for path in (folder / "sequences").glob("*.parquet"):
            for row in pq.read_table(path).to_pylist():
                inside = [span for span in row["spans"] if span["token_start"] < span["token_end"]]
                assert len(row["spans"]) - len(inside) <= 1 and row["spans"][-1]["token_end"] == length
                empty += len(row["spans"]) - len(inside)
    assert empty
