"""Sequences that are whole and truthful in everything but what makes their method that method: `verify` says so."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import GRANULARITY, write_corpus
from tampering import edit_rows
from topical_corpus import topical_documents

import nextlong
from nextlong.composition.fill import chunks_of, placed_documents
from nextlong.composition.session import Session
from nextlong.composition.tokens import ChunkTokens
from nextlong.config import DatasetConfig
from nextlong.dataset import layout
from nextlong.records import Placed
from nextlong.tokenization.tokenizer import load_tokenizer

METHODS = ("standard", "iclm", "untie")
LENGTH, ROWS, SHARD_ROWS = 2048, 7, 3


@pytest.fixture(scope="module")
def made(tmp_path_factory, tokenizer_folder):
    """A pool, and a dataset of three shards of each method."""
    folder = tmp_path_factory.mktemp("made")
    pool = nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", topical_documents(160, paragraphs=(1, 12))),
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY // 3},
        encoder={"name": "lsa", "dimensions": 16},
        index={"kind": "flat"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        for method in METHODS:
            keys = {"length": LENGTH, "roots": ROWS, "tokenizer": tokenizer_folder, "composition": {"method": method}}
            nextlong.synthesize(pool, folder / method, workers=1, **keys)
            assert nextlong.verify(folder / method, workers=1).failures == []
    return folder


class Forger:
    """A copy of a dataset, and what a forger needs to write rows that only an order of documents can betray."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = Path(shutil.copytree(source, folder))
        card = nextlong.load_dataset_card(folder)
        config = DatasetConfig(**card["config"])
        self.pool = nextlong.Pool(card["pool"]["folder"])
        fingerprint = load_tokenizer(config.tokenizer).fingerprint
        self.session = Session(folder, self.pool.folder, self.pool.id, config.tokenizer, fingerprint, config)
        self.tokens = ChunkTokens(self.session)
        tables = [pq.read_table(path) for path in sorted((folder / "sequences").iterdir())]
        self.rows = [row for table in tables for row in table.to_pylist()]

    def chunks(self, row: int) -> list[int]:
        return [span["chunk"] for span in self.rows[row]["spans"]]

    def whole(self, row: int) -> list[int]:
        """The documents of a row that have all their chunks in it, but the last document, which may be cut."""
        chunks = self.chunks(row)
        found = dict.fromkeys(self.pool.documents_of(np.array(chunks)).tolist())
        return [document for document in found if set(self.own(document)) <= set(chunks[:-1])]

    def own(self, document: int) -> list[int]:
        return self.pool.chunks_of(document).tolist()

    def unused(self) -> list[int]:
        used = {chunk for row in range(len(self.rows)) for chunk in self.chunks(row)}
        return [document for document in range(self.pool.documents) if not set(self.own(document)) & used]

    def write(self, row: int, chunks: list[int]) -> list[str]:
        """Put a row of these chunks into its place, tokens and all; returns what `verify` says."""
        order = np.array(chunks, dtype=np.int64)
        ends = self.tokens.join(order)[1]
        content, offset = self.session.content, len(self.session.bos)
        kept = 1 + int((ends[:-1] < content).sum())
        assert ends[kept - 1] >= content, "the forged row is too short"
        borders = [offset, *(np.minimum(ends[:kept], content) + offset).tolist()]
        placed = placed_documents(self.session, order[:kept])
        ids = self.pool.document_ids(self.pool.documents_of(order[:kept]))
        positions = self.pool.positions_of(order[:kept]).tolist()
        spans = [
            _span(place, identity, position, start, end)
            for place, identity, position, start, end in zip(placed, ids, positions, borders[:-1], borders[1:], strict=True)
        ]
        row_tokens = np.empty(self.session.config.length, dtype=np.int32)
        assert self.tokens.put_row(order[:kept], row_tokens) == len(row_tokens)
        tokens = row_tokens.tolist()
        edit_rows(self.folder, "sequences", lambda rows: rows[row].update(spans=spans, root=ids[0]))
        edit_rows(self.folder, "tokens", lambda rows: rows[row].update(spans=spans, input_ids=tokens))
        return [str(failure) for failure in nextlong.verify(self.folder, workers=1).failures]


def _span(place: Placed, identity: str, position: int, start: int, end: int) -> dict[str, object]:
    return {
        "role": place.role,
        "document": identity,
        "position": position,
        "chunk": place.chunk,
        "group": place.group,
        "rank": place.rank,
        "score": place.score,
        "token_start": start,
        "token_end": end,
    }


@pytest.fixture(params=METHODS)
def forger(made, tmp_path, request):
    return Forger(made / request.param, tmp_path / "data")


def of_the_row(failures: list[str], forger: Forger, row: int) -> bool:
    """Whether all that was found is of this row. Counts over all rows may tell, too, where documents have other sizes."""
    where = forger.rows[row]["id"]
    others = [failure for failure in failures if where not in failure and "dataset.yaml says" not in failure]
    return bool([failure for failure in failures if where in failure]) and not others


def exchanged(forger: Forger, chunks: list[int], one: int, other: int) -> list[int]:
    """Two documents' chunks exchanged: place by place where the documents are interleaved, else as blocks."""
    if forger.session.config.composition.method == "untie":
        pairs = list(zip(forger.own(one), forger.own(other), strict=True))
        swap = {**dict(pairs), **{b: a for a, b in pairs}}
        return [swap.get(chunk, chunk) for chunk in chunks]
    swap = {one: other, other: one}
    documents = dict.fromkeys(forger.pool.documents_of(np.array(chunks)).tolist())
    return [
        chunk
        for document in documents
        for chunk in (
            forger.own(swap[document]) if document in swap else [own for own in forger.own(document) if own in chunks]
        )
    ]


