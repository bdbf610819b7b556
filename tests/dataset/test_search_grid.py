"""A search as a grid of tasks, batches × shards of the index: the same dataset with any number of shards and workers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from corpora import GRANULARITY, make_documents, write_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

import nextlong
from nextlong.dataset import layout, search
from nextlong.dataset.mine import read_neighbours
from nextlong.embedding.vectors import to_unit_float16
from nextlong.errors import NextlongError
from nextlong.execution.arrow import write_batches
from nextlong.index import protocol
from nextlong.index.flat import FlatIndex
from nextlong.index.vectors import VectorShards
from nextlong.mining.nearest import Ask, Nearest, Parts
from nextlong.pool.document_vectors import open_document_vectors

LENGTH = 1024
ROOTS = 14
SHARDS = 12

DATASETS = {
    "dense": {},
    "low": {"mining": {"negatives": "low"}},
    "hybrid": {"mining": {"retrieval": "hybrid"}},
    "deep": {"mining": {"max_score": 0.3}},  # the first candidates do not suffice
    "reuse": {"mining": {"max_reuse": 1}},
    "knn": {"composition": {"method": "knn"}},
}
# They ask no index of vectors, or only where words do not suffice.
WITHOUT = {"bm25": {"mining": {"retrieval": "bm25"}}, "random": {"mining": {"negatives": "random"}}}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    """Batches of four roots, of which two are searched for together: sizes that count only where a run is planned."""
    monkeypatch.setattr(layout, "SHARD_TOKENS", 4 * LENGTH)
    monkeypatch.setattr(search, "_LEAST_TOGETHER", 8)
    monkeypatch.setattr(search, "_MOST_TOGETHER", 8)


@pytest.fixture(scope="module")
def whole(family_pool):
    """A pool with an index of one shard."""
    assert family_pool.index.shards == 1
    return family_pool


@pytest.fixture(scope="module")
def divided(whole, family_corpus, tmp_path_factory):
    """The same pool with an index of several shards; so have its documents' vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "SHARD_VECTORS", -(-whole.chunks // SHARDS))
        folder = tmp_path_factory.mktemp("divided") / "pool"
        encoder = {"name": "lsa", "dimensions": 48}
        pool = nextlong.build_pool(
            family_corpus,
            folder,
            workers=1,
            chunking={"granularity": GRANULARITY},
            encoder=encoder,
            index={"kind": "flat"},
        )
    assert pool.index.shards == SHARDS == nextlong.Pool(folder).index.shards
    assert pool.chunks_id == whole.chunks_id
    return pool


def synthesize(pool, folder, tokenizer, workers=1, **keys):
    keys = {"length": LENGTH, "roots": ROOTS, **keys}
    nextlong.synthesize(pool, folder, workers=workers, tokenizer=tokenizer, **keys)
    return folder


def bytes_of(folder):
    """What tasks made, but for receipts; the dataset's description names the pool."""
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    parts = ("units", "neighbours", "wanted", "sequences", "tokens", "search")
    return {path: content for path, content in found.items() if path.split("/")[0] in parts}


