import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nextlong.chunking import is_blank, make_chunker, paper_chunks
from nextlong.config import ChunkingConfig

ANY_TEXT = st.one_of(
    st.text(max_size=200),
    st.text(alphabet="ab.。 \t\r\n\x00\u0301\u200d漢", max_size=200),
)
# Short words and long ones, with runs of white space of which some are long.
SPACED_TEXT = st.lists(
    st.tuples(
        st.sampled_from(["a", "bc", "def.", "漢字。", "x" * 13, "y" * 40, "?!"]),
        st.sampled_from(["", " ", "\n", "\r\n", "\n\n", ".  ", "\n \n", " " * 7, "\n" * 9, " " * 12 + "\n"]),
    ),
    max_size=30,
).map(lambda parts: "".join(word + space for word, space in parts))


def chunk(text, granularity, cap=None):
    return make_chunker(ChunkingConfig(granularity=granularity, cap=cap))(text)


def joined(chunks):
    return "".join(part.text + part.glue for part in chunks)


def has_sparse_stretch(text, cap):
    """Whether some cap + 1 characters in a row hold fewer than two that are not white space."""
    ink = [not character.isspace() for character in text]
    return any(sum(ink[place : place + cap + 1]) < 2 for place in range(len(text) - cap))


def check(text, granularity, cap):
    chunks = chunk(text, granularity, cap)
    assert joined(chunks) == text
    place = 0
    for part in chunks:
        assert part.start == place
        assert part.glue in ("", "\n")
        assert len(part.text) <= cap
        place += len(part.text) + len(part.glue)
    assert chunks[-1].glue == ""
    if any(is_blank(part.text) for part in chunks):
        assert is_blank(text) or has_sparse_stretch(text, cap)
    return chunks


@given(ANY_TEXT, st.integers(1, 20), st.integers(0, 20))
@example("", 1, 0)
@example("\n", 1, 0)
@example("\r\n" * 30, 4, 1)
def test_lossless_within_the_cap_and_without_blank_chunks_for_any_text(text, granularity, extra):
    check(text, granularity, granularity + extra)


@given(SPACED_TEXT, st.integers(2, 24), st.integers(0, 24))
@example("x" * 40 + "\n    \n" + "y" * 40, 20, 20)  # a blank group between two full chunks
@example("\n \n" + "y" * 40, 20, 0)  # a blank group before a full chunk
@example("ab" + " " * 19 + "\n" + "y" * 40, 20, 0)
def test_lossless_within_the_cap_and_without_blank_chunks_for_spaced_text(text, granularity, extra):
    check(text, granularity, granularity + extra)


@given(SPACED_TEXT, st.integers(2, 60), st.integers(0, 60))
def test_the_paper_s_chunks_wherever_those_are_lossless_small_and_filled(text, granularity, extra):
    cap = granularity + extra
    paper = paper_chunks(text, granularity)
    if "\n".join(paper) == text and all(len(part) <= cap and not is_blank(part) for part in paper):
        assert [part.text for part in chunk(text, granularity, cap)] == paper


def test_the_paper_s_chunks_for_a_document_of_short_paragraphs():
    draw = random.Random(1)
    text = "\n".join("word " * draw.randrange(30) for _ in range(500))
    assert [part.text for part in chunk(text, 2048)] == paper_chunks(text, 2048)
    assert len(chunk(text, 2048)) > 10


def test_a_paragraph_between_granularity_and_cap_stays_whole():
    text = "a" * 30 + "\n" + "b" * 39 + "\n" + "c"
    assert [part.text for part in chunk(text, 20)] == ["a" * 30, "b" * 39, "c"]


def test_a_long_paragraph_is_cut_after_its_last_sentence_below_the_cap():
    text = "One sentence here. Another one here. " * 20
    assert all(part.text.endswith("here. ") and len(part.text) > 50 for part in chunk(text, 50))


def test_without_sentences_it_is_cut_at_white_space_and_without_that_at_the_cap():
    assert all(part.text.startswith("word ") for part in chunk("word " * 100, 33))
    assert [len(part.text) for part in chunk("w" * 100, 20)] == [40, 40, 20]


def test_a_sentence_end_in_the_first_half_of_the_cap_does_not_make_a_tiny_chunk():
    first = chunk("No. " + "w" * 20 + " " + "w" * 100, 20)[0]
    assert first.text == "No. " + "w" * 20 + " "


def test_chinese_sentences_end_without_white_space():
    chunks = check("漢字仮名交じり文。" * 500, 100, 200)
    assert all(part.text.endswith("。") for part in chunks)


def test_characters_of_several_code_points_stay_whole():
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f466\U0001f3fd"
    for mark in ("e\u0301\u0323", family):
        for part in check(mark * 100, 10, 21):
            assert part.text == mark * (len(part.text) // len(mark))
    check("e" + "\u0301" * 500, 10, 21)  # no end of the character in sight


def test_carriage_returns_stay_with_their_line():
    text = "some line\r\n" * 100
    assert all(part.text.endswith("\r") and part.glue == "\n" for part in check(text, 50, 100)[:-1])


@pytest.mark.parametrize("unit", ["\n", " ", "\r\n", "\x00", "a", "a\n", "ab. ", "漢", "e\u0301", " \n"])
def test_a_megabyte_of_one_thing(unit):
    text = unit * (1_000_000 // len(unit))
    chunks = chunk(text, 2048)
    assert joined(chunks) == text
    assert max(len(part.text) for part in chunks) <= 4096
    assert is_blank(text) or not any(is_blank(part.text) for part in chunks)
    assert len(chunks) < 1_000_000 / 1000


def test_a_blank_line_between_full_paragraphs_takes_text_with_it():
    text = "x" * 40 + "\n" + " " * 30 + "\n" + "y" * 40
    texts = [part.text for part in check(text, 20, 40)]
    assert texts == ["x" * 39, "x\n" + " " * 30, "y" * 40]


def test_blank_lines_at_the_ends_join_the_text():
    assert [part.text for part in check("\n \n \n" + "y" * 30, 20, 40)] == ["\n \n \n" + "y" * 30]
    assert [part.text for part in check("y" * 30 + "\n\n\n", 20, 40)] == ["y" * 30 + "\n\n\n"]
