"""JSON Lines in every packing, every reason for a reject, damage, hostile bytes and bounded memory."""

import gzip
import json
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from nextlong.config import CorpusConfig
from nextlong.corpus import find_sources, jsonl, read_source
from nextlong.records import Document, Reject

THREE_LINES = b'{"text": "one", "id": "a"}\n{"text": "two"}\n{"text": "three", "id": 7}\n'
THREE = [Document(1, "one", "a"), Document(2, "two", None), Document(3, "three", "7")]


def read(path, **config):
    config = CorpusConfig(inputs=(str(path),), **config)
    (source,) = find_sources(config)
    return list(read_source(source, config))


def written(folder, content, name="corpus.jsonl"):
    path = folder / name
    path.write_bytes(content)
    return path


def many_lines(count):
    return b"".join(b'{"text": "document number %d of some, %d"}\n' % (i, i * i % 9973) for i in range(1, count + 1))


def zstd(content):
    return zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", THREE_LINES),
        ("a.json", THREE_LINES),
        ("a.ndjson", THREE_LINES),
        ("A.JSONL", THREE_LINES),
        ("a.jsonl.gz", gzip.compress(THREE_LINES, mtime=0)),
        ("two members.jsonl.gz", gzip.compress(THREE_LINES[:30], mtime=0) + gzip.compress(THREE_LINES[30:], mtime=0)),
        ("padded.jsonl.gz", gzip.compress(THREE_LINES, mtime=0) + bytes(512)),
        ("a.jsonl.zst", zstd(THREE_LINES)),
        ("two frames.json.zstd", zstd(THREE_LINES[:30]) + zstd(THREE_LINES[30:])),
        ("skippable frame first.jsonl.zst", b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + zstd(THREE_LINES)),
        ("skippable frame last.jsonl.zst", zstd(THREE_LINES) + b"\x5f\x2a\x4d\x18\x00\x00\x00\x00"),
        ("unpacked by a browser.jsonl.gz", THREE_LINES),
        ("packed without saying so.jsonl", gzip.compress(THREE_LINES, mtime=0)),
        ("byte order mark.jsonl", b"\xef\xbb\xbf" + THREE_LINES),
        ("windows.jsonl", THREE_LINES.replace(b"\n", b"\r\n")),
        ("no last line feed.jsonl", THREE_LINES.rstrip(b"\n")),
    ],
)
def test_every_packing_gives_the_same_documents(tmp_path, name, content):
    assert read(written(tmp_path, content, name)) == THREE


def test_blank_lines_are_counted_and_passed_over(tmp_path):
    path = written(tmp_path, b'\n{"text": "one"}\n \t\r\n\n{"text": "two"}\n\n')
    assert read(path) == [Document(2, "one"), Document(5, "two")]


def test_other_line_separators_do_not_end_a_line(tmp_path):
    text = "a\u2028b\u0085c\x0bd\x0ce"
    path = written(tmp_path, json.dumps({"text": text}, ensure_ascii=False).encode())
    assert read(path) == [Document(1, text)]


