"""What lies in a dataset's folder: rows that other programs read, and a card that tells the truth."""

from __future__ import annotations

import io
import json

import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from tokenizers import Tokenizer

import nextlong
from nextlong.formats.registry import FORMATS
from nextlong.records import SEQUENCE_SCHEMA

LENGTH = 2048
ROWS = 9


@pytest.fixture(scope="module", params=sorted(FORMATS))
def dataset(request, family_pool, tokenizer_folder, tmp_path_factory):
    """A dataset of each format: its folder, its format."""
    folder = tmp_path_factory.mktemp("files") / "data"
    nextlong.synthesize(
        family_pool,
        folder,
        workers=1,
        length=LENGTH,
        tokens=(ROWS - 1) * LENGTH + 1,
        tokenizer=tokenizer_folder,
        format=request.param,
        license="cc-by-4.0",
    )
    return folder, request.param


def front_matter_and_text(folder):
    start, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert start == ""
    return yaml.safe_load(front), text


def code_block(text, language):
    return text.split(f"```{language}\n", 1)[1].split("\n```", 1)[0]


def lines_of(folder):
    (path,) = (folder / "tokens").iterdir()
    with path.open("rb") as raw:
        content = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
    return [json.loads(line) for line in io.StringIO(content.decode("utf-8"), newline="\n")]


def test_the_canonical_table(dataset):
    folder, _ = dataset
    (path,) = (folder / "sequences").glob("*.parquet")
    table = pq.read_table(path)
    assert table.schema.equals(SEQUENCE_SCHEMA) and table.num_rows == ROWS
    assert set(table.column("method").to_pylist()) == {"nextlong"}
    assert set(table.column("length").to_pylist()) == {LENGTH}
    assert table.column("id").to_pylist() == [f"nextlong-{number:08d}" for number in range(ROWS)]


def test_the_front_matter_is_what_the_hub_reads(dataset):
    folder, form = dataset
    front, _ = front_matter_and_text(folder)
    assert front["license"] == "cc-by-4.0"
    assert {"long-context", "nextlong"} <= set(front["tags"])
    if form not in ("parquet", "jsonl"):
        assert "configs" not in front  # what the hub cannot read it must not be told to
        return
    ((files,),) = [config["data_files"] for config in front["configs"]]
    assert files["split"] == "train"
    suffixes = FORMATS[form].SUFFIXES
    assert files["path"].endswith(suffixes[0])
    found = [path for path in (folder / "tokens").iterdir() if path.name.endswith(suffixes[0])]
    assert sorted(folder.glob(files["path"])) == sorted(found) != []


def test_the_card_says_what_the_description_says(dataset):
    folder, form = dataset
    card = nextlong.load_dataset_card(folder)
    _, text = front_matter_and_text(folder)
    counts = card["counts"]
    assert counts["sequences"] == ROWS and counts["tokens"] == ROWS * LENGTH
    spans = [span for row in pq.read_table(folder / "sequences").to_pylist() for span in row["spans"]]
    assert counts["meta_chunks"] == sum(span["role"] == "meta" for span in spans)
    assert counts["negatives"] == sum(span["role"] == "negative" for span in spans)
    assert f"| tokens | {counts['tokens']:,} |" in text and f"| negatives | {counts['negatives']:,} |" in text
    for column in FORMATS[form].COLUMNS:
        assert f"| `{column}` |" in text
    config = yaml.safe_load(code_block(text, "yaml"))
    assert config["dataset"] == card["config"] and config["pool"] == card["pool"]["config"]


def test_the_similarities_by_rank_are_those_of_the_rows(dataset):
    folder, _ = dataset
    spans = [span for row in pq.read_table(folder / "sequences").to_pylist() for span in row["spans"]]
    for rank, mean in nextlong.load_dataset_card(folder)["similarity_by_rank"].items():
        scores = [span["score"] for span in spans if span["role"] == "negative" and span["rank"] == rank]
        assert mean == pytest.approx(sum(scores) / len(scores), abs=1e-4)


def test_the_cards_loading_snippet_runs(dataset, capsys, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder, form = dataset
    code = code_block(front_matter_and_text(folder)[1], "python")
    assert "FOLDER" in code
    names = {}
    exec(code.replace("FOLDER", str(folder)), names)
    rows = names["rows"]
    assert len(rows) == ROWS
    assert capsys.readouterr().out.strip()
    if form in ("parquet", "jsonl"):
        assert set(FORMATS[form].COLUMNS) <= set(rows.column_names)
    elif form == "mds":
        assert all(set(row) == set(FORMATS[form].COLUMNS) and len(row["input_ids"]) == LENGTH for row in rows)
    else:
        assert {len(row) for row in rows} == {LENGTH}
    if form == "parquet":
        table = pq.read_table(folder / "tokens")
        assert [list(row) for row in rows["input_ids"]] == table.column("input_ids").to_pylist()
        assert {len(row) for row in rows["input_ids"]} == {LENGTH}
        assert rows[0]["spans"][0]["role"] == "meta"


def test_parquet_and_json_lines_hold_the_same(family_pool, tokenizer_folder, tmp_path):
    options = {"workers": 1, "length": LENGTH, "roots": 5, "tokenizer": tokenizer_folder}
    nextlong.synthesize(family_pool, tmp_path / "tokens", format="parquet", **options)
    nextlong.synthesize(family_pool, tmp_path / "text", format="jsonl", **options)
    tokenizer = Tokenizer.from_file(f"{tokenizer_folder}/tokenizer.json")
    sequences = pq.read_table(tmp_path / "tokens" / "sequences").to_pylist()
    assert pq.read_table(tmp_path / "text" / "sequences").to_pylist() == sequences
    rows = pq.read_table(tmp_path / "tokens" / "tokens").to_pylist()
    lines = lines_of(tmp_path / "text")
    assert len(rows) == len(lines) == 5
    for row, line, sequence in zip(rows, lines, sequences, strict=True):
        assert line["text"] == tokenizer.decode(row["input_ids"][1:-1], skip_special_tokens=False)
        assert line["spans"] == sequence["spans"] and line["domain"] == sequence["method"]
        assert (row["id"], row["spans"]) == (sequence["id"], sequence["spans"])
    # The text of a row is the text of its chunks.
    for line in lines:
        texts = family_pool.texts([span["chunk"] for span in line["spans"]])
        assert "\n\n".join([*texts, ""]).startswith(line["text"].rstrip("\ufffd"))


def test_there_is_no_card_before_the_dataset_is_finished(tmp_path):
    with pytest.raises(nextlong.NextlongError, match="holds no finished dataset"):
        nextlong.load_dataset_card(tmp_path)
