"""Pools from which copies are dropped, or in which they are only reported."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from corpora import make_documents, with_copies, write_corpus
from screened import build, report_of, stages, texts_of, verified
from small_runs import contents

import nextlong
from nextlong.execution.arrow import open_arrow
from nextlong.mining.fingerprints import Fingerprints
from nextlong.pool import layout
from nextlong.records import CHUNK_SCHEMA

DROP = {"deduplicate": "drop"}
REPORT = {"deduplicate": "report"}
SCREENING_STAGES = ["ingest", "fingerprint", "deduplicate", "screen", "catalog", "fit", "embed", "index"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three files; the second repeats documents of the first, and a paragraph stands in many."""
    folder = tmp_path_factory.mktemp("corpus")
    documents = with_copies(make_documents(48))
    phrase = " ".join(f"licence{number}" for number in range(60))
    for document in documents[::5]:
        document["text"] = document["text"].replace("\n", f"\n{phrase}\n", 1)
    return [write_corpus(folder / f"{n}.jsonl", documents[n * 20 : (n + 1) * 20]) for n in range(3)]


@pytest.fixture(scope="module")
def plain(corpus, tmp_path_factory):
    return build(corpus, tmp_path_factory.mktemp("plain") / "pool")


@pytest.fixture(scope="module")
def dropped(corpus, tmp_path_factory):
    return build(corpus, tmp_path_factory.mktemp("dropped") / "pool", DROP)


def copies_of(pool):
    """Which chunks of a pool are copies of an earlier one that is not, each compared with all, as mining does it."""
    every = np.arange(pool.chunks)
    return Fingerprints(pool, every, 0.8).copies([(every, every[:0])])[0]


def test_what_is_left_is_what_is_no_copy(plain, dropped):
    copies = copies_of(plain)
    assert 20 < copies.sum() < plain.chunks / 2
    assert dropped.texts(range(dropped.chunks)) == plain.texts(np.flatnonzero(~copies))
    assert not copies_of(dropped).any()
    counts = dropped.description["counts"]
    assert counts["dropped_chunks"] == counts["copies"] + counts["near_copies"] == copies.sum()
    assert counts["chunks"] == dropped.chunks == plain.chunks - copies.sum()
    gone = [number for number in range(plain.documents) if copies[plain.chunks_of(number)].all()]
    assert counts["dropped_documents"] == len(gone) > 0
    ids = plain.document_ids(np.array([number for number in range(plain.documents) if number not in gone]))
    assert dropped.document_ids(np.arange(dropped.documents)) == ids
    assert counts["near_copies"] > 0 and verified(dropped.folder)
    groups = dropped.description["screening"]["copies"]
    assert sum(groups["groups_by_size"].values()) == groups["groups"] <= copies.sum()


def test_a_document_that_lost_chunks_still_says_where_the_others_stood(corpus, plain, dropped):
    holes = 0
    given = {document["id"]: document["text"] for path in corpus for document in map(json.loads, path.open())}
    for shard in dropped.shards:
        chunks = open_arrow(dropped.folder / layout.CHUNKS / f"{shard}.arrow", CHUNK_SCHEMA).to_pylist()
        first = dropped.documents_in(dropped.shards.index(shard)).start
        for chunk in chunks:
            identity = dropped.document_ids(np.array([first + chunk["document"]]))[0]
            assert given[identity][chunk["start"] :].startswith(chunk["text"])
            assert texts_of(plain)[identity][chunk["position"]] == chunk["text"]
        positions = np.array([chunk["position"] for chunk in chunks])
        owners = np.array([chunk["document"] for chunk in chunks])
        holes += ((np.diff(positions) != 1) & (np.diff(owners) == 0)).sum()
    assert holes > 0
    for number, (identity, texts) in enumerate(texts_of(dropped).items()):
        whole = len(texts) == len(texts_of(plain)[identity])
        assert dropped.characters_of(number) == (
            len(given[identity]) if whole else pytest.approx(sum(map(len, texts)), abs=9)
        )


def test_the_report_names_what_each_copy_is_one_of(plain, dropped):
    rows = report_of(dropped.folder)
    assert len(rows) == copies_of(plain).sum()
    texts = {(source, row): texts for (source, row), texts in zip(places_of(plain), texts_of(plain).values(), strict=True)}
    left = set(places_of(dropped))
    for row in rows:
        own = texts[row["source"], row["row"]][row["position"]]
        other = texts[row["other_source"], row["other_row"]][row["other_position"]]
        assert row["dropped"] and row["similarity"] >= 0.8 and (row["other_source"], row["other_row"]) in left
        if row["similarity"] == 1:
            assert own.split() == other.split()
        else:
            assert row["reason"] == "near-copy" or any(
                own.split() == text.split() for each in texts.values() for text in each if text is not own
            )
    assert {row["reason"] for row in rows} == {"copy", "near-copy"}


def places_of(pool):
    tables = [pa.ipc.open_file(pool.folder / "documents" / f"{shard}.arrow").read_all() for shard in pool.shards]
    table = pa.concat_tables(tables)
    return list(zip(table["source"].to_pylist(), table["row"].to_pylist(), strict=True))


