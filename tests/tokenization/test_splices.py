from functools import cache
from itertools import accumulate, chain

import numpy as np
import pytest
import tokenizers_zoo as zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from test_joins import SEPARATORS, chunk, joiner
from tokenizers import AddedToken, Tokenizer

from nextlong.tokenization import joins
from nextlong.tokenization.huggingface import HuggingFaceTokenizer
from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.seams import EDGE
from nextlong.tokenization.splices import Texts, spliced
from nextlong.tokenization.units import Packed, pack

# Words around hostile edges, as chunks of real documents have them, so that there is a seam to be found.
WORDS = [
    "The end of the world",
    "foo_bar",
    "Another",
    "x86",
    "don't",
    "Été",
    "конец",
    "字",
    "end.",
    "camelCase",
    "HTTPServer",
]
EDGES = st.text(st.sampled_from(list(" \t\n\r.,;:(){}<>/*=-#'\"_019\u00a0\u2028\u0301\u200d。")), max_size=8)
worded = st.tuples(EDGES, st.sampled_from(WORDS), EDGES, st.sampled_from(WORDS), EDGES).map("".join)


def packed(join, texts):
    flat, offsets, flags = pack(join.encode_units(texts))
    return Packed([flat], np.zeros(len(texts), dtype=np.int32), offsets[:-1], offsets[1:], flags)


def assert_spliced_exactly(join, texts):
    """Returns the chunks that were asked for whole, and those of which an edge was."""
    whole, edges = set(), set()

    def asked(seen, give):
        return lambda place: (seen.add(place), give(texts[place]))[1]

    given = Texts(asked(whole, str), asked(edges, lambda text: text[-EDGE:]), asked(edges, lambda text: text[:EDGE]))
    result = spliced(join, packed(join, texts), given)
    tokens = np.concatenate([np.empty(0, dtype=np.int32), *chain(*result.pieces())])
    np.testing.assert_array_equal(tokens, join.encode_text(texts))
    np.testing.assert_array_equal(result.ends, join.join(join.encode_units(texts), texts)[1])
    assert result.ends.dtype == np.int32
    return whole, edges


@pytest.mark.parametrize("name", zoo.NAMES)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(chunk, min_size=1, max_size=6), separator=st.sampled_from(SEPARATORS))
def test_spliced_tokens_are_those_of_the_whole_text(name, texts, separator):
    assert_spliced_exactly(joiner(name, separator), texts)


@pytest.mark.parametrize("name", zoo.NAMES)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(worded, min_size=2, max_size=5), separator=st.sampled_from(SEPARATORS))
def test_seams_are_exact(name, texts, separator):
    assert_spliced_exactly(joiner(name, separator), texts)


@pytest.mark.parametrize("name", ["gpt2", "digits", "llama3", "nfc", "white-runs", "tiktoken", "tiktoken-o200k"])
def test_white_space_on_both_sides_of_a_join_needs_no_whole_text(name):
    texts = ["one two.  \n", "    three four", "five six\n\n", "\n\n  seven (8) nine \t", "  ten"]
    whole, edges = assert_spliced_exactly(joiner(name), texts)
    assert not whole
    assert edges >= {2, 3}


@pytest.mark.parametrize("name", ["gpt2", "digits", "llama3", "nfc", "tiktoken", "tiktoken-o200k"])
def test_the_words_beside_a_seam_do_not_change_it(name):
    seams = joiner(name).seams
    for after, before in (("  \n", "    "), (".\t", "\n  "), (");\n\n", "\n\t")):
        seam = seams.between(f"one two{after}", f"{before}three four")
        assert seam is not None
        assert seams.between(f"FIVE{after}", f"{before}Six") is seam
        assert seams.between(f"été{after}", f"{before}éa") is not None