def stages(folder):
    """Stage → its lines of metrics, in order."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {stage: [line for line in lines if line["stage"] == stage] for stage in dict.fromkeys(x["stage"] for x in lines)}


@pytest.mark.parametrize("name", DATASETS)
def test_shards_and_workers_change_no_byte(whole, divided, tokenizer_folder, tmp_path, monkeypatch, name):
    if name == "knn":
        monkeypatch.setattr(protocol, "SHARD_VECTORS", 27)
    expected = bytes_of(synthesize(whole, tmp_path / "whole", tokenizer_folder, **DATASETS[name]))
    for workers in (1, 2):
        folder = synthesize(divided, tmp_path / f"by {workers}", tokenizer_folder, workers, **DATASETS[name])
        assert bytes_of(folder) == expected
        (line,) = stages(folder)["search"]
        assert (line["tasks"], line["rows"]) == (2 * SHARDS, ROOTS * SHARDS)
        assert not (folder / "search").exists() and not (folder / "receipts" / "search").exists()
        assert nextlong.verify(folder, workers=1).failures == []
    if name == "knn":
        assert open_document_vectors(divided)[1].shards == SHARDS
        shutil.rmtree(whole.folder / "derived")
    else:
        (line,) = stages(tmp_path / "whole")["search"]
        assert (line["tasks"], line["rows"]) == (2, ROOTS)


@pytest.mark.parametrize("name", WITHOUT)
def test_what_asks_no_vectors_needs_no_grid(divided, tokenizer_folder, tmp_path, name):
    assert "search" not in stages(synthesize(divided, tmp_path / "data", tokenizer_folder, **WITHOUT[name]))


@pytest.mark.parametrize("name", ["dense", "low", "hybrid", "knn"])
def test_mining_takes_what_the_grid_found(divided, tokenizer_folder, tmp_path, monkeypatch, name):
    """It does not search itself."""
    monkeypatch.setattr(protocol, "SHARD_VECTORS", 27)

    def refused(*arguments):
        raise AssertionError("the whole index was searched")

    monkeypatch.setattr(FlatIndex, "search", refused)
    folder = synthesize(divided, tmp_path / "data", tokenizer_folder, **DATASETS[name])
    receipts = [json.loads(path.read_text()) for path in (folder / "receipts" / "mine").glob("*.json")]
    assert sum(receipt["info"]["queried"] for receipt in receipts) >= ROOTS


class Stopped(Exception):
    """As if the run was killed."""


@pytest.mark.parametrize("moment", ["searching", "mining"])
def test_a_run_that_was_stopped_goes_on(divided, tokenizer_folder, tmp_path, monkeypatch, moment):
    expected = bytes_of(synthesize(divided, tmp_path / "undisturbed", tokenizer_folder))
    calls = []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise Stopped
        write_batches(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(f"nextlong.dataset.{'search' if moment == 'searching' else 'mine'}.write_batches", stopping)
        synthesize(divided, tmp_path / "data", tokenizer_folder)
    kept = sorted(path.name for path in (tmp_path / "data" / "search").iterdir())
    assert len(kept) == (3 if moment == "searching" else 2 * SHARDS)
    cut = tmp_path / "data" / "search" / kept[-1]
    cut.write_bytes(cut.read_bytes()[:-8])
    assert bytes_of(synthesize(divided, tmp_path / "data", tokenizer_folder)) == expected
    again = stages(tmp_path / "data")["search"][-1]
    assert again["tasks_skipped"] == (2 if moment == "searching" else SHARDS - 1)  # three of four batches were mined
    assert stages(tmp_path / "data")["mine"][-1]["tasks_skipped"] == (0 if moment == "searching" else 3)


def test_a_finished_dataset_is_not_searched_for_again(divided, tokenizer_folder, tmp_path):
    folder = synthesize(divided, tmp_path / "data", tokenizer_folder)
    before = (folder / "metrics.jsonl").read_text()
    synthesize(divided, folder, tokenizer_folder)
    assert (folder / "metrics.jsonl").read_text() == before


def test_more_sequences_search_only_for_what_is_new(divided, tokenizer_folder, tmp_path):
    folder = synthesize(divided, tmp_path / "data", tokenizer_folder, roots=8)
    nextlong.synthesize(divided, folder, workers=1, tokenizer=tokenizer_folder, length=LENGTH, roots=12, overwrite=True)
    assert [line["tasks"] for line in stages(folder)["search"]] == [SHARDS, SHARDS]
    assert bytes_of(folder) == bytes_of(synthesize(divided, tmp_path / "new", tokenizer_folder, roots=12))


def test_a_method_that_does_not_search_leaves_no_parts_of_another(divided, tokenizer_folder, tmp_path, monkeypatch):
    def stopping(*arguments):
        raise Stopped

    folder = tmp_path / "data"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("nextlong.dataset.mine.write_batches", stopping)
        synthesize(divided, folder, tokenizer_folder)
    assert list((folder / "search").iterdir())
    synthesize(divided, folder, tokenizer_folder, composition={"method": "standard"}, overwrite=True)
    assert not (folder / "search").exists() and not (folder / "receipts" / "search").exists()


def test_deeper_questions_are_answered_by_what_is_there(whole, divided, tokenizer_folder, tmp_path, monkeypatch):
    """Where filters let too little pass, in mining as in composing, the shards together hold enough."""
    mining = {"max_score": 0.8}
    expected = bytes_of(synthesize(whole, tmp_path / "whole", tokenizer_folder, mining=mining))
    searched = []
    search_all = FlatIndex.search

    def counted(self, queries, k):
        searched.append(len(queries))
        return search_all(self, queries, k)

    monkeypatch.setattr(FlatIndex, "search", counted)
    folder = synthesize(divided, tmp_path / "data", tokenizer_folder, mining=mining)
    assert bytes_of(folder) == expected
    mined = [json.loads(path.read_text()) for path in (folder / "receipts" / "mine").glob("*.json")]
    first = nextlong.load_dataset_card(folder)["counts"]["meta_chunks"]
    deeper = sum(receipt["info"]["queried"] for receipt in mined) - first
    assert deeper > 20
    assert not searched


@pytest.mark.parametrize("moment", ["composing again", "composing on"])
def test_composing_needs_no_new_search(divided, tokenizer_folder, tmp_path, monkeypatch, moment):
    """Not even where mining is done, and what was found is there or is not."""
    whole = synthesize(divided, tmp_path / "whole", tokenizer_folder)
    folder = tmp_path / "data"

    def stopping(*arguments):
        raise Stopped

    if moment == "composing on":
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            patch.setattr("nextlong.dataset.compose.read_neighbours", stopping)
            synthesize(divided, folder, tokenizer_folder)
        assert len(list((folder / "search").iterdir())) == 2 * SHARDS
    else:
        synthesize(divided, folder, tokenizer_folder)
        next((folder / "sequences").iterdir()).unlink()
    synthesize(divided, folder, tokenizer_folder)
    assert bytes_of(folder) == bytes_of(whole)
    assert len(stages(folder)["search"]) == 1
    assert not (folder / "search").exists()


@settings(deadline=None, max_examples=60)
@given(
    distinct=st.integers(1, 200),
    shards=st.integers(1, 9),
    depths=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    deeper=st.integers(1, 300),
    sign=st.sampled_from([1, -1]),
    seed=st.integers(0, 50),
)
def test_a_deeper_answer_is_that_of_a_search(tmp_path_factory, distinct, shards, depths, deeper, sign, seed):
    folder = tmp_path_factory.mktemp("deeper")
    generator = np.random.default_rng(seed)
    numbers = to_unit_float16(generator.standard_normal((distinct, 6)), str)[generator.integers(0, distinct, 240)]
    np.save(folder / "vectors.npy", numbers)
    vectors = VectorShards([folder / "vectors.npy"])
    index = FlatIndex(vectors, shards=shards)
    asks = [Ask(np.arange(4), depths[0], sign), Ask(np.arange(9, 12), depths[1], sign)]
    for shard in range(shards):
        batch = pa.concat_batches(search.found_in(shard, asks, vectors, index))
        write_batches(folder / f"{shard}.arrow", batch.schema, [batch])
    nearest = Nearest(Parts(tuple(folder / f"{shard}.arrow" for shard in range(shards)), 0), asks)
    for rows in ([1, 10, 3], [0, 1, 2, 3], [11]):
        ask = Ask(np.array(rows), deeper, sign)
        for one, other in zip(nearest.find(ask, vectors, index), index.search(ask.queries(vectors), deeper), strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_the_question_is_an_error(divided, tmp_path):
    ask = Ask(np.arange(3), 4)
    (batch,) = search.found_in(0, [ask], divided.vectors, divided.index)
    for name, batches in (("short", [batch.slice(1)]), ("none", [])):
        path = tmp_path / f"{name}.arrow"
        write_batches(path, batch.schema, batches)
        with pytest.raises(NextlongError, match="is damaged"):
            Nearest(Parts((path,), 0), [ask]).find(ask, divided.vectors, divided.index)
    path = tmp_path / "other.arrow"
    write_batches(path, batch.schema, [batch, batch])
    other = Ask(np.arange(1, 4), 4)  # nothing was found for it, so it is searched for
    for nearest in (Nearest(Parts((path,), 1), [ask]), Nearest()):
        found = nearest.find(other, divided.vectors, divided.index)
        np.testing.assert_array_equal(found[1], divided.index.search(other.queries(divided.vectors), 4)[1])
        assert nearest.queried == 3
    assert isinstance(batch, pa.RecordBatch)


def test_only_roots_are_queried(tokenizer_folder, tmp_path):
    """The vectors asked for follow the tokens asked for, whatever the size of the pool."""
    queried = {}
    for documents in (100, 400):
        corpus = write_corpus(tmp_path / f"{documents}.jsonl", make_documents(documents, 5, paragraphs=(6, 9)))
        pool = nextlong.build_pool(
            corpus, tmp_path / f"pool {documents}", workers=1, chunking={"granularity": GRANULARITY}, encoder={"name": "lsa"}
        )
        for roots in (10, 40):
            folder = synthesize(pool, tmp_path / f"{documents} {roots}", tokenizer_folder, roots=roots, length=4 * LENGTH)
            receipts = [json.loads(path.read_text()) for path in (folder / "receipts" / "mine").glob("*.json")]
            queried[documents, roots] = sum(receipt["info"]["queried"] for receipt in receipts)
            metas = nextlong.load_dataset_card(folder)["counts"]["meta_chunks"]
            assert metas <= queried[documents, roots] <= 1.5 * metas
    for roots in (10, 40):
        assert queried[400, roots] <= 1.5 * queried[100, roots]
    for documents in (100, 400):
        assert 3 <= queried[documents, 40] / queried[documents, 10] <= 5


def test_what_is_found_for_a_root_does_not_depend_on_its_batch(family_corpus, tokenizer_folder, tmp_path, monkeypatch):
    """Not even with an approximate index, which looks into more lists the deeper it is asked."""
    pool = nextlong.build_pool(
        family_corpus,
        tmp_path / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": 48},
        index={"kind": "ivf"},
    )
    assert not pool.index.exact
    found = []
    for roots in (1, 16):
        monkeypatch.setattr(layout, "SHARD_TOKENS", roots * LENGTH)
        folder = synthesize(pool, tmp_path / str(roots), tokenizer_folder, roots=16)
        paths = sorted((folder / "neighbours").iterdir())
        assert len(paths) == 16 // roots
        found.append([each for path in paths for each in read_neighbours(path)])
    assert len({each.depth for each in found[1]}) > 1
    for one, other in zip(*found, strict=True):
        assert one.root == other.root
        assert [row.tolist() for row in one.chunks] == [row.tolist() for row in other.chunks]
        assert [row.tolist() for row in one.scores] == [row.tolist() for row in other.scores]
