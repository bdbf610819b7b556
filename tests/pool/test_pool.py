"""Pools: ids, shards, look-ups, and what is done again when something changes."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import make_documents, with_copies, write_corpus
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

import nextlong
from nextlong.config import EncoderConfig
from nextlong.corpus.source import public_name
from nextlong.execution.progress import Quiet
from nextlong.execution.run import read_metrics
from nextlong.pool import embed, layout

ENCODER = {"name": "lsa", "dimensions": 24}


def build(inputs, out, granularity=300, **keys):
    keys = {"encoder": ENCODER, "index": {"kind": "flat"}, "workers": 1, **keys}
    return nextlong.build_pool(inputs, out, chunking={"granularity": granularity}, **keys)


def ids_of(pool):
    return pool.document_ids(np.arange(pool.documents))


# Ids.


def test_given_ids_are_kept(tmp_path):
    documents = make_documents(7)
    pool = build(write_corpus(tmp_path / "corpus.jsonl", documents), tmp_path / "pool")
    assert ids_of(pool) == [document["id"] for document in documents]


def test_an_id_column_by_another_name(tmp_path):
    documents = [{"url": f"u{n}", "id": "same", "text": d["text"]} for n, d in enumerate(make_documents(4))]
    corpus = write_corpus(tmp_path / "corpus.jsonl", documents)
    assert ids_of(build(corpus, tmp_path / "pool", corpus={"id_column": "url"})) == ["u0", "u1", "u2", "u3"]


def test_two_documents_with_one_id_are_an_error_that_names_both(tmp_path):
    documents = make_documents(6)
    documents[4]["id"] = "document-1"
    one = write_corpus(tmp_path / "one.jsonl", documents[:3])
    other = write_corpus(tmp_path / "other.jsonl", documents[3:])
    with pytest.raises(nextlong.NextlongError, match="Two documents have the id 'document-1'") as error:
        build([one, other], tmp_path / "pool")
    assert "one.jsonl, row 2" in error.value.message and "other.jsonl, row 2" in error.value.message
    with pytest.raises(nextlong.NextlongError, match="is not finished"):
        nextlong.Pool(tmp_path / "pool")


def test_derived_ids_stay_unique_and_do_not_depend_on_the_place(tmp_path):
    texts = [document["text"] for document in make_documents(5)]
    repeated = [texts[0], texts[1], texts[0], texts[2], texts[0]]
    first = ids_of(build(write_corpus(tmp_path / "a.jsonl", [{"text": text} for text in repeated]), tmp_path / "a"))
    assert len(set(first)) == 5
    assert first[2] == f"{first[0]}-2" and first[4] == f"{first[0]}-3"
    moved = [{"text": text} for text in [texts[3], texts[2], texts[0], texts[1]]]
    second = ids_of(build(write_corpus(tmp_path / "b.jsonl", moved), tmp_path / "b"))
    assert second[1:] == [first[3], first[0], first[1]]


def test_a_derived_id_gives_way_to_a_given_one(tmp_path):
    text = make_documents(1)[0]["text"]
    (derived,) = ids_of(build(write_corpus(tmp_path / "a.jsonl", [{"text": text}]), tmp_path / "a"))
    documents = [{"text": text}, {"id": derived, "text": "Another text altogether."}]
    pool = build(write_corpus(tmp_path / "b.jsonl", documents), tmp_path / "b")
    assert ids_of(pool) == [f"{derived}-2", derived]
    assert pool.description["counts"]["repeated_documents"] == 1


def test_a_given_id_that_looks_like_a_suffix_is_never_taken(tmp_path):
    text = make_documents(1)[0]["text"]
    (derived,) = ids_of(build(write_corpus(tmp_path / "a.jsonl", [{"text": text}]), tmp_path / "a"))
    documents = [{"text": text}, {"text": text}, {"id": f"{derived}-2", "text": "Another text altogether."}]
    pool = build(write_corpus(tmp_path / "b.jsonl", documents), tmp_path / "b")
    assert len(set(ids_of(pool))) == 3 and ids_of(pool)[2] == f"{derived}-2"
    assert nextlong.verify(pool.folder, workers=1).failures == []


# Shards.


@pytest.fixture
def sharded(tmp_path, monkeypatch):
    """The same corpus as one shard, and as many; in three files."""
    documents = with_copies(make_documents(60))
    corpus = [write_corpus(tmp_path / f"{n}.jsonl", documents[n * 25 : (n + 1) * 25]) for n in range(3)]
    whole = build(write_corpus(tmp_path / "whole" / "corpus.jsonl", documents), tmp_path / "one")
    monkeypatch.setattr(layout, "SHARD_CHARACTERS", 5_000)
    many = build(corpus, tmp_path / "many")
    return whole, many, documents


def test_shards_change_nothing(sharded, tmp_path, tokenizer_folder):
    whole, many, documents = sharded
    assert len(whole.shards) == 1 and len(many.shards) > 8
    assert (whole.documents, whole.chunks) == (many.documents, many.chunks) == (len(documents), whole.chunks)
    everything = np.arange(whole.chunks)
    assert whole.texts(everything) == many.texts(everything)
    np.testing.assert_array_equal(whole.vectors.take(everything), many.vectors.take(everything))
    for name, pool in (("one", whole), ("many", many)):
        nextlong.synthesize(
            pool,
            tmp_path / "data" / name,
            workers=1,
            length=1024,
            roots=20,
            tokenizer=tokenizer_folder,
            mining={"max_reuse": 2},
            composition={"position": "random"},
        )
    rows = [pq.read_table(tmp_path / "data" / name / "tokens") for name in ("one", "many")]
    assert rows[0].num_rows == 20 and rows[0].equals(rows[1])
    assert nextlong.verify(many.folder, workers=1).failures == []


def test_look_ups_over_shards(sharded):
    _, pool, documents = sharded
    generator = np.random.default_rng(0)
    some = generator.integers(0, pool.chunks, 300)
    owners, positions, texts = pool.documents_of(some), pool.positions_of(some), pool.texts(some)
    np.testing.assert_array_equal(pool.bytes_of(some), [len(text.encode()) for text in texts])
    for chunk, owner, position, text in zip(some.tolist(), owners.tolist(), positions.tolist(), texts, strict=True):
        assert pool.chunks_of(owner)[position] == chunk
        assert text in documents[owner]["text"]
    for number in generator.integers(0, pool.documents, 40).tolist():
        text = documents[number]["text"]
        assert "\n".join(pool.texts(pool.chunks_of(number))) == text
        assert pool.characters_of(number) == len(text)
    assert ids_of(pool) == [document["id"] for document in documents]
    backwards = np.arange(pool.documents)[::-1]
    assert pool.document_ids(backwards) == ids_of(pool)[::-1]
    assert pool.characters == sum(len(document["text"]) for document in documents)


def test_the_edges_of_a_text_are_those_of_the_whole_text(tmp_path):
    texts = ["plain words " * 30, "h\u00e9\u6f22\U0001f642" * 40, "short", "a\n\u6f22" * 200]
    pool = build(write_corpus(tmp_path / "corpus.jsonl", [{"text": text} for text in texts]), tmp_path / "pool")
    for chunk, text in enumerate(pool.texts(range(pool.chunks))):
        for characters in (1, 7, 64, 5000):
            assert pool.head(chunk, characters) == text[:characters]
            assert pool.tail(chunk, characters) == text[-characters:]
        assert pool.bytes_of(np.array([chunk]))[0] == len(text.encode())


def test_chunks_are_grouped_by_shard_in_the_order_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SOURCE_GROUP_BYTES", 1)
    texts = [[{"text": document["text"]} for document in make_documents(6, seed=seed)] for seed in range(3)]
    corpora = [write_corpus(tmp_path / f"{number}.jsonl", own) for number, own in enumerate(texts)]
    pool = build(corpora, tmp_path / "pool")
    assert len(pool.shards) == 3
    chunks = np.random.default_rng(0).integers(0, pool.chunks, 200)
    groups = pool.by_shard(chunks)
    assert [shard for shard, _ in groups] == [0, 1, 2]
    for shard, places in groups:
        assert (np.diff(places) > 0).all()
        rows = chunks[places] - pool.shard_start(shard)
        assert rows.min() >= 0 and rows.max() < pool.shard_size(shard)
    assert sum(len(places) for _, places in groups) == len(chunks)
    assert pool.by_shard(chunks[:0]) == []


# Blank chunks, chunks without a vector.


def test_blank_chunks_are_left_out(tmp_path):
    text = "First line.\n" + "\n" * 50 + "   \n" * 40 + "Last line."
    pool = nextlong.build_pool(
        write_corpus(tmp_path / "corpus.jsonl", [{"text": text}, *make_documents(3)]),
        tmp_path / "pool",
        workers=1,
        chunking={"granularity": 12, "chunker": "paper"},
        encoder=ENCODER,
    )
    assert pool.description["counts"]["blank_chunks"] > 5
    assert pool.texts(pool.chunks_of(0))[0].strip() == "First line."
    assert pool.texts(pool.chunks_of(0))[-1].strip() == "Last line."
    assert all(text.strip() for text in pool.texts(range(pool.chunks)))
    assert pool.positions_of(pool.chunks_of(0)).tolist() == list(range(len(pool.chunks_of(0))))
    assert nextlong.verify(pool.folder, workers=1).failures == []


def test_zero_vectors_are_counted_and_never_negatives(tmp_path, tokenizer_folder):
    documents = [*make_documents(12, paragraphs=(6, 9)), {"id": "marks", "text": "!!! ???\n... ---"}]
    pool = build(write_corpus(tmp_path / "corpus.jsonl", documents), tmp_path / "pool")
    (zero,) = pool.chunks_of(pool.documents - 1)
    assert pool.description["counts"]["zero_vectors"] == 1
    assert not pool.vectors.take(np.array([zero])).any()
    for negatives in ("top", "low", "random"):
        nextlong.synthesize(
            pool,
            tmp_path / negatives,
            workers=1,
            length=2048,
            roots=4,
            tokenizer=tokenizer_folder,
            mining={"negatives": negatives},
        )
        spans = [span for row in pq.read_table(tmp_path / negatives / "sequences").to_pylist() for span in row["spans"]]
        assert zero not in {span["chunk"] for span in spans}
    assert nextlong.verify(pool.folder, workers=1).failures == []


def test_a_corpus_without_a_word_cannot_be_fitted(tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", [{"text": "!!! ???"}, {"text": "... ---"}])
    with pytest.raises(nextlong.NextlongError, match="lsa"):
        build(corpus, tmp_path / "pool")


# What is done again.


def stages_since(pool, done):
    lines = (pool / "metrics.jsonl").read_text().splitlines()[done:]
    return [json.loads(line)["stage"] for line in lines]


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.jsonl", make_documents(20))


ALL_STAGES = ["ingest", "catalog", "fingerprint", "fit", "embed", "index"]


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ({}, []),
        ({"granularity": 200}, ALL_STAGES),
        ({"encoder": {"name": "lsa", "dimensions": 16}}, ["fit", "embed", "index"]),
        ({"index": {"kind": "auto"}}, ["index"]),
    ],
)
def test_exactly_what_depends_on_a_change_is_done_again(corpus, tmp_path, changed, stages):
    before = build(corpus, tmp_path / "pool")
    assert stages_since(tmp_path / "pool", 0) == ALL_STAGES
    if changed:
        with pytest.raises(nextlong.UsageError, match="another configuration") as error:
            build(corpus, tmp_path / "pool", **changed)
        assert "--overwrite" in error.value.hint
        assert nextlong.Pool(tmp_path / "pool").id == before.id
        assert len(stages_since(tmp_path / "pool", 0)) == len(ALL_STAGES)
    after = build(corpus, tmp_path / "pool", overwrite=True, **changed)
    assert stages_since(tmp_path / "pool", len(ALL_STAGES)) == stages
    fresh = build(corpus, tmp_path / "fresh", **changed)
    assert after.id == fresh.id
    assert after.texts(range(after.chunks)) == fresh.texts(range(fresh.chunks))
    everything = np.arange(after.chunks)
    np.testing.assert_array_equal(after.vectors.take(everything), fresh.vectors.take(everything))
    assert nextlong.verify(tmp_path / "pool", workers=1).failures == []


def test_a_grown_corpus_keeps_what_was_read(tmp_path):
    documents = make_documents(30)
    files = [write_corpus(tmp_path / "in" / f"{n}.jsonl", documents[n * 10 : (n + 1) * 10]) for n in range(3)]
    build(files[:2], tmp_path / "pool")
    done = len(stages_since(tmp_path / "pool", 0))
    pool = build(files, tmp_path / "pool", overwrite=True)
    lines = (tmp_path / "pool" / "metrics.jsonl").read_text().splitlines()[done:]
    figures = {line["stage"]: (line["tasks"], line["tasks_skipped"]) for line in map(json.loads, lines)}
    assert figures["ingest"] == (1, 2) and figures["fingerprint"] == (1, 2)
    assert pool.id == build(files, tmp_path / "fresh").id
    # And back: what the third file left behind is gone.
    back = build(files[:2], tmp_path / "pool", overwrite=True)
    assert back.documents == 20 and len(list((tmp_path / "pool" / "vectors").iterdir())) == 2
    assert nextlong.verify(tmp_path / "pool", workers=1).failures == []


def test_a_changed_file_is_read_again(corpus, tmp_path):
    build(corpus, tmp_path / "pool")
    documents = make_documents(20)
    documents[3]["text"] += "\nOne more line."
    write_corpus(corpus, documents)
    with pytest.raises(nextlong.UsageError, match="another configuration"):
        build(corpus, tmp_path / "pool")
    pool = build(corpus, tmp_path / "pool", overwrite=True)
    assert pool.texts(pool.chunks_of(3))[-1].endswith("One more line.")


def test_a_changed_file_is_noticed_beside_one_of_the_same_name(tmp_path):
    """As people see it: control characters are shown as escapes, and addresses without their queries."""
    names = ("a\x01.jsonl", "a\\x01.jsonl")
    texts = [[{"text": document["text"]} for document in make_documents(10, seed=seed)] for seed in range(4)]
    files = [write_corpus(tmp_path / name, texts[number]) for number, name in enumerate(names)]
    assert len({public_name(str(file)) for file in files}) == 1
    build(files, tmp_path / "pool")
    for number, file in enumerate(files, start=2):
        write_corpus(file, texts[number])
        with pytest.raises(nextlong.UsageError, match="another configuration"):
            build(files, tmp_path / "pool")
        build(files, tmp_path / "pool", overwrite=True)
    assert nextlong.Pool(tmp_path / "pool").id == build(files, tmp_path / "fresh").id


def test_an_encoder_that_was_fitted_is_gone_when_another_one_is_taken(corpus, tmp_path):
    words = {word for document in make_documents(20) for word in document["text"].lower().split()}
    static = {"encoder": write_static_model(tmp_path / "model", sorted(words))}
    build(corpus, tmp_path / "pool")
    build(corpus, tmp_path / "pool", overwrite=True, **static)
    build(corpus, tmp_path / "fresh", **static)
    pool, fresh = (
        {path.relative_to(folder) for path in folder.rglob("*")} for folder in (tmp_path / "pool", tmp_path / "fresh")
    )
    assert pool == fresh


# What overlaps with reading.


def write_static_model(folder, words):
    """A model2vec folder that knows these words."""
    vocabulary = ["[PAD]", "[UNK]", *words]
    tokenizer = Tokenizer(models.WordPiece({word: row for row, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(len(vocabulary), 16)).astype(np.float16)
    save_file({"embeddings": table}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    return {"name": f"static:{folder}"}


def test_shards_are_fingerprinted_and_encoded_while_the_rest_is_read(tmp_path):
    """One source of three shards: with two workers, the second one does not wait; and the pool is the same."""
    words = [f"word{number}" for number in range(300)]
    draw = np.random.default_rng(1)
    lines = [" ".join(draw.choice(words, 150)) for _ in range(200)]
    texts = ["\n".join(lines[place] for place in draw.integers(0, len(lines), 40)) for _ in range(900)]
    corpus = write_corpus(tmp_path / "corpus.jsonl", [{"id": str(row), "text": text} for row, text in enumerate(texts)])
    encoder = write_static_model(tmp_path / "model", words)
    progress = Told()
    pools = [
        build(corpus, tmp_path / "two", encoder=encoder, granularity=2048, workers=2, progress=progress),
        build(corpus, tmp_path / "one", encoder=encoder, granularity=2048, workers=1),
    ]
    assert len(pools[0].shards) == 3 and pools[0].id == pools[1].id
    assert any(line.startswith("embed") and line.endswith("chunks were done meanwhile") for line in progress.lines)
    for stage in ("fingerprint", "embed"):
        (figures,) = [line for line in read_metrics(pools[0].folder) if line["stage"] == stage]
        assert (figures["rows"], figures["tasks"], figures["tasks_skipped"]) == (pools[0].chunks, 3, 0)
    assert nextlong.verify(pools[0].folder, workers=1).failures == []


class Told(Quiet):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def test_a_worker_with_another_encoder_is_refused(tmp_path):
    """As on a cluster whose machines have other models, packages or processors."""
    pool = build(write_corpus(tmp_path / "corpus.jsonl", make_documents(6)), tmp_path / "pool")
    fitted, shard = embed.fitted_path(pool.folder), pool.shards[0]
    before = (pool.folder / layout.VECTORS / f"{shard}.npy").read_bytes()
    with pytest.raises(nextlong.NextlongError, match="Their vectors do not mix"):
        embed.embed(pool.folder, shard, EncoderConfig(**ENCODER), fitted, "lsa-of-another-machine")
    assert (pool.folder / layout.VECTORS / f"{shard}.npy").read_bytes() == before
