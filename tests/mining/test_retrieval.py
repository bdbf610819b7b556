"""Retrieval by words where words are few, and what retrieval options refuse."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import GRANULARITY, make_documents, write_corpus

import nextlong
from nextlong.config import MiningConfig
from nextlong.errors import UsageError
from nextlong.mining.neighbours import find_neighbours


@pytest.fixture(scope="module")
def odd_pool(tmp_path_factory):
    """A pool in which one document has words of its own, and one has none at all."""
    folder = tmp_path_factory.mktemp("odd")
    documents = make_documents(40, 4, paragraphs=(6, 9))
    own = "\n".join(" ".join(f"zq{number}{line}xv" for number in range(40)) for line in range(4))
    none = "\n".join("?! ... ;; -- !! " * 12 for _ in range(4))
    documents += [{"id": "own words", "text": own}, {"id": "no words", "text": none}]
    return nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", documents),
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "static"},
    )


def synthesize(pool, out, tokenizer, **keys):
    return nextlong.synthesize(pool, out, workers=1, length=4096, tokenizer=tokenizer, **keys)


@pytest.mark.parametrize("retrieval", ["bm25", "hybrid"])
def test_a_root_whose_words_no_other_has_gets_negatives_all_the_same(odd_pool, tokenizer_folder, tmp_path, retrieval):
    synthesize(odd_pool, tmp_path / "data", tokenizer_folder, roots=37, mining={"retrieval": retrieval})
    assert nextlong.verify(tmp_path / "data", workers=1).ok
    roots = pq.read_table(tmp_path / "data" / "sequences").column("root").to_pylist()
    assert {"own words", "no words"} <= set(roots)


def test_behind_the_words_come_the_vectors(odd_pool):
    mining = MiningConfig(retrieval="bm25")
    dense = find_neighbours(odd_pool, range(odd_pool.documents), odd_pool.chunks, MiningConfig(), seed=0)
    shallow = find_neighbours(odd_pool, range(odd_pool.documents), 20, mining, seed=0)
    for root, found in enumerate(find_neighbours(odd_pool, range(odd_pool.documents), odd_pool.chunks, mining, seed=0)):
        for group, chunks in enumerate(found.chunks):
            assert sorted(chunks.tolist()) == list(range(odd_pool.chunks))
            assert chunks[:20].tolist() == shallow[root].chunks[group].tolist()
        if odd_pool.document_ids(np.array([root])) == ["no words"]:
            assert [row.tolist() for row in found.chunks] == [row.tolist() for row in dense[root].chunks]


@pytest.mark.parametrize("setting", [{"scorer_keep": "helps"}, {"scorer_depth": 3}])
def test_settings_of_a_scorer_need_one(odd_pool, tokenizer_folder, tmp_path, setting):
    with pytest.raises(UsageError, match="Without a scorer"):
        synthesize(odd_pool, tmp_path / "data", tokenizer_folder, roots=2, mining=setting)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_is_a_number(odd_pool, tokenizer_folder, tmp_path, value):
    with pytest.raises(UsageError, match="min_score"):
        synthesize(odd_pool, tmp_path / "data", tokenizer_folder, roots=2, mining={"min_score": value})
    assert not (tmp_path / "data").exists()


def test_another_version_of_what_a_method_derives_makes_the_sequences_anew(
    odd_pool, tokenizer_folder, tmp_path, monkeypatch
):
    from nextlong.execution.run import read_metrics
    from nextlong.index import lexical

    out = tmp_path / "data"
    synthesize(odd_pool, out, tokenizer_folder, roots=2, mining={"retrieval": "bm25"})
    before = len(read_metrics(out))
    monkeypatch.setattr(lexical, "VERSION", lexical.VERSION + 1)
    synthesize(odd_pool, out, tokenizer_folder, roots=2, mining={"retrieval": "bm25"})
    stages = [line["stage"] for line in read_metrics(out)[before:]]
    assert {"bm25", "plan", "mine", "compose"} <= set(stages)
