"""Texts of evaluation data, from files of every kind."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import nextlong
from nextlong.config import CorpusConfig
from nextlong.corpus import find_sources
from nextlong.screening.evaluation import evaluation_texts

ROW = {
    "id": "q-1",
    "question": "Who?",
    "context": {"paragraphs": [{"text": "One."}, {"text": "Two.", "score": 3}], "title": "Title"},
    "answers": ["A", "B"],
    "none": None,
}
EVERY = [
    ("id", "q-1"),
    ("question", "Who?"),
    ("context.paragraphs[0].text", "One."),
    ("context.paragraphs[1].text", "Two."),
    ("context.title", "Title"),
    ("answers[0]", "A"),
    ("answers[1]", "B"),
]


def texts(path, *fields):
    (source,) = find_sources(CorpusConfig(inputs=(str(path),)))
    found = list(evaluation_texts(source, fields))
    assert {each.source for each in found} <= {source.name}
    return [(each.row, each.name, each.text) for each in found]


def test_every_string_at_any_depth(tmp_path):
    lines = "\n".join(json.dumps(row) for row in (ROW, {}, ROW))
    expected = [(1, *each) for each in EVERY] + [(3, *each) for each in EVERY]
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.json.zst").write_bytes(zstandard.compress(lines.encode()))
    for name in ("a.jsonl", "b.jsonl.gz", "c.json.zst"):
        assert texts(tmp_path / name) == expected


def test_a_json_file_that_is_one_list_or_one_object(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps([ROW, "bare", [["deep"]]], indent=2))
    assert texts(tmp_path / "list.json") == [(1, *each) for each in EVERY] + [(2, "", "bare"), (3, "[0][0]", "deep")]
    (tmp_path / "object.json").write_text("\ufeff" + json.dumps({"data": [ROW]}, indent=1), encoding="utf-8")
    assert texts(tmp_path / "object.json") == [(1, f"data[0].{name}", text) for name, text in EVERY]
    (tmp_path / "zipped.json.gz").write_bytes(gzip.compress(json.dumps([{"a": "b"}], indent=1).encode()))
    assert texts(tmp_path / "zipped.json.gz") == [(1, "a", "b")]


def test_fields_by_name_at_any_depth(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW))
    assert texts(tmp_path / "a.jsonl", "text", "answers") == [(1, *EVERY[number]) for number in (2, 3, 5, 6)]
    assert texts(tmp_path / "a.jsonl", "context") == [(1, *each) for each in EVERY[2:5]]
    with pytest.raises(nextlong.NextlongError, match=r"a.jsonl has no text in passage"):
        texts(tmp_path / "a.jsonl", "passage")


def test_tables_and_texts(tmp_path):
    rows = [{"question": "Who?", "n": 1, "inner": {"texts": ["x", "y"]}}, {"question": None, "n": 2, "inner": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == [(1, "question", "Who?"), (1, "inner.texts[0]", "x"), (1, "inner.texts[1]", "y")]
    assert texts(tmp_path / "a.parquet", "inner") == [(1, "inner.texts[0]", "x"), (1, "inner.texts[1]", "y")]
    (tmp_path / "folder").mkdir()
    for name in ("one", "two"):
        (tmp_path / "folder" / f"{name}.txt").write_text(f"Text {name}.")
    assert texts(tmp_path / "folder") == [(1, "one.txt", "Text one."), (2, "two.txt", "Text two.")]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b'{"a": "b"}\n{"a": \n', "row 2: broken JSON"),
        ("a.jsonl", b"[1, 2]", "row 1: the line is not a JSON object"),
        ("a.jsonl.gz", gzip.compress(b'{"a": "b"}\n' * 1000)[:-9], "ends early"),
        ("a.json", b'[{"a": "b"},', "row 1: broken JSON"),
        ("a.parquet", b"PAR1 nothing", "damaged"),
        ("a.txt", b"\xff\xfe", "UTF-16"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_where(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(nextlong.NextlongError, match=f"The evaluation data .*{name}.*{problem}") as error:
        texts(tmp_path / name)
    assert "leave it out" in error.value.hint


def test_a_table_with_text_that_is_none(tmp_path):
    column = pa.Array.from_buffers(pa.string(), 2, pa.array([b"good", b"\xff\xfe"]).buffers())
    pq.write_table(pa.table({"question": column}), tmp_path / "a.parquet")
    with pytest.raises(
        nextlong.NextlongError, match=r"a.parquet, row 1: here, or in one of the 1 rows after, a text is not"
    ):
        texts(tmp_path / "a.parquet")


def test_a_hostile_name_is_cut_and_text_is_text(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"k" * 5000: {"\x1b[31m": "\ud800 half"}}))
    ((_, name, text),) = texts(tmp_path / "a.jsonl")
    assert len(name) <= 200 and text == "\ud800 half"
