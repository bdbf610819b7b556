"""Which documents become roots, in which order, and what happens when there are too few."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import GRANULARITY, make_documents, write_corpus
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

import nextlong
from nextlong.composition import roots
from nextlong.composition.roots import draw, draw_order
from nextlong.pool.catalog import document_key


def build(folder, documents, granularity=GRANULARITY):
    return nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", documents),
        folder / "pool",
        workers=1,
        chunking={"granularity": granularity},
        encoder={"name": "lsa", "dimensions": 32},
    )


def roots_of(folder):
    return pq.read_table(folder / "sequences", columns=["root"]).column("root").to_pylist()


@given(st.sets(st.text(), max_size=40), st.sets(st.text(), max_size=40), st.integers(0, 2**64 - 1))
def test_other_documents_do_not_change_the_order(some, more, seed):
    def order(ids):
        keys = np.array([document_key(identity) for identity in ids], dtype=np.uint64)
        return [ids[place] for place in draw_order(keys, seed)]

    alone, all_ids = order(sorted(some)), order(sorted(some | more, reverse=True))
    assert [identity for identity in all_ids if identity in some] == alone
    assert sorted(all_ids) == sorted(some | more)


def test_seeds_draw_in_other_orders():
    keys = np.array([document_key(str(number)) for number in range(100)], dtype=np.uint64)
    orders = {tuple(draw_order(keys, seed).tolist()) for seed in (0, 1, 2, 2**63)}
    assert len(orders) == 4
    # Each document is as likely to come first as any other.
    firsts = np.bincount([draw_order(keys[:4], seed)[0] for seed in range(400)])
    assert firsts.min() > 60


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=300) | st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1]), max_size=60),
    st.integers(0, 2**64 - 1),
    st.integers(1, 70),
    st.integers(1, 70),
)
def test_documents_drawn_one_by_one_are_the_draw_order(keys, seed, drawn, mixed):
    keys = np.array(keys, dtype=np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roots, "_FIRST_DRAWN", drawn)
        patch.setattr(roots, "_MIXED", mixed)
        assert list(draw(keys, seed)) == draw_order(keys, seed).tolist()


def test_drawing_some_documents_takes_no_more_memory_of_a_larger_corpus():
    def peak(documents):
        keys = np.arange(documents, dtype=np.uint64)
        tracemalloc.start()
        drawn = list(islice(draw(keys, seed=1), 1000))
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(set(drawn)) == 1000
        return held

    assert peak(40 * roots._MIXED) <= 1.2 * peak(4 * roots._MIXED)


def test_a_grown_corpus_draws_the_old_roots_in_the_old_order(tmp_path, tokenizer_folder):
    documents = make_documents(40, paragraphs=(6, 14))
    more = [{**document, "id": f"more-{document['id']}"} for document in make_documents(60, seed=9, paragraphs=(6, 14))]
    small = build(tmp_path / "small", documents)
    large = build(tmp_path / "large", more[:20] + documents[::-1] + more[20:])
    nextlong.synthesize(small, tmp_path / "a", workers=1, length=2048, roots=30, seed=4, tokenizer=tokenizer_folder)
    nextlong.synthesize(large, tmp_path / "b", workers=1, length=2048, roots=75, seed=4, tokenizer=tokenizer_folder)
    before, after = roots_of(tmp_path / "a"), roots_of(tmp_path / "b")
    common = [root for root in after if not root.startswith("more-")]
    shared = min(len(before), len(common))
    assert shared > 15 and common[:shared] == before[:shared]


def test_more_tokens_continue_the_dataset(family_pool, tmp_path, tokenizer_folder):
    for name, tokens in (("few", 7 * 1024), ("many", 20 * 1024 - 5)):
        nextlong.synthesize(family_pool, tmp_path / name, workers=1, length="1K", tokens=tokens, tokenizer=tokenizer_folder)
    few, many = (pq.read_table(tmp_path / name / "tokens").to_pylist() for name in ("few", "many"))
    assert (len(few), len(many)) == (7, 20)
    assert many[:7] == few


def test_too_few_documents_of_many_chunks(tmp_path, tokenizer_folder):
    pool = build(tmp_path, [*make_documents(10, paragraphs=(1, 1)), {"id": "long", "text": "word\n" * 400}])
    with pytest.raises(nextlong.NextlongError, match="only 1 have 2 chunks or more") as error:
        nextlong.synthesize(pool, tmp_path / "data", workers=1, length=1024, tokens=2000, tokenizer=tokenizer_folder)
    assert "1,024 tokens" in error.value.hint
    assert not (tmp_path / "data").exists()


def test_too_few_documents_that_fit(tmp_path, tokenizer_folder):
    documents = make_documents(10, paragraphs=(30, 40)) + [
        {**document, "id": f"short-{document['id']}"} for document in make_documents(3, seed=1, paragraphs=(6, 7))
    ]
    pool = build(tmp_path, documents, granularity=300)
    with pytest.raises(nextlong.NextlongError, match=r"only 3 of 13 documents can be one \(.*too long: 10\)") as error:
        nextlong.synthesize(pool, tmp_path / "data", workers=1, length=2048, roots=4, tokenizer=tokenizer_folder)
    assert "6,144 tokens" in error.value.hint
    nextlong.synthesize(pool, tmp_path / "data", workers=1, length=2048, roots=3, tokenizer=tokenizer_folder, overwrite=True)
    assert nextlong.verify(tmp_path / "data", workers=1).failures == []


def test_many_documents_that_do_not_fit_are_passed_over_quickly(tmp_path, tokenizer_folder):
    """Looking at a document costs no pass over the pool, however few of them can be roots."""
    documents = make_documents(400, paragraphs=(9, 12)) + [
        {**document, "id": f"short-{document['id']}"} for document in make_documents(4, seed=1, paragraphs=(2, 2))
    ]
    pool = build(tmp_path, documents, granularity=200)
    nextlong.synthesize(pool, tmp_path / "data", workers=1, length=400, roots=2, tokenizer=tokenizer_folder)
    assert set(roots_of(tmp_path / "data")) <= {f"short-document-{number}" for number in range(4)}
    (store,) = (pool.folder / "tokens").iterdir()
    assert len(list(store.glob("*.arrow"))) < 20


@pytest.mark.parametrize("fraction", [0.99, 0.9999])
def test_a_root_leaves_room_for_a_negative(family_pool, tmp_path, tokenizer_folder, fraction):
    for length in range(700, 712):
        folder = tmp_path / str(length)
        nextlong.synthesize(
            family_pool,
            folder,
            workers=1,
            length=length,
            roots=25,
            tokenizer=tokenizer_folder,
            composition={"max_root_fraction": fraction, "position": "tail"},
        )
        for row in pq.read_table(folder / "sequences").to_pylist():
            assert row["spans"][-1]["role"] == "negative"


def test_the_pool_has_run_out(tmp_path, tokenizer_folder):
    """The message names how many tokens are missing."""
    pool = build(tmp_path, make_documents(6, paragraphs=(6, 6)))
    length = 1 << 14
    with pytest.raises(nextlong.NextlongError, match="The pool has run out") as error:
        nextlong.synthesize(pool, tmp_path / "data", workers=1, length=length, roots=1, tokenizer=tokenizer_folder)
    tokenizer = Tokenizer.from_file(f"{tokenizer_folder}/tokenizer.json")
    separators = 2 * pool.chunks
    tokens = separators + sum(len(tokenizer.encode(text).ids) for text in pool.texts(range(pool.chunks)))
    assert f"lacks {length - 2 - tokens:,} of {length:,} tokens" in error.value.message
    assert not (tmp_path / "data" / "dataset.yaml").exists()
    # With a shorter length the same folder can be made after all.
    nextlong.synthesize(pool, tmp_path / "data", workers=1, length=1024, roots=1, tokenizer=tokenizer_folder, overwrite=True)
    assert nextlong.verify(tmp_path / "data", workers=1).failures == []


def test_documents_with_a_chunk_without_a_vector_are_no_roots(tmp_path, tokenizer_folder):
    documents = make_documents(12, paragraphs=(8, 12))
    documents[3]["text"] += "\n" + "!? " * 250
    pool = build(tmp_path, documents)
    assert pool.description["counts"]["zero_vectors"] >= 1
    card = nextlong.synthesize(pool, tmp_path / "data", workers=1, length=2048, roots=11, tokenizer=tokenizer_folder)
    assert set(roots_of(tmp_path / "data")) == {document["id"] for document in documents} - {"document-3"}
    assert card["documents_passed_over"].get("a chunk without a vector", 0) <= 1
    negatives = [span for row in pq.read_table(tmp_path / "data" / "sequences").to_pylist() for span in row["spans"]]
    texts = pool.texts([span["chunk"] for span in negatives])
    assert all(any(letter.isalnum() for letter in text) for text in texts)


def test_a_root_may_fill_exactly_its_fraction(tmp_path, tokenizer_folder):
    documents = make_documents(30, paragraphs=(8, 8))
    pool = build(tmp_path, documents)
    tokenizer = Tokenizer.from_file(f"{tokenizer_folder}/tokenizer.json")

    def tokens_of(document):
        return sum(len(tokenizer.encode(text).ids) + 2 for text in pool.texts(pool.chunks_of(document)))

    tokens = [tokens_of(document) for document in range(pool.documents)]
    shortest = int(np.argmin(tokens))
    options = {"workers": 1, "roots": 1, "tokenizer": tokenizer_folder}
    nextlong.synthesize(pool, tmp_path / "data", length=2 * tokens[shortest], **options)
    assert roots_of(tmp_path / "data") == [f"document-{shortest}"]
    with pytest.raises(nextlong.NextlongError, match="only 0 of 30 documents can be one"):
        nextlong.synthesize(pool, tmp_path / "none", length=2 * tokens[shortest] - 1, **options)
