import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from nextlong.chunking import is_blank, make_chunker
from nextlong.config import ChunkingConfig
from nextlong.tokenization.tokenizer import load_tokenizer

TEXTS = st.lists(
    st.one_of(st.sampled_from(["the token", "a b c d e f", "tokens, tokens. " * 9, "", "  ", "\r"]), st.text(max_size=40)),
    max_size=20,
).map("\n".join)


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    """A byte-level BPE tokenizer, trained on the spot."""
    draw = random.Random(0)
    words = ["token", "tokens", "the", "document", "chunk", "a", "of", "is", "long"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([" ".join(draw.choices(words, k=50)) for _ in range(20)], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


@pytest.fixture(scope="module")
def tokens_of(tokenizer_file):
    tokenizer = load_tokenizer(tokenizer_file)
    return lambda text: len(tokenizer.encode_batch([text])[0]) if text else 0


@pytest.fixture(scope="module")
def chunker(tokenizer_file):
    made = {}

    def get(granularity, cap):
        if (granularity, cap) not in made:
            made[granularity, cap] = make_chunker(
                ChunkingConfig(chunker="tokens", granularity=granularity, cap=cap, tokenizer=tokenizer_file)
            )
        return made[granularity, cap]

    return get


def by_the_letter(text, granularity, tokens_of):
    chunks, group, length = [], [], 0
    for paragraph in text.split("\n"):
        tokens = tokens_of(paragraph)
        if group and length + tokens > granularity:
            chunks.append("\n".join(group))
            group, length = [], 0
        group.append(paragraph)
        length += tokens
    return [*chunks, "\n".join(group)]


@given(text=TEXTS, limits=st.sampled_from([(5, 5), (10, 15), (30, 60)]))
@example(text="", limits=(5, 5))
@example(text="\n" * 100, limits=(5, 5))
@example(text="a\n" + "\n" * 100 + "b", limits=(5, 5))
def test_lossless_and_every_paragraph_in_a_chunk_within_its_cap(text, limits, chunker, tokens_of):
    granularity, cap = limits
    chunks = chunker(granularity, cap)(text)
    assert "".join(chunk.text + chunk.glue for chunk in chunks) == text
    assert all(text.startswith(chunk.text, chunk.start) and chunk.glue in ("", "\n") for chunk in chunks)
    for chunk in chunks:
        # Within a chunk, parts of a split paragraph may have been put together again, up to the granularity.
        assert all(tokens_of(line) <= cap + 2 for line in chunk.text.split("\n"))
        assert chunk.text.count("\n") <= cap


@given(text=TEXTS)
def test_the_paper_s_grouping_with_lengths_in_tokens(text, chunker, tokens_of):
    granularity, cap = 40, 400
    plain = by_the_letter(text, granularity, tokens_of)
    fits = all(sum(map(tokens_of, part.split("\n"))) + part.count("\n") <= cap for part in plain)
    if fits and not any(map(is_blank, plain)):
        assert [chunk.text for chunk in chunker(granularity, cap)(text)] == plain


def test_parts_of_a_long_paragraph_have_at_most_the_cap(chunker, tokens_of):
    text = "the document is long. " * 500
    chunks = chunker(20, 30)(text)
    assert "".join(chunk.text for chunk in chunks) == text
    assert max(tokens_of(chunk.text) for chunk in chunks) <= 30
    assert tokens_of(text) / len(chunks) >= 15  # cutting at sentences costs some of the cap, not most of it


def test_parts_keep_to_the_cap_where_the_density_of_tokens_jumps(chunker, tokens_of):
    text = "tokens " * 300 + "漢字仮名" * 100 + " the" * 300
    chunks = chunker(20, 30)(text)
    assert "".join(chunk.text for chunk in chunks) == text
    assert max(tokens_of(chunk.text) for chunk in chunks) <= 30


def test_a_megabyte_without_a_boundary(chunker, tokens_of):
    text = "漢字" * 500_000
    chunks = chunker(2048, 4096)(text)
    assert "".join(chunk.text for chunk in chunks) == text
    assert max(tokens_of(chunk.text) for chunk in chunks) <= 4096
    assert len(chunks) < 3 * 6_000_000 / 4096


def test_blank_groups_join_the_text_beside_them(chunker):
    text = "the document is long " * 3 + "\n" + " \t" * 4 + "\n" + "the document is long " * 3
    assert not any(is_blank(chunk.text) for chunk in chunker(10, 40)(text))
