"""The pipeline against an independent implementation of the specification: every span, every token."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pyarrow.parquet as pq
import pytest
from corpora import GRANULARITY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nextlong
from nextlong.dataset import layout as dataset_layout


@pytest.fixture(scope="module")
def corpus(family_corpus, family_pool, tokenizer_folder):
    vectors = np.concatenate([np.load(path) for path in sorted((family_pool.folder / "vectors").glob("*.npy"))])
    return oracle.Corpus(family_corpus, GRANULARITY, vectors, tokenizer_folder)


def rows_of(folder):
    """Root, tokens and spans of every row as they lie on disk."""
    rows = []
    for path in sorted((folder / "sequences").glob("*.parquet")):
        written = pq.read_table(folder / "tokens" / path.name).to_pylist()
        for sequence, row in zip(pq.read_table(path).to_pylist(), written, strict=True):
            assert (row["id"], row["spans"]) == (sequence["id"], sequence["spans"])
            rows.append({"root": sequence["root"], "tokens": row["input_ids"], "spans": row["spans"]})
    return rows


def check(corpus, pool, tokenizer, folder, length, amount, seed=0, mining=None, composition=None):
    """Make a dataset and compare it with the oracle's; returns the rows."""
    mining, composition = mining or {}, composition or {}
    expected = oracle.sequences(corpus, oracle.Options(length, seed, mining, composition), amount)
    card = nextlong.synthesize(
        pool,
        folder,
        workers=1,
        length=length,
        tokens=(amount - 1) * length + 1,
        seed=seed,
        tokenizer=tokenizer,
        mining=mining,
        composition=composition,
    )
    made = rows_of(folder)
    assert card["counts"]["sequences"] == len(made) == amount
    for number, (row, wanted) in enumerate(zip(made, expected, strict=True)):
        assert row["root"] == wanted["root"], f"row {number}"
        assert row["spans"] == wanted["spans"], f"row {number}"
        assert row["tokens"] == wanted["tokens"], f"row {number}"
    return made


@pytest.mark.parametrize(
    ("length", "amount", "seed", "mining", "composition"),
    [
        pytest.param(1024, 30, 0, {}, {}, id="default"),
        pytest.param(4096, 12, 1, {}, {}, id="long"),
        pytest.param(16384, 2, 2, {}, {}, id="longer, half of the pool"),
        pytest.param(700, 25, 3, {}, {"max_root_fraction": 0.95}, id="room for hardly a negative"),
        pytest.param(2048, 10, 4, {}, {"min_meta_chunks": 4, "max_root_fraction": 0.6}, id="roots of many chunks"),
        pytest.param(2048, 12, 5, {}, {"position": "tail"}, id="tail"),
        pytest.param(2048, 12, 6, {}, {"position": "random"}, id="random place"),
        pytest.param(2048, 10, 7, {"range_min": 3, "range_max": 60}, {}, id="ranks"),
        pytest.param(2048, 10, 8, {"max_score": 0.9, "min_score": 0.02}, {}, id="scores"),
        pytest.param(2048, 10, 9, {"relative_margin": 0.2}, {}, id="relative margin"),
        pytest.param(2048, 10, 10, {"max_jaccard": None}, {}, id="near-copies kept"),
        pytest.param(2048, 10, 11, {"max_jaccard": 0.6}, {"position": "tail"}, id="lower Jaccard"),
        pytest.param(2048, 20, 12, {"max_reuse": 1}, {}, id="each negative once"),
        pytest.param(2048, 10, 13, {"negatives": "random"}, {}, id="random negatives"),
        pytest.param(2048, 10, 14, {"negatives": "low"}, {}, id="least similar"),
        pytest.param(2048, 10, 15, {"negatives": "self-repeat"}, {"position": "random"}, id="self-repeat"),
        pytest.param(2048, 12, 16, {}, {"mode": "paper"}, id="paper"),
        pytest.param(2048, 12, 17, {}, {"mode": "paper", "position": "random"}, id="paper, random place"),
        pytest.param(2048, 12, 18, {}, {"mode": "paper", "position": "tail", "oversampling": 1.0}, id="paper, discarding"),
        pytest.param(2048, 10, 19, {}, {"separator": "\n"}, id="newline"),
        pytest.param(2048, 10, 20, {}, {"separator": " "}, id="space"),
        pytest.param(2048, 10, 21, {}, {"separator": "\n\n---\n\n"}, id="rule"),
        pytest.param(2048, 10, 22, {}, {"separator": "|", "bos": False}, id="bar, no begin token"),
        pytest.param(2048, 10, 23, {}, {"bos": False, "eos": False}, id="no special tokens"),
    ],
)
def test_equals_the_oracle(corpus, family_pool, tokenizer_folder, tmp_path, length, amount, seed, mining, composition):
    check(corpus, family_pool, tokenizer_folder, tmp_path / "data", length, amount, seed, mining, composition)


