"""Whatever is changed in a pool or a dataset, `verify` says so, with the file and the row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run_cli
from small_runs import DIMENSIONS, GRANULARITY, LENGTH, SHARD_TOKENS, texts_of, train_tokenizer, write_corpus
from tampering import edit_rows, flip_a_byte, forge_receipts

import nextlong
from nextlong.dataset import layout

FAILED = 1
ROOTS = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool with copies of some documents, and datasets of it: in tokens and in text."""
    folder = tmp_path_factory.mktemp("made")
    corpus = write_corpus(folder / "corpus", files=3, documents=8)
    copies = [{"id": f"copy-{number}", "text": text} for number, text in enumerate(texts_of(corpus))]
    (corpus / "copies.jsonl").write_text("".join(json.dumps(copy) + "\n" for copy in copies))
    train_tokenizer(corpus, folder / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
        pool = nextlong.build_pool(
            corpus,
            folder / "pool",
            workers=1,
            chunking={"granularity": GRANULARITY},
            encoder={"name": "lsa", "dimensions": DIMENSIONS},
            index={"kind": "ivf"},
        )
        for form in ("parquet", "jsonl"):
            keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": str(folder / "tokenizer"), "format": form}
            nextlong.synthesize(pool, folder / form, workers=1, **keys)
    (corpus / "rejected.jsonl").write_text("{\n")
    return folder


@pytest.fixture
def dataset(made, tmp_path):
    return Path(shutil.copytree(made / "parquet", tmp_path / "data"))


@pytest.fixture
def pool(made, tmp_path):
    return Path(shutil.copytree(made / "pool", tmp_path / "pool"))


def verify(path, *options):
    return run_cli("verify", path, "--workers", 1, *options)


def assert_failed(result, *words):
    assert result.exit_code == FAILED, result.stdout
    assert "FAILED" in result.stderr
    assert "is NOT what it should be" in result.stdout
    for word in words:
        assert word in result.stderr, result.stderr


def test_what_was_not_touched_is_verified(made):
    for name in ("pool", "parquet", "jsonl"):
        result = verify(made / name)
        assert result.exit_code == 0, result.stderr
        assert "is verified" in result.stdout
        assert result.stderr.count("FAILED") == 0


DATASET_FILES = ("neighbours/00000.arrow", "wanted/00000.npy", "sequences/00000.parquet", "tokens/00001.parquet")


@pytest.mark.parametrize("name", DATASET_FILES)
def test_a_flipped_byte_of_a_dataset(dataset, name):
    flip_a_byte(dataset / name)
    assert_failed(verify(dataset), f"{dataset / name}: the checksum is")


def test_a_flipped_byte_of_text(made, tmp_path):
    dataset = Path(shutil.copytree(made / "jsonl", tmp_path / "data"))
    flip_a_byte(dataset / "tokens" / "00000.jsonl.zst")
    assert_failed(verify(dataset), "00000.jsonl.zst: the checksum is")


POOL_FILES = (
    "documents/00000-00000.arrow",
    "chunks/00001-00000.arrow",
    "fingerprints/00000-00000.keys.npy",
    "fingerprints/00000-00000.signatures.npy",
    "encoder/fitted",
    "vectors/00002-00000.npy",
    "catalog/first_chunk.npy",
    "catalog/keys.npy",
    "catalog/repeated.arrow",
    "catalog/shards.json",
    "index/centroids.npy",
    "index/00000.vectors.npy",
    "index/00000.ordinals.npy",
    "index/00000.starts.npy",
    "tokens/*/00000-00000.0000.arrow",
)


@pytest.mark.parametrize("name", POOL_FILES)
def test_a_flipped_byte_of_a_pool(pool, name):
    (path,) = pool.glob(name)
    flip_a_byte(path)
    result = verify(pool)
    if name == "catalog/shards.json":  # read before anything can be verified
        assert result.exit_code == FAILED
        assert str(path) in result.stderr
    else:
        assert_failed(result, f"{path}: the checksum is")


@pytest.mark.parametrize(
    "name", ("vectors/00000-00000.npy", "documents/00000-00000.arrow", "tokens/*/00000-00000.0000.arrow")
)
def test_a_missing_file_of_a_pool(pool, name):
    (path,) = pool.glob(name)
    path.unlink()
    assert_failed(verify(pool), f"{path}: the file is missing")


def test_a_file_cut_short(dataset, pool):
    for path in (dataset / "tokens" / "00000.parquet", pool / "chunks" / "00000-00000.arrow"):
        path.write_bytes(path.read_bytes()[:-100])
    assert_failed(verify(dataset), "tokens/00000.parquet")
    assert_failed(verify(pool), "chunks/00000-00000.arrow")


@pytest.mark.parametrize("name", ("plan.json", "dataset.yaml", "receipts/compose/00000.json"))
@pytest.mark.parametrize("content", (b"", b"{", b"5", b"[]", b"{}", b"kind: [", b"\xff"))
def test_damaged_descriptions_are_clear_errors(dataset, name, content):
    (dataset / name).write_bytes(content)
    result = verify(dataset)
    assert result.exit_code == FAILED
    assert result.stderr.startswith("error: "), result.stderr
    assert str(dataset) in result.stderr


@pytest.mark.parametrize("name", ("plan.json", "pool.yaml", "receipts/embed/00000-00000.json", "catalog/shards.json"))
@pytest.mark.parametrize("content", (b"", b"{", b"5", b"[]", b"{}", b"kind: [", b"\xff"))
def test_damaged_descriptions_of_a_pool_are_clear_errors(pool, name, content):
    (pool / name).write_bytes(content)
    result = verify(pool)
    assert result.exit_code == FAILED
    assert str(pool) in result.stderr, result.stderr


# From here on the receipts agree: only what the files say can tell.


def negatives(row, group=None):
    return [
        place
        for place, span in enumerate(row["spans"])
        if span["role"] == "negative" and (group is None or span["group"] == group)
    ]


def metas(row):
    return [place for place, span in enumerate(row["spans"]) if span["role"] == "meta"]


def exchange(row, one, other, keys=("document", "position", "chunk")):
    """What two spans are, each staying in its place."""
    first, second = row["spans"][one], row["spans"][other]
    for key in keys:
        first[key], second[key] = second[key], first[key]


def point_to(made, span, chunk):
    """Make a span name a chunk of the pool, truthfully but for the score."""
    pool = nextlong.Pool(made / "pool")
    chunks = np.array([chunk])
    span["chunk"] = chunk
    span["document"] = pool.document_ids(pool.documents_of(chunks))[0]
    span["position"] = int(pool.positions_of(chunks)[0])


def score_of(made, row, span):
    pool = nextlong.Pool(made / "pool")
    meta = row["spans"][metas(row)[span["group"]]]["chunk"]
    vectors = pool.vectors.take(np.array([meta, span["chunk"]])).astype(np.float64)
    span["score"] = float(vectors[0] @ vectors[1])


def assert_row_failed(result, dataset, row, *words):
    assert_failed(result, f"{dataset / 'tokens' / '00000.parquet'}, row {row} (nextlong-0000000{row})", *words)


def test_swapped_meta_chunks(dataset):
    edit_rows(dataset, "sequences", lambda rows: exchange(rows[1], *metas(rows[1])[:2]))
    assert_row_failed(verify(dataset), dataset, 1, "its meta-chunks are", "in order")


def test_swapped_negatives(dataset):
    keys = ("document", "position", "chunk", "rank", "score")

    def edit(rows):
        last = rows[0]["spans"][-1]["group"]
        exchange(rows[0], *negatives(rows[0], last)[:2], keys=keys)

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 0, "not in the order of their ranks", "descending similarity")


