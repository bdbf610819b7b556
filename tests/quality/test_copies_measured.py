"""Shares of copies in sequences whose copies were put there by hand."""

import pytest
from made_sequences import opened_dataset, sample_of, words_of, write_documents

import nextlong
from nextlong.inspection.opened import Dataset
from nextlong.quality.copies import copies


def changed(text, words):
    """A text with its first words replaced."""
    return " ".join([f"other{number:04d}" for number in range(words)] + text.split()[words:])


FIRST, SECOND, FAR = words_of(0), words_of(100), words_of(200)
DOCUMENTS = {
    "root": [FIRST, SECOND],
    "equal": [FIRST.replace(" ", "  ", 5)],
    # Of 26 shingles of five words, those with the first two are others: Jaccard 24 / 28 = 0.86.
    "near": [changed(FIRST, 2)],
    # 21 / 31 = 0.68.
    "half": [changed(SECOND, 5)],
    "far": [FAR],
    "far-again": [FAR.replace(" ", "\t")],
    "other": [words_of(300)],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tokenizer_folder):
    folder = tmp_path_factory.mktemp("copies")
    return opened_dataset(folder, write_documents(folder / "corpus.jsonl", DOCUMENTS), tokenizer_folder)


def shares(measured):
    """Similarity → the four shares."""
    return {
        each.similarity: [share if share is None else round(share.value, 6)
                          for share in (each.of_meta_chunk, each.of_root, each.of_earlier, each.of_any)]
        for each in measured
    }  # fmt: skip


def test_negatives_that_are_copies(dataset):
    one = [
        ("meta", "root", 0, 0),
        ("negative", "equal", 0, 0),  # of its meta-chunk, of the root, and of what stands before it
        ("negative", "far", 0, 0),  # of nothing: its copy comes later
        ("meta", "root", 1, 1),
        ("negative", "near", 0, 1),  # of the root, not of its meta-chunk
        ("negative", "half", 0, 1),  # of its meta-chunk, at 0.5 only
        ("negative", "far-again", 0, 1),  # of an earlier negative only
    ]
    other = [("meta", "root", 0, 0), ("negative", "other", 0, 0)]
    measured = copies(dataset, sample_of(dataset, [one, other]))
    assert [each.chunks for each in measured] == [6, 6, 6]
    assert shares(measured) == {
        1.0: [round(part / 6, 6) for part in (1, 1, 2, 2)],
        0.8: [round(part / 6, 6) for part in (1, 2, 3, 3)],
        0.5: [round(part / 6, 6) for part in (2, 3, 4, 4)],
    }
    assert [each.sequences.value for each in measured] == [0.5] * 3


def test_a_copy_of_a_chunk_of_the_root_that_is_not_in_the_sequence(dataset):
    sequence = [("meta", "root", 1, 0), ("negative", "equal", 0, 0)]
    assert shares(copies(dataset, sample_of(dataset, [sequence])))[1.0] == [0, 1, 0, 1]


def test_what_stands_later_counts_where_the_meta_chunk_stands_last(dataset):
    sequence = [("negative", "equal", 0, 0), ("meta", "root", 0, 0)]
    assert shares(copies(dataset, sample_of(dataset, [sequence])))[1.0] == [1, 1, 0, 1]


def test_whole_documents(dataset):
    sequence = [
        ("document", "root", 0, 0),
        ("document", "root", 1, 0),
        ("document", "near", 0, 1),
        ("document", "far", 0, 2),
        ("document", "far-again", 0, 3),
    ]
    measured = copies(dataset, sample_of(dataset, [sequence]))
    assert shares(measured) == {
        1.0: [None, 0, 0.2, 0.2],
        0.8: [None, 0.2, 0.4, 0.4],
        0.5: [None, 0.2, 0.4, 0.4],
    }


def test_self_repeats_are_copies_of_the_root(dataset):
    sequence = [("meta", "root", 0, 0), ("negative", "root", 0, 0), ("meta", "root", 1, 1), ("negative", "root", 0, 1)]
    assert shares(copies(dataset, sample_of(dataset, [sequence])))[1.0] == [0.5, 1, 1, 1]


def test_nothing_to_judge(dataset):
    (measured,) = copies(dataset, sample_of(dataset, [[("meta", "root", 0, 0)]]), [0.8])
    assert (measured.chunks, measured.of_any, measured.sequences.value) == (0, None, 0)


def test_mining_drops_what_this_counts(family_pool, tokenizer_folder, tmp_path):
    """The same pool with the filter for copies and without: the measure knows copies as mining does."""
    found = {}
    for name, mining in {"dropped": {}, "kept": {"max_jaccard": None}}.items():
        keys = {"length": 2048, "roots": 12, "tokenizer": tokenizer_folder, "mining": mining}
        nextlong.synthesize(family_pool, tmp_path / name, workers=1, **keys)
        dataset = Dataset(tmp_path / name)
        (found[name],) = copies(dataset, dataset.sample(), [0.8])
    assert found["dropped"].of_any.value == 0 and found["dropped"].chunks > 50
    assert found["kept"].of_any.value > 0 and found["kept"].sequences.high < 1
