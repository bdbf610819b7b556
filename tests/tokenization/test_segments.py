"""Encoding texts in parts gives the tokens that the library gives for the whole."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import numpy as np
import pytest
import tokenizers_zoo as zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from test_joins import HOSTILE
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from nextlong.tokenization import segments
from nextlong.tokenization.cuts import Cuts, cuts_of_pattern, cuts_of_tokenizer
from nextlong.tokenization.huggingface import HuggingFaceTokenizer
from nextlong.tokenization.segment_table import SegmentTable, keys_of
from nextlong.tokenization.segments import SegmentEncoder
from nextlong.tokenization.tiktoken_encoding import TiktokenTokenizer

DEEPSEEK_SPLITS = [
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    # Their file has the line ends themselves.
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    + "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]
CL100K_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
R50K_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
MARKS_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

# One of every kind of character that the cuts or the patterns tell apart.
KINDS = ["a", "B", "1", ".", "'", "/", "s", " ", "\t", "\n", "\r", "\u00e9", "\u5b57", "\u00a0", "\u0301", "\x01"]
# White space in longer runs, and what stands around it.
AROUND_WHITE = ["a", "1", ".", "/", " ", "\n", "\u00e9"]


def split_tokenizer(patterns, behavior="Isolated", invert=False, normalizer=None):
    data = json.loads(zoo.content("llama3"))
    splits = [{"type": "Split", "pattern": {"Regex": one}, "behavior": behavior, "invert": invert} for one in patterns]
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*splits, BYTE_LEVEL]}
    data["normalizer"] = normalizer
    return HuggingFaceTokenizer(json.dumps(data), "split", eos=zoo.EOS)


def glued(name):
    """As a tokenizer of the zoo, but with merges of whatever kinds of characters meet: a wrong cut shows in the tokens."""
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=6000, special_tokens=[zoo.EOS], initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(("".join(one) for one in product(KINDS, repeat=3)), trainer)
    data = json.loads(zoo.content(name))
    data["model"] = json.loads(library.to_str())["model"] | {"ignore_merges": data["model"]["ignore_merges"]}
    data["added_tokens"] = []
    return HuggingFaceTokenizer(json.dumps(data), "glued")


def gappy():
    """As SmolLM2's: bytes that the vocabulary lacks have no token at all."""
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.train_from_iterator(
        zoo.TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=[zoo.EOS], show_progress=False)
    )
    assert library.encode("aqB\x01.").ids == library.encode("a.").ids
    return HuggingFaceTokenizer(library.to_str(), "gappy")


MORE = {
    "gappy": gappy,
    **{f"{name}-glued": partial(glued, name) for name in ("gpt2", "digits", "llama3", "nfc")},
    "deepseek": lambda: split_tokenizer(DEEPSEEK_SPLITS),
    "gpt-4o": lambda: split_tokenizer([zoo.O200K_PATTERN], "Removed", True),
    "marks": lambda: split_tokenizer([MARKS_PATTERN], normalizer={"type": "NFC"}),
    "cl100k": lambda: TiktokenTokenizer(zoo.tiktoken_encoding(CL100K_PATTERN)),
    "r50k": lambda: TiktokenTokenizer(zoo.tiktoken_encoding(R50K_PATTERN)),
}
CUT = ("gpt2", "digits", "llama3", "nfc", "white-runs", "tiktoken", "tiktoken-o200k", *MORE)
_made = {}


def tokenizer(name):
    if name not in _made:
        _made[name] = MORE[name]() if name in MORE else zoo.tokenizer(name)
    return _made[name]


def cuts_of(name):
    data = json.loads(zoo.content(name))
    return cuts_of_tokenizer(data, [])


def assert_same(tokenizer, texts):
    got = tokenizer.encode_batch(texts)
    assert len(got) == len(texts)
    for text, ids, whole in zip(texts, got, tokenizer._encode_whole(list(texts)), strict=True):
        assert ids.dtype == np.int32
        assert ids.tolist() == list(whole), text


@pytest.mark.parametrize("name", CUT)
def test_all_short_texts(name):
    texts = ["".join(one) for size in range(4) for one in product(KINDS, repeat=size)]
    assert_same(tokenizer(name), texts)
    assert_same(tokenizer(name), ["".join(one) for one in product(AROUND_WHITE, repeat=5)])


@pytest.mark.parametrize("name", CUT)
def test_a_cut_between_two_texts_is_one_whatever_stands_around_them(name):
    one, cut = tokenizer(name), 0
    for before, first, second in product(KINDS, repeat=3):
        if one.cut_between(before, first + second):
            cut += 1
            for left, right in product(AROUND_WHITE, repeat=2):
                whole = one.encode_whole(left + before + first + second + right)
                parts = one.encode_whole(left + before), one.encode_whole(first + second + right)
                np.testing.assert_array_equal(whole, np.concatenate(parts))
                starts = one.encode_words(left + before + first + second + right)[2]
                assert starts[len(parts[0])] or not len(parts[1])
    assert cut > 100


@pytest.mark.parametrize("name", ["llama2", "unigram", "superwords"])
def test_there_is_no_cut_between_texts_of_which_nothing_is_known(name):
    assert not zoo.tokenizer(name).cut_between("a", " b")