def pairs_to_exchange(forger: Forger, row: int) -> list[tuple[int, int]]:
    """Whole documents of a row that can change places; where they are interleaved, they need as many chunks."""
    whole = forger.whole(row)
    same = forger.session.config.composition.method != "untie"
    return [
        (one, other)
        for place, one in enumerate(whole)
        for other in whole[place + 1 :]
        if same or len(forger.own(one)) == len(forger.own(other))
    ]


def test_two_documents_exchanged(forger):
    row, pairs = next((row, pairs) for row in (1, 2, 0) if (pairs := pairs_to_exchange(forger, row)))
    before = forger.chunks(row)
    forged = exchanged(forger, before, *pairs[-1])
    assert Counter(forged) == Counter(before) and forged != before
    # Joining may have saved tokens; then the row ends with a chunk more.
    found = forger.write(row, forged)
    assert of_the_row(found, forger, row), found
    assert any("in draw order" in failure or "on the path" in failure for failure in found)


def test_a_document_exchanged_for_one_that_is_used_nowhere(forger):
    size = {"untie": len}.get(forger.session.config.composition.method)
    row, one, other = next(
        (row, one, other)
        for row in range(SHARD_ROWS)
        for one in forger.whole(row)
        for other in forger.unused()
        if (size is None or size(forger.own(one)) == size(forger.own(other)))
        and forger.tokens.lengths(chunks_of(forger.session, [one])).sum() + 2
        <= forger.tokens.lengths(chunks_of(forger.session, [other])).sum()
    )
    found = forger.write(row, exchanged(forger, forger.chunks(row), one, other))
    assert of_the_row(found, forger, row), found
    assert any("in draw order" in failure or "on the path" in failure for failure in found)


def test_what_was_not_touched_written_anew(forger):
    """The forger's rows are as they should be, so nothing but the order betrays them."""
    for row in range(SHARD_ROWS):
        assert forger.write(row, forger.chunks(row)) == []


def test_the_rest_of_a_document_left_out(forger):
    """Its last chunks are not there, though it does not end the sequence."""
    row, one = next(
        (row, one)
        for row in range(SHARD_ROWS)
        for one in forger.whole(row)
        if len(forger.own(one)) > 1 and forger.own(one)[0] in forger.chunks(row)[:-2]
    )
    chunks = [chunk for chunk in forger.chunks(row) if chunk != forger.own(one)[-1]]
    longest = max(forger.unused(), key=lambda document: len(forger.own(document)))
    found = forger.write(row, [*chunks, *forger.own(longest)])
    assert of_the_row(found, forger, row), found
    assert any("not its last" in failure or "in draw order" in failure for failure in found), found


def test_another_root(forger):
    other = forger.rows[1]["spans"][-1]["document"]
    edit_rows(forger.folder, "sequences", lambda rows: rows[1].update(root=other))
    found = [str(failure) for failure in nextlong.verify(forger.folder, workers=1).failures]
    assert len(found) == 1 and f"its root is {other!r}" in found[0]


def test_a_sequence_of_untie_that_is_not_interleaved(made, tmp_path):
    forger = Forger(made / "untie", tmp_path / "data")
    plain = Forger(made / "standard", tmp_path / "plain")
    assert Counter(forger.chunks(1)) <= Counter(plain.chunks(1)) and forger.chunks(1) != plain.chunks(1)
    found = forger.write(1, plain.chunks(1))
    assert of_the_row(found, forger, 1) and "interleaved" in found[0]


@pytest.mark.parametrize(("key", "value"), [("group", 5), ("role", "negative")])
def test_spans_of_untie_that_are_numbered_otherwise(made, tmp_path, key, value):
    forger = Forger(made / "untie", tmp_path / "data")

    def edit(rows):
        rows[0]["spans"][0][key] = value

    edit_rows(forger.folder, "sequences", edit)
    edit_rows(forger.folder, "tokens", edit)
    found = [str(failure) for failure in nextlong.verify(forger.folder, workers=1).failures]
    assert any("span 0 is" in failure for failure in found), found


@pytest.mark.parametrize("options", [{}, {"piece": 2}, {"probability": 0.5}])
def test_untie_of_documents_that_are_cut_off_whole(tmp_path, tokenizer_folder, options):
    """Long chunks among documents of a few words: what is cut off are documents from the beginning, middle and end."""
    generator = np.random.default_rng(0)
    words = ["apple", "river", "stone", "cloud", "light", "grass"]
    documents = [
        {"id": f"document-{number}", "text": " ".join(generator.choice(words, 60 if number % 4 == 0 else 3))}
        for number in range(500)
    ]
    pool = nextlong.build_pool(
        write_corpus(tmp_path / "corpus.jsonl", documents),
        tmp_path / "pool",
        workers=1,
        chunking={"granularity": 600},
        encoder={"name": "lsa", "dimensions": 4},
        index={"kind": "flat"},
    )
    lost_first, lost_between = 0, 0
    for seed in range(3):
        rows = {}
        for method, own in (("standard", {}), ("untie", options)):
            folder = tmp_path / f"{method}-{seed}"
            keys = {"length": 300, "roots": 25, "seed": seed, "tokenizer": tokenizer_folder, "options": own}
            nextlong.synthesize(pool, folder, workers=1, composition={"method": method}, **keys)
            assert nextlong.verify(folder, workers=1).failures == []
            (path,) = (folder / "sequences").iterdir()
            rows[method] = [[span["chunk"] for span in row["spans"]] for row in pq.read_table(path).to_pylist()]
        for plain, own in zip(rows["standard"], rows["untie"], strict=True):
            lost_first += plain[0] not in own
            lost_between += not set(plain[1:-1]) <= set(own)
    assert lost_first and lost_between