def test_copies_are_met_and_ties_occur(corpus, family_pool, tokenizer_folder, tmp_path):
    """The corpus is hard enough: what the other tests compare has copies of every kind, and equal scores."""
    check(corpus, family_pool, tokenizer_folder, tmp_path / "data", 2048, 20)
    passed_over = nextlong.load_dataset_card(tmp_path / "data")["candidates_passed_over"]
    assert passed_over["copy"] > 50 and passed_over["own_document"] > 50 and passed_over["used"] > 5
    names = [identity.split("-")[0] for identity in corpus.ids]
    assert set(names) == {"document", "exact", "folded", "spaced", "near", "quoting"}
    row = np.sort(corpus.scores[corpus.chunks_of[names.index("exact")][0]])
    assert (np.diff(row) == 0).any()


@pytest.mark.parametrize("max_reuse", [None, 1, 2])
def test_batches_do_not_matter(corpus, family_pool, tokenizer_folder, tmp_path, monkeypatch, max_reuse):
    monkeypatch.setattr(dataset_layout, "SHARD_TOKENS", 4 * 2048)
    check(corpus, family_pool, tokenizer_folder, tmp_path / "data", 2048, 15, mining={"max_reuse": max_reuse})
    assert len(list((tmp_path / "data" / "tokens").iterdir())) == 4


def test_discarded_roots_are_replaced_over_batches(corpus, family_pool, tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_layout, "SHARD_TOKENS", 4 * 2048)
    composition = {"mode": "paper", "oversampling": 0.7}
    check(corpus, family_pool, tokenizer_folder, tmp_path / "data", 2048, 15, composition=composition)
    assert nextlong.load_dataset_card(tmp_path / "data")["counts"]["discarded"] > 3


@st.composite
def _options(draw):
    def maybe(strategy):
        return draw(st.none() | strategy)

    mining = {
        "negatives": draw(st.sampled_from(["top", "top", "top", "random", "low", "self-repeat"])),
        "range_min": draw(st.sampled_from([0, 0, 1, 20])),
        "range_max": maybe(st.integers(60, 200)),
        "max_score": maybe(st.floats(0.5, 1.0)),
        "min_score": maybe(st.floats(-0.3, 0.05)),
        "relative_margin": maybe(st.floats(0.0, 0.3)),
        "max_reuse": maybe(st.integers(1, 3)),
        "max_jaccard": draw(st.sampled_from([0.8, 0.8, 0.55, 0.9, None])),
    }
    composition = {
        "mode": draw(st.sampled_from(["token-exact", "token-exact", "paper"])),
        "position": draw(st.sampled_from(["head", "tail", "random"])),
        "separator": draw(st.sampled_from(["\n\n", "\n", " ", "\t", " . ", "a", "\n\n***\n\n"])),
        "bos": draw(st.booleans()),
        "eos": draw(st.booleans()),
        "min_meta_chunks": draw(st.integers(2, 4)),
        "max_root_fraction": draw(st.floats(0.3, 0.97)),
        "oversampling": draw(st.floats(0.8, 2.0)),
    }
    return draw(st.integers(600, 3000)), draw(st.integers(1, 6)), draw(st.integers(0, 2**63)), mining, composition


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(_options())
def test_any_options_equal_the_oracle(corpus, family_pool, tokenizer_folder, tmp_path_factory, options):
    length, amount, seed, mining, composition = options
    folder = tmp_path_factory.mktemp("any") / "data"
    try:
        check(corpus, family_pool, tokenizer_folder, folder, length, amount, seed, mining, composition)
    except oracle.OutOfText:
        tokens = math.ceil(amount) * length
        with pytest.raises(nextlong.NextlongError, match=r"run out|root documents"):
            nextlong.synthesize(
                family_pool,
                folder,
                workers=1,
                length=length,
                tokens=tokens,
                seed=seed,
                tokenizer=tokenizer_folder,
                mining=mining,
                composition=composition,
            )