@settings(max_examples=200, deadline=None)
@given(
    chunks=st.lists(
        st.tuples(*(st.sampled_from(one) for one in (["", "\n  ", " \n "], "abc", "abc", ["", " \n", "\n", ".\n\n"]))),
        min_size=2,
        max_size=4,
    )
)
def test_seams_are_exact_where_added_tokens_have_a_word_and_white_space(chunks):
    texts = [f"{before}{first} x {last}{after}" for before, first, last, after in chunks]
    assert_spliced_exactly(added(), texts)


@cache
def added():
    """Where a plain word stands beside white space it is a token, or another word is."""
    library = Tokenizer.from_str(zoo.content("llama3"))
    library.add_tokens([AddedToken(text, normalized=False) for text in ("a \n", "b\n", "\n  a", "\n b", "c.\n\n")])
    return Joiner(HuggingFaceTokenizer(library.to_str(), "added"), "\n\n")


def test_chunks_without_a_word_of_letters_are_encoded_whole():
    texts = ["one two", "three  \n", "  12 34  \n", "  four", "five"]
    assert assert_spliced_exactly(joiner("gpt2"), texts)[0] == {1, 2, 3}


def test_a_long_run_at_an_edge_is_encoded_whole():
    letters, white = ["one", "x" * 400 + " \n", "  two"], ["one two" + " " * 400, "  three"]
    assert assert_spliced_exactly(joiner("gpt2"), letters)[0] == {1, 2}
    assert assert_spliced_exactly(joiner("gpt2"), white)[0] == {0, 1}


def test_a_chunk_whose_two_seams_meet_is_encoded_whole_or_right():
    assert_spliced_exactly(joiner("gpt2"), ["one  \n", "  a  \n", "  b  \n", "  two"])


@pytest.mark.parametrize("place", [0, 1])
def test_a_seam_is_refused_where_the_units_are_not_as_expected(place):
    join, texts = joiner("gpt2"), ["one two.  \n", "    three four"]
    units = packed(join, texts)
    units.tokens(place)[-1 if place == 0 else 0] += 1
    whole = set()
    given = Texts(lambda place: (whole.add(place), texts[place])[1], texts.__getitem__, texts.__getitem__)
    spliced(join, units, given)
    assert whole == {0, 1}


@pytest.mark.parametrize("name", ["gpt2", "llama3", "white-runs", "tiktoken"])
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.lists(worded | chunk, min_size=1, max_size=4), min_size=1, max_size=4))
def test_texts_spliced_together_are_those_spliced_alone(name, parts):
    join, texts = joiner(name), [text for part in parts for text in part]
    given = Texts(texts.__getitem__, lambda place: texts[place][-EDGE:], lambda place: texts[place][:EDGE])
    result = spliced(join, packed(join, texts), given, list(accumulate(map(len, parts), initial=0)))
    for part, pieces, first in zip(parts, result.pieces(), result.borders, strict=False):
        np.testing.assert_array_equal(np.concatenate([np.empty(0, dtype=np.int32), *pieces]), join.encode_text(part))
        ends = join.join(join.encode_units(part), part)[1]
        np.testing.assert_array_equal(result.ends[first : first + len(part)], ends)


def test_nothing_spliced_is_nothing():
    result = spliced(
        joiner("gpt2"), Packed([], *(np.empty(0, dtype=kind) for kind in ["i8", "i8", "i8", "u1"])), Texts(str, str, str)
    )
    assert (list(result.pieces()), len(result.ends)) == ([], 0)


@pytest.mark.parametrize("name", ["unigram", "gpt2"])
def test_runs_that_are_kept_have_a_limit(monkeypatch, name):
    """With a tokenizer that is not local a run is a whole sequence."""
    monkeypatch.setattr(joins, "_MOST_KEPT", 10_000)
    join = Joiner(zoo.tokenizer(name), "\n\n")
    for number in range(60):
        assert_spliced_exactly(join, [f"{number} word " * 40, f" \u00a0 12{number}", "one\n"])
        kept = [sum(map(len, texts)) for texts, *_ in join._runs]
        assert sum(kept) <= 10_000
    assert kept
