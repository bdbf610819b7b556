"""Shares of false negatives, with passages of the root document put into chunks by hand."""

import pytest
from made_sequences import opened_dataset, sample_of, words_of, write_documents

from nextlong.quality import false_negatives as module
from nextlong.quality.false_negatives import RARE_DOCUMENTS, false_negatives

FIRST, SECOND = words_of(0), words_of(100)
LICENCE = words_of(900, 13)


def within(passage, start, before=8):
    """A chunk with a passage after some words of its own."""
    return f"{words_of(start, before)} {passage} {words_of(start + before, 20 - before)}"


def part(text, begin, end):
    return " ".join(text.split()[begin:end])


DOCUMENTS = {
    "root": [f"{FIRST} {LICENCE}", SECOND],
    "quotes": [within(part(FIRST, 5, 18), 1000)],  # 13 words
    "quotes-less": [within(part(FIRST, 5, 17), 1100)],  # 12
    "shouts": [within(part(FIRST, 5, 18).upper().replace(" ", ", "), 1200)],
    "across": [within(f"{part(LICENCE, 6, 13)} {part(SECOND, 0, 6)}", 1300)],  # the end of a chunk and the next one
    "licensed": [within(LICENCE, 1400)],
    **{f"licensed-{number}": [within(LICENCE, 2000 + 100 * number)] for number in range(RARE_DOCUMENTS + 1)},
    "other": [words_of(5000)],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, tokenizer_folder):
    folder = tmp_path_factory.mktemp("passages")
    return opened_dataset(folder, write_documents(folder / "corpus.jsonl", DOCUMENTS), tokenizer_folder)


def sequence(*documents):
    return [("meta", "root", 0, 0), *(("negative", document, 0, 0) for document in documents)]


def shares(dataset, *sequences, **keys):
    found = false_negatives(dataset, sample_of(dataset, list(sequences)), **keys)
    return [round(each.value, 6) for each in (found.share, found.share_rare, found.sequences, found.sequences_rare)]


@pytest.mark.parametrize(
    ("document", "false", "rare"),
    [
        ("quotes", 1, 1),
        ("quotes-less", 0, 0),
        ("shouts", 1, 1),
        ("across", 1, 1),
        ("licensed", 1, 0),
        ("other", 0, 0),
    ],
)
def test_one_negative(dataset, document, false, rare):
    assert shares(dataset, sequence(document)) == [false, rare, false, rare]


def test_shares_are_of_negatives_and_of_sequences(dataset):
    found = shares(dataset, sequence("quotes", "other", "licensed"), sequence("other"))
    assert found == [round(2 / 4, 6), round(1 / 4, 6), 0.5, 0.5]


def test_fewer_words_find_more(dataset):
    assert shares(dataset, sequence("quotes-less"), words=12) == [1, 1, 1, 1]


def test_where_boilerplate_begins(dataset):
    # Besides the root document and its own, one document more than RARE_DOCUMENTS has the licence.
    assert shares(dataset, sequence("licensed"), rare=RARE_DOCUMENTS)[1] == 0
    assert shares(dataset, sequence("licensed"), rare=RARE_DOCUMENTS + 1)[1] == 1


def test_how_much_of_the_root_is_covered(dataset):
    # 13 words are one run; the root document has 73 words, across the border of its chunks, and so 61 runs.
    found = false_negatives(dataset, sample_of(dataset, [sequence("quotes", "shouts", "other")]))
    assert found.root_covered.value == pytest.approx(1 / 61)


def test_chunks_of_other_documents_against_the_first(dataset):
    whole = [("document", name, 0, row) for row, name in enumerate(("root", "quotes", "other", "other"))]
    whole.insert(1, ("document", "root", 1, 0))
    found = false_negatives(dataset, sample_of(dataset, [whole]))
    assert (found.chunks, found.share.value) == (3, pytest.approx(1 / 3))


def test_a_large_sample_is_looked_at_in_part(dataset, monkeypatch):
    sequences = [sequence("quotes")] * 10 + [sequence("other")] * 10
    bytes_each = sum(len(text) for text in (*DOCUMENTS["root"][:1], *DOCUMENTS["quotes"]))
    monkeypatch.setattr(module, "_MOST_BYTES", 4 * bytes_each)
    found = false_negatives(dataset, sample_of(dataset, sequences))
    assert (found.looked_at, found.share.value) == (4, 0.5)
