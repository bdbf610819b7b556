import json
import pickle

import numpy as np
import pytest
import tiktoken
import tokenizers_zoo as zoo
from tokenizers import AddedToken, Tokenizer

from nextlong.errors import NextlongError, UsageError
from nextlong.tokenization.huggingface import HuggingFaceTokenizer
from nextlong.tokenization.tiktoken_encoding import TiktokenTokenizer
from nextlong.tokenization.tokenizer import load_tokenizer

REVERSIBLE = {"gpt2", "digits", "llama3", "white-runs", "superwords", "tiktoken", "tiktoken-o200k"}


def folder(tmp_path, name="gpt2", **files):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "tokenizer.json").write_text(zoo.content(name), encoding="utf-8")
    for stem, content in files.items():
        (tmp_path / f"{stem}.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", zoo.NAMES)
def test_a_text_cannot_inject_special_tokens(name):
    tokenizer = zoo.tokenizer(name)
    assert tokenizer.eos_id is not None
    templates = ["{eos}", "x{eos}y", "x {eos} y", "\n{eos}\n", "{eos}{eos}", "<s>{eos}<|startoftext|>"]
    texts = [text.replace("{eos}", eos) for eos in ("<|endoftext|>", "</s>") for text in templates]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.dtype == np.int32
        assert len(ids) > 0, text
        assert tokenizer.eos_id not in ids, text
        assert tokenizer.eos_id not in tokenizer.encode_with_ends(text)[0], text


@pytest.mark.parametrize("name", zoo.NAMES)
def test_reversible_says_whether_decoding_gives_the_text_back(name):
    tokenizer = zoo.tokenizer(name)
    assert tokenizer.reversible == (name in REVERSIBLE)
    text = "The end of the world,\nin 12 words"
    (ids,) = tokenizer.encode_batch([text])
    if name in REVERSIBLE or name == "llama2":
        assert tokenizer.decode(ids) == text
    assert all(ids >= 0) and all(ids < tokenizer.vocabulary_size)


@pytest.mark.parametrize("name", ["gpt2", "llama3", "tiktoken"])
def test_ends_are_character_offsets(name):
    tokenizer = zoo.tokenizer(name)
    text = "A \U0001f469\u200d\U0001f466 family.\n\nCaf\u00e9 字 end"
    ids, ends = tokenizer.encode_with_ends(text)
    np.testing.assert_array_equal(ids, tokenizer.encode_batch([text])[0])
    assert ends[-1] == len(text)
    for i, end in enumerate(ends.tolist()):
        decoded = tokenizer.decode(ids[: i + 1])
        if "\ufffd" not in decoded:
            assert decoded == text[:end]


@pytest.mark.parametrize("name", zoo.NAMES)
def test_words_are_of_the_same_encoding(name):
    tokenizer = zoo.tokenizer(name)
    for text in ("", "The end.  \n\n  Another\u0301 (x) 12", "\u6f22\u5b57\u3002 \U0001f642"):
        ids, ends, starts = tokenizer.encode_words(text)
        for found, expected in zip((ids, ends), tokenizer.encode_with_ends(text), strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(starts, tokenizer.word_starts(text))
        assert len(ids) == len(ends) == len(starts)


def test_begin_and_end_tokens_by_name(tmp_path):
    path = folder(tmp_path, tokenizer_config={"bos_token": {"content": "<|endoftext|>"}, "eos_token": "<|endoftext|>"})
    tokenizer = load_tokenizer(str(path))
    assert tokenizer.bos_id == tokenizer.eos_id == Tokenizer.from_str(zoo.content("gpt2")).token_to_id("<|endoftext|>")
    assert tokenizer.decode([tokenizer.eos_id]) == "<|endoftext|>"


def test_a_null_begin_token_is_not_looked_up_elsewhere(tmp_path):
    path = folder(
        tmp_path,
        tokenizer_config={"bos_token": None, "eos_token": "<|endoftext|>"},
        config={"bos_token_id": 5, "eos_token_id": 6},
    )
    tokenizer = load_tokenizer(str(path))
    assert (tokenizer.bos_id, tokenizer.eos_id) == (None, 0)


def test_begin_and_end_tokens_from_special_tokens_map_and_from_ids(tmp_path):
    one = load_tokenizer(str(folder(tmp_path / "a", tokenizer_config={}, special_tokens_map={"eos_token": "<|endoftext|>"})))
    assert (one.bos_id, one.eos_id) == (None, 0)
    two = load_tokenizer(str(folder(tmp_path / "b", generation_config={"bos_token_id": 0, "eos_token_id": [0, 7]})))
    assert (two.bos_id, two.eos_id) == (0, 0)
    none = load_tokenizer(str(folder(tmp_path / "c")))
    assert (none.bos_id, none.eos_id) == (None, None)


def test_an_end_token_that_the_file_does_not_mark_as_special_is_special_all_the_same(tmp_path):
    library = Tokenizer.from_str(zoo.content("gpt2"))
    library.add_tokens([AddedToken("<end>", special=False), AddedToken("<other>", special=False)])
    (tmp_path / "tokenizer.json").write_text(library.to_str(), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}), encoding="utf-8")
    tokenizer = load_tokenizer(str(tmp_path))
    (ids,) = tokenizer.encode_batch(["a<end>b<other>"])
    assert tokenizer.eos_id == library.token_to_id("<end>")
    assert tokenizer.eos_id not in ids
    assert library.token_to_id("<other>") in ids
    assert tokenizer.decode(ids) == "a<end>b<other>"


