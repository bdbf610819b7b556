"""Hugging Face datasets: saved folders, data folders by name, splits, subsets, errors. No network."""

import os
import sys

import pytest

from nextlong.config import CorpusConfig
from nextlong.corpus import find_sources, read_source
from nextlong.errors import NextlongError, UsageError
from nextlong.records import Document, Reject

os.environ.setdefault("HF_HUB_OFFLINE", "1")
datasets = pytest.importorskip("datasets")


def read(given, **config):
    config = CorpusConfig(inputs=(str(given),), **config)
    return [result for source in find_sources(config) for result in read_source(source, config)]


@pytest.fixture
def saved(tmp_path):
    rows = {"text": ["one", None, "three"], "id": [1, 2, 3], "extra": [0.5, 0.5, 0.5]}
    dataset = datasets.Dataset.from_dict(rows)
    dataset.save_to_disk(tmp_path / "one")
    other = datasets.Dataset.from_dict({"text": ["other"]})
    datasets.DatasetDict({"train": dataset, "validation": other}).save_to_disk(tmp_path / "splits")
    return tmp_path


ROWS = [Document(1, "one", "1"), Reject(2, "the text in column `text` is null"), Document(3, "three", "3")]


@pytest.mark.parametrize("given", ["hf:{}/one", "{}/one", "hf:{}/one/", "hf:{}/splits", "hf:{}/splits:train", "{}/splits"])
def test_a_saved_dataset_in_every_spelling(saved, given):
    assert read(given.format(saved)) == ROWS


def test_another_split(saved):
    assert read(f"hf:{saved}/splits:validation") == [Document(1, "other")]


def test_saved_datasets_inside_of_a_folder_are_found_whole(saved):
    (saved / "plain.jsonl").write_text('{"text": "plain"}\n')
    for given in (saved, saved / "**", saved / "*"):
        sources = find_sources(CorpusConfig(inputs=(str(given),)))
        assert [(source.kind, source.name) for source in sources] == [
            ("hf", f"{saved}/one"),
            ("jsonl", f"{saved}/plain.jsonl"),
            ("hf", f"{saved}/splits:train"),
        ]
        assert sources[0].bytes > 0


def test_a_pattern_passes_over_a_saved_dataset_s_descriptions(saved):
    (saved / "plain.json").write_text('{"text": "plain"}\n')
    assert read(saved / "**" / "*.json") == [Document(1, "plain")]


def test_the_fingerprint_is_the_dataset_s(saved):
    def fingerprint():
        return find_sources(CorpusConfig(inputs=(f"hf:{saved}/one",)))[0].fingerprint

    first = fingerprint()
    assert fingerprint() == first
    datasets.Dataset.from_dict({"text": ["changed"]}).save_to_disk(saved / "one")
    assert fingerprint() != first


def test_many_rows_over_many_batches(tmp_path):
    texts = [f"text {i}" for i in range(1000)]
    datasets.Dataset.from_dict({"text": texts}).save_to_disk(tmp_path / "many", num_shards=3)
    assert read(tmp_path / "many") == [Document(row, text) for row, text in enumerate(texts, start=1)]


def test_a_dataset_by_name_is_streamed(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a", "key": "k"}\n{"text": " ", "key": "l"}\n')
    (tmp_path / "test.jsonl").write_text('{"text": "b", "key": "m"}\n')
    first, second = read(f"hf:{tmp_path}", id_column="key")
    assert first == Document(1, "a", "k") and second.row == 2 and "white space" in second.reason
    assert read(f"hf:{tmp_path}:test", id_column="key") == [Document(1, "b", "m")]


def test_a_subset_stands_before_the_split(tmp_path):
    for name in ("english", "german"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{name}"}}\n')
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files: english.jsonl\n- config_name: de\n  data_files: german.jsonl\n---\n"
    )
    assert read(f"hf:{tmp_path}:de/train") == [Document(1, "german")]
    with pytest.raises(NextlongError, match="SUBSET/train"):
        read(f"hf:{tmp_path}")


def test_a_missing_column_is_one_error_with_the_columns(saved):
    with pytest.raises(NextlongError, match=r"no column `body`; it has `text`, `id`, `extra`"):
        read(f"hf:{saved}/one", text_column="body")
    with pytest.raises(NextlongError, match="id_column"):
        read(f"hf:{saved}/one", id_column="extra")


@pytest.mark.parametrize("given", ["hf:{}/splits:nope", "hf:{}/one:nope", "hf:{}/data:nope"])
def test_a_missing_split_is_an_error_that_lists_the_splits(saved, given):
    (saved / "data").mkdir()
    (saved / "data" / "train.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(UsageError, match="no split `nope`"):
        read(given.format(saved))


def test_a_broken_saved_dataset_says_so(saved):
    (saved / "one" / "state.json").write_text("{")
    with pytest.raises(UsageError, match="save_to_disk"):
        read(saved / "one")


def test_a_dataset_that_is_not_there(tmp_path):
    with pytest.raises(NextlongError, match="nobody/nothing"):
        read("hf:nobody/nothing")


def test_without_the_package_the_extra_is_named(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(NextlongError, match=r"nextlong\[hf\]"):
        read(f"hf:{saved}/one")
