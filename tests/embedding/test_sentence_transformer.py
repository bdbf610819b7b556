import json

import numpy as np
import pytest
from tiny_models import VOCABULARY, WIDTH, bert_by_hand, tiny_weights, write_bert

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import load_encoder
from nextlong.errors import NextlongError

pytest.importorskip("sentence_transformers", reason="the extra `sentence-transformers` is not installed")


def write_model(path, seed: int = 0):
    """The tiny BERT as a sentence-transformers folder."""
    write_bert(path, seed=seed)
    names = {"tokenizer_class": "BertTokenizer", "model_max_length": 24, "do_lower_case": True}
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (path / "tokenizer_config.json").write_text(json.dumps(names | special))
    config = json.loads((path / "config.json").read_text())
    config |= {"architectures": ["BertModel"], "vocab_size": 26, "intermediate_size": 32, "type_vocab_size": 2}
    (path / "config.json").write_text(json.dumps(config))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    rows = [
        {"idx": i, "name": str(i), "path": where, "type": f"sentence_transformers.models.{kind}"}
        for i, (where, kind) in enumerate(modules)
    ]
    (path / "modules.json").write_text(json.dumps(rows))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24, "do_lower_case": False}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


def load(folder, **options):
    return load_encoder(EncoderConfig(name=f"sentence-transformers:{folder}", device="cpu", **options))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_vectors_are_the_models(folder):
    encoder = load(folder)
    assert isinstance(encoder, Encoder)
    assert (encoder.dimensions, encoder.max_workers) == (WIDTH, None)
    expected = bert_by_hand(tiny_weights(), [2, VOCABULARY.index("sort"), 3])
    np.testing.assert_allclose(encoder.encode(["sort"])[0], unit(expected), atol=1e-5)


def test_a_long_text_is_read_to_its_end(folder):
    encoder = load(folder)
    text = "sort merge hash " * 20
    first, second = encoder.encode([text, text[:-5] + "tree "])
    assert np.abs(first - second).max() > 1e-3


def test_vectors_depend_on_the_batch_by_rounding_only(folder):
    encoder = load(folder, batch_size=3)
    texts = ["the index of a chunk", "sort", "", "tables hash keys and values " * 3, "tree"]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-5)
    assert encoder.encode([]).shape == (0, WIDTH)


def test_prompt_and_dimensions(folder):
    plain = load(folder)
    np.testing.assert_allclose(load(folder, prompt="search ").encode(["tree"]), plain.encode(["search tree"]), atol=1e-5)
    narrow = load(folder, dimensions=4)
    assert narrow.dimensions == 4
    np.testing.assert_allclose(narrow.encode(["tree"]), unit(plain.encode(["tree"])[:, :4]), atol=1e-5)


def test_the_fingerprint_follows_what_changes_vectors(tmp_path, folder):
    base = load(folder).fingerprint
    assert load(write_model(tmp_path / "copy")).fingerprint == base
    others = [load(write_model(tmp_path / "other", seed=1)), load(folder, prompt="search "), load(folder, dimensions=4)]
    assert len({base, *(other.fingerprint for other in others)}) == 4


def test_a_folder_that_is_no_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NextlongError, match="Cannot load the sentence-transformers model"):
        load(tmp_path / "missing")