def test_truncation_and_padding_of_the_file_are_off(tmp_path):
    library = Tokenizer.from_str(zoo.content("gpt2"))
    library.enable_truncation(4)
    library.enable_padding(length=10)
    (tmp_path / "tokenizer.json").write_text(library.to_str(), encoding="utf-8")
    short, long = load_tokenizer(str(tmp_path)).encode_batch(["a", "word " * 50])
    assert len(short) == 1
    assert len(long) >= 50


def test_a_fingerprint_is_of_the_content_not_of_the_place(tmp_path):
    config = {"eos_token": "<|endoftext|>"}
    one = load_tokenizer(str(folder(tmp_path / "a", tokenizer_config=config)))
    two = load_tokenizer(str(folder(tmp_path / "b", tokenizer_config=config)))
    file = load_tokenizer(str(tmp_path / "a" / "tokenizer.json"))
    assert one.fingerprint == two.fingerprint == file.fingerprint
    assert load_tokenizer(str(folder(tmp_path / "c"))).fingerprint != one.fingerprint
    assert load_tokenizer(str(folder(tmp_path / "d", "llama3", tokenizer_config=config))).fingerprint != one.fingerprint


def test_tiktoken_fingerprints():
    one, two = (TiktokenTokenizer(zoo.tiktoken_encoding(zoo.LLAMA3_PATTERN, name)) for name in ("x", "y"))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != TiktokenTokenizer(zoo.tiktoken_encoding(zoo.O200K_PATTERN)).fingerprint
    assert one.eos_id == one.vocabulary_size - 2
    assert one.bos_id == one.vocabulary_size - 1


def test_a_tiktoken_encoding_by_name(monkeypatch):
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "zoo", zoo.tiktoken_encoding(zoo.LLAMA3_PATTERN, "zoo"))
    tokenizer = load_tokenizer("tiktoken:zoo")
    assert tokenizer.name == "tiktoken:zoo"
    assert tokenizer.decode(tokenizer.encode_batch(["one two"])[0]) == "one two"


def test_a_tokenizer_survives_pickling():
    tokenizer = zoo.tokenizer("unigram")
    again = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301
    assert again.fingerprint == tokenizer.fingerprint
    np.testing.assert_array_equal(again.encode_batch(["a</s>b"])[0], tokenizer.encode_batch(["a</s>b"])[0])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tiktoken:no-such-encoding", "cl100k_base"),
        ("./nowhere/at all", "no tokenizer at"),
        ("/nowhere", "no tokenizer at"),
    ],
)
def test_what_is_not_there(spec, words):
    with pytest.raises(UsageError, match=words):
        load_tokenizer(spec)


def test_a_hub_name_without_a_network(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NextlongError, match="cannot be downloaded") as caught:
        load_tokenizer("nextlong-tests/there-is-no-such-model")
    assert "folder" in caught.value.hint


def test_a_folder_with_only_a_sentencepiece_model_says_how_to_convert_it(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x0e")
    with pytest.raises(UsageError, match="SentencePiece") as caught:
        load_tokenizer(str(tmp_path))
    assert "save_pretrained" in caught.value.hint
    with pytest.raises(UsageError, match=r"not a tokenizer\.json"):
        load_tokenizer(str(tmp_path / "tokenizer.model"))


def test_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"has no tokenizer\.json"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(NextlongError, match=r"tokenizer\.json"):
        load_tokenizer(str(tmp_path))
    broken = folder(tmp_path / "b", tokenizer_config={"eos_token": "<nowhere>"})
    with pytest.raises(NextlongError, match="<nowhere>"):
        load_tokenizer(str(broken))
    (broken / "tokenizer_config.json").write_text("{")
    with pytest.raises(NextlongError, match="tokenizer_config"):
        load_tokenizer(str(broken))


def test_vocabulary_size_covers_every_id():
    library = Tokenizer.from_str(zoo.content("gpt2"))
    library.add_tokens(["<x>", "<y>"])
    tokenizer = HuggingFaceTokenizer(library.to_str(), "x")
    assert tokenizer.vocabulary_size == library.get_vocab_size() == library.token_to_id("<y>") + 1


def test_a_vocabulary_with_gaps():
    data = json.loads(zoo.content("gpt2"))
    vocabulary = data["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] = 70_000
    tokenizer = HuggingFaceTokenizer(json.dumps(data), "x")
    assert tokenizer.vocabulary_size == 70_001
    assert tokenizer.encode_batch([tokenizer.decode([70_000])])[0].tolist() == [70_000]
