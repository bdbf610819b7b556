"""What the screening of a pool found and dropped cannot be changed without `verify` saying so."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import make_documents, with_copies, write_corpus
from screened import build, verified
from tampering import flip_a_byte, forge_receipts

import nextlong
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.pool import layout
from nextlong.records import CHUNK_SCHEMA, COPY_SCHEMA, MATCH_SCHEMA, SCREENED_SCHEMA

PARTS = ("chunks", "documents", "fingerprints", "ingested/chunks")
PARTS += tuple(f"screening/{name}" for name in ("copies", "report", "matches", "evaluation"))


def rules(folder):
    return {"deduplicate": "drop", "decontaminate": [str(folder / "evaluation.jsonl")], "max_ngram_documents": 100}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    documents = with_copies(make_documents(40))
    corpus = write_corpus(folder / "corpus.jsonl", documents)
    write_corpus(folder / "evaluation.jsonl", [{"text": each["text"][200:420]} for each in documents[::6]])
    pool = build(corpus, folder / "pool", rules(folder))
    assert verified(pool.folder) and pool.description["counts"]["contaminated_chunks"] > 5
    return folder


@pytest.fixture
def pool(made, tmp_path):
    return shutil.copytree(made / "pool", tmp_path / "pool")


@pytest.mark.parametrize("part", PARTS)
def test_a_changed_byte_is_found(pool, part):
    path = min((pool / part).iterdir())
    flip_a_byte(path)
    failures = nextlong.verify(pool, workers=1).failures
    assert any(str(path) in failure.where for failure in failures)


def failures_with(pool, path, rows, schema):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    else:
        write_arrow(path, pa.RecordBatch.from_pylist(rows, schema=schema))
    forge_receipts(pool)
    return [str(failure) for failure in nextlong.verify(pool, workers=1).failures]


def test_a_report_that_hides_a_copy(pool):
    path = min((pool / layout.REPORT).iterdir())
    rows = pq.read_table(path).to_pylist()
    assert any("does not say what was found" in each for each in failures_with(pool, path, rows[1:], SCREENED_SCHEMA))


def test_a_report_that_names_another_chunk(pool):
    path = min((pool / layout.REPORT).iterdir())
    rows = pq.read_table(path).to_pylist()
    rows[0]["other_position"] += 1
    assert any("does not say what was found" in each for each in failures_with(pool, path, rows, SCREENED_SCHEMA))


def test_a_chunk_that_is_called_a_copy_and_is_none(pool):
    path = min((pool / layout.COPIES).iterdir())
    rows = open_arrow(path, COPY_SCHEMA).to_pylist()
    kept = {row["row"] for row in rows}
    rows[-1]["kept_row"] = next(number for number in range(1000) if number not in kept and number != rows[-1]["kept_row"])
    assert any("is no copy of" in each for each in failures_with(pool, path, rows, COPY_SCHEMA))


def test_a_chunk_that_was_dropped_and_is_no_copy(pool):
    path = max((pool / layout.CHUNKS).iterdir())
    rows = open_arrow(path, CHUNK_SCHEMA).to_pylist()
    rows[1]["start"] += 1
    assert any("less what was dropped" in each for each in failures_with(pool, path, rows, CHUNK_SCHEMA))


def test_a_damaged_list_of_copies_is_an_error_that_names_it(made, pool):
    path = min((pool / layout.COPIES).iterdir())
    path.write_bytes(b"x" * path.stat().st_size)
    failures = nextlong.verify(pool, workers=1).failures
    assert any(path.name in failure.where for failure in failures)
    path.unlink()
    assert verified(build(made / "corpus.jsonl", pool, rules(made)).folder)


def test_a_run_of_evaluation_data_that_is_hidden(pool):
    path = min((pool / layout.MATCHES).iterdir())
    rows = open_arrow(path, MATCH_SCHEMA).to_pylist()
    assert any("elsewhere in the shard" in each for each in failures_with(pool, path, rows[1:], MATCH_SCHEMA))


def test_a_run_that_is_said_to_be_in_more_documents(pool):
    path = pool / layout.EVALUATION / "shared.npy"
    np.save(path, np.load(path) + 1000)  # so that it does not count
    forge_receipts(pool)
    assert any("other numbers of documents" in str(each) for each in nextlong.verify(pool, workers=1).failures)