def test_a_repeated_negative(dataset, made):
    def edit(rows):
        one, other = negatives(rows[2])[:2]
        rows[2]["spans"][other] |= {key: rows[2]["spans"][one][key] for key in ("document", "position", "chunk")}
        score_of(made, rows[2], rows[2]["spans"][other])

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 2, "is a negative twice")


def test_a_negative_from_the_root_document(dataset, made):
    def edit(rows):
        span = rows[0]["spans"][negatives(rows[0])[0]]
        point_to(made, span, rows[0]["spans"][metas(rows[0])[1]]["chunk"])
        score_of(made, rows[0], span)

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 0, "of the root document is a negative")


def test_a_copy_as_a_negative(dataset, made):
    """The corpus holds every document twice; a copy of a meta-chunk is put where a negative was."""
    pool = nextlong.Pool(made / "pool")
    keys = pool.fold_keys(np.arange(pool.chunks))

    def edit(rows):
        meta = rows[0]["spans"][metas(rows[0])[0]]["chunk"]
        twin = next(int(chunk) for chunk in np.flatnonzero(keys == keys[meta]) if chunk != meta)
        span = rows[0]["spans"][negatives(rows[0])[0]]
        point_to(made, span, twin)
        score_of(made, rows[0], span)

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 0, "is a copy of chunk")


def test_a_shifted_span(dataset):
    def edit(rows):
        rows[3]["spans"][2]["token_start"] += 1

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 3, "span 2 begins at token", "span 1 ends at")


def test_shifted_borders_that_still_meet(dataset):
    """Two spans that share a wrong border are contiguous; only the tokens tell."""

    def edit(rows):
        rows[3]["spans"][1]["token_end"] += 5
        rows[3]["spans"][2]["token_start"] += 5

    edit_rows(dataset, "sequences", edit)
    edit_rows(dataset, "tokens", edit)
    assert_row_failed(verify(dataset), dataset, 3, "span 1 ends at token", "and its chunk at")


