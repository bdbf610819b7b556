"""An export holds the rows of its dataset: in every format, and packed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from corpora import make_documents, write_corpus
from exported import LONG, LONG_ROWS, SHORT, SHORT_ROWS, rows_of, sequences_of, shifted, tokens_of, written_rows
from small_runs import contents
from tokenizers import Tokenizer

import nextlong
from nextlong.dataset import layout
from nextlong.formats.registry import FORMATS
from nextlong.records import ROW_SCHEMA

PACKING = sorted(name for name, form in FORMATS.items() if form.BORDERS != "none")


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_holds_the_rows_of_the_dataset(made, tmp_path, form, tokenizer_folder):
    card = nextlong.export(made / "long", tmp_path / "out", format=form, workers=1)
    assert card == nextlong.load_dataset_card(tmp_path / "out")
    assert card["counts"] == {
        "rows": LONG_ROWS,
        "sequences": LONG_ROWS,
        "tokens": LONG_ROWS * LONG,
        "dropped": 0,
        "tokens_wasted": 0,
        "meta_chunks_cut": 0,
    }
    tokenizer = Tokenizer.from_file(f"{tokenizer_folder}/tokenizer.json")
    rows = written_rows(tmp_path / "out", form)
    expected, spans = tokens_of(made / "long"), sequences_of(made / "long")
    assert len(rows) == len(expected) == LONG_ROWS
    for row, (identity, tokens) in zip(rows, expected.items(), strict=True):
        if isinstance(row.content, str):
            assert row.content == tokenizer.decode(tokens[1:-1], skip_special_tokens=False)
        else:
            assert np.array_equal(row.content, tokens)
        assert row.id in (None, identity)
        assert row.indices in (None, [[0, LONG]])
        assert row.spans in (None, spans[identity]["spans"])
    assert nextlong.verify(tmp_path / "out", workers=1).ok


def test_the_same_format_has_the_same_bytes(made, tmp_path):
    nextlong.export(made / "long", tmp_path / "out", workers=1)
    files = sorted(path.name for path in (made / "long" / "tokens").iterdir())
    assert len(files) > 2
    for name in files:
        assert (tmp_path / "out" / "tokens" / name).read_bytes() == (made / "long" / "tokens" / name).read_bytes()


@pytest.mark.parametrize("form", PACKING)
def test_packed_rows_are_the_sequences_one_after_the_other(made, tmp_path, form):
    card = nextlong.export(made / "short", tmp_path / "out", length="2K", format=form, workers=1)
    per_row = LONG // SHORT
    rows, table = written_rows(tmp_path / "out", form), rows_of(tmp_path / "out")
    sequences, tokens = sequences_of(made / "short"), tokens_of(made / "short")
    assert len(rows) == len(table) == SHORT_ROWS // per_row
    taken = []
    for row, canonical in zip(rows, table, strict=True):
        own = canonical["sequences"]
        taken += own
        assert np.array_equal(row.content, np.concatenate([tokens[identity] for identity in own]))
        borders = [[place * SHORT, (place + 1) * SHORT] for place in range(per_row)]
        assert canonical["indices"] == borders and row.indices in (None, borders)
        spans = [span for place, one in enumerate(own) for span in shifted(sequences[one]["spans"], place * SHORT)]
        assert canonical["spans"] == spans and row.spans in (None, spans)
        assert canonical["domain"] == "nextlong"
    assert taken == list(sequences)[: len(taken)]  # in the order of the dataset
    left = SHORT_ROWS % per_row
    assert left and card["counts"]["dropped"] == left == card["parts"][0]["counts"]["left_over"]
    assert card["counts"]["sequences"] == len(taken) == SHORT_ROWS - left
    assert card["counts"]["tokens"] == len(rows) * LONG
    assert nextlong.verify(tmp_path / "out", workers=1).ok


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("form", sorted(name for name, form in FORMATS.items() if form.MERGES == "on request"))
def test_shards_are_joined_on_request(made, tmp_path, form, merge):
    nextlong.export(made / "long", tmp_path / "out", format=form, merge=merge, workers=1)
    mains = list((tmp_path / "out" / "tokens").glob(f"*{FORMATS[form].SUFFIXES[0]}"))
    assert (len(mains) == 1) == merge
    assert len(written_rows(tmp_path / "out", form)) == LONG_ROWS
    assert nextlong.verify(tmp_path / "out", workers=1).ok


def test_the_dtype_is_what_was_asked_for(made, tmp_path):
    (form,) = [name for name in ("numpy",) if name in FORMATS]
    sizes = []
    for dtype in ("uint16", "uint32"):
        nextlong.export(made / "long", tmp_path / dtype, format=form, dtype=dtype, workers=1)
        files = (tmp_path / dtype / "tokens").glob(f"*{FORMATS[form].SUFFIXES[0]}")
        sizes.append(sum(path.stat().st_size for path in files))
    assert sizes[1] - sizes[0] >= LONG_ROWS * LONG * 2


def test_the_canonical_table_and_the_card(made, tmp_path):
    out = tmp_path / "out"
    card = nextlong.export(made / "short", out, length=LONG, workers=1)
    assert pq.read_table(out / "rows").schema.equals(ROW_SCHEMA)
    start, front, text = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    front = yaml.safe_load(front)
    assert start == "" and front["license"] == "cc-by-4.0" and {"long-context", "nextlong"} <= set(front["tags"])
    ((files,),) = [config["data_files"] for config in front["configs"]]
    assert sorted(out.glob(files["path"])) == sorted((out / "tokens").iterdir())
    assert "Attention stays within each sequence of a row" in text and "`indices`" in text
    assert yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]) == card["config"]
    (part,) = card["parts"]
    source = nextlong.load_dataset_card(made / "short")
    assert part["dataset"]["id"] == source["id"] and part["config"] == source["config"]
    assert card["pool"] == part["pool"] and card["pool"]["id"] == source["pool"]["id"]
    assert card["tokenizer"] == source["tokenizer"]


def test_the_cards_loading_snippet_runs(made, tmp_path, monkeypatch, capsys):
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    nextlong.export(made / "short", tmp_path / "out", length=LONG, workers=1)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    names = {}
    exec(text.split("```python\n")[1].split("```")[0].replace("FOLDER", str(tmp_path / "out")), names)
    assert [row["indices"] for row in names["rows"]] == [row["indices"] for row in rows_of(tmp_path / "out")]
    assert capsys.readouterr().out.strip() == str(LONG)


def test_rows_do_not_come_from_the_datasets_own_rows_nor_need_stored_tokens(made, family_pool, tmp_path, tokenizer_folder):
    pool = shutil.copytree(family_pool.folder, tmp_path / "pool")
    nextlong.synthesize(pool, tmp_path / "data", length=LONG, roots=3, tokenizer=tokenizer_folder, workers=1)
    nextlong.export(tmp_path / "data", tmp_path / "before", workers=1)
    shutil.rmtree(tmp_path / "data" / "tokens")
    shutil.rmtree(pool / "tokens")
    nextlong.export(tmp_path / "data", tmp_path / "after", workers=1)
    assert contents(tmp_path / "before") == contents(tmp_path / "after")
    assert list((pool / "tokens").glob("*/*.arrow"))  # tokenised in bulk, and kept


def test_any_number_of_workers_makes_the_same(made, tmp_path):
    for workers in (1, 2):
        nextlong.export(made / "short", tmp_path / str(workers), length=LONG, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_finished_export_is_left_alone(made, tmp_path):
    out = tmp_path / "out"
    nextlong.export(made / "short", out, length=LONG, workers=1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != "plan.json"}
    nextlong.export(made / "short", out, length=LONG, workers=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_changed_configuration_is_refused_and_overwrite_leaves_nothing_behind(made, tmp_path):
    out = tmp_path / "out"
    nextlong.export(made / "short", out, workers=1)
    with pytest.raises(nextlong.UsageError, match=r"config.length: 512 → 2048"):
        nextlong.export(made / "short", out, length=LONG, workers=1)
    with pytest.raises(nextlong.UsageError, match="made with another configuration"):
        nextlong.export(made / "long", out, workers=1)
    nextlong.export(made / "long", out, format="jsonl", workers=1, overwrite=True)
    nextlong.export(made / "long", tmp_path / "fresh", format="jsonl", workers=1)
    assert contents(out) == contents(tmp_path / "fresh")


def test_what_makes_no_sense_is_refused(made, family_pool, tmp_path, tokenizer_folder):
    def refused(match, *arguments, error=nextlong.UsageError, **keys):
        with pytest.raises(error, match=match):
            nextlong.export(*arguments, workers=1, **keys)

    out = tmp_path / "out"
    for length, reason in (
        (LONG + 1, "drift by one a sample"),
        (SHORT, "drop meta-chunks"),
        (3000, "every later one shift"),
    ):
        refused(reason, made / "long", out, length=length)
    refused("The format jsonl cannot say where one sequence", made / "short", out, length=LONG, format="jsonl")
    refused("The format parquet does not write tokens as uint16", made / "long", out, dtype="uint16")
    refused("Unknown key `lenght`", made / "long", out, lenght=LONG)
    refused("There is no tokenizer at", made / "long", out, tokenizer=str(tmp_path / "nothing" / "there"))
    refused("is a pool", family_pool.folder, out)
    refused("holds a dataset, not a", made / "long", made / "long")
    refused("holds no finished dataset", tmp_path, out, error=nextlong.NextlongError)
    refused("gives no row: a row of 32,768 tokens takes 64", made / "short", out, length="32K", error=nextlong.NextlongError)
    assert not out.exists()
    nextlong.export(made / "long", out, workers=1)
    refused("is an export, and what is exported or mixed are datasets", out, tmp_path / "again")
    (tmp_path / "something").mkdir()
    (tmp_path / "something" / "else").touch()
    refused("holds something that is no export", made / "long", tmp_path / "something")


@pytest.mark.parametrize("form", sorted(name for name, form in FORMATS.items() if form.BORDERS == "end token"))
def test_packing_by_end_tokens_needs_end_tokens(family_pool, tokenizer_folder, tmp_path, form):
    keys = {"length": SHORT, "roots": 4, "tokenizer": tokenizer_folder}
    no_end = {"eos": False, "max_root_fraction": 0.9}
    nextlong.synthesize(family_pool, tmp_path / "data", workers=1, composition=no_end, **keys)
    with pytest.raises(nextlong.UsageError, match="only end tokens tell the sequences of a row apart"):
        nextlong.export(tmp_path / "data", tmp_path / "out", length=LONG, format=form, workers=1)
    nextlong.export(tmp_path / "data", tmp_path / "out", format=form, workers=1)
    nextlong.export(tmp_path / "data", tmp_path / "packed", length=LONG, workers=1)  # parquet records the borders
    assert nextlong.verify(tmp_path / "packed", workers=1).ok


def test_a_pool_that_is_gone_or_a_damaged_sequence_file_is_named(family_pool, tokenizer_folder, tmp_path):
    pool = Path(shutil.copytree(family_pool.folder, tmp_path / "pool"))
    nextlong.synthesize(pool, tmp_path / "data", length=LONG, roots=3, tokenizer=tokenizer_folder, workers=1)
    path = tmp_path / "data" / layout.SEQUENCES / "00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(nextlong.NextlongError, match=r"00001.parquet is not what its receipt says"):
        nextlong.export(tmp_path / "data", tmp_path / "out", workers=1)
    path.write_bytes(whole)
    nextlong.export(tmp_path / "data", tmp_path / "out", workers=1)
    pool.rename(tmp_path / "moved")
    with pytest.raises(nextlong.NextlongError, match=r"The pool of .*data is not at"):
        nextlong.export(tmp_path / "data", tmp_path / "again", workers=1)
    with pytest.raises(nextlong.NextlongError, match="Name where it is now with --pool"):
        nextlong.verify(tmp_path / "out", workers=1)
    assert nextlong.verify(tmp_path / "out", workers=1, pool=tmp_path / "moved").ok


def test_a_pool_that_was_changed_is_refused_everywhere(family_pool, tokenizer_folder, tmp_path):
    pool = Path(shutil.copytree(family_pool.folder, tmp_path / "pool"))
    nextlong.synthesize(pool, tmp_path / "data", length=LONG, roots=3, tokenizer=tokenizer_folder, workers=1)
    nextlong.export(tmp_path / "data", tmp_path / "out", workers=1)
    corpus = write_corpus(tmp_path / "corpus.jsonl", make_documents(20, seed=5))
    encoder = {"name": "lsa", "dimensions": 16}
    nextlong.build_pool(corpus, pool, workers=1, overwrite=True, encoder=encoder)

    def refused(hint, of, function, *arguments, **keys):
        with pytest.raises(nextlong.NextlongError) as error:
            function(*arguments, workers=1, **keys)
        expected = f"The pool in {pool} is not the one that {of} was made from: it was changed since, or is another."
        assert (error.value.message, error.value.hint) == (expected, hint)

    data, out = tmp_path / "data", tmp_path / "out"
    refused("Make the dataset again.", data, nextlong.export, data, tmp_path / "again")
    for named in (None, pool):
        hint = "Name the right one with --pool, or make the {} again."
        refused(hint.format("dataset"), data, nextlong.verify, data, pool=named)
        refused(hint.format("export"), out, nextlong.verify, out, pool=named)


def test_other_methods_and_files_without_sequences(family_pool, tokenizer_folder, tmp_path):
    """Paper mode may discard all sequences of a file; other methods have whole documents instead of meta-chunks."""
    keys = {"length": LONG, "roots": 5, "tokenizer": tokenizer_folder, "workers": 1}
    paper = {"mode": "paper", "oversampling": 0.72, "characters_per_token": 4}
    for name, composition in (("paper", paper), ("standard", {"method": "standard"})):
        nextlong.synthesize(family_pool, tmp_path / name, composition=composition, **keys)
        nextlong.export(tmp_path / name, tmp_path / f"{name}-out", workers=1)
        expected, found = tokens_of(tmp_path / name), tokens_of(tmp_path / f"{name}-out")
        assert list(expected) == list(found) and len(found) == 5
        assert all(np.array_equal(found[identity], tokens) for identity, tokens in expected.items())
        assert nextlong.verify(tmp_path / f"{name}-out", workers=1).ok
    files = (tmp_path / "paper" / layout.SEQUENCES).iterdir()
    assert 0 in [pq.read_metadata(path).num_rows for path in files]
    assert {row["domain"] for row in rows_of(tmp_path / "standard-out")} == {"standard"}