def test_reporting_changes_nothing_but_the_report(corpus, plain, dropped, tmp_path):
    reported = build(corpus, tmp_path / "pool", REPORT)
    assert reported.id == plain.id and not (tmp_path / "pool" / layout.INGESTED).exists()
    rows = report_of(tmp_path / "pool")
    assert [{**row, "dropped": True} for row in rows] == report_of(dropped.folder)
    assert not any(row["dropped"] for row in rows)
    counts = reported.description["counts"]
    assert counts["dropped_chunks"] == 0 and counts["copies"] == dropped.description["counts"]["copies"]
    assert verified(tmp_path / "pool")
    alike = ("chunks", "documents", "catalog", "fingerprints", "vectors")
    files = {path: digest for path, digest in contents(plain.folder).items() if path.split("/")[0] in alike}
    assert files == {path: digest for path, digest in contents(tmp_path / "pool").items() if path.split("/")[0] in alike}


def test_off_is_as_if_there_were_no_screening(corpus, plain, tmp_path):
    off = build(corpus, tmp_path / "pool", {"deduplicate": "off", "duplicate_jaccard": 0.8})
    assert off.id == plain.id
    assert "screening" not in (tmp_path / "pool" / "plan.json").read_text()
    assert "screening" not in (tmp_path / "pool" / "pool.yaml").read_text()
    assert not (tmp_path / "pool" / layout.SCREENING).exists()


def test_workers_change_nothing(corpus, dropped, tmp_path):
    for workers in (2, 4):
        build(corpus, tmp_path / str(workers) / "pool", DROP, workers=workers)
        assert contents(tmp_path / str(workers) / "pool") == contents(dropped.folder)


def test_shards_change_nothing(corpus, dropped, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_CHARACTERS", 3_000)
    many = build(corpus, tmp_path / "pool", DROP)
    assert len(many.shards) > 6
    assert many.texts(range(many.chunks)) == dropped.texts(range(dropped.chunks))
    assert report_of(tmp_path / "pool") == report_of(dropped.folder)
    assert verified(tmp_path / "pool")


def test_a_shard_of_copies_only_is_none_of_the_pool(tmp_path):
    documents = make_documents(12)
    one = write_corpus(tmp_path / "one.jsonl", documents)
    same = write_corpus(tmp_path / "same.jsonl", [{**each, "id": f"{each['id']}-again"} for each in documents])
    pool = build([one, same], tmp_path / "pool", DROP)
    assert pool.documents == 12 and len(pool.shards) == 1 and verified(tmp_path / "pool")
    assert pool.description["counts"]["dropped_documents"] == 12
    assert len(list((tmp_path / "pool" / "ingested" / "chunks").iterdir())) == 2


def test_documents_with_derived_ids_lose_their_repeats(tmp_path):
    texts = [document["text"] for document in make_documents(6)]
    corpus = write_corpus(tmp_path / "corpus.jsonl", [{"text": text} for text in [*texts, *texts]])
    assert build(corpus, tmp_path / "plain").description["counts"]["repeated_documents"] == 6
    pool = build(corpus, tmp_path / "pool", DROP)
    assert pool.documents == 6 and pool.description["counts"]["repeated_documents"] == 0


# What is done again.


def test_exactly_what_depends_on_the_screening_is_done_again(corpus, dropped, plain, tmp_path):
    folder = tmp_path / "pool"
    build(corpus, folder, DROP)
    assert stages(folder) == SCREENING_STAGES
    with pytest.raises(nextlong.UsageError, match="duplicate_jaccard"):
        build(corpus, folder, {**DROP, "duplicate_jaccard": 1.0})
    stricter = build(corpus, folder, {**DROP, "duplicate_jaccard": 1.0}, overwrite=True)
    assert stages(folder)[len(SCREENING_STAGES) :] == ["deduplicate", "screen", "catalog", "fit", "embed", "index"]
    assert stricter.chunks > dropped.chunks and verified(folder)
    done = len(stages(folder))
    build(corpus, folder, {**DROP, "duplicate_jaccard": 1.0})
    assert len(stages(folder)) == done
    back = build(corpus, folder, DROP, overwrite=True)
    assert back.id == dropped.id
    off = build(corpus, folder, overwrite=True)
    assert off.id == plain.id and verified(folder)
    assert set(contents(folder)) == set(contents(plain.folder))
    assert not (folder / layout.SCREENING).exists() and not (folder / layout.INGESTED).exists()
    assert build(corpus, folder, REPORT, overwrite=True).id == plain.id and verified(folder)
    assert build(corpus, folder, DROP, overwrite=True).id == dropped.id and verified(folder)
    assert contents(folder) == contents(dropped.folder)


def test_a_grown_corpus_keeps_what_was_read(corpus, dropped, tmp_path):
    build(corpus[:2], tmp_path / "pool", DROP)
    pool = build(corpus, tmp_path / "pool", DROP, overwrite=True)
    assert contents(tmp_path / "pool") == contents(dropped.folder) and pool.id == dropped.id
