import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

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
TOKENIZE = flat_tokenizer(TOKENIZER)


def listed(texts, tokenize=TOKENIZE):
    ids, starts = tokenize(texts)
    assert ids.dtype == np.int32 and starts.dtype == np.int64 and len(starts) == len(texts) + 1
    return [ids[start:end].tolist() for start, end in pairwise(starts)]


def expected(texts):
    return [encoding.ids for encoding in TOKENIZER.encode_batch_fast(texts, add_special_tokens=False)]


def test_the_fast_way_is_taken():
    pytest.importorskip("nanotoken", reason="needs requirements/nanotoken.txt")
    assert TOKENIZE.__name__ == "fast"


def test_every_code_point_gives_the_ids_of_tokenizers():
    """Alone, within a word and doubled; several to a text, for speed."""
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = [
        " . ".join(f"a{chr(code)}b {chr(code)} {chr(code)}{chr(code)}x" for code in codes[first : first + 256])
        for first in range(0, len(codes), 256)
    ]
    assert listed(texts) == expected(texts)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), max_size=20).map("".join), max_size=5))
def test_hostile_texts_give_the_ids_of_tokenizers(texts):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    assert listed(texts) == expected(texts)


def test_long_texts_give_the_ids_of_tokenizers():
    draw = random.Random(0)
    texts = [
        "".join(draw.choice([*HOSTILE, "the ", "x", "\n"]) for _ in range(20_000)),
        "x" * 300_000,
        "\u0301" * 50_000,
        "",
    ]
    assert listed(texts) == expected(texts)


@pytest.mark.parametrize("model", [models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0), models.BPE({"a": 0, "b": 1}, [])])
def test_other_tokenizers_keep_their_own_way(model):
    tokenizer = Tokenizer(model)
    tokenize = flat_tokenizer(tokenizer)
    assert tokenize.__name__ == "slow"
    assert listed(["aa", "", "a"], tokenize) == [tokenizer.encode(text).ids for text in ("aa", "", "a")]


def test_a_library_that_disagrees_is_not_used(monkeypatch):
    def wrong(texts):
        ids, starts = TOKENIZE(texts)
        return np.where(ids == TOKENIZER.token_to_id("中"), 1, ids).astype(np.int32), starts

    monkeypatch.setattr(wordpiece, "_nanotokenizer", lambda tokenizer: wrong)
    assert flat_tokenizer(TOKENIZER).__name__ == "slow"
