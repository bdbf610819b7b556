"""The worked example of docs/writing-a-method.md, installed by pip into a folder of its own and used by the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from installed_plugins import EXAMPLE, install_example
from small_runs import LENGTH, POOL_OPTIONS, contents, finished, leftovers, start, train_tokenizer, write_corpus

from nextlong.execution.files import read_description, write_description
from nextlong.tokenization.tokenizer import load_tokenizer

SEQUENCES = 40
BATCHES = 10  # of four sequences, by small_runs' size of a shard
TOKENS = SEQUENCES * LENGTH
SYNTHESIZE = (
    "synthesize",
    "pool",
    "--length",
    LENGTH,
    "--tokens",
    TOKENS,
    "--tokenizer",
    "tokenizer",
    "--method",
    "by-length",
)
LONGEST_FIRST = ("--option", "longest_first=true")

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """A folder with a pool, a tokenizer, and the example installed in ``plugins``."""
    folder = tmp_path_factory.mktemp("shop")
    install_example(folder / "plugins")
    corpus = write_corpus(folder / "corpus", files=4, documents=40)
    train_tokenizer(corpus, folder / "tokenizer")
    done = finished("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--workers", 1, "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", autouse=True)
def _on_the_path(shop):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(shop / "plugins"))
        yield


@pytest.fixture(scope="module")
def made(shop) -> Path:
    """The dataset of two workers, longest documents first."""
    done = finished(*SYNTHESIZE, *LONGEST_FIRST, "--out", "data", "--workers", 2, "--quiet", cwd=shop)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return shop / "data"


def rows_of(dataset: Path, part: str) -> Rows:
    return [row for path in sorted((dataset / part).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def texts_by_id(shop: Path) -> dict[str, str]:
    lines = [line for path in (shop / "corpus").glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    return {document["id"]: document["text"] for document in map(json.loads, lines)}


def documents_in_order(rows: Rows) -> list[str]:
    """The ids of the documents of all rows, each where it begins; one that goes on in the next row is one document."""
    ids = [span["document"] for row in rows for span in row["spans"]]
    return [after for before, after in pairwise(["", *ids]) if before != after]


def test_documents_come_in_the_order_of_their_length(shop, made):
    assert len(list((made / "sequences").glob("*.parquet"))) == BATCHES
    documents, texts = documents_in_order(rows_of(made, "sequences")), texts_by_id(shop)
    assert len(set(documents)) == len(documents) > 2 * BATCHES
    lengths = [len(texts[document]) for document in documents]
    assert lengths == sorted(lengths, reverse=True) and len(set(lengths)) > 20
    # They are the longest of the corpus; where a shard ends, a document or two are left out.
    longest = sorted((len(text) for text in texts.values()), reverse=True)
    assert lengths[0] == longest[0]
    left_out = [length for length in longest if length > lengths[-1]]
    assert len(left_out) - sum(length > lengths[-1] for length in lengths) <= 2 * BATCHES


def test_rows_are_exactly_long_and_every_token_is_traced(shop, made):
    tokenizer, texts = load_tokenizer(str(shop / "tokenizer")), texts_by_id(shop)
    rows = rows_of(made, "tokens")
    assert [row["id"] for row in rows] == [f"by-length-{number:08d}" for number in range(SEQUENCES)]
    for row in rows:
        tokens, spans = row["input_ids"], row["spans"]
        assert len(tokens) == LENGTH
        assert (spans[0]["token_start"], spans[-1]["token_end"]) == (1, LENGTH - 1)
        assert all(before["token_end"] == after["token_start"] for before, after in pairwise(spans))
        for span in spans:
            text = tokenizer.decode(tokens[span["token_start"] : span["token_end"]])
            assert text.rstrip("\n\ufffd") in texts[span["document"]]
            assert span["role"] == "document"


def test_verify_proves_what_the_method_promises(shop, made):
    done = finished("verify", "data", "--workers", 2, cwd=shop)
    assert done.returncode == 0, done.stderr
    documents = sum(len({span["document"] for span in row["spans"]}) for row in rows_of(made, "sequences"))
    assert re.search(rf"^ +{SEQUENCES}  rows of documents in descending order of length$", done.stdout, re.M), done.stdout
    assert re.search(rf"^ +{documents}  documents in one piece, their chunks in order$", done.stdout, re.M), done.stdout


def test_verify_finds_documents_in_another_order(shop, made):
    """The description says now that the shortest come first: every row of documents of different lengths breaks that."""
    copied = shop / "otherwise"
    done = finished(*SYNTHESIZE, "--out", copied, "--workers", 1, "--quiet", cwd=shop)
    assert done.returncode == 0, done.stderr
    ascending = [len(texts_by_id(shop)[document]) for document in documents_in_order(rows_of(copied, "sequences"))]
    assert ascending == sorted(ascending)
    path = copied / "dataset.yaml"
    description = read_description(path)
    assert description["config"]["options"] == {}
    write_description(path, {**description, "config": {**description["config"], "options": {"longest_first": True}}})
    done = finished("verify", copied, "--workers", 1, cwd=shop)
    assert done.returncode == 1, done.stdout
    assert "against the order of their lengths" in done.stdout + done.stderr


def test_one_worker_makes_the_same_bytes(shop, made):
    done = finished(*SYNTHESIZE, *LONGEST_FIRST, "--out", "alone", "--workers", 1, "--quiet", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert contents(shop / "alone") == contents(made)


def test_a_killed_run_goes_on_to_the_same_bytes(shop, made):
    killed = 0
    for attempt in range(10):
        name = f"killed-{attempt}"
        process = start(*SYNTHESIZE, *LONGEST_FIRST, "--out", name, "--workers", 2, "--quiet", cwd=shop)
        receipts = shop / name / "receipts" / "compose"
        while not any(receipts.glob("*.json")) and process.poll() is None:
            time.sleep(0.001)
        was_running = process.poll() is None
        if was_running:
            os.killpg(process.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=100)
        assert was_running or process.returncode == 0, stderr
        killed = len(list(receipts.glob("*.json")))
        if was_running and not (shop / name / "dataset.yaml").exists() and killed < BATCHES:
            break
    assert 0 < killed < BATCHES, "no run could be killed in the middle of composing"
    done = finished(*SYNTHESIZE, *LONGEST_FIRST, "--out", name, "--workers", 1, cwd=shop)
    assert done.returncode == 0, done.stderr
    assert re.search(r"compose +\d+ sequences are done already", done.stderr), done.stderr
    assert contents(shop / name) == contents(made)
    assert leftovers(shop / name) == []


def test_a_changed_option_is_refused_until_overwrite_is_given(shop):
    one_batch = ("synthesize", "pool", "--length", LENGTH, "--roots", 3, "--tokenizer", "tokenizer", "--method", "by-length")
    to_changed = (*one_batch, "--out", "changed", "--workers", 1, "--quiet")
    assert finished(*to_changed, cwd=shop).returncode == 0
    before = contents(shop / "changed")
    refused = finished(*to_changed, *LONGEST_FIRST, cwd=shop)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "error: changed was made with another configuration:\n  config.options.longest_first: " in refused.stderr
    assert "Give --overwrite" in refused.stderr
    assert contents(shop / "changed") == before
    again = finished(*to_changed, *LONGEST_FIRST, "--overwrite", cwd=shop)
    assert again.returncode == 0, again.stderr
    fresh = finished(*one_batch, *LONGEST_FIRST, "--out", "fresh", "--workers", 1, "--quiet", cwd=shop)
    assert fresh.returncode == 0, fresh.stderr
    assert contents(shop / "changed") == contents(shop / "fresh") != before


def test_methods_shows_it(shop):
    everything = finished("methods", cwd=shop).stdout
    assert re.search(r"^by-length +documents in the order .* \(from nextlong-by-length 0\.1\.0\)$", everything, re.M)
    one = finished("methods", "by-length", cwd=shop).stdout
    assert "From the package nextlong-by-length 0.1.0." in one
    assert "\n  longest_first=false\n      go from the longest document to the shortest, " in one


def test_the_data_card_names_the_package(made):
    card = (made / "README.md").read_text(encoding="utf-8")
    assert "What a sequence is: documents in the order of their length, one after the other.\n" in card
    assert "The method is brought by the package nextlong-by-length 0.1.0.\n" in card


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            ["--option", "longest_frist=true"],
            "Unknown key `longest_frist` in the options of the method by-length.",
            "Did you",
        ),
        (
            ["--option", "longest_first=maybe"],
            "Wrong value for `longest_first` in the options of the method",
            "`nextlong met",
        ),
        (["--range-min", "3"], "The method `by-length` does not use `range_min`, so 3 would do nothing.", "`nextlong meth"),
    ],
)
def test_wrong_options_are_clear_errors(shop, options, message, hint):
    done = finished(*SYNTHESIZE, *options, "--out", "wrong", cwd=shop)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert f"\n  {hint}" in done.stderr and "Traceback" not in done.stderr
    assert not (shop / "wrong").exists()


def test_without_the_plugin_its_dataset_cannot_be_verified(shop, made, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    done = finished("verify", "data", cwd=shop)
    assert done.returncode == 2
    assert "error: Unknown method `by-length`.\n  If another package brings it, install that package." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_document_shows_the_example_as_it_is():
    shown = (EXAMPLE.parent.parent / "docs" / "writing-a-method.md").read_text(encoding="utf-8")
    assert f"```python\n{(EXAMPLE / 'by_length.py').read_text(encoding='utf-8')}```" in shown
    points = re.search(r"^\[project\.entry-points.*\n.*\n", (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert points is not None
    assert all(f"    {line}\n" in shown for line in points[0].splitlines())