def test_there_is_no_cut_between_texts_with_an_added_token():
    assert tokenizer("nfc").cut_between("<tool", " a")
    assert not tokenizer("nfc").cut_between("<tool> b", " a")
    assert not tokenizer("nfc").cut_between("b", " <tool>")


@pytest.mark.parametrize("name", CUT)
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.one_of(st.sampled_from(HOSTILE + KINDS), st.text(st.characters(exclude_categories=("Cs",)), max_size=8)),
            max_size=12,
        ).map("".join),
        max_size=6,
    )
)
def test_hostile_texts(name, texts):
    assert_same(tokenizer(name), texts)


@pytest.mark.parametrize("name", CUT)
def test_real_texts_and_the_texts_of_tokens(name):
    assert_same(tokenizer(name), [*zoo.TEXTS, *tokenizer(name).token_texts(), "\n\n".join(zoo.TEXTS)])


def test_which_tokenizers_are_cut():
    assert cuts_of("gpt2") == cuts_of("digits") == Cuts(lines=False, indents=True)
    assert cuts_of("llama3") == cuts_of("nfc") == Cuts(lines=True, indents=True)
    for name in ("llama2", "unigram", "t5", "superwords"):
        assert cuts_of(name) is None
    assert cuts_of_pattern(CL100K_PATTERN) == Cuts(lines=True, indents=False)
    assert cuts_of_pattern(R50K_PATTERN) == Cuts(lines=False, indents=True)
    assert cuts_of_pattern(zoo.O200K_PATTERN) == Cuts(lines=True, indents=True)
    assert cuts_of_pattern(DEEPSEEK_SPLITS[-1], digits_apart=True) == Cuts(lines=True, indents=True)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        r"\S+|\s+",
        DEEPSEEK_SPLITS[-1],  # without digits split off, "1a" is one word
        zoo.LLAMA3_PATTERN.replace(
            r"\s*[\r\n]+|", ""
        ),  # punctuation takes line ends, but white space does not end with them
        zoo.LLAMA3_PATTERN.replace(r"|\s+(?!\S)|\s+", ""),
        zoo.LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"(?<=a)\p{N}{1,3}"),
        zoo.LLAMA3_PATTERN.replace(r"\p{L}+", r"\p{L}+ \p{L}+"),
        # What no alternative takes is one word with what it stands beside.
        zoo.LLAMA3_PATTERN.replace(r"\p{N}{1,3}|", ""),
        zoo.LLAMA3_PATTERN.replace(r" ?[^\s\p{L}\p{N}]+[\r\n]*|", ""),
        zoo.LLAMA3_PATTERN.replace(r"[^\r\n\p{L}\p{N}]?\p{L}+|", ""),
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
)
def test_patterns_of_which_nothing_is_known_are_not_cut(pattern):
    assert cuts_of_pattern(pattern) is None


@pytest.mark.parametrize("pattern", [r" ?\p{L}+|\s+(?!\S)|\s+", r"\p{N}+|\s+(?!\S)|\s+"])
def test_words_of_what_no_alternative_takes(pattern):
    data = json.loads(glued("llama3")._arguments[0])
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]}
    assert_same(HuggingFaceTokenizer(json.dumps(data), "glued"), ["".join(one) for one in product("aB1./ \n", repeat=4)])


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFKC"}},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "x"}]}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}},
        {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL],
            }
        },
        {"model": {"type": "BPE", "dropout": 0.1}},
        {"model": {"type": "Unigram"}},
    ],
)
def test_tokenizers_of_which_nothing_is_known_are_not_cut(change):
    assert cuts_of_tokenizer(json.loads(zoo.content("llama3")) | change, []) is None


def test_added_tokens_and_a_normaliser():
    data = json.loads(zoo.content("nfc"))
    assert cuts_of_tokenizer(data, [("<tool>", False)]) == Cuts(lines=True, indents=True, whole=("<tool>",))
    assert cuts_of_tokenizer(data, [("<tool>", True)]) is None
    texts = ["a <tool> b", "a  <mask>  b", "<tool", "<mas k>", "x <tool>\n\n<mask> 1.5 \n"]
    assert_same(tokenizer("nfc"), texts)


def encode_bytes(texts):
    return [list(text.encode()) for text in texts]


ONE_BYTE_EACH = np.ones(256, dtype=np.int64)


def encoder_that_counts():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return encode_bytes(texts)

    return SegmentEncoder(encode, Cuts(lines=True, indents=True), ONE_BYTE_EACH), asked


def test_the_library_sees_every_segment_once():
    encoder, asked = encoder_that_counts()
    texts = ["One word, one word.\n\nOne word  more", "", "one word" + "-" * 40 + " " * 70 + "end one word"]
    for _ in range(3):
        for text, ids in zip(texts, encoder.encode_batch(texts), strict=True):
            assert bytes(ids.tolist()).decode() == text
    seen = "".join(asked)
    assert {word: seen.count(word) for word in ("One", " word", "one", "end", "-" * 40, " " * 69)} == {
        "One": 1,
        " word": 1,
        "one": 2,  # at the beginning of a line, and after a space
        "end": 1,
        "-" * 40: 1,
        " " * 69: 1,
    }


