"""Datasets of two lengths from one pool, each of several shards."""

from __future__ import annotations

import pytest
from corpora import make_documents
from exported import LONG, LONG_ROWS, SHORT, SHORT_ROWS, small_shards

import nextlong
from nextlong.tokenization.train import train_byte_level_bpe


@pytest.fixture(autouse=True)
def _shards_are_small():
    with small_shards():
        yield


@pytest.fixture(scope="session")
def made(family_pool, tokenizer_folder, tmp_path_factory):
    """A folder with the datasets ``long`` and ``short``, whose sequences are a quarter as long."""
    folder = tmp_path_factory.mktemp("made")
    common = {"tokenizer": tokenizer_folder, "workers": 1, "license": "cc-by-4.0"}
    roomy = {"max_root_fraction": 0.9}
    with small_shards():
        nextlong.synthesize(family_pool, folder / "long", length=LONG, roots=LONG_ROWS, **common)
        nextlong.synthesize(family_pool, folder / "short", length=SHORT, roots=SHORT_ROWS, composition=roomy, **common)
    return folder


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory):
    """``sparse`` makes more tokens of a text than the datasets' tokenizer, ``dense`` fewer."""
    folder = tmp_path_factory.mktemp("tokenizers")
    texts = [document["text"] for document in make_documents(120, families=8, seed=0)]
    train_byte_level_bpe(texts, 300, folder / "sparse")
    train_byte_level_bpe(texts, 1200, folder / "dense")
    return folder
