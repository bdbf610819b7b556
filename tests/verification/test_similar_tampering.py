"""Rows of knn and quest that are whole and truthful in everything but what these methods promise: `verify` says so."""

from __future__ import annotations

import numpy as np
import pytest
from corpora import GRANULARITY, write_corpus
from tampering import edit_rows
from test_method_tampering import Forger
from topical_corpus import topical_documents

import nextlong
from nextlong.dataset import layout
from nextlong.pool.document_vectors import open_document_vectors

LENGTH, ROWS, SHARD_ROWS = 1024, 7, 3
OPTIONS = {"knn": {}, "quest": {"max_share": 0.2}, "standard": {}}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tokenizer_folder):
    """A pool, and a dataset of several shards of each method."""
    folder = tmp_path_factory.mktemp("made")
    pool = nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", topical_documents(120, 4, seed=1, paragraphs=(2, 9))),
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY // 3},
        encoder={"name": "lsa", "dimensions": 16},
        index={"kind": "flat"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        for method, options in OPTIONS.items():
            keys = {"length": LENGTH, "roots": ROWS, "tokenizer": tokenizer_folder, "options": options}
            nextlong.synthesize(pool, folder / method, workers=1, composition={"method": method}, **keys)
    return folder


class Similar(Forger):
    """A forger who also knows ranks and scores."""

    def write(self, row, chunks):
        """Put a row of these chunks into its place, with the ranks and scores of ``knn`` where it is of that method."""
        found = super().write(row, chunks)
        if self.session.config.composition.method != "knn":
            return found
        documents = self.pool.documents_of(np.array(chunks))
        vectors = open_document_vectors(self.pool)[0].take(documents).astype(np.float64)
        scores = np.where(documents == documents[0], 1.0, vectors @ vectors[0]).astype(np.float32).tolist()

        def edit(rows):
            for span, score in zip(rows[row]["spans"], scores, strict=False):
                span["rank"], span["score"] = span["group"], score

        return self.edit(edit)

    def edit(self, edit):
        """Change rows in both parts of the dataset; returns what `verify` says."""
        edit_rows(self.folder, "sequences", edit)
        edit_rows(self.folder, "tokens", edit)
        return self.found()

    def found(self):
        return [str(failure) for failure in nextlong.verify(self.folder, workers=1).failures]

    def documents(self, row):
        """Those of a row, as they stand in it, each with the chunks that are there."""
        chunks = np.array(self.chunks(row))
        owners = self.pool.documents_of(chunks)
        return {document: chunks[owners == document].tolist() for document in dict.fromkeys(owners.tolist())}

    def with_changed(self, row, changes):
        """The chunks of a row, some documents' ones replaced; and behind them, so that it is full, an unused document's."""
        kept = [chunk for document, own in self.documents(row).items() for chunk in changes.get(document, own)]
        return kept + self.fitting(row, set(changes))

    def fitting(self, row, without):
        """All chunks of the documents that could follow those of a row, best first."""
        inside = set(self.documents(row)) | without
        if self.session.config.composition.method == "knn":
            vectors = open_document_vectors(self.pool)[0].take(np.arange(self.pool.documents)).astype(np.float64)
            scores = vectors @ vectors[self.pool.documents_of(np.array(self.chunks(row)[:1]))[0]]
            others = np.argsort(-scores, kind="stable").tolist()
        else:
            topic = self.rows[row]["topic"]
            others = [
                document
                for document in range(self.pool.documents)
                if topic in " ".join(self.pool.texts(self.pool.chunks_of(document))).lower()
            ]
        return [chunk for other in others if other not in inside for chunk in self.own(other)]


@pytest.fixture(params=["knn", "quest"])
def forger(made, tmp_path, request):
    return Similar(made / request.param, tmp_path / "data")


@pytest.fixture
def knn(made, tmp_path):
    return Similar(made / "knn", tmp_path / "data")


@pytest.fixture
def quest(made, tmp_path):
    return Similar(made / "quest", tmp_path / "data")


def row_of(forger, documents, chunks=1):
    """A row of the first shard with so many documents of so many chunks between its first and its last one, and these."""
    for row in range(SHARD_ROWS):
        inner = [document for document in list(forger.documents(row))[1:-1] if len(forger.own(document)) >= chunks]
        if len(inner) >= documents:
            return row, inner
    raise AssertionError("no such row")


def only(found, forger, row, *words):
    """All that was found is of this row (but for counts over all rows), and something says these words."""
    where = forger.rows[row]["id"]
    assert not [failure for failure in found if where not in failure and "dataset.yaml says" not in failure], found
    assert any(where in failure and all(word in failure for word in words) for failure in found), found


def test_what_was_not_touched_written_anew(forger):
    for row in range(SHARD_ROWS):
        assert forger.write(row, forger.chunks(row)) == []


def test_two_chunks_of_a_document_exchanged(forger):
    row, (document, *_) = row_of(forger, 1, chunks=3)
    own = forger.own(document)
    found = forger.write(row, forger.with_changed(row, {document: [own[0], own[2], own[1], *own[3:]]}))
    only(found, forger, row, "is chunk 2 of its document, behind chunk 0")


def test_a_document_that_begins_inside(forger):
    row, (document, *_) = row_of(forger, 1, chunks=3)
    found = forger.write(row, forger.with_changed(row, {document: forger.own(document)[1:]}))
    only(found, forger, row, "begins with its chunk 1")


def test_a_document_that_ends_before_its_end(forger):
    row, (document, *_) = row_of(forger, 1, chunks=3)
    found = forger.write(row, forger.with_changed(row, {document: forger.own(document)[:-1]}))
    only(found, forger, row, "ends with its chunk", "not its last")


def test_a_document_that_stands_there_twice(forger):
    row, (one, *_) = row_of(forger, 2)
    other = list(forger.documents(row))[-1]
    found = forger.write(row, forger.with_changed(row, {other: [*forger.own(one), *forger.own(other)]}))
    only(found, forger, row, "stands in it twice")


def test_another_root(forger):
    other = forger.rows[1]["spans"][-1]["document"]
    edit_rows(forger.folder, "sequences", lambda rows: rows[1].update(root=other))
    only(forger.found(), forger, 1, "root", repr(other))


def test_less_similar_documents_first(knn):
    row, (one, other, *_) = row_of(knn, 2)
    found = knn.write(row, knn.with_changed(row, {one: knn.own(other), other: knn.own(one)}))
    only(found, knn, row, "not in descending similarity")


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize(("key", "words"), [("score", "has score"), ("rank", "rank")])
def test_a_wrong_score_or_rank(knn, place, key, words):
    """Of the first chunk of a document, or of another one."""
    row, (document, *_) = row_of(knn, 1, chunks=2)
    chunk = knn.own(document)[place]

    def edit(rows):
        (span,) = [span for span in rows[row]["spans"] if span["chunk"] == chunk]
        span[key] += {"score": -0.001, "rank": 1}[key]

    only(knn.edit(edit), knn, row, words)


def test_the_first_document_has_another_score(knn):
    def edit(rows):
        for span in rows[1]["spans"]:
            span["score"] -= 0.5 * (span["group"] == 0)

    only(knn.edit(edit), knn, 1, "score")


def test_a_document_without_the_keyword(quest):
    row, (document, *_) = row_of(quest, 1)
    topic = quest.rows[row]["topic"]
    stranger = next(
        other
        for other in range(quest.pool.documents)
        if topic not in " ".join(quest.pool.texts(quest.pool.chunks_of(other))).lower()
    )
    found = quest.write(row, quest.with_changed(row, {document: quest.own(stranger)}))
    only(found, quest, row, "the keyword", repr(topic), repr(quest.pool.document_ids(np.array([stranger]))[0]))


@pytest.mark.parametrize("topic", ["", "no such keyword", None])
def test_another_keyword(quest, topic):
    """None at all, one of no document, and one of other documents."""
    topic = (
        next(other["topic"] for other in quest.rows if other["topic"] != quest.rows[0]["topic"]) if topic is None else topic
    )
    edit_rows(quest.folder, "sequences", lambda rows: rows[0].update(topic=topic))
    only(quest.found(), quest, 0, "keyword", repr(topic))


def test_chunks_in_two_sequences(made, tmp_path):
    forger = Similar(made / "standard", tmp_path / "data")

    def edit(rows):
        rows[2] = {**rows[1], "id": rows[2]["id"]} | ({"sequences": [rows[2]["id"]]} if "sequences" in rows[2] else {})

    found = forger.edit(edit)
    assert any("is used 2 times" in failure for failure in found), found


def test_a_root_of_two_sequences(made, tmp_path):
    forger = Similar(made / "knn", tmp_path / "data")
    assert forger.write(1, forger.chunks(0))
    assert any(f"{forger.rows[0]['root']!r} is the root of 2 sequences" in failure for failure in forger.found())
