"""Input that is small on disk and large in memory, or large in every way: bounded memory, or a clear reject."""

from __future__ import annotations

import gzip
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from cli_runs import run_cli
from hostile_runs import limited
from small_runs import POOL_OPTIONS, write_corpus

from nextlong.chunking import make_chunker
from nextlong.config import ChunkingConfig, CorpusConfig
from nextlong.corpus import find_sources, jsonl, read_source, rows
from nextlong.corpus import text as text_reader
from nextlong.errors import NextlongError
from nextlong.formats import jsonl as written_jsonl
from nextlong.formats import numpy_tokens
from nextlong.pool import ingest, layout
from nextlong.records import Document, Reject

GOOD = b'{"id": "good", "text": "a good document"}\n'
# The libraries map less than 2 GiB of addresses; the bomb as one line would need more than there are.
MEMORY = 3 << 30
BOMB_BYTES = 4 << 30

SMALL = 1 << 21


def records(path, **config):
    options = CorpusConfig(inputs=(str(path),), **config)
    return [record for source in find_sources(options) for record in read_source(source, options)]


@pytest.fixture
def small_documents(monkeypatch):
    """The largest document is one of 2 MiB, which is more than the readers take at once."""
    for module in (rows, jsonl, text_reader):
        monkeypatch.setattr(module, "MOST_DOCUMENT_BYTES", SMALL)


def zeros(count, compressor):
    """A line of so many zeros between two good rows, compressed bit by bit."""
    sink = io.BytesIO()
    with compressor(sink) as file:
        file.write(GOOD)
        for _ in range(count >> 24):
            file.write(bytes(1 << 24))
        file.write(b"\n" + GOOD.replace(b'"good"', b'"other"'))
    return sink.getvalue()


def zstd(sink):
    return zstandard.ZstdCompressor(level=1).stream_writer(sink, closefd=False)


@pytest.mark.slow
def test_four_gigabytes_in_a_line_are_one_reject_in_bounded_memory(tmp_path):
    write_corpus(tmp_path / "corpus", files=1, documents=6)
    (tmp_path / "corpus" / "bomb.jsonl.zst").write_bytes(zeros(BOMB_BYTES, zstd))
    assert (tmp_path / "corpus" / "bomb.jsonl.zst").stat().st_size < 4 << 20
    done = limited("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--workers", 1, cwd=tmp_path, memory=MEMORY)
    assert done.returncode == 0, done.stderr
    (reject,) = [json.loads(line) for line in next((tmp_path / "pool" / "rejects").iterdir()).read_text().splitlines()]
    assert (reject["row"], reject["reason"]) == (2, "the line has more than 256 MiB")
    assert run_cli("verify", tmp_path / "pool", "--workers", 1, "--quiet").exit_code == 0


@pytest.mark.parametrize(
    "compressor", (zstd, lambda sink: gzip.GzipFile("", "wb", 1, sink), io.BufferedWriter), ids=range(3)
)
def test_a_line_that_is_too_long_is_passed_over(tmp_path, small_documents, compressor):
    sink = io.BytesIO()
    sink.close = lambda: None
    with compressor(sink) as file:
        file.write(GOOD + b"0" * (5 << 20) + b"\n" + GOOD + b"1" * SMALL + b"\n" + b"2" * (SMALL + 1))
    (tmp_path / "a.jsonl").write_bytes(sink.getvalue())
    found = records(tmp_path / "a.jsonl")
    assert [record.row for record in found] == [1, 2, 3, 4, 5]
    assert [isinstance(record, Reject) for record in found] == [False, True, False, True, True]
    assert [found[place].reason.startswith("the line has more than") for place in (1, 3, 4)] == [True, False, True]


def test_a_text_file_that_is_too_long_is_passed_over(tmp_path, small_documents):
    (tmp_path / "large.txt").write_bytes(b"x" * (SMALL + 1))
    (tmp_path / "full.txt").write_bytes(b"x" * SMALL)
    full, large = records(tmp_path)
    assert len(full.text) == SMALL
    assert "more than 2 MiB" in large.reason


def test_a_line_of_very_many_values_is_not_parsed(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(GOOD + b'{"x": [' + b"[]," * (1 << 22) + b'[]], "text": "y"}\n' + GOOD)
    found = records(tmp_path / "a.jsonl")
    assert [isinstance(record, Reject) for record in found] == [False, True, False]
    assert "the line has more than 8,388,608 values" in found[1].reason


@pytest.mark.slow
def test_a_document_of_fifty_million_characters_is_one(tmp_path):
    text = "".join(random.Random(0).choices(["word ", "漢字。", "line\n", "sentence, with commas. "], k=4_500_000))
    text = (text * 2)[:50_000_000]
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    (document,) = records(tmp_path / "a.jsonl")
    assert len(document.text) == 50_000_000
    for chunker in ("lossless", "paper"):
        chunks = make_chunker(ChunkingConfig(chunker=chunker))(document.text)
        assert len(chunks) > 20_000
    assert "".join(chunk.text + chunk.glue for chunk in make_chunker(ChunkingConfig())(document.text)) == text


@pytest.mark.parametrize("text", ("a" * 3_000_000, "\n" * 3_000_000, " " * 3_000_000, "漢" * 3_000_000, "x\n" * 1_500_000))
def test_documents_without_places_to_cut_are_chunked_in_linear_time(text):
    chunks = make_chunker(ChunkingConfig())(text)
    assert "".join(chunk.text + chunk.glue for chunk in chunks) == text
    assert max(len(chunk.text) for chunk in chunks) <= 4096


def test_a_million_documents_of_a_letter_are_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_DOCUMENTS", 1000)
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "t{number}"}}\n' for number in range(2500)))
    source = find_sources(CorpusConfig(inputs=(str(tmp_path / "a.jsonl"),)))
    made = ingest.ingest(source, 0, CorpusConfig(), ChunkingConfig(), tmp_path / "pool", False, "run")
    assert [path.name for path in made.files if path.parent.name == "chunks"] == [
        f"00000-0000{part}.arrow" for part in range(3)
    ]
    assert made.rows == 2500


