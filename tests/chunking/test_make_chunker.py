import pytest

from nextlong.chunking import is_blank, make_chunker
from nextlong.config import ChunkingConfig
from nextlong.errors import UsageError


def test_the_cap_is_twice_the_granularity_unless_given():
    assert [len(chunk.text) for chunk in make_chunker(ChunkingConfig(granularity=50))("a" * 250)] == [100, 100, 50]
    assert [len(chunk.text) for chunk in make_chunker(ChunkingConfig(granularity=50, cap=200))("a" * 250)] == [200, 50]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ChunkingConfig(granularity=100, cap=50), "50, is below the granularity, 100"),
        (ChunkingConfig(chunker="paper", cap=4096), "no cap"),
        (ChunkingConfig(chunker="tokens"), "needs a tokenizer"),
    ],
)
def test_what_makes_no_sense_is_refused_with_advice(config, words):
    with pytest.raises(UsageError, match=words) as caught:
        make_chunker(config)
    assert caught.value.hint


def test_is_blank():
    assert all(is_blank(text) for text in ("", " ", "\n\t\r\n", "\u3000\u00a0"))
    assert not any(is_blank(text) for text in ("a", " .", "\x00", "\u200b"))
