"""The long-range gain by a model whose losses are known: it predicts each word that it has read, and no other."""

import json
import random
import sys

import numpy as np
import pytest
from made_sequences import sample_of

import nextlong
from nextlong.errors import NextlongError, UsageError
from nextlong.inspection.opened import Dataset
from nextlong.quality.gain import gain
from nextlong.quality.long_range_gain import long_range_gain, usual_local
from nextlong.quality.targets import MOST_TARGETS, OtherText, sequence_generator, targets, token_row

WORDS, CHUNKS, DOCUMENTS = 30, 3, 40


class Words:
    """Words as tokens: 0 begins a row, and separators have none."""

    bos_id = 0

    def __init__(self):
        self.ids = {}

    def encode_batch(self, texts):
        return [
            np.array([self.ids.setdefault(word, 1 + len(self.ids)) for word in text.split()], dtype=np.int32)
            for text in texts
        ]


class Remembers:
    """Loss 0 for what stands in the row already, 1 for what does not."""

    name, start = "remembers", [0]

    def __init__(self, most=10**6):
        self.tokenizer, self.most, self.rows = Words(), most, []

    def window(self, wanted, usual):
        return min(self.most, usual)

    def token_losses(self, row, places):
        assert row[0] == 0 and len(row) <= self.most and places.min() > 0
        self.rows.append(row)
        return np.array([float(row[place] not in row[:place]) for place in places])


def documents():
    """Every document says its own words three times, in another order each time."""
    draw = random.Random(5)
    for number in range(DOCUMENTS):
        words = [f"d{number:02d}w{word:03d}" for word in range(WORDS)]
        chunks = [" ".join(draw.sample(words, WORDS)) for _ in range(CHUNKS)]
        yield {"id": f"d{number}", "text": "\n".join(chunks)}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, tokenizer_folder):
    folder = tmp_path_factory.mktemp("remembered")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents()))
    pool = nextlong.build_pool(
        folder / "corpus.jsonl",
        folder / "pool",
        workers=1,
        chunking={"granularity": 8 * WORDS},
        encoder={"name": "lsa", "dimensions": 2 * DOCUMENTS},
        index={"kind": "flat"},
    )
    assert (pool.documents, pool.chunks) == (DOCUMENTS, CHUNKS * DOCUMENTS)
    for method in ("nextlong", "standard", "untie"):
        keys = {"length": 4096, "tokens": 8192, "tokenizer": tokenizer_folder, "composition": {"method": method}}
        nextlong.synthesize(pool, folder / method, workers=1, **keys)
    return folder


def test_negatives_leave_all_the_gain_to_far_text(workshop):
    """Between two meta-chunks stand other documents: the words of a chunk are known from far before, or not at all."""
    model = Remembers()
    found = long_range_gain(Dataset(workshop / "nextlong"), model, local=WORDS)
    assert [len(row) for row in model.rows].count(1 + WORDS + WORDS) == 2 * MOST_TARGETS  # begin, local context, chunk
    measured = found.same_document
    assert (found.method, found.sequences, found.without) == ("nextlong", 2, 0)
    assert measured.chunks == 2 * MOST_TARGETS and measured.tokens == WORDS * measured.chunks
    assert (measured.loss, measured.over_local.value, measured.over_replaced.value) == (0, 1, 1)
    assert (measured.over_local.low, measured.over_local.high) == (1, 1)
    assert found.other_documents is None


def test_a_neighbouring_chunk_leaves_nothing_to_far_text(workshop):
    """The chunk before it is the local context, and says all the words: what stands farther off gives nothing."""
    found = long_range_gain(Dataset(workshop / "standard"), Remembers(), local=WORDS)
    measured = found.same_document
    assert (measured.loss, measured.over_local.value, measured.over_replaced.value) == (0, 0, 0)
    # Third chunks only, whose first one is a chunk away: 30 tokens.
    assert [(one.low, one.high, one.gain.chunks) for one in found.by_distance] == [(16, 32, measured.chunks)]


