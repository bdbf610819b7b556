"""Runs of words as hashes, against the runs themselves."""

import re
import subprocess
import sys
import unicodedata

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nextlong.mining.ngrams import folded_words, ngram_keys


def plain_runs(text, words):
    """The runs of a text as strings, the plainest way."""
    spaced = re.sub("([漢字かな])", r" \1 ", text.casefold())
    found = [word for word in re.split(r"[\W_]+", spaced) if word]
    return [" ".join(found[start : start + words]) for start in range(len(found) - words + 1)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("abÄß1_ ,.-'\n\u3000漢\U0001f600"), max_size=40), max_size=6),
    st.integers(1, 5),
)
def test_hashes_are_equal_where_the_runs_are(texts, words):
    keys, amounts = ngram_keys(texts, words)
    runs = [plain_runs(text, words) for text in texts]
    assert amounts.tolist() == list(map(len, runs))
    flat = [run for of_text in runs for run in of_text]
    assert keys.dtype == np.uint64 and len(keys) == len(flat)
    by_hash = dict(zip(keys.tolist(), flat, strict=True))
    assert all(by_hash[key] == run for key, run in zip(keys.tolist(), flat, strict=True))
    assert len(by_hash) == len(set(flat))


def test_case_punctuation_and_white_space_do_not_count():
    one, other = "The quick, brown (fox) JUMPS", "the quick brown\n\tfox -- jumps!"
    assert folded_words(one) == folded_words(other) == "the quick brown fox jumps"
    assert ngram_keys([one], 5)[0].tolist() == ngram_keys([other], 5)[0].tolist()
    assert ngram_keys(["fox brown"], 2)[0].tolist() != ngram_keys(["brown fox"], 2)[0].tolist()


def test_hashes_are_the_same_in_another_process():
    code = "from nextlong.mining.ngrams import ngram_keys; print(ngram_keys(['one two three'], 2)[0].tolist())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(ngram_keys(["one two three"], 2)[0].tolist())


def test_forms_of_the_same_letters_do_not_count():
    assert folded_words("Café") == folded_words("Cafe\u0301") == "café"
    assert folded_words("\ufb01nal \uff21\uff22\uff23\uff11\uff12\uff13") == "final abc123"
    assert folded_words("Straße") == "strasse" and folded_words("don\u2019t") == folded_words("don't") == "don t"


def test_a_chinese_or_japanese_character_is_a_word():
    assert folded_words("漢字とGPT-3、是的") == "漢 字 と gpt 3 是 的"
    assert folded_words("한국어 문장") == "한국어 문장"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_folded_as_whole_texts_are(text):
    """The quick way for ASCII, and the runs of other characters, against one expression over all of it."""
    whole = re.sub(
        "([\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])",
        r" \1 ",
        re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()),
    )
    assert folded_words(text) == " ".join(whole.split())