def test_rejects_are_listed_up_to_a_limit_and_all_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "_MOST_LISTED", 10)
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"x\n" * 500)
    source = find_sources(CorpusConfig(inputs=(str(tmp_path / "a.jsonl"),)))
    made = ingest.ingest(source, 0, CorpusConfig(), ChunkingConfig(), tmp_path / "pool", False, "run")
    assert made.info["rejected"] == sum(made.info["reasons"].values()) == 500
    assert len((tmp_path / "pool" / "rejects" / "00000.jsonl").read_text().splitlines()) == 10


HOSTILE_LINES = {
    "deep": (b"[" * 200_000, "nested too deeply"),
    "deep text": (b'{"text": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
    "infinite text": (b'{"text": Infinity}', "is a number, not a string"),
    "nan id": (b'{"text": "a", "id": NaN}', None),
    "surrogate": (b'{"text": "\\ud800"}', "half of a surrogate pair"),
    "surrogate id": (b'{"text": "a", "id": "\\udfff"}', None),
    "surrogate key": (b'{"\\ud800": 1}', "no column `text`"),
    "twice": (b'{"text": "first", "text": "second"}', None),
    "huge number": (b'{"text": "a", "n": ' + b"9" * 10_000 + b"}", "too many digits"),
    "huge exponent": (b'{"text": "a", "n": 1e99999}', None),
    "nul": (b'{"text": "a\\u0000b"}', None),
    "raw nul": (b'{"text": "a\0b"}', "broken JSON"),
    "only nul": (b"\0" * 100, "broken JSON"),
    "long id": (b'{"text": "a", "id": "' + b"i" * 5000 + b'"}', None),
    "blank id": (b'{"text": "a", "id": " "}', None),
    "array": (b'["text"]', "not a JSON object"),
    "no text": (b'{"text": {"text": "a"}}', "is an object, not a string"),
}


@pytest.mark.parametrize("name", HOSTILE_LINES)
def test_a_hostile_line_is_a_document_or_a_reject_and_costs_no_other(tmp_path, name):
    line, why = HOSTILE_LINES[name]
    (tmp_path / "a.jsonl").write_bytes(GOOD + line + b"\n" + GOOD)
    before, found, after = records(tmp_path / "a.jsonl")
    assert (before.id, after.id) == ("good", "good")
    if why:
        assert isinstance(found, Reject) and why in found.reason
    else:
        assert isinstance(found, Document) and found.text.encode()
        assert found.id is None


def test_an_id_that_must_be_there_and_is_too_long_is_a_reject(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a", "name": "' + b"i" * 5000 + b'"}\n{"text": "a", "name": "b"}\n')
    long, good = records(tmp_path / "a.jsonl", id_column="name")
    assert "has 5,000 characters, more than 4,096" in long.reason
    assert good.id == "b"


def test_hostile_lines_from_beginning_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "corpus", files=1, documents=6)
    lines = b"\n".join(line for line, _ in HOSTILE_LINES.values())
    (tmp_path / "corpus" / "hostile.jsonl").write_bytes(lines + b"\n")
    assert run_cli("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--workers", 1, "--quiet").exit_code == 0
    assert run_cli("verify", "pool", "--workers", 1, "--quiet").exit_code == 0


def test_large_rows_of_a_table_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": ["x" * 1_000_000] * 20}), tmp_path / "a.parquet", use_dictionary=False)
    seen = []
    real = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda table, size, **options: seen.append(size) or real(table, size, **options)
    )
    assert len(records(tmp_path / "a.parquet")) == 20
    assert seen == [67]


def test_a_table_with_absurd_numbers_is_a_reject(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    for place in range(len(content) - 8 - footer, len(content) - 8):
        damaged = bytearray(content)
        damaged[place] ^= 0x7F
        (tmp_path / "a.parquet").write_bytes(damaged)
        try:
            found = records(tmp_path / "a.parquet")
        except NextlongError:
            continue
        assert all(isinstance(record, Document | Reject) for record in found)


def test_a_written_line_without_end_is_damage_and_not_all_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(written_jsonl, "_LONGEST_LINE", 1 << 16)
    (tmp_path / "rows.jsonl.zst").write_bytes(zstandard.compress(b"[" * (1 << 26)))
    with pytest.raises(NextlongError, match="line 1, cannot be read"):
        next(written_jsonl.read(tmp_path / "rows.jsonl.zst"))


def test_offsets_without_end_are_damage_and_not_all_memory(tmp_path):
    header = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x02\xfftokens.uint16.csv\x00"
    (tmp_path / "rows.csv.gz").write_bytes(header + gzip.compress(b"1" * (1 << 26), mtime=0)[10:])
    (tmp_path / "rows.npy").write_bytes(b"")
    with pytest.raises(NextlongError, match=r"rows\.csv\.gz is damaged"):
        next(numpy_tokens.read(tmp_path / "rows.npy"))