def test_an_empty_file_has_no_rows(tmp_path):
    assert read(written(tmp_path, b"")) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "x"', "broken JSON at column 13"),
        (b'{"text": "secret words" nonsense}', "broken JSON at column 25"),
        (b'["text"]', "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"body": "x", "title": "y"}', "no column `text`; the row has `body`, `title`"),
        (b"{}", "no column `text`; the row has no columns"),
        (b'{"text": null}', "is null"),
        (b'{"text": 5}', "is a number, not a string"),
        (b'{"text": true}', "is a boolean, not a string"),
        (b'{"text": ["x"]}', "is a list, not a string"),
        (b'{"text": {"x": 1}}', "is an object, not a string"),
        (b'{"text": ""}', "is empty"),
        (b'{"text": " \\n\\u00a0\\t"}', "only white space"),
        (b'{"text": "caf\xe9"}', "not UTF-8: byte 13 (counted from 0) is 0xe9"),
        (b'{"text": "ab\\ud800c"}', "character 2 (counted from 0) is half of a surrogate pair"),
        (b'{"text": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"text": "x", "n": ' + b"1" * 5000 + b"}", "too many digits"),
        (b'{"text": "\x00"}', "broken JSON at column 11"),
        (b'{"text": "x"}{"text": "y"}', "broken JSON at column 14"),
    ],
)
def test_a_bad_row_is_rejected_with_its_number_and_its_neighbours_stay(tmp_path, line, reason):
    first, second, third = read(written(tmp_path, b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n'))
    assert first == Document(1, "before")
    assert third == Document(3, "after")
    assert isinstance(second, Reject) and second.row == 2
    assert reason in second.reason
    assert "secret" not in second.reason and len(second.reason) < 300


def test_a_json_array_is_told_from_json_lines(tmp_path):
    (reject,) = read(written(tmp_path, b'[{"text": "x"}]'))
    assert reject.row == 1 and "not JSON Lines" in reject.reason


def test_utf16_is_one_reject_of_the_file(tmp_path):
    (reject,) = read(written(tmp_path, '{"text": "x"}\n{"text": "y"}\n'.encode("utf-16")))
    assert reject.row == 0 and "UTF-16" in reject.reason


def test_many_and_hostile_column_names_give_a_short_valid_reason(tmp_path):
    row = {f"{'long' * 50}{i}\ud800": i for i in range(500)}
    (reject,) = read(written(tmp_path, json.dumps(row).encode()))
    reject.reason.encode("utf-8")
    assert "480 more" in reject.reason and len(reject.reason) < 2000


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"text": "x", "id": "k"}', "k"),
        (b'{"text": "x", "id": -3}', "-3"),
        (b'{"text": "x"}', None),
        (b'{"text": "x", "id": null}', None),
        (b'{"text": "x", "id": ""}', None),
        (b'{"text": "x", "id": " "}', None),
        (b'{"text": "x", "id": 1.5}', None),
        (b'{"text": "x", "id": true}', None),
        (b'{"text": "x", "id": "\\udfff"}', None),
        (b'{"text": "x", "id": [1]}', None),
    ],
)
def test_without_an_id_column_a_usable_id_is_taken_and_no_row_is_rejected(tmp_path, line, id):
    assert read(written(tmp_path, line)) == [Document(1, "x", id)]


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (b'{"text": "x", "key": "k", "id": "other"}', "k"),
        (b'{"text": "x", "key": 12345678901234567890}', "12345678901234567890"),
        (b'{"text": "x", "id": "k"}', "no id column `key`; the row has `text`, `id`"),
        (b'{"text": "x", "key": null}', "is null"),
        (b'{"text": "x", "key": ""}', "is empty"),
        (b'{"text": "x", "key": 1.5}', "is a number, not a string or an integer"),
        (b'{"text": "x", "key": false}', "is a boolean, not a string or an integer"),
        (b'{"text": "x", "key": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_with_an_id_column_every_row_must_have_one(tmp_path, line, outcome):
    (result,) = read(written(tmp_path, line), id_column="key")
    if isinstance(result, Document):
        assert result.id == outcome
    else:
        assert result.row == 1 and outcome in result.reason


def test_another_text_column(tmp_path):
    path = written(tmp_path, b'{"content": "x", "text": "y"}')
    assert read(path, text_column="content") == [Document(1, "x")]


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd)])
def test_a_truncated_file_keeps_what_stands_before_the_end(tmp_path, name, pack):
    content = many_lines(60_000)
    packed = pack(content)
    *documents, reject = read(written(tmp_path, packed[: len(packed) * 2 // 3], name))
    whole = read(written(tmp_path, content, "whole.jsonl"))
    assert 1000 < len(documents) < 60_000
    assert documents == whole[: len(documents)]
    assert reject.row == len(documents) + 1
    assert "ends early" in reject.reason and f"after row {len(documents):,}" in reject.reason


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd)])
def test_every_truncation_is_noticed(tmp_path, name, pack):
    packed = pack(THREE_LINES)
    for length in range(len(packed)):
        *documents, reject = read(written(tmp_path, packed[:length], name))
        assert documents == THREE[: len(documents)]
        assert isinstance(reject, Reject) and reject.row in (0, len(documents) + 1), length


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd)])
def test_a_file_cut_between_two_members_has_lost_nothing_that_could_be_noticed(tmp_path, name, pack):
    path = written(tmp_path, pack(THREE_LINES[:27]) + pack(THREE_LINES[27:])[:9], name)
    first, reject = read(path)
    assert first == THREE[0]
    assert reject.row == 2 and "ends early" in reject.reason


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd)])
def test_a_corrupt_file_gives_one_reject_after_the_good_rows(tmp_path, name, pack):
    good, bad = pack(many_lines(50)), bytearray(pack(many_lines(2000)))
    bad[0:4] = b"\xff\xff\xff\xff"
    *documents, reject = read(written(tmp_path, good + bytes(bad), name))
    assert [document.row for document in documents] == list(range(1, 51))
    assert reject.row == 51 and "damaged" in reject.reason


