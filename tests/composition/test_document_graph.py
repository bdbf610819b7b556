"""The graph of nearest documents: over several shards, resumed, damaged; degrees by the definition."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from corpora import GRANULARITY
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import contents
from topical_corpus import topical_documents

import nextlong
from nextlong.composition import document_graph as graphs
from nextlong.errors import NextlongError
from nextlong.execution.files import read_record, write_record
from nextlong.execution.local import LocalExecutor
from nextlong.execution.progress import Quiet
from nextlong.execution.run import Run
from nextlong.pool.derived import derive
from nextlong.pool.document_vectors import document_vectors, open_document_vectors

BLANK = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool of three shards, some documents without a vector."""
    folder = tmp_path_factory.mktemp("made")
    documents = topical_documents(70, 4, 1, (1, 8), blank=BLANK)
    for part in range(3):
        lines = [json.dumps(document) + "\n" for document in documents[part * 30 : (part + 1) * 30]]
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    return nextlong.build_pool(
        sorted(folder.glob("*.jsonl")),
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": 12},
        index={"kind": "flat"},
    )


def derive_all(pool, folder, neighbours, workers=1):
    """Make vectors and graph."""
    folder.mkdir(exist_ok=True)
    run = Run(folder, LocalExecutor(workers), Quiet())
    for each in (document_vectors(pool), graphs.document_graph(pool, neighbours)):
        derive(run, pool, each)


def nearest_by_hand(pool, neighbours):
    vectors = open_document_vectors(pool)[0].take(np.arange(pool.documents)).astype(np.float64)
    scores = (vectors @ vectors.T).astype(np.float32)
    there = vectors.any(axis=1)
    found = []
    for document in range(pool.documents):
        others = [other for other in range(pool.documents) if other != document and there[other] and there[document]]
        found.append(sorted(others, key=lambda other: (-scores[document, other], other))[:neighbours])
    return found


@pytest.mark.parametrize("neighbours", [1, 4, 60, 69, 200])
def test_the_nearest_of_every_document(made, tmp_path, neighbours):
    assert len(made.shards) == 3
    derive_all(made, tmp_path / "run", neighbours)
    graph = graphs.open_document_graph(made, neighbours)
    expected = nearest_by_hand(made, neighbours)
    assert sum(not own for own in expected) == BLANK
    for document, own in enumerate(expected):
        assert graph.of(document).tolist() == own + [-1] * (neighbours - len(own))
    some = np.array([69, 0, 31, 31, 30, 74])
    np.testing.assert_array_equal(graph.take(some), [graph.of(document) for document in some.tolist()])


def test_workers_batches_and_lost_shards_do_not_matter(made, tmp_path, monkeypatch):
    derive_all(made, tmp_path / "run", 3)
    folder = graphs.document_graph(made, 3).folder(made)
    before = contents(folder)
    lost = folder / f"{made.shards[1]}.neighbours.npy"
    lost.unlink()
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    derive_all(made, tmp_path / "run", 3)
    assert contents(folder) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times and len(times) == 2
    shutil.rmtree(folder)
    monkeypatch.setattr(graphs, "_BATCH", 7)
    derive_all(made, tmp_path / "run", 3)
    assert contents(folder) == before
    shutil.rmtree(folder)
    derive_all(made, tmp_path / "run", 3, workers=2)
    assert contents(folder) == before


def other_vectors(pool):
    """Make the vectors of documents others than they were, as if by another version, receipts and all."""
    folder = document_vectors(pool).folder(pool)
    for path in folder.glob("receipts/vectors/*.json"):
        receipt = read_record(path)
        for entry in receipt["outputs"].values():
            entry["checksum"] = "0" * 32
        write_record(path, receipt)


def test_other_vectors_make_another_graph(made, tmp_path):
    derive_all(made, tmp_path / "run", 2)
    derived = graphs.document_graph(made, 2)
    ((make, _),) = derived.steps
    before = make(made, derived.folder(made))
    shutil.copytree(made.folder, tmp_path / "copy")
    copy = nextlong.Pool(tmp_path / "copy")
    other_vectors(copy)
    after = make(copy, derived.folder(copy))
    assert [task.inputs for task in before] != [task.inputs for task in after]


@pytest.mark.parametrize("damage", ["cut", "gone", "other", "beyond"])
def test_damage_is_a_clear_error(made, tmp_path, damage):
    derive_all(made, tmp_path / "run", 4)
    shutil.copytree(made.folder, tmp_path / "copy")
    pool = nextlong.Pool(tmp_path / "copy")
    folder = graphs.document_graph(pool, 4).folder(pool)
    path = folder / f"{pool.shards[2]}.neighbours.npy"
    content = np.load(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "gone":
        path.unlink()
    elif damage == "other":
        np.save(path, content[1:])
    else:
        content[1, 1] = pool.documents
        np.save(path, content)
    with pytest.raises(NextlongError) as error:
        graphs.open_document_graph(pool, 4)
    assert str(folder) in error.value.message and str(folder) in error.value.hint


@st.composite
def nearest(draw):
    """Neighbours of each document of a small graph, and where it is cut into shards."""
    documents = draw(st.integers(1, 12))
    neighbours = draw(st.integers(1, 6))
    rows = []
    for document in range(documents):
        others = draw(st.permutations([other for other in range(documents) if other != document]))
        amount = draw(st.integers(0, min(neighbours, len(others))))
        rows.append(others[:amount] + [-1] * (neighbours - amount))
    cuts = sorted(draw(st.lists(st.integers(1, documents), max_size=3)))
    return np.array(rows, dtype=np.int64), cuts


@given(nearest(), st.integers(1, 5))
@settings(deadline=None)
def test_degrees_and_paths_by_the_definition(tmp_path_factory, given, block):
    rows, cuts = given
    folder = tmp_path_factory.mktemp("graph")
    parts = [part for part in np.split(rows, cuts) if len(part)]
    paths = [folder / f"{number}.npy" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    graph = graphs.DocumentGraph(paths, *rows.shape)
    edges = {frozenset((document, other)) for document, row in enumerate(rows.tolist()) for other in row if other >= 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "_COMPARED", block * rows.shape[1] ** 2)
        degrees = graphs.degrees(graph).tolist()
    assert degrees == [sum(document in edge for edge in edges) for document in range(len(rows))]
    starts = np.random.default_rng(block).permutation(len(rows))
    visited: list[int] = []
    while len(visited) < len(rows):
        onwards = [other for other in (rows[visited[-1]].tolist() if visited else []) if other >= 0 and other not in visited]
        visited.append(onwards[0] if onwards else next(start for start in starts.tolist() if start not in visited))
    assert list(graphs.path(graph, starts)) == visited
