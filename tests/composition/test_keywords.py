"""RAKE by hand and against its paper's figures, odd text, and who shares a keyword with whom."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextlong.composition.keywords import (
    ENGLISH_STOP_WORDS,
    LONGEST_WORD,
    KeywordSettings,
    choose_keyword,
    document_keywords,
    group_order,
    group_weights,
    inverted_index,
    keyword_ids,
    shuffled_documents,
    usable,
)
from nextlong.errors import UsageError

ALL = KeywordSettings(min_score=0.0)


def words_of(text, settings=ALL):
    return {keyword for keyword, _ in document_keywords(text, settings)}


def test_scores_by_hand():
    # Candidates: "deep learning" twice, "deep neural networks", "learning". Frequencies: deep 3, learning 3, neural and
    # networks 1. Degrees: deep 2 + 2 + 3 = 7, learning 2 + 2 + 1 = 5, neural and networks 3.
    text = "Deep learning is the learning of deep neural networks. What is deep learning?"
    assert document_keywords(text, ALL) == [
        ("deep neural networks", pytest.approx(7 / 3 + 3 + 3)),
        ("deep learning", pytest.approx(7 / 3 + 5 / 3)),
        ("learning", pytest.approx(5 / 3)),
    ]
    # 7/3 + 5/3 is 4: a threshold there must not lose it.
    assert words_of(text, KeywordSettings(min_score=4.0)) == {"deep neural networks", "deep learning"}


def test_equal_sums_of_fractions_are_ties():
    # Both score 7/3 + 7/3 + 3, and floats added in the order of the words would put the second first.
    found = document_keywords("gamma alpha beta; alpha beta gamma; alpha; beta")
    assert found == [("alpha beta gamma", pytest.approx(23 / 3)), ("gamma alpha beta", pytest.approx(23 / 3))]
    assert found[0][1] == found[1][1]


def test_the_scores_that_rakes_paper_reports():
    """The candidates of its example, the abstract on linear constraints, and the scores in its figure."""
    candidates = (
        "Compatibility; systems; linear constraints; set; natural numbers; Criteria; compatibility; system; "
        "linear Diophantine equations; strict inequations; nonstrict inequations; Upper bounds; components; minimal set; "
        "solutions; algorithms; minimal generating sets; solutions; systems; criteria; corresponding algorithms; "
        "constructing; minimal supporting set; solving; systems; systems"
    )
    found = {keyword: round(score, 1) for keyword, score in document_keywords(candidates, ALL)}
    reported = {
        "minimal generating sets": 8.7,
        "linear diophantine equations": 8.5,
        "minimal supporting set": 7.7,
        "minimal set": 4.7,
        "linear constraints": 4.5,
        "natural numbers": 4.0,
        "strict inequations": 4.0,
        "nonstrict inequations": 4.0,
        "upper bounds": 4.0,
        "corresponding algorithms": 3.5,
        "set": 2.0,
        "algorithms": 1.5,
    }
    ones = {"compatibility", "systems", "criteria", "system", "components", "constructing", "solving", "solutions"}
    assert found == reported | dict.fromkeys(ones, 1.0)
    kept = document_keywords(candidates)
    assert [keyword for keyword, _ in kept] == sorted(
        (keyword for keyword in reported if reported[keyword] >= 3.0), key=lambda keyword: (-reported[keyword], keyword)
    )


def test_what_ends_a_candidate():
    assert words_of("open source and free software") == {"open source", "free software"}  # a stop word
    assert words_of("red apples, green pears") == {"red apples", "green pears"}  # punctuation
    assert words_of("red apples\ngreen pears\r\nblue plums") == {"red apples", "green pears", "blue plums"}  # lines
    assert words_of("| red apples | 12.50 |\n|---|---|") == {"red apples"}  # tables
    assert words_of("windows 10 update 0x80070057 error 42nd") == {"windows", "update", "error"}  # numbers
    assert words_of("axis x values") == {"axis", "values"}  # single letters
    assert words_of(f"red {'x' * (LONGEST_WORD + 1)} apples") == {"red", "apples"}  # encoded data
    assert f"red {'x' * LONGEST_WORD} apples" in words_of(f"red {'x' * LONGEST_WORD} apples")


def test_words():
    assert words_of("It's the parser's long-range state") == {"parser's long-range state"}
    assert words_of("You\u2019ll see the parser\u2019s long\u2011range\u00a0state") == {"parser's long-range state"}
    assert words_of("__init__ of _some_ `wm_paint` handler_") == {"init", "wm_paint", "handler"}
    assert words_of("STRASSE Straße") == {"strasse straße"}
    # Composed and decomposed forms are one word, and neither a vowel sign nor a joiner ends it.
    assert words_of("cafe\u0301 bar; caf\u00e9 bar") == {"caf\u00e9 bar"}
    assert words_of("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645!") == {
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    }
    assert words_of("\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e.") == {
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e"
    }


def test_no_keywords():
    for text in ["", " \n\t ", "?!... --- ___", "the of and", "1234 5678 90", "\u0301\u200d", "x" * 3_000_000]:
        assert document_keywords(text, ALL) == []
    # A script without spaces has whole clauses for words: candidates of one word, which score 1.
    assert document_keywords("机器学习是人工智能的一个分支。") == []


def test_settings():
    text = "Le chat noir et le chien blanc de la maison"
    french = KeywordSettings(stop_words=frozenset(["le", "la", "et", "de"]), min_score=0.0)
    assert words_of(text, french) == {"chat noir", "chien blanc", "maison"}
    no_stop_words = KeywordSettings(stop_words=frozenset(), min_score=0.0, max_words=2)
    assert words_of("of the. red and", no_stop_words) == {"of the", "red and"}
    # A candidate that is too long leaves no trace in the scores of its words.
    assert document_keywords("alpha beta gamma delta; alpha beta", ALL) == [("alpha beta", 4.0)]
    assert document_keywords("alpha beta gamma delta", KeywordSettings(max_words=4)) == [("alpha beta gamma delta", 16.0)]
    assert words_of("ab abc. abcd efgh", KeywordSettings(min_characters=4, min_score=0)) == {"abcd efgh"}
    assert words_of("Black holes. Best way. Black holes", KeywordSettings(uninformative=frozenset(["black holes"]))) == set()
    # Reading stops inside "holes", and a word cut short is no word.
    assert words_of("red apples, black holes", KeywordSettings(max_characters=20)) == {"red apples"}
    assert words_of("red apples, black holes", KeywordSettings(max_characters=23)) == {"red apples", "black holes"}
    assert words_of("red apples, black holes", KeywordSettings(max_characters=None)) == {"red apples", "black holes"}


def test_the_stop_list_is_folded():
    assert all(word == word.lower() and document_keywords(word, ALL) == [] for word in ENGLISH_STOP_WORDS)


texts = st.text() | st.lists(
    st.sampled_from(["Red", "apples", "of", "don't", "ÉTÉ", "x1", "42", ",", ".", "\n", "-", "İ", "ß", "Σ", "\u0301"])
).map(" ".join)


@given(texts, st.integers(1, 5), st.sampled_from([0.0, 3.0]))
def test_keywords_are_folded_distinct_and_ordered(text, max_words, min_score):
    settings = KeywordSettings(max_words=max_words, min_score=min_score)
    found = document_keywords(text, settings)
    assert found == document_keywords(text, settings)
    assert found == sorted(found, key=lambda keyword: (-keyword[1], keyword[0]))
    keywords = [keyword for keyword, _ in found]
    assert len(set(keywords)) == len(keywords)
    for keyword, score in found:
        words = keyword.split()
        assert words and " ".join(words) == keyword == keyword.lower()
        assert len(words) <= max_words and all(word[0].isalpha() and word not in ENGLISH_STOP_WORDS for word in words)
        assert score >= max(min_score, len(words))


@given(st.lists(st.text(alphabet="abcd ,.", max_size=20), max_size=6), st.randoms())
def test_the_order_of_sentences_does_not_matter(sentences, random):
    shuffled = random.sample(sentences, len(sentences))
    settings = KeywordSettings(stop_words=frozenset(), min_characters=1, min_score=0.0)
    assert document_keywords("\n".join(sentences), settings) == document_keywords("\n".join(shuffled), settings)


def test_choice_is_uniform_repeatable_and_knows_no_order():
    keywords = ["alpha", "beta", "gamma", "delta"]
    chosen = [choose_keyword(keywords, 7, key) for key in range(4000)]
    assert chosen == [choose_keyword([*keywords[::-1], "beta"], 7, key) for key in range(4000)]
    counts = Counter(chosen)
    assert set(counts) == set(keywords)
    # Chi-squared with 3 degrees of freedom; 16.3 is exceeded once in a thousand seeds.
    assert sum((counts[keyword] - 1000) ** 2 / 1000 for keyword in keywords) < 16.3
    other_seed = [choose_keyword(keywords, 8, key) for key in range(4000)]
    assert 800 < sum(a == b for a, b in zip(chosen, other_seed, strict=True)) < 1200
    assert choose_keyword([], 7, 1) is None
    assert choose_keyword(["alpha"], 0, 2**64 - 1) == "alpha"


def test_usable_by_hand():
    # Ten documents. Keyword 1 is in all ten, 2 in five, 3 in three, 4 in two; 90 to 93 in one each.
    documents = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3], [1, 2], [1, 2], [1, 90], [1, 91], [1, 92], [1, 93], [1]]
    ids = np.array([number for document in documents for number in document], dtype=np.uint64)
    starts = np.cumsum([0, *map(len, documents)])

    def left(**limits):
        kept = usable(ids, starts, **limits)
        return [ids[a:b][kept[a:b]].tolist() for a, b in pairwise(starts)]

    nothing = [[]] * 5
    assert left(max_share=0.5) == [[2, 3, 4], [2, 3, 4], [2, 3], [2], [2], *nothing]
    assert left(max_share=0.5, per_document=1) == [[2], [2], [2], [2], [2], *nothing]
    assert left(max_share=0.5, per_document=2) == [[2, 3], [2, 3], [2, 3], [2], [2], *nothing]
    assert left(max_share=0.3) == [[3, 4], [3, 4], [3], *[[]] * 7]
    assert left(max_share=0.3, min_documents=3) == [[3], [3], [3], *[[]] * 7]
    assert left(max_share=0.0) == [[4], [4], *[[]] * 8]  # so few documents are never too many
    assert left(min_documents=1, max_share=1.0, per_document=None) == documents


@given(
    st.lists(st.sets(st.integers(0, 12), max_size=6), max_size=12),
    st.integers(1, 4),
    st.floats(0, 1),
    st.none() | st.integers(0, 4),
)
def test_usable_is_what_counting_says(documents, least, share, most_of_a_document):
    documents = [sorted(document) for document in documents]
    counts = Counter(number for document in documents for number in document)
    ids = np.array([number for document in documents for number in document], dtype=np.uint64)
    starts = np.cumsum([0, *map(len, documents)])
    kept = usable(ids, starts, least, share, most_of_a_document)
    limit = max(least, int(share * len(documents)))
    for document, (a, b) in zip(documents, pairwise(starts), strict=True):
        right = [number for number in document if least <= counts[number] <= limit]
        right = sorted(right, key=lambda number: (-counts[number], number))[:most_of_a_document]
        assert ids[a:b][kept[a:b]].tolist() == sorted(right)


keywords = st.lists(st.none() | st.sampled_from(["ant", "bee", "cat", "dog"]), max_size=30)


@given(keywords)
def test_the_index_has_each_document_once_under_its_keyword(chosen):
    names, ids = keyword_ids(chosen)
    index = inverted_index(ids)
    assert names == sorted(set(chosen) - {None})
    assert index.keywords.tolist() == list(range(len(names)))
    for group, name in enumerate(names):
        assert index.members(group).tolist() == [place for place, keyword in enumerate(chosen) if keyword == name]
    assert index.starts[0] == 0 and index.starts[-1] == len(index.documents)


@given(keywords, st.randoms())
def test_the_order_of_documents_does_not_matter(chosen, random):
    places = random.sample(range(len(chosen)), len(chosen))
    index, shuffled = (inverted_index(keyword_ids(order)[1]) for order in (chosen, [chosen[place] for place in places]))
    assert shuffled.starts.tolist() == index.starts.tolist()
    for group in range(len(index.keywords)):
        assert sorted(places[place] for place in shuffled.members(group)) == index.members(group).tolist()


def test_the_index_of_nothing():
    for ids in (np.zeros(0, dtype=np.int64), np.array([-1, -1])):
        index = inverted_index(ids)
        assert len(index.keywords) == len(index.documents) == 0 and index.starts.tolist() == [0]
        assert group_order(group_weights(index.keywords, index.keywords), 5, seed=0).tolist() == []


def test_weights_by_hand():
    documents, tokens = np.array([1, 2, 4, 8, 8]), np.array([100, 300, 400, 700, 1500])
    assert group_weights(documents, tokens, split_ratio=0).tolist() == pytest.approx([v / 3000 for v in tokens])
    # Of 23 documents a tenth is rare: the first keyword. The next has two documents, so its one counts twice.
    assert group_weights(documents, tokens, 0.1) * 3100 == pytest.approx([200, 300, 400, 700, 1500])
    # A fifth: the first two keywords, 3 documents of 23. The next has four: times 4 and times 2.
    assert group_weights(documents, tokens, 0.2) * 3600 == pytest.approx([400, 600, 400, 700, 1500])
    # All count as having eight documents: times 8, 4 and 2.
    assert group_weights(documents, tokens, 1.0) * 5000 == pytest.approx([800, 1200, 800, 700, 1500])
    roots = np.sqrt(tokens)
    assert group_weights(documents, tokens, 0.0, power=0.5) == pytest.approx(roots / roots.sum())
    # Exactly half: both keywords of one document are rare.
    assert group_weights(np.array([1, 1, 2]), np.array([5, 5, 10]), 0.5) * 30 == pytest.approx([10, 10, 10])
    # More than the share belongs to keywords of the least number: none is rarer than the next.
    assert group_weights(np.array([1, 1, 1, 9]), np.array([5, 5, 5, 45]), 0.2) * 60 == pytest.approx([5, 5, 5, 45])
    assert group_weights(np.array([1, 1, 1, 9]), np.array([5, 5, 5, 45]), 0.3) * 180 == pytest.approx([45, 45, 45, 45])


@pytest.mark.parametrize("wrong", [{"split_ratio": -0.1}, {"split_ratio": 1.1}, {"power": 0.0}, {"power": float("nan")}])
def test_wrong_weights(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        group_weights(np.array([1, 2]), np.array([10, 20]), **wrong)


sizes = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 10**6)), min_size=1, max_size=20)


@given(sizes, st.floats(0, 1), st.floats(0.1, 1), st.integers(0, 200), st.integers(0, 2**32))
def test_groups_come_as_often_as_they_weigh(groups, ratio, power, draws, seed):
    documents, tokens = np.array(groups).T
    weights = group_weights(documents, tokens, ratio, power)
    assert weights.sum() == pytest.approx(1)
    order = group_order(weights, draws, seed)
    assert order.tolist() == group_order(weights, draws, seed).tolist()
    assert len(order) == draws
    visits = np.bincount(order, minlength=len(groups))
    assert np.all(np.abs(visits - weights * draws) < 1 + 1e-6)


def test_the_order_of_groups_is_random_and_unbiased():
    weights = np.array([0.5, 0.05, 0.25, 0.2])
    orders = [group_order(weights, 7, seed) for seed in range(2000)]
    assert len({tuple(order) for order in orders}) > 500
    every = np.stack(orders)
    for column in every.T:  # at every place of the order, each group with its weight
        assert np.bincount(column, minlength=4) / 2000 == pytest.approx(weights, abs=0.05)
    assert np.bincount(every.ravel()) / every.size == pytest.approx(weights, abs=0.005)


def test_documents_are_drawn_without_replacement():
    documents = np.array([3, 5, 8, 13, 21])
    orders = [shuffled_documents(documents, 1, 2, visit).tolist() for visit in range(200)]
    assert all(sorted(order) == documents.tolist() for order in orders)
    assert len({tuple(order) for order in orders}) > 60  # of 120 permutations
    assert orders[3] == shuffled_documents(documents, 1, 2, 3).tolist()
    assert orders != [shuffled_documents(documents, 1, 3, visit).tolist() for visit in range(200)]
