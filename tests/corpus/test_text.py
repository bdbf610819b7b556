"""Text files: ids, batches, bad files."""

import os

import pytest

from nextlong.config import CorpusConfig
from nextlong.corpus import find, find_sources, read_source
from nextlong.records import Document, Reject


def read(*inputs):
    config = CorpusConfig(inputs=tuple(map(str, inputs)))
    return [result for source in find_sources(config) for result in read_source(source, config)]


@pytest.fixture
def notes(tmp_path):
    for name in ("b.md", "a.txt", "deep/er/c.rst", "deep/d.text", ".hidden.txt", ".git/e.txt", "picture.png"):
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"I am {name}\n")
    return tmp_path / "notes"


def test_a_folder_gives_a_document_a_file_with_its_path_as_id(notes):
    names = ["a.txt", "b.md", "deep/d.text", "deep/er/c.rst"]
    assert read(notes) == [Document(row, f"I am {name}\n", name) for row, name in enumerate(names, start=1)]
    (source,) = find_sources(CorpusConfig(inputs=(str(notes),)))
    assert source.name == str(notes) and source.kind == "text"
    assert source.bytes == sum((notes / name).stat().st_size for name in names)


def test_a_lone_file_has_its_name_as_id_and_as_source(notes):
    assert read(notes / "deep/d.text") == [Document(1, "I am deep/d.text\n", "d.text")]
    (source,) = find_sources(CorpusConfig(inputs=(str(notes / "deep/d.text"),)))
    assert source.name == str(notes / "deep/d.text")


def test_many_lone_files_share_a_source(notes):
    sources = find_sources(CorpusConfig(inputs=(str(notes / "a.txt"), str(notes / "b.md"))))
    assert [source.files for source in sources] == [("a.txt", "b.md")]


def test_a_pattern_has_ids_relative_to_its_fixed_folder(notes):
    assert [document.id for document in read(notes / "**" / "*.[rt]*")] == ["a.txt", "deep/d.text", "deep/er/c.rst"]


def test_the_same_path_in_two_folders_gives_two_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.txt").write_text(folder)
    assert [document.id for document in read("train", "test")] == ["train/1.txt", "test/1.txt"]
    assert [document.id for document in read("train", "test/1.txt")] == ["train/1.txt", "test/1.txt"]
    assert [document.id for document in read("train")] == ["1.txt"]


def test_many_files_become_few_sources_with_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "TEXT_FILES_PER_SOURCE", 40)
    for i in range(100):
        (tmp_path / f"{i:03}.txt").write_text(f"text {i}")
    config = CorpusConfig(inputs=(str(tmp_path),))
    sources = find_sources(config)
    assert [len(source.files) for source in sources] == [40, 40, 20]
    assert len({source.name for source in sources}) == 3 and sources[1].name.endswith("(text files 41-80)")
    assert [document.text for source in sources for document in read_source(source, config)] == [
        f"text {i}" for i in range(100)
    ]


def test_big_files_are_spread_over_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "TEXT_BYTES_PER_SOURCE", 1000)
    for i, size in enumerate([600, 300, 200, 5000, 10]):
        (tmp_path / f"{i}.txt").write_text("x" * size)
    sources = find_sources(CorpusConfig(inputs=(str(tmp_path),)))
    assert [source.bytes for source in sources] == [900, 200, 5000, 10]


def test_bad_files_are_rejects_that_name_the_file(tmp_path):
    contents = {
        "a.txt": b"",
        "b.txt": b" \n",
        "c.txt": b"caf\xe9",
        "d.txt": "x".encode("utf-16"),
        "e.txt": b"\xef\xbb\xbfgood\r\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    *rejects, good = read(tmp_path)
    assert good == Document(5, "good\r\n", "e.txt")
    reasons = ["a.txt is empty", "b.txt is only white space", "c.txt is not UTF-8: byte 3", "d.txt is UTF-16"]
    for row, (reject, reason) in enumerate(zip(rejects, reasons, strict=True), start=1):
        assert isinstance(reject, Reject) and reject.row == row and reject.reason.startswith(reason)


def test_a_file_name_that_is_not_utf8_gives_a_valid_id(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    (document,) = read(tmp_path)
    assert document == Document(1, "text", "caf\\xe9.txt")


def test_the_notes_beside_data_are_no_documents(tmp_path):
    for name in ("README.md", "data/LICENSE.txt", "data/essay.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [document.text for document in read(tmp_path)] == ["README.md", "data/LICENSE.txt", "data/essay.txt"]
    (tmp_path / "corpus.jsonl").write_text('{"text": "row"}\n')
    assert [document.text for document in read(tmp_path)] == ["row", "data/essay.txt"]
    assert [document.text for document in read(tmp_path / "README.md")] == ["README.md"]
