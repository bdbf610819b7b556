"""What people get wrong: one clear error on standard error, the right exit code, and nothing lost."""

from __future__ import annotations

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from cli_runs import run_cli
from small_runs import LENGTH, POOL_OPTIONS, texts_of, train_tokenizer, write_corpus

import nextlong

FAILED, WRONG_USAGE = 1, 2
GOOD = [json.dumps({"id": f"good-{number}", "text": f"A good text, number {number}.\n" * 20}) for number in range(4)]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a corpus, a tokenizer and a pool."""
    folder = tmp_path_factory.mktemp("given")
    corpus = write_corpus(folder / "corpus", files=2)
    train_tokenizer(corpus, folder / "tokenizer")
    nextlong.build_pool(corpus, folder / "pool", workers=1, encoder={"name": "lsa"}, chunking={"granularity": 256})
    return folder


def index(corpus, out, *options):
    return run_cli("index", corpus, "--out", out, *POOL_OPTIONS, "--workers", 1, *options)


def synthesize(given, out, *options, tokenizer=None):
    return run_cli(
        "synthesize",
        given / "pool",
        "--out",
        out,
        "--tokenizer",
        tokenizer or given / "tokenizer",
        "--length",
        LENGTH,
        "--workers",
        1,
        *options,
    )


def assert_error(result, code, *words):
    """One error, on standard error only."""
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.lower().startswith("error:") or "Error" in line]
    assert len(errors) == 1, result.stderr
    flat = " ".join(result.stderr.replace("│", " ").split())  # the usage errors are framed and wrapped
    for word in words:
        assert word in flat, result.stderr


def rejects_of(pool):
    return [json.loads(line) for path in sorted((pool / "rejects").glob("*")) for line in path.read_text().splitlines()]


BAD_LINES = {
    "broken JSON": (b'{"text": "cut', "broken JSON"),
    "no object": (b"[1, 2]", "not a JSON object"),
    "no text": (b'{"id": "a"}', "no column `text`"),
    "null": (b'{"text": null}', "is null"),
    "number": (b'{"text": 5}', "is a number, not a string"),
    "list": (b'{"text": ["a"]}', "is a list, not a string"),
    "empty": (b'{"text": ""}', "is empty"),
    "blank": (b'{"text": " \\n\\t"}', "is only white space"),
    "not UTF-8": (b'{"text": "\xff\xfe"}', "is not UTF-8"),
    "half a character": (b'{"text": "\\ud800"}', "half of a surrogate pair"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_set_aside_with_file_line_and_reason(tmp_path, name):
    line, reason = BAD_LINES[name]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes(b"\n".join([GOOD[0].encode(), line, *(good.encode() for good in GOOD[1:])]) + b"\n")
    result = index(corpus, tmp_path / "pool")
    assert (result.exit_code, "rejected" in result.stdout) == (0, True)
    (reject,) = rejects_of(tmp_path / "pool")
    assert (reject["source"], reject["row"]) == (str(corpus), 2)
    assert reason in reject["reason"]
    assert nextlong.Pool(tmp_path / "pool").documents == len(GOOD)  # nothing else is lost
    assert_error(index(corpus, tmp_path / "strict", "--strict"), FAILED, f"{corpus}, row 2", reason, "Without --strict")


def test_strict_is_about_rows_set_aside_earlier_too(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n".join([GOOD[0], "{", *GOOD[1:]]))
    assert index(corpus, tmp_path / "pool").exit_code == 0
    assert_error(index(corpus, tmp_path / "pool", "--strict"), FAILED, "1 rows were rejected", "rejects")


def truncated_gzip(content):
    return gzip.compress(content)[:-20]


def truncated_zstandard(content):
    return zstandard.compress(content)[:-20]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", truncated_gzip), (".zst", truncated_zstandard)])
def test_a_file_cut_short_keeps_what_stands_before(tmp_path, suffix, pack):
    generator = random.Random(0)
    noise = [json.dumps({"text": f"{number} {generator.randbytes(300).hex(' ')}"}) for number in range(200)]
    corpus = tmp_path / f"corpus.jsonl{suffix}"
    corpus.write_bytes(pack("\n".join(noise).encode()))
    assert index(corpus, tmp_path / "pool").exit_code == 0
    (reject,) = rejects_of(tmp_path / "pool")
    assert "ends early" in reject["reason"]
    assert reject["row"] == nextlong.Pool(tmp_path / "pool").documents + 1
    assert_error(index(corpus, tmp_path / "strict", "--strict"), FAILED, "ends early")


def test_a_parquet_file_cut_short(tmp_path):
    corpus = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": [json.loads(good)["text"] for good in GOOD]}), corpus)
    corpus.write_bytes(corpus.read_bytes()[:-40])
    assert_error(index(corpus, tmp_path / "pool"), FAILED, "No document was found", "rejects")
    (reject,) = rejects_of(tmp_path / "pool")
    assert reject["source"] == str(corpus)


def test_no_document_at_all(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": ""}\n{"text": "  "}\n')
    assert_error(index(corpus, tmp_path / "pool"), FAILED, "No document was found", "2 rows rejected")
    corpus.write_text("")
    assert_error(index(corpus, tmp_path / "other"), FAILED, "No document was found", "Are the sources empty?")


def test_missing_corpus(tmp_path):
    assert_error(index(tmp_path / "nowhere.jsonl", tmp_path / "pool"), WRONG_USAGE, "nowhere.jsonl")
    assert not (tmp_path / "pool").exists()
    assert_error(run_cli("index", "--out", tmp_path / "pool"), WRONG_USAGE, "No corpus is given")


def test_ids_given_twice(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join([GOOD[0].replace("good-0", f"{name}-own"), GOOD[1]]) + "\n")
    result = run_cli(
        "index", tmp_path / "one.jsonl", tmp_path / "two.jsonl", "--out", tmp_path / "pool", *POOL_OPTIONS, "--workers", 1
    )
    assert_error(result, FAILED, "'good-1'", "one.jsonl, row 2", "two.jsonl, row 2", "--id-column")


def test_wrong_options(tmp_path, given):
    out = tmp_path / "out"
    assert_error(run_cli("index", "corpus", "--out", out, "--granularty", "5"), WRONG_USAGE, "--granularty")
    assert_error(run_cli("index", "corpus"), WRONG_USAGE, "--out")
    assert_error(run_cli("idnex"), WRONG_USAGE, "idnex")
    assert_error(index(given / "corpus", out, "--workers", "0"), WRONG_USAGE, "--workers")
    assert_error(index(given / "corpus", out, "--granularity", "many"), WRONG_USAGE, "'many' is not a length", "128K")
    assert_error(index(given / "corpus", out, "--granularity", "0"), WRONG_USAGE, "chunking.granularity", "greater than 0")
    assert_error(index(given / "corpus", out, "--chunker", "magic"), WRONG_USAGE, "chunking.chunker", "'lossless'")
    assert_error(index(given / "corpus", out, "--encoder", "magic"), WRONG_USAGE, "magic")
    assert_error(index(given / "corpus", out, "--recall-target", "2"), WRONG_USAGE, "index.recall_target")
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("pool:\n  chunking:\n    granularty: 5\n", ("`pool.chunking.granularty`", "Did you mean `granularity`?")),
        ("dataste:\n  length: 5\n", ("`dataste`", "Did you mean `dataset`?")),
        ("pool:\n  chunking:\n    granularity: [1]\n", ("`pool.chunking.granularity`", "[1] is not a length")),
        ("dataset:\n  seed: often\n", ("`dataset.seed`", "integer")),
        ("pool: 5\n", ("`pool`",)),
        ("- pool\n", ("is not a mapping",)),
        ("pool: {\n", ("Cannot read the recipe",)),
        ("\xff", ("recipe",)),
    ],
)
def test_wrong_recipes(tmp_path, content, words):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content.encode("latin-1"))
    assert_error(index("demo", tmp_path / "pool", "--recipe", recipe), WRONG_USAGE, "recipe.yaml", *words)
    assert not (tmp_path / "pool").exists()


def test_a_missing_recipe(tmp_path):
    assert_error(index("demo", tmp_path / "pool", "--recipe", tmp_path / "none.yaml"), WRONG_USAGE, "none.yaml")


def test_impossible_datasets(tmp_path, given):
    out = tmp_path / "out"
    assert_error(synthesize(given, out), WRONG_USAGE, "either tokens or roots")
    assert_error(synthesize(given, out, "--tokens", "1M", "--roots", "2"), WRONG_USAGE, "either tokens or roots")
    assert_error(synthesize(given, out, "--tokens", "10M"), FAILED, "root documents", "Ask for at most")
    assert_error(synthesize(given, out, "--roots", "2", "--length", "2"), WRONG_USAGE, "no room for text")
    assert_error(synthesize(given, out, "--roots", "2", "--length", "many"), WRONG_USAGE, "not a length")
    assert_error(synthesize(given, out, "--roots", "-2"), WRONG_USAGE, "roots")
    assert_error(synthesize(given, out, "--roots", "2", "--negatives", "some"), WRONG_USAGE, "mining.negatives", "'top'")
    assert not out.exists()
    too_long = synthesize(given, out, "--roots", "2", "--length", "16")
    assert_error(too_long, FAILED, "too long", "Add documents")
    exhausted = synthesize(given, tmp_path / "exhausted", "--roots", "1", "--length", "1M")
    assert_error(exhausted, FAILED, "The pool has run out", "tokens", "Add that much text")


def test_wrong_tokenizers(tmp_path, given):
    missing = run_cli("synthesize", given / "pool", "--out", tmp_path / "out", "--roots", "2")
    assert_error(missing, WRONG_USAGE, "No tokenizer is given", "--tokenizer")
    nowhere = synthesize(given, tmp_path / "out", "--roots", "2", tokenizer=tmp_path / "nowhere")
    assert_error(nowhere, WRONG_USAGE, "nowhere", "tokenizer.json")
    (tmp_path / "empty").mkdir()
    empty = synthesize(given, tmp_path / "out", "--roots", "2", tokenizer=tmp_path / "empty")
    assert_error(empty, WRONG_USAGE, "empty", "tokenizer.json")
    (tmp_path / "empty" / "tokenizer.json").write_text("{}")
    damaged = synthesize(given, tmp_path / "out", "--roots", "2", tokenizer=tmp_path / "empty")
    assert_error(damaged, FAILED, "tokenizer.json")
    assert_error(synthesize(given, tmp_path / "out", "--roots", 2, tokenizer="tiktoken:none"), WRONG_USAGE, "tiktoken")


def test_what_is_no_pool(tmp_path, given):
    (tmp_path / "folder").mkdir()
    tokenizer = given / "tokenizer"
    result = run_cli("synthesize", tmp_path / "folder", "--out", tmp_path / "out", "--roots", 2, "--tokenizer", tokenizer)
    assert_error(result, WRONG_USAGE, "folder")
    result = synthesize(given, tmp_path / "out", "--roots", "2", "--granularity", "100")
    assert_error(result, WRONG_USAGE, "is a pool already", "chunking")
    assert_error(run_cli("verify", tmp_path / "folder"), FAILED, "neither a pool nor a dataset")
    assert_error(run_cli("verify", tmp_path / "nowhere"), FAILED, "neither a pool nor a dataset")


ESCAPE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\u202e\x9b31m\r"


def is_safe(text):
    return all(character == "\n" or (ord(character) >= 32 and not 127 <= ord(character) < 160) for character in text) and (
        "\u202e" not in text
    )


def test_control_sequences_of_a_corpus_never_reach_the_terminal(tmp_path, given):
    corpus = tmp_path / f"corpus{ESCAPE[:10]}"
    corpus.mkdir()
    texts = texts_of(given / "corpus")
    lines = [json.dumps({"id": f"{ESCAPE}{number}", "text": f"{ESCAPE}{text}"}) for number, text in enumerate(texts)]
    (corpus / f"a{ESCAPE}.jsonl").write_text("\n".join([*lines, json.dumps({ESCAPE: 1})]) + "\n")
    built = index(corpus, tmp_path / "pool")
    assert built.exit_code == 0, built.stderr
    options = ("--roots", 1, "--length", 1024, "--keep-near-copies", "--tokenizer", given / "tokenizer", "--workers", 1)
    made = run_cli("synthesize", tmp_path / "pool", "--out", tmp_path / "data", *options)
    assert made.exit_code == 0, made.stderr
    assert "owned" in made.stdout  # the outline shows ids and texts
    with (corpus / f"a{ESCAPE}.jsonl").open("a") as file:
        file.write(lines[0] + "\n")
    changed = index(corpus, tmp_path / "pool")
    assert_error(changed, WRONG_USAGE, "another configuration", "owned")
    again = index(corpus, tmp_path / "pool", "--overwrite")
    assert_error(again, FAILED, "Two documents have the id", "owned")
    strict = index(corpus, tmp_path / "strict", "--strict")
    assert_error(strict, FAILED, "no column `text`", "owned")
    for result in (built, made, changed, again, strict):
        assert is_safe(result.stdout), repr(result.stdout)
        assert is_safe(result.stderr), repr(result.stderr)
