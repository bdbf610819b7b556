import json

import pytest
import tokenizers_zoo as zoo

from nextlong.errors import UsageError
from nextlong.tokenization.tokenizer import load_tokenizer
from nextlong.tokenization.train import BOS, EOS, train_byte_level_bpe


def test_a_trained_folder_loads_and_is_reversible(tmp_path):
    train_byte_level_bpe(zoo.TEXTS, 300, tmp_path / "deep" / "folder")
    tokenizer = load_tokenizer(str(tmp_path / "deep" / "folder"))
    assert (tokenizer.bos_id, tokenizer.eos_id) == (0, 1)
    assert tokenizer.decode([0, 1]) == BOS + EOS
    assert tokenizer.vocabulary_size == 300
    assert tokenizer.reversible
    (ids,) = tokenizer.encode_batch([EOS + "the world" + BOS])
    assert not {0, 1} & set(ids.tolist())


def test_equal_texts_give_equal_files(tmp_path):
    for name in ("a", "b"):
        train_byte_level_bpe(iter(zoo.TEXTS), 500, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "tokenizer.json" in files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_folder_says_what_hugging_face_libraries_ask_for(tmp_path):
    train_byte_level_bpe(zoo.TEXTS, 300, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (config["bos_token"], config["eos_token"]) == (BOS, EOS)


def test_a_vocabulary_without_room_for_the_bytes(tmp_path):
    with pytest.raises(UsageError, match="too small"):
        train_byte_level_bpe(zoo.TEXTS, 257, tmp_path)
