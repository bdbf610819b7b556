"""Datasets whose folders move, pools that change under them, and what is made anew after a change."""

from __future__ import annotations

import shutil

import pytest
from corpora import GRANULARITY, make_documents, write_corpus
from tokenizers import Tokenizer, models, trainers

import nextlong
from nextlong.execution.progress import Quiet
from nextlong.pool import layout

ENCODER = {"name": "lsa", "dimensions": 16}


def make(corpus, out, tokenizer_folder, **keys):
    return nextlong.synthesize(corpus, out, length=1024, roots=3, tokenizer=tokenizer_folder, workers=1, **keys)


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.jsonl", make_documents(60, 4))


@pytest.fixture
def pool(corpus, tmp_path):
    chunking = {"granularity": GRANULARITY}
    return nextlong.build_pool(corpus, tmp_path / "pool", workers=1, chunking=chunking, encoder=ENCODER)


def test_a_dataset_and_the_pool_inside_it_move_together(corpus, tmp_path, tokenizer_folder):
    sections = {"encoder": ENCODER, "chunking": {"granularity": GRANULARITY}}
    make(corpus, tmp_path / "made", tokenizer_folder, pool=sections)
    shutil.move(tmp_path / "made", tmp_path / "moved")
    assert nextlong.verify(tmp_path / "moved", workers=1).ok


def test_a_dataset_is_verified_from_any_folder(pool, tmp_path, tokenizer_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tokenizer_folder, "tokenizer")
    make("pool", "data", "tokenizer")
    monkeypatch.chdir("/")
    assert nextlong.verify(tmp_path / "data", workers=1).ok


def test_workers_follow_the_working_directory(tmp_path, monkeypatch):
    for name in ("one", "other"):
        folder = tmp_path / name
        for part in (1, 2):
            write_corpus(folder / "corpus" / f"{part}.jsonl", make_documents(20, 2, seed=ord(name[-1]) + part))
            _rename(folder / "corpus" / f"{part}.jsonl", part)
        monkeypatch.chdir(folder)
        nextlong.build_pool("corpus", "pool", workers=2, encoder=ENCODER)
    for name in ("one", "other"):
        assert nextlong.verify(tmp_path / name / "pool", workers=1).ok


def _rename(path, part):
    path.write_text(path.read_text().replace('"id": "', f'"id": "part-{part}-'))


def test_another_separator_of_as_many_tokens_makes_other_rows(pool, tmp_path, tokenizer_folder):
    make(pool, tmp_path / "data", tokenizer_folder, composition={"separator": "\n\n"})
    before = (tmp_path / "data" / "tokens" / "00000.parquet").read_bytes()
    make(pool, tmp_path / "data", tokenizer_folder, composition={"separator": "\t\t"}, overwrite=True)
    assert (tmp_path / "data" / "tokens" / "00000.parquet").read_bytes() != before
    assert nextlong.verify(tmp_path / "data", workers=1).ok


def test_a_pool_made_again_is_the_one_that_counts(pool, corpus, tmp_path, tokenizer_folder):
    make(pool, tmp_path / "data", tokenizer_folder)
    chunking = {"granularity": GRANULARITY + 30}
    again = nextlong.build_pool(corpus, pool.folder, workers=1, chunking=chunking, encoder=ENCODER, overwrite=True)
    card = make(pool, tmp_path / "other", tokenizer_folder)  # an object opened before
    assert card["pool"]["id"] == again.id != pool.id
    assert nextlong.verify(tmp_path / "other", workers=1).ok
    with pytest.raises(nextlong.NextlongError, match="is not the one that"):
        nextlong.verify(tmp_path / "data", workers=1)


def test_tokens_of_chunks_that_are_no_more_go(pool, corpus, tmp_path, tokenizer_folder):
    make(pool, tmp_path / "data", tokenizer_folder)
    assert len(list((pool.folder / layout.TOKENS).iterdir())) == 1
    chunking = {"granularity": GRANULARITY + 30}
    nextlong.build_pool(corpus, pool.folder, workers=1, chunking=chunking, encoder=ENCODER, overwrite=True)
    assert list((pool.folder / layout.TOKENS).iterdir()) == []


