import os
import subprocess
import sys

import numpy as np
import pytest

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import fit_encoder, load_encoder
from nextlong.errors import NextlongError

TOPICS = {
    "sea": ["ship", "harbour", "sail", "anchor", "tide", "captain", "deck", "mast"],
    "kitchen": ["oven", "flour", "butter", "sugar", "knife", "recipe", "dough", "pan"],
    "law": ["court", "judge", "statute", "appeal", "verdict", "clause", "treaty", "plaintiff"],
}
CONFIG = EncoderConfig(name="lsa", dimensions=16)


def corpus(texts: int = 60) -> list[str]:
    rng = np.random.default_rng(1)
    topics = list(TOPICS.values())
    return [" ".join(rng.choice(topics[i % 3], 5)) for i in range(texts)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    path = tmp_path_factory.mktemp("lsa") / "fitted"
    fit_encoder(CONFIG, corpus(), path)
    return load_encoder(CONFIG, path)


def test_neighbours_share_the_topic(encoder):
    vectors = encoder.encode(corpus())
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    nearest = scores.argmax(axis=1)
    assert (nearest % 3 == np.arange(60) % 3).all()


def test_texts_without_a_common_word_can_still_be_neighbours(encoder):
    """What sets it apart from word counts: the corpus says that `ship` and `tide` go together."""
    ship, tide, oven = encoder.encode(["ship", "tide", "oven"])
    assert ship @ tide > 10 * abs(ship @ oven)


def test_vectors_do_not_depend_on_the_batch(encoder):
    texts = corpus(20)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert np.array_equal(alone, encoder.encode(texts))
    assert np.array_equal(alone[::-1], encoder.encode(texts[::-1]))


def test_a_text_without_a_known_word_is_the_zero_vector(encoder):
    vectors = encoder.encode(["", "!!! ---", "unseenword", "ship unseenword"])
    assert not vectors[:3].any()
    assert vectors[3].any()


def test_shape_and_dtype(encoder):
    assert isinstance(encoder, Encoder)
    assert encoder.encode([]).shape == (0, encoder.dimensions)
    assert encoder.encode(["ship"]).dtype == np.float32


def test_the_file_is_the_same_for_the_same_texts_whatever_the_threads(tmp_path, encoder):
    fit_encoder(CONFIG, iter(corpus()), tmp_path / "here")
    program = (
        "import sys; from pathlib import Path; from nextlong.config import EncoderConfig;"
        "from nextlong.embedding.registry import fit_encoder;"
        "fit_encoder(EncoderConfig(name='lsa', dimensions=16), sys.stdin.read().splitlines(), Path(sys.argv[1]))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    there = tmp_path / "there"
    subprocess.run(
        [sys.executable, "-c", program, str(there)], input="\n".join(corpus()), text=True, check=True, env=environment
    )
    assert (tmp_path / "here").read_bytes() == there.read_bytes()
    assert load_encoder(CONFIG, there).fingerprint == encoder.fingerprint


def test_another_sample_is_another_fingerprint(tmp_path, encoder):
    fit_encoder(CONFIG, corpus(30), tmp_path / "fitted")
    assert load_encoder(CONFIG, tmp_path / "fitted").fingerprint != encoder.fingerprint


def test_few_texts_give_narrow_vectors(tmp_path):
    fit_encoder(CONFIG, ["ship sail", "oven flour"], tmp_path / "fitted")
    assert load_encoder(CONFIG, tmp_path / "fitted").dimensions == 2


def test_texts_without_words_cannot_be_fitted_on(tmp_path):
    with pytest.raises(NextlongError, match="none of 2 texts"):
        fit_encoder(CONFIG, ["...", "!"], tmp_path / "fitted")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "fitted"
    path.write_bytes(b"not a model")
    with pytest.raises(NextlongError, match="fitted"):
        load_encoder(CONFIG, path)