def test_the_library_sees_many_segments_in_one_text():
    encoder, asked = encoder_that_counts()
    encoder.encode_batch(["".join(f" word{chr(97 + i)}{chr(97 + j)}.go_on" for i in range(26) for j in range(26))])
    assert len(asked) < 26 * 26 / 40


def test_segments_put_together_make_no_added_token():
    library = Tokenizer.from_str(zoo.content("gpt2"))
    library.add_tokens(
        [AddedToken("e>\n<t", normalized=False), AddedToken("fine word", normalized=False), AddedToken("t\nu")]
    )
    one = HuggingFaceTokenizer(library.to_str(), "x")
    assert_same(one, [" so fine", " word", "t", "u", "e>", "<t", " so fine word", "t\nu"])
    assert_same(one, [" more fine word and fine", "some word"])


@pytest.mark.parametrize(("name", "limit"), [("_MOST_SEGMENTS", 50), ("_MOST_TOKENS", 4000), ("_MOST_LONG", 20)])
def test_what_is_kept_has_a_limit(monkeypatch, name, limit):
    """Neither being full nor a segment that is too long to keep changes a token."""
    monkeypatch.setattr(segments, name, limit)
    encoder = SegmentEncoder(encode_bytes, Cuts(lines=True, indents=True), ONE_BYTE_EACH)
    kept = []
    for i in range(400):
        texts = [f"word{i} is ok. " + "\u5b57" * (i + 1), f"{i}" * i, "one word"]
        for text, ids in zip(texts, encoder.encode_batch(texts), strict=True):
            assert bytes(ids.tolist()).decode() == text
        kept.append(
            {"_MOST_SEGMENTS": encoder._count, "_MOST_TOKENS": encoder._used, "_MOST_LONG": len(encoder._long)}[name]
        )
    # A group is added before the limit is looked at: here at most six segments of at most 1,024 bytes.
    assert limit / 2 < max(kept) <= limit + 6 * (1024 if name == "_MOST_TOKENS" else 1)
    assert not any(len(one) > 1024 for one in encoder._long)


def test_threads_take_turns():
    encoder = SegmentEncoder(encode_bytes, Cuts(lines=True, indents=True), ONE_BYTE_EACH)
    texts = [[f"thread {j} word{i} and more{i % 7}" for i in range(j, 3000, 4)] for j in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for own, encoded in zip(texts, threads.map(lambda own: encoder.encode_batch(own), texts), strict=True):
            assert [bytes(ids.tolist()).decode() for ids in encoded] == own


@pytest.mark.parametrize("name", ["gpt2", "tiktoken"])
def test_tokenizers_are_sent_without_what_they_keep(name):
    one = zoo.tokenizer(name)
    before = len(pickle.dumps(one))
    one.encode_batch([f"{i}word{i} {i * i}" for i in range(20_000)])
    assert len(pickle.dumps(one)) == before
    again = pickle.loads(pickle.dumps(one))  # noqa: S301
    assert (again.fingerprint, again.name) == (one.fingerprint, one.name)
    assert_same(again, ["one word", ""])


def test_long_texts_and_many_small_ones():
    text = "".join(zoo.TEXTS) * 40
    assert len(text) > 200_000
    one = tokenizer("gpt2")
    assert_same(one, [text, "", *(text[i : i + 3] for i in range(0, 3000)), text[::-1]])


@given(st.lists(st.binary(max_size=15), max_size=400), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_a_table_is_a_dictionary(strings, rounds):
    table, expected = SegmentTable(2), {}
    for part in range(rounds):
        some = strings[part::rounds]
        new = list(dict.fromkeys(one for one in some if one not in expected))
        _, lacking = table.find(keys(some))
        assert [some[i] in expected for i in sorted(set(range(len(some))) - set(lacking.tolist()))].count(False) == 0
        assert all(some[i] not in expected for i in lacking.tolist())
        table.insert(keys(new), np.arange(len(expected), len(expected) + len(new)))
        expected |= {one: len(expected) + i for i, one in enumerate(new)}
        found, lacking = table.find(keys(list(expected)))
        assert len(lacking) == 0
        assert found.tolist() == list(expected.values())


def test_a_table_grows():
    table = SegmentTable(2)
    strings = [str(i).encode() for i in range(20_000)]
    table.insert(keys(strings[:10]), np.arange(10))
    table.insert(keys(strings[10:]), np.arange(10, 20_000))
    found, lacking = table.find(keys([*strings, b"x", b"1\0", b""]))
    assert found[:20_000].tolist() == list(range(20_000))
    assert sorted(lacking.tolist()) == [20_000, 20_001, 20_002]


def keys(strings):
    memory = b"".join(strings) + bytes(16)
    sizes = np.array([len(one) for one in strings], dtype=np.int64)
    words = np.ndarray((len(memory) - 7,), dtype="<u8", buffer=memory, strides=(1,))
    return keys_of(words, np.cumsum(sizes) - sizes, sizes, 2)