def test_a_stray_file_beside_the_rows_is_found(pool, tmp_path, tokenizer_folder):
    make(pool, tmp_path / "data", tokenizer_folder)
    tokens = tmp_path / "data" / "tokens"
    shutil.copy(tokens / "00000.parquet", tokens / "99999.parquet")
    report = nextlong.verify(tmp_path / "data", workers=1)
    assert [failure.where for failure in report.failures] == [str(tokens / "99999.parquet")]


def test_truncated_meta_chunks_are_not_counted(pool, tmp_path, tokenizer_folder):
    card = make(pool, tmp_path / "data", tokenizer_folder, composition={"mode": "paper", "position": "tail"})
    assert nextlong.verify(tmp_path / "data", workers=1).ok
    assert card["counts"]["sequences"] == 3


def test_paper_mode_takes_what_there_is(pool, tmp_path, tokenizer_folder):
    """A range that ends long before k negatives, and a length that fewer of them fill."""
    keys = {"composition": {"mode": "paper"}, "mining": {"range_max": 12}}
    card = make(pool, tmp_path / "data", tokenizer_folder, **keys)
    assert card["counts"]["sequences"] == 3
    assert nextlong.verify(tmp_path / "data", workers=1).ok


def test_a_range_that_ends_too_early_is_what_the_error_names(pool, tmp_path, tokenizer_folder):
    with pytest.raises(nextlong.NextlongError, match="Loosen range_max"):
        make(pool, tmp_path / "data", tokenizer_folder, mining={"range_max": 1})
    neighbours = tmp_path / "data" / "neighbours" / "00000.arrow"
    assert neighbours.stat().st_size < 20_000  # and nobody searched the whole pool for it


def test_small_sources_share_a_shard(tmp_path, monkeypatch):
    for part in range(6):
        write_corpus(tmp_path / "corpus" / f"{part}.jsonl", make_documents(10, 2, seed=part))
        _rename(tmp_path / "corpus" / f"{part}.jsonl", part)
    (tmp_path / "corpus" / "00.jsonl").write_text("")
    monkeypatch.setattr(layout, "SOURCE_GROUP_BYTES", 1 << 22)
    together = nextlong.build_pool(tmp_path / "corpus", tmp_path / "together", workers=1, encoder=ENCODER)
    monkeypatch.setattr(layout, "SOURCE_GROUP_BYTES", 1)
    apart = nextlong.build_pool(tmp_path / "corpus", tmp_path / "apart", workers=1, encoder=ENCODER)
    assert (len(together.shards), len(apart.shards)) == (1, 6)
    everything = range(together.chunks)
    assert together.texts(everything) == apart.texts(everything)
    assert together.document_ids(together.documents_of(everything)) == apart.document_ids(apart.documents_of(everything))
    assert nextlong.verify(together.folder, workers=1).ok


def test_a_section_of_the_wrong_kind_says_where_the_key_belongs(corpus, tmp_path):
    with pytest.raises(nextlong.UsageError, match="section `chunking`"):
        nextlong.build_pool(corpus, tmp_path / "pool", granularity=1024)
    assert not (tmp_path / "pool").exists()


def test_a_wrong_request_is_known_before_a_pool_is_made(corpus, tmp_path, tokenizer_folder):
    with pytest.raises(nextlong.UsageError, match="No tokenizer"):
        nextlong.synthesize(corpus, tmp_path / "data", length=1024, roots=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(nextlong.UsageError, match="nothing was touched"):
        make(corpus, tmp_path / "mine", tokenizer_folder)
    assert not (tmp_path / "data").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


class Said:
    """Progress that remembers what was said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def stage(self, name, total, unit):
        return Quiet().stage(name, total, unit)


def test_a_tokenizer_that_reaches_across_separators_is_slow_right_and_said(pool, tmp_path, tokenizer_folder):
    library = Tokenizer(models.BPE())  # no words: merges go across everything
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False)
    library.train_from_iterator([document["text"] for document in make_documents(20, 2)], trainer)
    library.save(str(tmp_path / "tokenizer.json"))
    said = Said()
    make(pool, tmp_path / "data", str(tmp_path / "tokenizer.json"), progress=said)
    assert any("across separators" in line for line in said.lines)
    assert nextlong.verify(tmp_path / "data", workers=1).ok
    quiet = Said()
    make(pool, tmp_path / "other", tokenizer_folder, progress=quiet)
    assert not any("across separators" in line for line in quiet.lines)
