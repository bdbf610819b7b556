"""Where texts and documents went, against the table and the rows' own tokens."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import run_cli

import nextlong
from nextlong.errors import UsageError
from nextlong.inspection.opened import Dataset
from nextlong.inspection.provenance import chunks_with, document_named, origin, places_of
from nextlong.tokenization.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def dataset(looked_at):
    return Dataset(looked_at["nextlong"])


def test_a_document_is_found_everywhere(dataset, family_corpus):
    rows = pq.read_table(dataset.folder / "sequences").to_pylist()
    for identity in (rows[0]["root"], rows[3]["spans"][2]["document"]):
        found = list(places_of(dataset, dataset.pool.chunks_of(document_named(dataset.pool, identity))))
        expected = [
            (row["id"], number, span["token_start"], span["token_end"], span["position"], span["role"])
            for number, row in enumerate(rows)
            for span in row["spans"]
            if span["document"] == identity
        ]
        assert expected
        assert [(p.sequence, p.number, p.token_start, p.token_end, p.position, p.role) for p in found] == expected
        known = origin(dataset.pool, document_named(dataset.pool, identity))
        line = family_corpus.read_text(encoding="utf-8").splitlines()[known.row - 1]
        assert json.loads(line)["id"] == identity == known.document
        assert known.characters == len(json.loads(line)["text"])


def test_a_text_is_found_in_the_tokens_that_are_named(dataset, looked_at, tokenizer_folder):
    rows = pq.read_table(dataset.folder / "tokens").to_pylist()
    chunk = rows[1]["spans"][3]["chunk"]
    words = " ".join(dataset.pool.texts([chunk])[0].split("\n")[0].split(" ")[2:6])
    chunks = chunks_with(dataset.pool, words)
    assert chunk in chunks
    texts = dataset.pool.texts(np.arange(dataset.pool.chunks))
    assert chunks.tolist() == [number for number, text in enumerate(texts) if words in text]
    tokenizer = load_tokenizer(tokenizer_folder)
    places = list(places_of(dataset, chunks))
    assert any(place.sequence == rows[1]["id"] and place.chunk == chunk for place in places)
    by_id = {row["id"]: row["input_ids"] for row in rows}
    for place in places[:20]:
        shown = tokenizer.decode(by_id[place.sequence][place.token_start : place.token_end])
        assert words in shown or place.token_end >= dataset.config.length - 1  # cut off at the end of the row


def test_the_outline_of_a_sequence_is_in_the_order_of_its_tokens(family_pool, tokenizer_folder, tmp_path):
    keys = {"length": 1024, "roots": 2, "tokenizer": tokenizer_folder, "workers": 1}
    nextlong.synthesize(family_pool, tmp_path / "data", composition={"method": "untie"}, **keys)
    spans = Dataset(tmp_path / "data").numbered(0).spans
    assert (np.diff(spans.groups) < 0).any()  # the chunks of several documents are interleaved
    shown = run_cli("inspect", tmp_path / "data", "--sequence", 0).stdout.splitlines()[2:]
    expected = [f"{start:,}-{end:,}" for start, end in zip(spans.token_starts, spans.token_ends, strict=True)]
    assert [line.split()[0] for line in shown] == expected


def test_what_is_not_there_is_said(dataset):
    with pytest.raises(UsageError, match="has no document nobody"):
        document_named(dataset.pool, "nobody")
    with pytest.raises(UsageError, match="empty text"):
        chunks_with(dataset.pool, "")
    with pytest.raises(UsageError, match="there is no number 12"):
        dataset.numbered(12)
    with pytest.raises(UsageError, match="its number 3 is nextlong-00000003"):
        dataset.named("knn-00000003")
    with pytest.raises(UsageError, match="is no sequence"):
        dataset.named("nothing")
    assert dataset.named("3").ids == dataset.named("nextlong-00000003").ids == ["nextlong-00000003"]


def test_the_commands(dataset, looked_at):
    folder, sequence = looked_at["nextlong"], dataset.numbered(2)
    outline = run_cli("inspect", folder, "--sequence", 2)
    assert outline.exit_code == 0
    assert outline.stdout.count("negative") + outline.stdout.count("meta-chunk") == len(sequence.spans.chunks) + 1
    text = run_cli("inspect", folder, "--sequence", sequence.ids[0], "--text")
    for line in dataset.pool.texts([int(sequence.spans.chunks[1])])[0].splitlines():
        assert "".join(line.split())[:40] in "".join(text.stdout.split())
    found = run_cli("inspect", folder, "--document", sequence.roots[0])
    assert "row" in found.stdout
    assert sequence.ids[0] in found.stdout
    of_sequence = json.loads(run_cli("inspect", folder, "--sequence", 2, "--json").stdout)
    row = pq.read_table(folder / "sequences").to_pylist()[2]
    assert of_sequence == [{"sequence": row["id"], "number": 2, **span} for span in row["spans"]]
    assert json.loads(run_cli("inspect", folder, "--find", "words that nobody wrote", "--json").stdout) == []
    listed = json.loads(run_cli("inspect", folder, "--document", sequence.roots[0], "--json").stdout)
    assert {"sequence", "token_start", "token_end", "role"} <= set(listed[0])
    nothing = run_cli("inspect", folder, "--find", "words that nobody wrote")
    assert "No sequence has any of it" in nothing.stdout
    assert run_cli("inspect", folder).stdout.startswith("Dataset")
    assert run_cli("inspect", dataset.pool.folder).stdout.startswith("Pool")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sequence", 1, "--find", "x"), "show different things"),
        (("--sequence", 10**6), "there is no number"),
        (("--document", "nobody"), "has no document"),
        (("--find", ""), "empty text"),
        (("--find", "\udcff"), "no valid text"),
        (("--document", "\udcff"), "has no document"),
        (("--sequence", "9" * 5000), "is no sequence"),
        (("--text",), "of one sequence"),
        (("--json",), "nextlong stats"),
        (("--seed", -1), "greater than or equal to 0"),
    ],
)
def test_mistakes_are_explained(looked_at, options, message):
    result = run_cli("inspect", looked_at["nextlong"], *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_stats_prints_an_object_or_a_list(looked_at, dataset):
    one = json.loads(run_cli("stats", looked_at["knn"]).stdout)
    assert (one["kind"], one["method"]) == ("dataset", "knn")
    both = json.loads(run_cli("stats", looked_at["knn"], dataset.pool.folder).stdout)
    assert [each["kind"] for each in both] == ["dataset", "pool"]
    assert both[0] == one