def test_a_wrong_score(dataset):
    def edit(rows):
        rows[1]["spans"][negatives(rows[1])[-1]]["score"] -= 0.01

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 1, "has score", "its vectors give")


def test_a_wrong_document_id(dataset):
    def edit(rows):
        rows[1]["spans"][1]["document"] = "doc-none"

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 1, "span 1", "'doc-none'", "not the pool's")


def test_a_wrong_root(dataset):
    def edit(rows):
        rows[1]["root"] = rows[0]["root"]

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 1, "is not of the root document")


def test_a_chunk_that_is_not_there(dataset):
    def edit(rows):
        rows[1]["spans"][1]["chunk"] = 10**9

    edit_rows(dataset, "sequences", edit)
    assert_row_failed(verify(dataset), dataset, 1, "refers to chunk 1000000000")


def test_a_dropped_token(dataset):
    def edit(rows):
        del rows[2]["input_ids"][100]

    edit_rows(dataset, "tokens", edit)
    assert_row_failed(verify(dataset), dataset, 2, f"has {LENGTH - 1:,} tokens, not {LENGTH:,}", "its text differs")


def test_an_altered_token(dataset):
    def edit(rows):
        ids = rows[2]["input_ids"]
        ids[500] = 99 if ids[500] != 99 else 98

    edit_rows(dataset, "tokens", edit)
    assert_row_failed(verify(dataset), dataset, 2, "its text differs from its chunks' at character")


def test_the_same_text_in_other_tokens(dataset):
    """A token is spelled by two others, and the row cut to length: the text is right, the tokens are not."""
    folder = Path(nextlong.load_dataset_card(dataset)["config"]["tokenizer"])
    pieces = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]

    def edit(rows):
        ids = rows[2]["input_ids"]
        names = {identity: name for name, identity in pieces.items()}
        for place in range(100, 500):
            name = names[ids[place]]
            if len(name) > 1 and name[0] in pieces and name[1:] in pieces:
                rows[2]["input_ids"] = [*ids[:place], pieces[name[0]], pieces[name[1:]], *ids[place + 1 : -2], ids[-1]]
                return
        raise AssertionError("no token to split")

    edit_rows(dataset, "tokens", edit)
    assert_row_failed(verify(dataset), dataset, 2, "and the tokenizer gives")


@pytest.mark.parametrize("place", (0, -1))
def test_no_begin_or_end_token(dataset, place):
    def edit(rows):
        rows[0]["input_ids"][place] = 77

    edit_rows(dataset, "tokens", edit)
    assert_row_failed(verify(dataset), dataset, 0, f"its {'begin' if place == 0 else 'end'} token is [77]")


def test_wrong_group_budgets(dataset):
    """All negatives but one of the last groups are said to belong to the first."""

    def edit(rows):
        row = next(row for row in rows if len(metas(row)) >= 3)
        spans, places = row["spans"], metas(row)
        order = [places[0], *negatives(row)[:-1], *places[1:], negatives(row)[-1]]
        row["spans"] = [spans[place] for place in order]
        start = spans[0]["token_start"]
        for number, span in enumerate(row["spans"]):
            length = span["token_end"] - span["token_start"]
            span["token_start"], span["token_end"] = start, start + length
            start += length
            if span["role"] == "negative":
                span["group"] = 0 if number < len(spans) - 1 else len(places) - 1
                span["rank"] = number

    edit_rows(dataset, "sequences", edit)
    assert_failed(verify(dataset), "an even share is", "row ")


def test_a_row_less(dataset):
    edit_rows(dataset, "tokens", lambda rows: rows.pop())
    assert_failed(verify(dataset), "00000.parquet, row 3", "it is missing")


def test_a_row_more(dataset):
    edit_rows(dataset, "tokens", lambda rows: rows.append(rows[-1]))
    assert_failed(verify(dataset), "00000.parquet", "more rows than")


def test_rows_in_another_order(dataset):
    edit_rows(dataset, "tokens", lambda rows: rows.reverse())
    assert_row_failed(verify(dataset), dataset, 0, "not nextlong-00000000")


def test_a_sequence_less_everywhere(dataset):
    for part in ("sequences", "tokens"):
        edit_rows(dataset, part, lambda rows: rows.pop())
    assert_failed(verify(dataset), f"it has {ROOTS - 1} sequences", f"says {ROOTS}")


def test_the_same_root_twice(dataset):
    for part in ("sequences", "tokens"):
        edit_rows(dataset, part, lambda rows: rows.__setitem__(1, {**rows[0], "id": rows[1]["id"]}))
    assert_failed(verify(dataset), "is the root of 2 sequences")


