import pytest

from nextlong.config import EncoderConfig
from nextlong.embedding.registry import fit_encoder, known_encoders, load_encoder, needs_fit
from nextlong.errors import UsageError


def test_an_unknown_encoder_lists_the_known_ones():
    with pytest.raises(UsageError) as raised:
        load_encoder(EncoderConfig(name="statik"))
    assert "`static`" in raised.value.hint
    assert all(name in raised.value.hint for name in known_encoders())


def test_only_lsa_is_fitted():
    assert needs_fit(EncoderConfig(name="lsa"))
    others = ["static", "static:folder", "minilm", "sentence-transformers:x", "endpoint:http://x"]
    assert not any(needs_fit(EncoderConfig(name=name)) for name in others)


def test_fitting_another_encoder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="static"):
        fit_encoder(EncoderConfig(name="static"), ["text"], tmp_path / "fitted")


@pytest.mark.parametrize("name", ["endpoint", "endpoint:", "sentence-transformers", "static:", "lsa:folder"])
def test_a_name_without_its_model_is_refused(name):
    with pytest.raises(UsageError):
        load_encoder(EncoderConfig(name=name))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("static", {"window": 500}),
        ("static", {"prompt": "query: "}),
        ("lsa", {"device": "cuda"}),
        ("minilm", {"dimensions": 64}),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(name, option):
    with pytest.raises(UsageError, match=next(iter(option))):
        load_encoder(EncoderConfig(name=name, **option))


def test_lsa_wants_to_be_fitted_first():
    with pytest.raises(UsageError, match="fitted"):
        load_encoder(EncoderConfig(name="lsa"))
