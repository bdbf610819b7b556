"""Parquet: types of columns, reading only what is needed, bad values, damage, memory."""

import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextlong.config import CorpusConfig
from nextlong.corpus import find_sources, read_source
from nextlong.errors import NextlongError
from nextlong.records import Document, Reject


def read(path, **config):
    config = CorpusConfig(inputs=(str(path),), **config)
    (source,) = find_sources(config)
    return list(read_source(source, config))


def written(folder, columns, **options):
    path = folder / "corpus.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


def strings(values, kind):
    return pa.array(values, pa.string()).cast(kind)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_every_type_that_holds_text(tmp_path, kind):
    path = written(tmp_path, {"text": strings(["one", "zwei — drei", None, "one"], kind), "id": [10, 11, 12, 13]})
    assert read(path) == [
        Document(1, "one", "10"),
        Document(2, "zwei — drei", "11"),
        Reject(3, "the text in column `text` is null"),
        Document(4, "one", "13"),
    ]


def test_rows_count_on_over_batches_and_row_groups(tmp_path):
    path = written(tmp_path, {"text": [f"t{i}" for i in range(1, 1001)]}, row_group_size=300)
    assert read(path) == [Document(i, f"t{i}") for i in range(1, 1001)]


def test_bad_values_cost_one_row_each(tmp_path):
    texts = pa.array([b"good", b"caf\xe9", b"", b" \n", b"good too"], pa.binary())
    # Arrow writes strings without looking at them, and so other tools leave such files behind.
    texts = pa.StringArray.from_buffers(5, *texts.buffers()[1:])
    first, *rejects, last = read(written(tmp_path, {"text": texts}))
    assert (first, last) == (Document(1, "good"), Document(5, "good too"))
    assert [reject.row for reject in rejects] == [2, 3, 4]
    for reject, reason in zip(rejects, ["byte 3 (counted from 0) is 0xe9", "is empty", "only white space"], strict=True):
        assert reason in reject.reason


def test_the_named_id_column_must_be_there_in_every_row(tmp_path):
    path = written(tmp_path, {"text": ["x", "y", "z"], "key": ["k", None, ""]})
    first, second, third = read(path, id_column="key")
    assert first == Document(1, "x", "k")
    assert (second.row, third.row) == (2, 3) and "null" in second.reason and "empty" in third.reason


def test_an_unusable_column_called_id_is_ignored(tmp_path):
    assert read(written(tmp_path, {"text": ["x"], "id": [1.5]})) == [Document(1, "x")]
    assert read(written(tmp_path, {"text": ["x", "y"], "id": ["a", None]})) == [Document(1, "x", "a"), Document(2, "y")]


@pytest.mark.parametrize(
    ("columns", "config", "words"),
    [
        ({"body": ["x"], "title": ["y"]}, {}, ["no column `text`", "`body`, `title`", "text_column", "corpus.parquet"]),
        ({"text": [1]}, {}, ["`text`", "int64"]),
        ({"text": [["x"]]}, {}, ["`text`", "list"]),
        ({"text": ["x"]}, {"id_column": "key"}, ["no column `key`", "`text`", "id_column"]),
        ({"text": ["x"], "key": [1.5]}, {"id_column": "key"}, ["`key`", "double"]),
    ],
)
def test_a_schema_that_cannot_serve_is_one_error(tmp_path, columns, config, words):
    with pytest.raises(NextlongError) as caught:
        read(written(tmp_path, columns), **config)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_column_that_is_there_twice_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], ["text", "text"]), path)
    with pytest.raises(NextlongError, match="2 columns `text`"):
        read(path)


def test_columns_that_are_not_needed_are_not_read(tmp_path):
    path = written(
        tmp_path, {"text": ["x"] * 500, "blob": [bytes(range(256)) * 4] * 500}, use_dictionary=False, compression=None
    )
    blob = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    end = blob.data_page_offset + blob.total_compressed_size
    content[blob.data_page_offset : end] = b"\xff" * blob.total_compressed_size  # reading this would fail
    path.write_bytes(content)
    assert len(read(path)) == 500


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_without_footer_the_file_is_one_reject(tmp_path, kept):
    path = written(tmp_path, {"text": [f"t{i}" for i in range(1000)]})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    (reject,) = read(path)
    assert reject.row == 0 and "footer" in reject.reason


def test_damage_inside_keeps_the_rows_before_it(tmp_path):
    texts = [f"text {i} " + "x" * (i % 50) for i in range(3000)]
    path = written(tmp_path, {"text": texts}, row_group_size=1000, use_dictionary=False, compression="zstd")
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start + 40 : start + 1000] = b"\xff" * 960
    path.write_bytes(bytes(content))
    *documents, reject = read(path)
    assert len(documents) == 1000
    assert [document.text for document in documents] == texts[: len(documents)]
    assert reject.row == len(documents) + 1 and "damaged" in reject.reason


@given(tail=st.binary(max_size=200))
def test_any_bytes_after_the_magic_number_raise_nothing(tmp_path_factory, tail):
    path = tmp_path_factory.mktemp("hostile") / "a.parquet"
    path.write_bytes(b"PAR1" + tail + struct.pack("<I", len(tail)) + b"PAR1")
    try:
        results = read(path)
    except NextlongError as error:  # bytes that happen to be a footer: of a table without the column
        assert "column" in str(error)
    else:
        assert all(isinstance(result, Document | Reject) for result in results)


def test_memory_is_bounded_by_a_batch_and_not_by_the_row_group(tmp_path):
    text = "all work and no play " * 500
    path = written(tmp_path, {"text": [f"{i} {text}" for i in range(10_000)]}, use_dictionary=False, row_group_size=10_000)
    config = CorpusConfig(inputs=(str(path),))
    (source,) = find_sources(config)
    before = pa.total_allocated_bytes()
    peak = 0
    count = 0
    for _ in read_source(source, config):
        count += 1
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert count == 10_000
    assert peak < 30e6  # of 105 MB
