import pickle

import numpy as np
import pytest
import tokenizers_zoo as zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.units import carrying, pack, unpack

SEPARATORS = ("\n\n", "\n", " ", "\n\n---\n\n", " and ", "<sep>")

# Where the tokenizer decides across separators, the joiner must find that out.
NOT_LOCAL = {("superwords", separator) for separator in SEPARATORS}
NOT_LOCAL |= {("unigram", separator) for separator in ("\n\n", "\n", "\n\n---\n\n", "<sep>")}

HOSTILE = [
    *(
        "a",
        "b",
        "The",
        " the",
        "of",
        "  ",
        "    ",
        "\t",
        "\n",
        "\n\n",
        "\n\n\n",
        "\r\n",
        "\r",
        " \n",
        "1",
        "12",
        "345",
        "6,",
    ),
    *(
        ".",
        " .",
        ",",
        ");",
        "*/",
        "//",
        "/",
        "---",
        "=",
        "###",
        "'",
        "'s",
        "t",
        "é",
        "ﬁ",
        "İ",
        "x" * 70,
        " " * 60,
        "\n" * 50,
    ),
    *("\u0301", "\u3099", "\u304b", "e", "\u1100", "\u1161", "字", "。", "\U0001f469", "\u200d", "\U0001f466", "\ufe0f"),
    *("\x00", "\x1c", "\u2028", "\u00a0", "\u0085", "\u200b", "\ufeff", "\u2581"),
    *("<s>", "</s>", "<unk>", "<|endoftext|>", "<tool>", "<mask>", "<", "|>"),
]
chunk = st.one_of(
    st.lists(st.sampled_from(HOSTILE), max_size=6).map("".join),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
)

_joiners: dict[tuple[str, str], Joiner] = {}


def joiner(name, separator="\n\n"):
    if (name, separator) not in _joiners:
        _joiners[name, separator] = Joiner(zoo.tokenizer(name), separator)
    return _joiners[name, separator]


def assert_joins_exactly(join, texts):
    units = join.encode_units(texts)
    asked = set()

    def text_of(position):
        asked.add(position)
        return texts[position]

    tokens, ends = join.join(units, text_of)
    np.testing.assert_array_equal(tokens, join.encode_text(texts))
    assert tokens.dtype == np.int32
    assert ends.dtype == np.int32
    assert len(ends) == len(texts)
    assert (np.diff(ends, prepend=0) >= 0).all()
    assert ends[-1] == len(tokens)
    if not asked:
        assert len(tokens) == sum(map(join.length, units))
    return asked


@pytest.mark.parametrize("name", zoo.NAMES)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(chunk, min_size=1, max_size=6), separator=st.sampled_from(SEPARATORS))
def test_joined_tokens_are_those_of_the_whole_text(name, texts, separator):
    assert_joins_exactly(joiner(name, separator), texts)


@pytest.mark.parametrize(
    ("name", "separator", "texts"),
    [
        ("llama3", "\n\n", ["3451\ufb016,", "", ""]),  # six newlines are one word of the vocabulary
        ("llama3", "\n", ["(x);=\r", "\r\nof"]),
        ("llama3", "<sep>", [".\n\n\n字", "\u1100", "", "<s>"]),
        ("nfc", " ", ["a345\n\n", "<mask>\u2028a"]),  # an added token swallows the white space before it
        ("nfc", " ", ["    \u11611\u00a0", "\u2028 the", ""]),
        ("nfc", "\n", ["---", "---", ""]),
        ("tiktoken", ".", ["'The", "x", "", "The"]),
        ("digits", " ", ["//\u00a0", "\u20281", "\r\n<s>  \r\n", "\n\n\n", ""]),
    ],
)
def test_joins_that_were_hard_to_get_right(name, separator, texts):
    assert_joins_exactly(joiner(name, separator), texts)


@pytest.mark.parametrize("name", zoo.NAMES)
@pytest.mark.parametrize("separator", SEPARATORS[:4])
def test_a_joiner_finds_out_whether_the_tokenizer_decides_locally(name, separator):
    join = joiner(name, separator)
    assert join.local == ((name, separator) not in NOT_LOCAL)
    assert join.exact
    if (name, separator) in {("superwords", "\n\n"), ("superwords", " ")}:
        assert join.difference > 0


@pytest.mark.parametrize("name", ["gpt2", "digits", "llama3", "nfc", "white-runs", "tiktoken", "tiktoken-o200k"])
def test_plain_chunks_are_joined_without_their_texts(name):
    texts = ["The end.", "Another one", "with more;", "# Title\nand a line", "(x)", "字。", "</s>"] * 5
    assert assert_joins_exactly(joiner(name), texts) == set()


def test_sentencepiece_asks_only_for_the_first_text():
    # The first chunk gets the dummy prefix, which no chunk after a separator has.
    assert assert_joins_exactly(joiner("llama2"), ["The end.", "Another", " one", "more"]) == {0}