def test_chunks_are_put_under_their_distance(workshop):
    found = long_range_gain(Dataset(workshop / "untie"), Remembers(), local=WORDS)
    assert sum(one.gain.chunks for one in found.by_distance) == found.same_document.chunks
    assert sum(one.gain.tokens for one in found.by_distance) == found.same_document.tokens
    assert all(one.low >= WORDS // 2 and one.high == 2 * one.low for one in found.by_distance)
    assert len(found.by_distance) > 1


def test_other_documents_where_none_has_a_far_chunk(workshop):
    """With the local context as long as two chunks no document of three has one beyond it."""
    found = long_range_gain(Dataset(workshop / "standard"), Remembers(), local=2 * WORDS)
    assert found.same_document is None and found.by_distance == []
    assert found.other_documents.over_local.value == found.other_documents.over_replaced.value == 0
    assert found.other_documents.loss > 0  # the first chunks of documents are new


def test_the_same_again_and_other_chunks_by_another_seed(workshop):
    dataset = Dataset(workshop / "untie")
    one, other, again = Remembers(), Remembers(), Remembers()
    assert long_range_gain(dataset, one, local=WORDS) == long_range_gain(dataset, again, local=WORDS)
    long_range_gain(dataset, other, local=WORDS, seed=1)
    assert all(np.array_equal(*rows) for rows in zip(one.rows, again.rows, strict=True))
    assert [row.tolist() for row in one.rows] != [row.tolist() for row in other.rows]


def test_what_a_model_does_not_read_is_left_out(workshop):
    found = long_range_gain(Dataset(workshop / "nextlong"), Remembers(most=3 * WORDS), local=WORDS)
    assert found.window == 3 * WORDS and found.without == found.sequences
    assert found.same_document is None
    with pytest.raises(UsageError, match="no more than the local context"):
        long_range_gain(Dataset(workshop / "nextlong"), Remembers(most=WORDS + 1), local=WORDS)


def test_the_usual_local_context():
    assert usual_local([1 << 17]) == 4096 and usual_local([1 << 17, 4096]) == 512


def made(workshop, sequence, most=10**6):
    """A row made by hand, of chunks of 30 tokens, and the model."""
    dataset, model = Dataset(workshop / "standard"), Remembers()
    spans = sample_of(dataset, [[*sequence, ("negative", "d9", 0, 0)]]).spans.of(0)
    return dataset, model, token_row(dataset.pool, spans, model.tokenizer, "\n\n", most)


def found_in(row, local):
    chosen = targets(row, local, np.random.default_rng(0))
    return [(each.place, each.far.tolist(), each.same, each.distance) for each in chosen]


SEQUENCE = [
    ("meta", "d0", 0, 0),
    ("negative", "d1", 0, 0),
    ("meta", "d0", 1, 1),
    ("negative", "d0", 2, 1),  # a chunk of the document itself, where negatives repeat it: no meta-chunk
    ("negative", "d2", 0, 1),
    ("meta", "d0", 2, 2),
]


def test_targets_and_what_is_far_before_them(workshop):
    _, _, row = made(workshop, SEQUENCE)
    assert row.starts.tolist() == [0, 30, 60, 90, 120, 150] and len(row.ids) == 180
    assert found_in(row, 30) == [(2, [0], True, 30), (5, [0, 2], True, 60)]
    assert found_in(row, 31) == [(5, [0, 2], True, 60)]
    assert found_in(row, 61) == [(5, [0], True, 120)]
    assert found_in(row, 121) == []


def test_chunks_beyond_the_window_are_no_targets(workshop):
    assert found_in(made(workshop, SEQUENCE, most=180)[2], 30) == [(2, [0], True, 30), (5, [0, 2], True, 60)]
    assert found_in(made(workshop, SEQUENCE, most=179)[2], 30) == [(2, [0], True, 30)]


def test_only_far_chunks_are_replaced_token_for_token(workshop):
    dataset, model, row = made(workshop, SEQUENCE)
    target = targets(row, 30, np.random.default_rng(0))[1]
    other = OtherText(dataset.pool, model.tokenizer, "\n\n")
    ids = other.instead(row, target, sequence_generator(0, "s"))
    changed = np.flatnonzero(ids != row.ids)
    assert changed.tolist() == [*range(30), *range(60, 90)]
    words = {number: word for word, number in model.tokenizer.ids.items()}
    assert not {words[number][:3] for number in ids[changed].tolist()} & {"d00", "d01", "d02", "d09"}


def test_nothing_to_replace_with(workshop):
    """Where every document of the pool stands in the sequence, there is no gain over other text."""
    every = [("document", f"d{number}", 0, number) for number in range(DOCUMENTS)]
    dataset, model, row = made(workshop, [("document", "d0", 0, 0), *every[1:], ("document", "d0", 1, 0)])
    target = targets(row, 30, np.random.default_rng(0))[0]
    other = OtherText(dataset.pool, model.tokenizer, "\n\n")
    assert other.instead(row, target, sequence_generator(0, "s")) is None


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_names_the_extra(package, monkeypatch, workshop):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NextlongError, match=r"nextlong\[train\]"):
        gain(workshop / "standard", str(workshop))
