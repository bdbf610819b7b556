"""Diversity and reuse of sequences made by hand, and the intervals of estimates."""

import dataclasses
import json
import math

import numpy as np
import pytest
from made_sequences import chunk_numbers, opened_dataset, sample_of, words_of, write_documents

from nextlong.quality.diversity import diversity
from nextlong.quality.estimates import mean, ratio
from nextlong.quality.measures import quality
from nextlong.quality.reuse import reuse


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tokenizer_folder):
    folder = tmp_path_factory.mktemp("diverse")
    (folder / "corpus").mkdir()
    for file, names in {"one": "ab", "two": "cd"}.items():
        documents = {name: [words_of(1000 * ord(name) + 100 * place) for place in range(3)] for name in names}
        write_documents(folder / "corpus" / f"{file}.jsonl", documents)
    return opened_dataset(folder, folder / "corpus", tokenizer_folder)


def test_shares_of_files_and_documents(dataset):
    even = [("document", name, 0, row, 50) for row, name in enumerate("abcd")]
    uneven = [("document", "a", 0, 0, 60), ("document", "a", 1, 0, 30), ("document", "b", 0, 1, 10)]
    found = diversity(dataset, sample_of(dataset, [even, uneven]))
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert found.sequences == 2
    assert found.files.number.value == 1.5
    assert found.files.effective.value == pytest.approx(1.5)
    assert found.files.largest.value == pytest.approx(0.75)
    assert found.documents.number.value == 3
    assert found.documents.effective.value == pytest.approx((4 + math.exp(entropy)) / 2)
    assert found.documents.largest.value == pytest.approx((0.25 + 0.9) / 2)
    assert found.documents.number.low == 2 and found.documents.number.high == 4


def test_a_chunk_of_which_nothing_is_left(dataset):
    cut = [("document", "a", 0, 0, 20), ("document", "b", 0, 1, 0)]
    assert diversity(dataset, sample_of(dataset, [cut])).documents.effective.value == pytest.approx(1)


def test_uses_of_chunks(dataset):
    sequences = [
        [("meta", "a", 0, 0), ("negative", "c", 0, 0), ("negative", "c", 0, 0)],  # twice in a sequence is one use
        [("meta", "a", 1, 0), ("negative", "c", 0, 0), ("negative", "d", 1, 0)],
        [("meta", "a", 2, 0), ("negative", "c", 0, 0), ("negative", "d", 1, 0)],
    ]
    found = reuse(dataset, sample_of(dataset, sequences))
    assert (found.exact, found.sequences, found.chunks) == (True, 3, 5)
    assert found.by_uses == {1: 3, 2: 1, 3: 1}
    assert found.mean == pytest.approx(8 / 5) and found.repeated == pytest.approx(3 / 8)
    assert [(used.chunk, used.document, used.position, used.sequences) for used in found.most_used] == [
        (chunk_numbers(dataset)["c", 0], "c", 0, 3),
        (chunk_numbers(dataset)["d", 1], "d", 1, 2),
    ]
    assert not reuse(dataset, sample_of(dataset, sequences, whole=False)).exact


def test_the_real_dataset_is_measured_as_a_whole(dataset):
    found = quality(dataset, dataset.sample())
    assert found.reuse.by_uses == {1: found.reuse.chunks} and found.reuse.exact
    assert found.reuse.most_used == []
    assert json.loads(json.dumps(dataclasses.asdict(found)))["reuse"]["repeated"] == 0


def test_an_empty_sample_has_no_figures(dataset):
    empty = dataset.sample()
    nothing = dataclasses.replace(empty.spans.of(0), starts=np.zeros(1, dtype=np.int64))
    columns = {field.name: getattr(nothing, field.name)[:0] for field in dataclasses.fields(nothing)[1:]}
    sample = dataclasses.replace(empty, ids=[], roots=[], topics=[], spans=dataclasses.replace(nothing, **columns))
    found = quality(dataset, sample)
    assert found.copies[0].of_any is None and found.false_negatives.share is None
    assert found.diversity.files.number is None and found.reuse.chunks == 0


def test_intervals_hold_the_true_value_about_as_often_as_they_say():
    generator = np.random.default_rng(7)
    held = 0
    for trial in range(200):
        sizes = generator.integers(5, 15, 60)
        estimate = ratio(generator.binomial(sizes, 0.3), sizes, seed=trial)
        held += estimate.low <= 0.3 <= estimate.high
    assert 180 <= held <= 198


def test_estimates_are_the_same_again_and_of_nothing_none():
    values = np.arange(50.0)
    assert mean(values) == mean(values) and mean(values) != mean(values, seed=1)
    assert mean(values).value == 24.5 and mean([3.0]) == dataclasses.replace(mean([3.0]), low=3.0, high=3.0)
    assert mean([]) is None and ratio([0, 0], [0, 0]) is None