def test_spans_of_the_rows_that_are_not_the_sequences(dataset):
    """Trainers read the spans beside the tokens."""

    def edit(rows):
        rows[1]["spans"][1]["document"] = "doc-none"

    edit_rows(dataset, "tokens", edit)
    assert_row_failed(verify(dataset), dataset, 1, "its spans are not those in sequences/: span 1")


def test_altered_text_of_a_text_dataset(made, tmp_path):
    import zstandard

    dataset = Path(shutil.copytree(made / "jsonl", tmp_path / "data"))
    path = dataset / "tokens" / "00000.jsonl.zst"
    rows = [json.loads(line) for line in zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().splitlines()]
    rows[1]["text"] = rows[1]["text"][:300] + "X" + rows[1]["text"][301:]
    path.write_bytes(zstandard.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    forge_receipts(dataset)
    assert_failed(verify(dataset), "00000.jsonl.zst, row 1", "differs from its chunks' at character 300")


def forge_array(path, edit):
    array = np.load(path)
    edit(array)
    np.save(path, array)


def test_a_vector_of_another_length(pool):
    path = pool / "vectors" / "00000-00000.npy"

    def edit(array):
        array[3] *= 2

    forge_array(path, edit)
    forge_receipts(pool)
    assert_failed(verify(pool), f"{path}, row 3", "not 1")


def test_a_vector_that_is_not_rounded(pool):
    path = pool / "vectors" / "00000-00000.npy"

    def edit(array):
        row = array[30]
        row[np.abs(row).argmin()] += np.float16(2.0**-13)

    forge_array(path, edit)
    forge_receipts(pool)
    assert_failed(verify(pool), f"{path}, row 30", "no multiple of 2^-11")


def test_vectors_less_than_chunks(pool):
    path = pool / "vectors" / "00000-00000.npy"
    np.save(path, np.load(path)[:-1])
    forge_receipts(pool)
    assert_failed(verify(pool), str(path), "vectors for")


@pytest.mark.parametrize("kind", ["keys", "signatures"])
def test_fingerprints_less_than_chunks(pool, kind):
    path = pool / "fingerprints" / f"00000-00000.{kind}.npy"
    np.save(path, np.load(path)[:-1])
    forge_receipts(pool)
    assert_failed(verify(pool), str(path))


@pytest.mark.parametrize(("kind", "place"), [("keys", 5), ("signatures", (5, 127))])
def test_a_wrong_fingerprint(pool, kind, place):
    path = pool / "fingerprints" / f"00000-00000.{kind}.npy"

    def edit(array):
        array[place] ^= 1

    forge_array(path, edit)
    forge_receipts(pool)
    assert_failed(verify(pool), f"{path}, row 5")


def test_a_moved_pool(made, tmp_path):
    shutil.copytree(made / "pool", tmp_path / "gone")
    nextlong.synthesize(
        tmp_path / "gone", tmp_path / "data", length=600, roots=2, tokenizer=str(made / "tokenizer"), workers=1
    )
    dataset = tmp_path / "data"
    shutil.move(tmp_path / "gone", tmp_path / "moved")
    result = verify(dataset)
    assert result.exit_code == FAILED
    assert "gone" in result.stderr
    assert "--pool" in result.stderr
    assert verify(dataset, "--pool", tmp_path / "moved").exit_code == 0


def test_an_edited_description(dataset, pool):
    for path, word in ((dataset / "dataset.yaml", "sequences:"), (pool / "pool.yaml", "characters:")):
        path.write_text(path.read_text().replace(word, f"{word} 1", 1))
        result = verify(path.parent)
        assert result.exit_code == FAILED
        assert f"{path} is damaged or was edited" in result.stderr


def test_another_pool(dataset, made, tmp_path):
    nextlong.build_pool(made / "corpus", tmp_path / "other", workers=1, encoder={"name": "lsa", "dimensions": 8})
    result = verify(dataset, "--pool", tmp_path / "other")
    assert result.exit_code == FAILED
    assert "is not the one that" in result.stderr
    assert "--pool" in result.stderr


def test_another_tokenizer(dataset, made, tmp_path):
    other = train_tokenizer(write_corpus(tmp_path / "corpus", seed=5), tmp_path / "tokenizer")
    result = verify(dataset, "--tokenizer", other)
    assert result.exit_code == FAILED
    assert "is not the one that" in result.stderr
    assert "--tokenizer" in result.stderr
    shutil.copytree(made / "tokenizer", tmp_path / "moved")
    assert verify(dataset, "--tokenizer", tmp_path / "moved").exit_code == 0


def test_verify_writes_nothing(dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    assert verify(dataset).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before
