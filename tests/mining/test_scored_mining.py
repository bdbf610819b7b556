"""Datasets whose candidates a causal language model has re-ranked, from pool to verification."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
pytest.importorskip("transformers", reason="transformers is not installed (extra `train`)")

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from corpora import GRANULARITY, make_documents, with_copies, write_corpus  # noqa: E402
from test_causal_lm import make_folder  # noqa: E402

import nextlong  # noqa: E402
from nextlong.errors import UsageError  # noqa: E402
from nextlong.mining.scoring import load_scorer  # noqa: E402
from nextlong.tokenization.train import train_byte_level_bpe  # noqa: E402

DEPTH = 6
SIZE = {"length": 2048, "roots": 3}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with a pool, a tokenizer and a tiny random model."""
    folder = tmp_path_factory.mktemp("scored")
    documents = with_copies(make_documents(60, 4, paragraphs=(4, 9)))
    nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", documents),
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": 16},
    )
    train_byte_level_bpe((document["text"] for document in documents), 500, folder / "tokenizer")
    make_folder(folder / "model")
    return folder


def synthesize(workshop, out, overwrite=False, **mining):
    scorer = {"scorer": f"causal-lm:{workshop / 'model'}", "scorer_depth": DEPTH} if "scorer" not in mining else {}
    return nextlong.synthesize(
        workshop / "pool",
        out,
        workers=1,
        overwrite=overwrite,
        tokenizer=str(workshop / "tokenizer"),
        mining={**scorer, **mining},
        **SIZE,
    )


def candidates(workshop, meta, own):
    """The chunks of other documents by similarity to a meta-chunk, and the gain of the first ``DEPTH``."""
    pool = nextlong.Pool(workshop / "pool")
    scores = pool.vectors.take(np.arange(pool.chunks)).astype(np.float64) @ pool.vectors.take([meta])[0].astype(np.float64)
    order = [int(chunk) for chunk in np.lexsort((np.arange(pool.chunks), -scores.astype(np.float32))) if chunk not in own]
    scorer = load_scorer(f"causal-lm:{workshop / 'model'}")
    return order, scorer.score(pool.texts([meta])[0], pool.texts(order[:DEPTH]))


@pytest.mark.parametrize("keep", ["all", "helps", "hurts"])
def test_negatives_stand_in_the_order_of_their_gain(workshop, tmp_path, keep):
    synthesize(workshop, tmp_path / "data", scorer_keep=keep)
    assert nextlong.verify(tmp_path / "data", workers=1).ok
    (sequence, *_) = pq.read_table(tmp_path / "data" / "sequences").to_pylist()
    metas = [span["chunk"] for span in sequence["spans"] if span["role"] == "meta"]
    moved = 0
    for group, meta in enumerate(metas):
        order, gains = candidates(workshop, meta, set(metas))
        sign = 1 if keep == "hurts" else -1
        kept = [place for place in np.argsort(sign * gains, kind="stable") if keep == "all" or sign * gains[place] < 0]
        expected = [order[place] for place in kept] + order[DEPTH:]
        rank = {chunk: place for place, chunk in enumerate(expected, start=1)}
        negatives = [span for span in sequence["spans"] if span["role"] == "negative" and span["group"] == group]
        assert negatives and all(rank[span["chunk"]] == span["rank"] for span in negatives)
        moved += [span["chunk"] for span in negatives] != sorted((span["chunk"] for span in negatives), key=order.index)
    assert moved or keep != "all"


def test_another_model_makes_another_dataset(workshop, tmp_path):
    first = synthesize(workshop, tmp_path / "data")
    assert synthesize(workshop, tmp_path / "data")["id"] == first["id"]
    make_folder(workshop / "model", seed=1)
    try:
        with pytest.raises(UsageError, match="another configuration"):
            synthesize(workshop, tmp_path / "data")
        assert synthesize(workshop, tmp_path / "data", overwrite=True)["id"] != first["id"]
    finally:
        make_folder(workshop / "model", seed=0)


def test_a_scorer_needs_something_retrieved(workshop, tmp_path):
    with pytest.raises(UsageError, match="retrieval and scorer would do nothing"):
        synthesize(workshop, tmp_path / "data", negatives="random")