def test_indented_chunks_after_plain_ones_need_no_text():
    join = joiner("gpt2")
    texts = ["if x:", "    return 1", "else:", "    return 2", "  done"]
    units = join.encode_units(texts)
    assert [unit.carries for unit in units] == [False, True, False, True, True]
    assert assert_joins_exactly(join, texts) == set()


def test_only_the_two_chunks_of_a_hard_join_are_encoded_again():
    # White space on both sides of the separator is one run of white space.
    texts = ["one", "two  \n", "  three", "four", "five"]
    assert assert_joins_exactly(joiner("gpt2"), texts) == {1, 2}


def test_a_slash_after_punctuation_continues_its_line_in_o200k():
    texts = ["end.", "// comment", "plain", "/path"]
    assert assert_joins_exactly(joiner("tiktoken-o200k"), texts) == {0, 1}
    assert assert_joins_exactly(joiner("tiktoken"), texts) == set()


@pytest.mark.parametrize("name", ["gpt2", "llama3", "tiktoken"])
@pytest.mark.parametrize("separator", ["\n\n", "\n\n---\n\n"])
def test_spans_decode_to_the_chunks_and_their_separators(name, separator):
    # Closed chunks, carrying chunks and chunks encoded again.
    texts = ["The first.", "second", "    third", "fourth  ", "  fifth", "sixth\n", "7", "eighth"]
    join = joiner(name, separator)
    tokens, ends = join.join(join.encode_units(texts), texts)
    decoded = [join.tokenizer.decode(tokens[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    assert "".join(decoded) == separator.join([*texts, ""])
    for text, span in zip(texts, decoded, strict=True):
        assert text.strip() in span
        assert not any(other.strip() in span for other in texts if other != text and other != "7")


def test_spans_do_not_depend_on_how_a_chunk_was_joined():
    """Plain chunks around a hard join have the spans that they have without one."""
    join = joiner("gpt2")
    _, clean = join.join(join.encode_units(["The first.", "second"]), ["The first.", "second"])
    texts = ["The first.", "second  ", "  third"]
    _, hard = join.join(join.encode_units(texts), texts)
    assert hard[0] == clean[0]


def test_nothing_joined_is_nothing():
    tokens, ends = joiner("gpt2").join([], [])
    assert (len(tokens), len(ends)) == (0, 0)


def test_units_do_not_depend_on_their_batch():
    join = Joiner(zoo.tokenizer("gpt2"), "\n\n")
    texts = ["The end.", "  x", "", "a\n", "<|endoftext|>"]
    together = join.encode_units(texts)
    for text, unit in zip(texts, together, strict=True):
        (alone,) = join.encode_units([text])
        np.testing.assert_array_equal(alone.tokens, unit.tokens)
        assert (alone.carries, alone.closed, alone.opaque, alone.lead) == (
            unit.carries,
            unit.closed,
            unit.opaque,
            unit.lead,
        )


@given(st.lists(chunk, max_size=8))
@settings(max_examples=50, deadline=None)
def test_packed_units_come_back(texts):
    join = joiner("gpt2")
    units = join.encode_units(texts) if texts else []
    flat, offsets, flags = pack(units)
    assert (flat.dtype, offsets.dtype, flags.dtype) == (np.int32, np.int64, np.uint8)
    back = [unpack(flat[offsets[i] : offsets[i + 1]], flags[i]) for i in range(len(flags))]
    for i, (unit, other) in enumerate(zip(units, back, strict=True)):
        np.testing.assert_array_equal(unit.tokens, other.tokens)
        assert (unit.carries, unit.closed, unit.opaque, unit.lead) == (
            other.carries,
            other.closed,
            other.opaque,
            other.lead,
        )
        assert unpack(flat[offsets[i] : offsets[i + 1]], int(flags[i])).carries == unit.carries
    lengths = join.lengths(np.diff(offsets), carrying(flags))
    assert lengths.tolist() == [join.length(unit) for unit in units]


def test_a_fingerprint_tells_tokenizers_and_separators_apart():
    prints = {joiner(name, separator).fingerprint for name in ("gpt2", "llama3") for separator in ("\n\n", "\n")}
    assert len(prints) == 4
    assert Joiner(zoo.tokenizer("gpt2"), "\n\n").fingerprint in prints


def test_a_joiner_can_be_sent_to_another_process():
    join = joiner("nfc")
    texts = ["<|endoftext|> x", "  y", "z"]
    again = pickle.loads(pickle.dumps(join))  # noqa: S301
    np.testing.assert_array_equal(again.encode_text(texts), join.encode_text(texts))
    np.testing.assert_array_equal(again.join(again.encode_units(texts), texts)[0], join.encode_text(texts))