@pytest.mark.parametrize("content", [b"", b"not compressed, and no JSON\n" * 9])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_compressed_file_that_is_none_is_one_reject(tmp_path, name, content):
    (reject,) = read(written(tmp_path, content, name))
    assert reject.row == 0 and ("empty" in reject.reason or "damaged" in reject.reason)


def test_lines_longer_than_a_block(tmp_path):
    long = "lang " * 700_000
    path = written(tmp_path, json.dumps({"text": long}).encode() + b'\n{"text": "short"}\n')
    assert read(path) == [Document(1, long), Document(2, "short")]


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "id", "\ud800"]), inner),
    max_leaves=8,
)
LINES = st.lists(JSON_VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80), max_size=8)


@given(content=st.binary(max_size=300) | LINES.map(b"\n".join), suffix=st.sampled_from(["", ".gz", ".zst"]))
def test_any_bytes_give_documents_and_rejects_and_no_exception(hostile_folder, content, suffix):
    for id_column in (None, "id"):
        for result in read(written(hostile_folder, content, f"a.jsonl{suffix}"), id_column=id_column):
            if isinstance(result, Document):
                result.text.encode("utf-8")
                assert result.text.strip() and (result.id is None or result.id.encode("utf-8").strip())
                assert result.row > 0
            else:
                assert isinstance(result, Reject) and result.reason.encode("utf-8")


@given(lines=LINES)
def test_every_line_that_is_not_blank_has_one_outcome(hostile_folder, lines):
    lines = [b'{"text": "first"}', *lines]
    content = b"\n".join(lines)
    rows = [result.row for result in read(written(hostile_folder, content))]
    assert rows == [n for n, line in enumerate(content.split(b"\n"), start=1) if line.strip(b" \t\r")]


@given(content=st.binary(min_size=1, max_size=40), place=st.integers(0, 200))
def test_any_change_to_compressed_bytes_raises_nothing(hostile_folder, content, place):
    for name, pack in (("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd)):
        packed = bytearray(pack(many_lines(40)))
        packed[place : place + len(content)] = content
        results = read(written(hostile_folder, bytes(packed), name))
        assert all(isinstance(result, Document | Reject) for result in results)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_memory_stays_small_however_big_the_file(tmp_path, suffix):
    line = json.dumps({"text": "all work and no play " * 100}).encode() + b"\n"
    count = 60_000  # 126 MB of text, which compresses to almost nothing: the hardest case for a bound
    path = tmp_path / f"big.jsonl{suffix}"
    with gzip.open(path, "wb", 1) if suffix == ".gz" else zstandard.open(path, "wb") as file:
        for _ in range(count // 1000):
            file.write(line * 1000)
    config = CorpusConfig(inputs=(str(path),))
    (source,) = find_sources(config)
    tracemalloc.start()
    try:
        assert sum(isinstance(result, Document) for result in read_source(source, config)) == count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


PIECES = [
    b'{"a": 1, "a": 2}',
    b'"\\ud83d\\u0041"',
    b"1e400",
    b"[" * 500 + b"]" * 500,
    b"1" * 4300,
    b"1" * 4301,
    b'"\\u0000"',
]


@given(
    JSON_VALUES | st.integers(-(1 << 80), 1 << 80),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2), st.sampled_from([*b'\\"[]{},:0eE.-+ \t\xff\x01u', *PIECES]))),
)
@settings(max_examples=300)
def test_the_fast_parser_gives_what_json_gives_or_nothing(value, plain, changes):
    line = json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    for place, removed, piece in changes:
        line = line[:place] + (piece if isinstance(piece, bytes) else bytes([piece])) + line[place + removed :]
    found = jsonl._fast(line)
    if found is not None:
        assert repr(found) == repr(json.loads(line.decode("utf-8")))


def test_the_fast_parser_reads_ordinary_lines():
    """So that the test before this one tests something."""
    lines = [b'{"text": "one \\u00e9 \xc3\xa9", "id": 7}', b'{"id": 18446744073709551616}', *PIECES[:1], PIECES[3]]
    assert [jsonl._fast(line) for line in lines] == [json.loads(line) for line in lines]
