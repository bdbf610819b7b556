"""Which sources inputs name: order, duplicates, patterns, storage, credentials, errors."""

import os
import pickle
import uuid
from pathlib import Path

import fsspec
import pytest

from nextlong.config import CorpusConfig
from nextlong.corpus import Source, find_sources, read_source
from nextlong.corpus.source import public_name, reading_error
from nextlong.errors import NextlongError, UsageError

LINE = b'{"text": "x"}\n'


def find(*inputs):
    return find_sources(CorpusConfig(inputs=tuple(map(str, inputs))))


def texts(*inputs):
    config = CorpusConfig(inputs=inputs)
    return [document.text for source in find_sources(config) for document in read_source(source, config)]


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jsonl", "a.jsonl.zst", "sub/c.parquet", "sub/d.json.gz", "e.csv", ".f.jsonl", ".cache/g.jsonl"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINE)
    return tmp_path / "corpus"


@pytest.fixture
def memory():
    """An address in fsspec's storage in memory, and how to write there."""
    base = f"memory://{uuid.uuid4().hex}"

    def write(name, content):
        with fsspec.open(f"{base}/{name}", "wb") as file:
            file.write(content)

    return base, write


def test_a_folder_is_searched_in_sorted_order_without_hidden_names(folder):
    sources = find(folder)
    assert [source.name for source in sources] == [
        f"{folder}/{name}" for name in ("a.jsonl.zst", "b.jsonl", "sub/c.parquet", "sub/d.json.gz")
    ]
    assert [source.kind for source in sources] == ["jsonl", "jsonl", "parquet", "jsonl"]
    assert all(source.bytes == len(LINE) for source in sources)


def test_names_are_as_given_and_locations_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for given in ("sub", "sub/*", "./sub/../sub", "**/c.*"):
        source = find(given)[0]
        assert source.name.endswith("sub/c.parquet") and not Path(source.name).is_absolute()
        assert Path(source.location) == folder / "sub/c.parquet"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jsonl*", ["a.jsonl.zst", "b.jsonl"]),
        ("**/*.json*", ["a.jsonl.zst", "b.jsonl", "sub/d.json.gz"]),
        ("**", ["a.jsonl.zst", "b.jsonl", "sub/c.parquet", "sub/d.json.gz"]),
        ("s?b", ["sub/c.parquet", "sub/d.json.gz"]),
        ("[ab].*", ["a.jsonl.zst", "b.jsonl"]),
    ],
)
def test_patterns(folder, pattern, names):
    assert [source.name for source in find(folder / pattern)] == [f"{folder}/{name}" for name in names]


def test_a_name_with_wildcards_in_it_is_a_name_first(tmp_path):
    (tmp_path / "a[1].jsonl").write_bytes(LINE)
    (tmp_path / "a1.jsonl").write_bytes(LINE)
    assert [source.name for source in find(tmp_path / "a[1].jsonl")] == [f"{tmp_path}/a[1].jsonl"]


def test_what_is_given_twice_is_taken_once_in_the_order_given(folder):
    sources = find(folder / "sub/c.parquet", folder, folder / "**", f"file://{folder}/b.jsonl", "demo", "demo")
    assert [Path(source.location).name for source in sources] == ["c.parquet", "a.jsonl.zst", "b.jsonl", "d.json.gz", "demo"]


def test_links_are_followed_once(folder):
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "again.jsonl").symlink_to(folder / "b.jsonl")
    names = [Path(source.name).name for source in find(folder)]
    assert sorted(names) == ["a.jsonl.zst", "again.jsonl", "c.parquet", "d.json.gz"]


def test_a_fingerprint_changes_with_the_file_and_only_then(folder):
    file = folder / "b.jsonl"
    first = find(file)[0].fingerprint
    assert find(file)[0].fingerprint == first
    os.utime(file, ns=(1, 1))
    second = find(file)[0].fingerprint
    file.write_bytes(LINE * 2)
    os.utime(file, ns=(1, 1))
    assert len({first, second, find(file)[0].fingerprint}) == 3


def test_a_text_folder_s_fingerprint_covers_names_and_files(tmp_path):
    def fingerprint():
        return find(tmp_path)[0].fingerprint

    (tmp_path / "a.txt").write_text("one")
    seen = [fingerprint()]
    (tmp_path / "b.txt").write_text("two")
    seen.append(fingerprint())
    (tmp_path / "b.txt").write_text("three")
    seen.append(fingerprint())
    (tmp_path / "b.txt").rename(tmp_path / "c.txt")
    seen.append(fingerprint())
    assert len(set(seen)) == 4 and fingerprint() == seen[-1]


