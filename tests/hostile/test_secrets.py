"""Passwords and signatures of addresses, and keys of the environment, are in no output, log, card or error."""

from __future__ import annotations

import json
import logging
import time
import traceback
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_runs import run_cli
from hypothesis import given
from hypothesis import strategies as st
from secret_server import KEY, PASSWORD, SECRETS, SIGNATURE, USER, serving
from small_runs import GRANULARITY, LENGTH, POOL_OPTIONS, train_tokenizer, write_corpus

import nextlong
from nextlong.config import CorpusConfig
from nextlong.corpus import find_sources, read_source
from nextlong.corpus.source import WRAPPERS, public_name
from nextlong.errors import NextlongError, UsageError
from nextlong.public_text import redacted


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Host, and the folder that it serves: JSON Lines, Parquet, text, a tokenizer."""
    folder = tmp_path_factory.mktemp("served")
    write_corpus(folder / "corpus", files=1, documents=10)
    train_tokenizer(folder / "corpus", folder / "tokenizer")
    rows = [json.loads(line) for line in (folder / "corpus" / "part-0.jsonl").read_text().splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "corpus" / "part.parquet")
    (folder / "corpus" / "text.txt").write_text("a text\n" * 200)
    with serving(folder) as host:
        yield host, folder


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name, value in (
        ("NEXTLONG_API_KEY", KEY),
        ("HF_TOKEN", "hf_secretvalue"),
        ("AWS_SECRET_ACCESS_KEY", "aws-secret-value"),
    ):
        monkeypatch.setenv(name, value)


def address(host, path):
    """A URL with user, password and signature."""
    return f"http://{USER}:{quote(PASSWORD, safe='')}@{host}/{path}?sig={quote(SIGNATURE)}"


def known(text):
    """The secrets that a text gives away, as they are or as they stand in a URL."""
    return [secret for secret in SECRETS if secret in text or quote(secret, safe="") in text]


def given_away(folder):
    """The files below a folder with a secret in them or in their name."""
    return [
        path
        for path in folder.rglob("*")
        if known(str(path)) or (path.is_file() and known(path.read_bytes().decode("latin-1")))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("workers", (1, 2))
def test_a_corpus_behind_a_password_from_beginning_to_end(served, tmp_path, monkeypatch, caplog, workers):
    host, folder = served
    monkeypatch.chdir(tmp_path)
    inputs = [address(host, f"corpus/{name}") for name in ("part-0.jsonl", "text.txt")]
    encoder = ("--encoder", f"endpoint:http://{host}/v1?sig={quote(SIGNATURE)}&v=1", "--granularity", GRANULARITY)
    size = ("--length", LENGTH, "--roots", 2, "--tokenizer", folder / "tokenizer", "--workers", 1)
    with caplog.at_level(logging.INFO):
        for arguments in (
            ("index", *inputs, "--out", "pool", *encoder, "--plan"),
            ("index", *inputs, "--out", "pool", *encoder, "--workers", workers),
            ("index", *inputs, "--out", "pool", *encoder, "--workers", workers, "--json"),
            ("synthesize", "pool", "--out", "data", *size),
            ("synthesize", "pool", "--out", "data", *size, "--json"),
            ("verify", "pool"),
            ("verify", "data", "--json"),
            ("export", "data", "--out", "rows", "--format", "jsonl"),
            ("index", *inputs, "--out", "pool", *POOL_OPTIONS, "--workers", workers),  # changed: says what has changed
        ):
            result = run_cli(*arguments)
            assert result.exit_code == (2 if POOL_OPTIONS[0:2] == arguments[5:7] else 0), (arguments, result)
            assert known(result.stdout + result.stderr) == []
    assert f"http://{host}/corpus/part-0.jsonl" in (tmp_path / "data" / "README.md").read_text()
    assert f"endpoint:http://{host}/v1?…" in (tmp_path / "pool" / "pool.yaml").read_text()
    assert given_away(tmp_path) == []
    assert known(caplog.text) == []


@pytest.mark.parametrize(
    "path",
    (
        "corpus/missing.jsonl",
        "missing/",
        "missing/*.jsonl",
        "redirect/a.jsonl",
        "fails/a.jsonl",
        "closes/a.parquet",
        "corpus/no.kind",
    ),
)
def test_failures_of_a_storage_give_nothing_away(served, tmp_path, path):
    host, _ = served
    location = address(host, path)
    refused = address("127.0.0.1:1", path)
    denied = location.replace("hunter2", "hunter2hunter2")
    for one in (location, refused, denied, f"simplecache::{location}", f"zip://*.jsonl::{location}"):
        result = run_cli("index", one, "--out", tmp_path / "pool", *POOL_OPTIONS, "--workers", 1)
        assert result.exit_code in (1, 2) and "error: " in result.stderr, (one, result)
        assert known(result.stdout + result.stderr) == [], one
        with pytest.raises(NextlongError) as raised:
            nextlong.build_pool(one, tmp_path / "pool", workers=1, encoder={"name": "lsa"})
        assert known("".join(traceback.format_exception(raised.value))) == []
    assert given_away(tmp_path) == []


def test_a_storage_that_fails_while_it_is_read_gives_nothing_away(served):
    host, folder = served
    for name in ("gone.jsonl", "gone.parquet", "gone.txt"):
        (folder / name).write_bytes((folder / "corpus" / "part.parquet").read_bytes())
        config = CorpusConfig(inputs=(address(host, name),))
        (source,) = find_sources(config)
        (folder / name).unlink()
        with pytest.raises(NextlongError) as raised:
            list(read_source(source, config))
        said = "".join(traceback.format_exception(raised.value))
        assert name in said and known(said) == []


@pytest.mark.parametrize("url", ("http://{host}/v1?sig=wrong{sig}", "http://{host}/v1", "http://{user}@{host}/v1?sig={sig}"))
def test_failures_of_an_endpoint_give_nothing_away(served, tmp_path, monkeypatch, url):
    host, folder = served
    name = "endpoint:" + url.format(host=host, sig=quote(SIGNATURE), user=f"{USER}:{quote(PASSWORD, safe='')}")
    for encoder in (name, name.replace("http://", "htp://"), name.replace("endpoint", "endpoin")):
        result = run_cli("index", folder / "corpus", "--out", tmp_path / "pool", "--encoder", encoder)
        assert result.exit_code in (1, 2) and "error: " in result.stderr
        assert known(result.stdout + result.stderr) == []
        with pytest.raises(NextlongError) as raised:
            nextlong.build_pool(str(folder / "corpus"), tmp_path / "pool", workers=1, encoder={"name": encoder})
        assert known("".join(traceback.format_exception(raised.value))) == []
    assert given_away(tmp_path) == []


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("s3://AKIA0123:abc/def+gh@bucket/key.jsonl", "s3://bucket/key.jsonl"),
        ("simplecache::https://u:p@host/a.jsonl?sig=a::b", "simplecache::https://host/a.jsonl::…"),
        ("zip://*.jsonl::https://u:p@host/a.zip?sig=s", "zip://*.jsonl::https://host/a.zip"),
        ("https://host/@scope/a.jsonl", "https://host/@scope/a.jsonl"),
        ("https://host:80/@scope/a.jsonl", "https://host:80/@scope/a.jsonl"),
        ("http://[u:p@x/a.jsonl", "http://x/a.jsonl"),
        ("az://a?sv=1&sig=secret", "az://a"),
        ("a\nb\x1b.txt", "a\\nb\\x1b.txt"),
    ],
)
def test_addresses_are_shown_without_secrets(location, shown):
    assert public_name(location) == shown


@given(st.text(max_size=50))
def test_any_text_can_be_shown(text):
    for url in (text, f"https://{text}", f"https://u:pa55word@{text}", f"simplecache::s3://{text}"):
        assert "pa55word" not in redacted(url)
        assert "pa55word" not in public_name(url)


def test_a_very_long_word_takes_no_time_to_be_shown():
    """Such as a name in a recipe, or a line of a service's answer: a second for each of 10,000 letters squared, before."""
    started = time.process_time()
    shown = redacted("x" * 100_000 + "1https://u:pa55word@host/?sig=pa55word " + "a1." * 100_000)
    assert time.process_time() - started < 5
    assert "pa55word" not in shown and shown.count("x") == 100_000


ACCEPTED = ("memory", "file", "local", "s3", "gs", "az", "hf", "http", "https", "hdfs")
REFUSED = (
    "reference",
    "github",
    "git",
    "ssh",
    "sftp",
    "dir",
    "python",
    "jupyter",
    "dask",
    "smb",
    "libarchive",
    "zip",
    "tar",
    "data",
    "",
)


@pytest.mark.parametrize("protocol", REFUSED)
def test_protocols_that_do_more_than_read_are_refused(tmp_path, protocol):
    for location in (f"{protocol}://a/b.jsonl", f"{protocol}::memory://a/b.jsonl", f"simplecache::{protocol}://a/b.jsonl"):
        with pytest.raises(UsageError) as raised:
            find_sources(CorpusConfig(inputs=(location,)))
        assert any(word in raised.value.message for word in ("not among those that are trusted", "Nothing is at")), (
            raised.value
        )


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_protocols_of_storages_may_be_wrapped(tmp_path, wrapper):
    with pytest.raises(NextlongError) as raised:
        find_sources(CorpusConfig(inputs=(f"{wrapper}::file://{tmp_path}/nothing.jsonl",)))
    assert "trusted" not in raised.value.message
