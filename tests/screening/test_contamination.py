"""Runs of words shared with evaluation data, against looking for them as strings in whole documents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextlong.mining.ngrams import folded_words
from nextlong.screening import contamination
from nextlong.screening.contamination import SHORTEST_TEXT_WORDS, Counts, collected, find_runs, words_of


def plain_runs(texts, words):
    """Run → number of the first text that has it; short texts as a whole."""
    found = {}
    for number, text in enumerate(texts):
        every = tuple(folded_words(text).split())
        length = words if len(every) >= words else len(every)
        if length < min(SHORTEST_TEXT_WORDS, words):
            continue
        for start in range(len(every) - length + 1):
            found.setdefault(every[start : start + length], number)
    return found


def plain_found(documents, runs):
    """(run, chunks that it touches, text) for all runs in all documents, character by character."""
    found, row = [], 0
    for chunks in documents:
        owners = [row + number for number, chunk in enumerate(chunks) for _ in chunk]
        text = "".join(chunks)
        words, begins, ends = [], [], []
        start = 0
        while start < len(text):
            if not folded_words(text[start]):
                start += 1
                continue
            stop = start + 1
            while stop < len(text) and folded_words(text[stop]) and len(folded_words(text[start : stop + 1]).split()) == 1:
                stop += 1
            words.append(folded_words(text[start:stop]))
            begins.append(owners[start])
            ends.append(owners[stop - 1])
            start = stop
        for run, number in runs.items():
            for place in range(len(words) - len(run) + 1):
                if tuple(words[place : place + len(run)]) == run:
                    found.append((begins[place], ends[place + len(run) - 1], " ".join(run), number))
        row += len(chunks)
    return sorted(found)


def found_in(documents, runs):
    flat = [chunk for chunks in documents for chunk in chunks]
    owners = np.repeat(np.arange(len(documents)), [len(chunks) for chunks in documents])
    found = find_runs(flat, owners, runs)

    def before(chunk):
        return flat[chunk - 1] if chunk and owners[chunk - 1] == owners[chunk] else ""

    rows = zip(
        found.runs.tolist(), found.words.tolist(), found.first.tolist(), found.last.tolist(), found.at.tolist(), strict=True
    )
    return sorted(
        (first, last, words_of(flat[first : last + 1], at, words, before(first)), int(runs.texts[run]))
        for run, words, first, last, at in rows
    )


WORDS = st.text(st.sampled_from("aB漢"), min_size=1, max_size=2)
TEXT = st.lists(st.one_of(WORDS, st.sampled_from([" ", "\n", ", ", "-", "_", "é"])), max_size=60).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(TEXT, max_size=5),
    st.lists(st.lists(TEXT.filter(bool), min_size=1, max_size=6), max_size=4),
    st.integers(2, 13),
    st.sampled_from([1, 40, 1 << 20]),
)
def test_the_same_as_looking_for_strings(texts, documents, words, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contamination, "_BYTES", at_once)
        runs = collected(texts, words, Counts())
        assert found_in(documents, runs) == plain_found(documents, plain_runs(texts, words))


def numbered(first, last):
    return " ".join(f"word{number}" for number in range(first, last))


def test_a_run_over_the_border_of_two_chunks_and_one_over_three():
    runs = collected([numbered(0, 13)], 13, Counts())
    document = [f"before {numbered(0, 6)}\n", numbered(6, 13), " after"]
    (found,) = found_in([document], runs)
    assert found == (0, 1, numbered(0, 13), 0)
    document = [f"before {numbered(0, 1)}\n", f"{numbered(1, 12)} ", f"{numbered(12, 13)} after"]
    assert [each[:2] for each in found_in([document], runs)] == [(0, 2)]
    # Not from one document into another.
    assert found_in([[numbered(0, 6)], [numbered(6, 13)]], runs) == []


def test_a_word_that_is_cut_by_a_border_is_a_word():
    runs = collected([numbered(0, 13)], 13, Counts())
    document = [numbered(0, 6) + " wo", "rd6 " + numbered(7, 13)]
    assert found_in([document], runs) == [(0, 1, numbered(0, 13), 0)]
    letters = list(numbered(0, 13) + " ")
    assert found_in([letters], runs) == [(0, len(letters) - 2, numbered(0, 13), 0)]


def test_case_punctuation_and_white_space_do_not_count():
    text = "To be, or not to be -- that is the QUESTION: whether 'tis nobler in the mind"
    runs = collected([text], 13, Counts())
    document = ["(to  be) or\tnot to be? That is\nthe question. Whether tis nobler, IN THE MIND!"]
    assert len(runs) == 16 - 12 and len(found_in([document], runs)) == 4
    assert found_in([["to be or not to be that was the question whether tis nobler in the mind"]], runs) == []


def test_short_texts_are_looked_for_as_a_whole_or_not_at_all():
    counts = Counts()
    runs = collected([numbered(0, 7), numbered(10, 18), numbered(20, 32), numbered(40, 53)], 13, counts)
    assert (counts.texts, counts.whole, counts.ignored) == (4, 2, 1)
    assert runs.lengths.tolist() == [8, 12, 13] and len(runs) == 3
    document = [f"x {numbered(0, 7)} x {numbered(10, 18)} x {numbered(20, 31)} x {numbered(40, 52)}"]
    assert [each[2] for each in found_in([document], runs)] == [numbered(10, 18)]
    # Fewer words than that, where runs themselves are shorter.
    assert collected([numbered(0, 5)], 5, counts).lengths.tolist() == [5]


def test_the_first_text_with_a_run_is_named():
    texts = [numbered(5, 13), numbered(0, 20), numbered(0, 20), numbered(5, 13)]
    runs = collected(texts, 13, Counts())
    assert set(runs.texts[np.isin(runs.texts, [0, 1])].tolist()) == {0, 1} and runs.texts.max() == 1


def test_no_evaluation_text_at_all():
    runs = collected(["one two"], 13, Counts())
    assert len(runs) == 0 and found_in([[numbered(0, 50)]], runs) == []


def test_the_filter_lets_all_runs_through():
    texts = [numbered(start * 20, start * 20 + 20) for start in range(2000)]
    runs = collected(texts, 13, Counts())
    assert len(runs) == 2000 * 8
    assert runs.places(runs.keys).tolist() == list(range(len(runs)))
    others = np.random.default_rng(0).integers(0, 1 << 63, 1000).astype(np.uint64) * np.uint64(2) + np.uint64(1)
    others = np.setdiff1d(others, runs.keys)
    assert (runs.places(others) == -1).all()