def test_sources_travel_to_other_processes(folder):
    sources = find(folder, "demo")
    assert pickle.loads(pickle.dumps(sources)) == sources  # noqa: S301 (its own bytes)


def test_storage_in_memory_by_file_folder_and_pattern(memory):
    base, write = memory
    write("b.jsonl", b'{"text": "b"}\n')
    write("sub/a.jsonl", b'{"text": "a"}\n')
    write("sub/c.csv", b"c")
    assert texts(f"{base}/b.jsonl") == ["b"]
    assert texts(base) == texts(f"{base}/") == texts(f"{base}/**") == ["b", "a"]
    assert texts(f"{base}/*/*.jsonl") == texts(f"{base}/sub/*") == ["a"]
    (source,) = find(f"{base}/s*/a.*")
    assert source == Source(f"{base}/sub/a.jsonl", f"{base}/sub/a.jsonl", "jsonl", 14, source.fingerprint)


def test_text_and_parquet_in_storage(memory, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    base, write = memory
    write("notes/x.txt", b"text x")
    write("notes/deep/y.md", b"text y")
    pq.write_table(pa.table({"text": ["p", "q"]}), tmp_path / "p.parquet")
    write("p.parquet", (tmp_path / "p.parquet").read_bytes())
    config = CorpusConfig(inputs=(f"{base}/notes", f"{base}/p.parquet"))
    notes, table = find_sources(config)
    assert [(d.id, d.text) for d in read_source(notes, config)] == [("deep/y.md", "text y"), ("x.txt", "text x")]
    assert [d.text for d in read_source(table, config)] == ["p", "q"]


def test_a_change_in_storage_changes_the_fingerprint(memory):
    base, write = memory
    write("a.jsonl", LINE)
    first = find(f"{base}/a.jsonl")[0].fingerprint
    assert find(f"{base}/a.jsonl")[0].fingerprint == find(base)[0].fingerprint == first
    write("a.jsonl", LINE * 2)
    assert find(f"{base}/a.jsonl")[0].fingerprint != first


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:secret@host/a.jsonl?sig=secret#secret", "https://host/a.jsonl"),
        ("ftp://user:secret@host:21/a.jsonl", "ftp://host:21/a.jsonl"),
        ("simplecache::s3://key:secret@bucket/a.jsonl", "simplecache::s3://bucket/a.jsonl"),
        ("s3://bucket/a b.jsonl", "s3://bucket/a b.jsonl"),
        ("memory://a/b.jsonl", "memory://a/b.jsonl"),
        ("/data/a?b#c@d.jsonl", "/data/a?b#c@d.jsonl"),
    ],
)
def test_names_hold_no_credentials(location, shown):
    assert public_name(location) == shown


def test_errors_hold_no_credentials():
    location = "https://user:secret@host/a.jsonl?sig=hidden"
    error = reading_error(location, OSError(f"404: {location}"))
    assert "secret" not in str(error) and "hidden" not in str(error) and "https://host/a.jsonl" in str(error)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{folder}/nothing.jsonl", ["nothing.jsonl", "Looked in"]),
        ("{folder}/*.arrow", ["*.arrow", "matches nothing"]),
        ("{folder}/*.csv", ["*.csv", "none of a known kind", ".parquet"]),
        ("{folder}/e.csv", ["e.csv", "not of a known kind", ".jsonl"]),
        ("{folder}/.cache/empty", ["empty", "holds no file of a known kind"]),
        ("memory://nowhere/at/all.jsonl", ["memory://nowhere/at/all.jsonl", "matches nothing"]),
        ("nosuchprotocol://host/a.jsonl", ["nosuchprotocol"]),
        (" ", ["empty name"]),
        ("hf:", ["names no dataset"]),
    ],
)
def test_an_input_that_names_nothing_is_an_error_that_says_so(folder, given, words):
    (folder / ".cache" / "empty").mkdir()
    with pytest.raises(NextlongError) as caught:
        find(given.format(folder=folder))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_no_inputs_at_all():
    with pytest.raises(UsageError, match="No corpus"):
        find()


def test_a_file_that_went_away_is_an_error_with_its_name(folder):
    config = CorpusConfig(inputs=(str(folder / "b.jsonl"),))
    (source,) = find_sources(config)
    (folder / "b.jsonl").unlink()
    with pytest.raises(NextlongError, match=r"Cannot read .*b\.jsonl"):
        list(read_source(source, config))
