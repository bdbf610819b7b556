import importlib.util
import random
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from nextlong.embedding import wordpiece
from nextlong.embedding.wordpiece import flat_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# A token for every character, so that ids tell what became of it.
CHARACTERS = [chr(code) for code in range(0x21, 0x3000) if not chr(code).isspace()]
HOSTILE = [
    "\x00",
    "\x0b\x0c",
    "\x1c\x1f",
    "\x85\xa0",
    "\u200b\ufeff\ufffd",
    "e\u0301",
    "ßẞİſ",
    "中",
    "[SEP]",
    "a" * 101,
    "-_'",
]


def bert_tokenizer() -> Tokenizer:
    vocabulary = [*SPECIAL, *CHARACTERS, *(f"##{character}" for character in CHARACTERS), "the", "##ing", "中", "한"]
    tokenizer = Tokenizer(models.WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


TOKENIZER = bert_tokenizer()


@pytest.fixture(scope="module", params=["nanotoken", "in parts"])
def tokenize(request):
    """Each of the fast ways."""
    if request.param == "in parts":
        return wordpiece._in_parts(TOKENIZER)
    pytest.importorskip("nanotoken", reason="requirements/nanotoken.txt is not installed")
    return wordpiece._nanotokenizer(TOKENIZER)


def listed(texts, tokenize):
    ids, starts = tokenize(texts)
    assert ids.dtype == np.int32 and starts.dtype == np.int64 and len(starts) == len(texts) + 1
    return [ids[start:end].tolist() for start, end in pairwise(starts)]


def expected(texts):
    return [encoding.ids for encoding in TOKENIZER.encode_batch_fast(texts, add_special_tokens=False)]


def test_the_fastest_way_there_is_is_taken(monkeypatch):
    assert flat_tokenizer(TOKENIZER).__name__ == ("fast" if importlib.util.find_spec("nanotoken") else "in_parts")
    monkeypatch.setattr(wordpiece, "_nanotokenizer", lambda tokenizer: None)
    assert flat_tokenizer(TOKENIZER).__name__ == "in_parts"


def test_every_code_point_gives_the_ids_of_tokenizers(tokenize):
    """Alone, within a word and doubled; several to a text, for speed."""
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = [
        " . ".join(f"a{chr(code)}b {chr(code)} {chr(code)}{chr(code)}x" for code in codes[first : first + 256])
        for first in range(0, len(codes), 256)
    ]
    assert listed(texts, tokenize) == expected(texts)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), max_size=20).map("".join), max_size=5)
)
def test_hostile_texts_give_the_ids_of_tokenizers(tokenize, texts):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    assert listed(texts, tokenize) == expected(texts)


def test_long_texts_give_the_ids_of_tokenizers(tokenize):
    draw = random.Random(0)
    texts = [
        "".join(draw.choice([*HOSTILE, "the ", "x", "\n"]) for _ in range(20_000)),
        "x" * 300_000,
        "\u0301" * 50_000,
        "",
    ]
    assert listed(texts, tokenize) == expected(texts)


@pytest.mark.parametrize("model", [models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0), models.BPE({"a": 0, "b": 1}, [])])
def test_other_tokenizers_keep_their_own_way(model):
    tokenizer = Tokenizer(model)
    tokenize = flat_tokenizer(tokenizer)
    assert tokenize.__name__ == "slow"
    assert listed(["aa", "", "a"], tokenize) == [tokenizer.encode(text).ids for text in ("aa", "", "a")]


def test_a_library_that_disagrees_is_not_used(monkeypatch):
    in_parts = wordpiece._in_parts(TOKENIZER)

    def fast(texts):
        ids, starts = in_parts(texts)
        return np.where(ids == TOKENIZER.token_to_id("中"), 1, ids).astype(np.int32), starts

    monkeypatch.setattr(wordpiece, "_nanotokenizer", lambda tokenizer: fast)
    assert flat_tokenizer(TOKENIZER).__name__ == "in_parts"


def test_all_short_texts_of_every_kind_of_character(tokenize):
    """Letters, digits, marks, white space, controls, accents, script: every four of them."""
    texts = ["".join(four) for four in product("aB1.-' \n\x0bé\u0301中\u3000", repeat=4)]
    assert listed(texts, tokenize) == expected(texts)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "added token", "added word"])
def test_what_is_not_like_bert_is_not_cut(part):
    tokenizer = bert_tokenizer()
    if part == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([normalizers.BertNormalizer(), normalizers.Replace(". ", "x")])
    elif part == "pre_tokenizer":
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    else:
        text, normalised = ("a b", True) if part == "added token" else ("word", False)
        tokenizer.add_tokens([AddedToken(text, normalized=normalised)])
    assert wordpiece._in_parts(tokenizer) is None


def test_case_and_long_words_and_what_the_vocabulary_lacks():
    vocabulary = {"[UNK]": 0, "The": 1, "the": 2, "##s": 3, ".": 4, "t": 5, "##he": 6}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=6))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = ["The the THE thes thex", "thesss thessss", ".,. the.", "  ", "the\n\n\tthe"]
    expected = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    assert listed(texts, wordpiece._in_parts(tokenizer)) == expected
