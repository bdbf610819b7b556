"""A dataset made again: in the same folder, with other options, in the same process."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import nextlong
from nextlong.dataset import layout
from nextlong.tokenization.store import TokenStore, open_joiner
from nextlong.tokenization.tokenizer import load_tokenizer


@pytest.fixture
def batches(monkeypatch):
    monkeypatch.setattr(layout, "SHARD_TOKENS", 4 * 1024)


def make(pool, folder, tokenizer, **keys):
    keys = {"length": 1024, "roots": 14, "mining": {"max_reuse": 1}, **keys}
    nextlong.synthesize(pool, folder, workers=1, tokenizer=tokenizer, overwrite=True, **keys)
    return rows_of(folder)


def rows_of(folder):
    return pq.read_table(folder / "tokens").to_pylist(), pq.read_table(folder / "sequences").to_pylist()


def stages_of(folder, skip=0):
    lines = (folder / "metrics.jsonl").read_text().splitlines()[skip:]
    return [json.loads(line)["stage"] for line in lines]


def test_other_options_in_the_same_folder_give_what_a_new_folder_gives(family_pool, tokenizer_folder, tmp_path, batches):
    make(family_pool, tmp_path / "one", tokenizer_folder, seed=1)
    again = make(family_pool, tmp_path / "one", tokenizer_folder, seed=2)
    assert again == make(family_pool, tmp_path / "new", tokenizer_folder, seed=2)
    assert nextlong.verify(tmp_path / "one", workers=1).failures == []


@pytest.mark.parametrize("max_reuse", [None, 1])
def test_what_is_finished_is_not_done_again(family_pool, tokenizer_folder, tmp_path, batches, max_reuse):
    first = make(family_pool, tmp_path / "data", tokenizer_folder, mining={"max_reuse": max_reuse})
    done = len(stages_of(tmp_path / "data"))
    assert make(family_pool, tmp_path / "data", tokenizer_folder, mining={"max_reuse": max_reuse}) == first
    assert stages_of(tmp_path / "data", skip=done) == []


def test_another_format_needs_only_the_rows_written_again(family_pool, tokenizer_folder, tmp_path, batches):
    make(family_pool, tmp_path / "data", tokenizer_folder)
    done = len(stages_of(tmp_path / "data"))
    sequences = pq.read_table(tmp_path / "data" / "sequences")
    nextlong.synthesize(
        family_pool,
        tmp_path / "data",
        workers=1,
        tokenizer=tokenizer_folder,
        overwrite=True,
        length=1024,
        roots=14,
        mining={"max_reuse": 1},
        format="jsonl",
    )
    assert stages_of(tmp_path / "data", skip=done) == ["write"]
    assert pq.read_table(tmp_path / "data" / "sequences").equals(sequences)
    assert {path.name.partition(".")[2] for path in (tmp_path / "data" / "tokens").iterdir()} == {"jsonl.zst"}


def test_a_changed_configuration_must_be_asked_for(family_pool, tokenizer_folder, tmp_path):
    make(family_pool, tmp_path / "data", tokenizer_folder)
    before = rows_of(tmp_path / "data")
    with pytest.raises(nextlong.UsageError, match="seed: 0 → 5"):
        nextlong.synthesize(
            family_pool,
            tmp_path / "data",
            workers=1,
            tokenizer=tokenizer_folder,
            length=1024,
            roots=14,
            seed=5,
            mining={"max_reuse": 1},
        )
    assert rows_of(tmp_path / "data") == before


def test_fewer_sequences_leave_no_file_behind(family_pool, tokenizer_folder, tmp_path, batches):
    many = make(family_pool, tmp_path / "data", tokenizer_folder)
    few = make(family_pool, tmp_path / "data", tokenizer_folder, roots=5)
    assert few[0] == many[0][:5]
    assert len(list((tmp_path / "data" / "tokens").iterdir())) == 2
    assert nextlong.verify(tmp_path / "data", workers=1).failures == []


def test_all_that_was_counted_for_a_dataset_is_stored(family_pool, tokenizer_folder, tmp_path, batches):
    """Those chunks, too, that were too long for the room there was; else each dataset would tokenise them anew."""
    make(family_pool, tmp_path / "data", tokenizer_folder, seed=11, mining={})
    receipts = [json.loads(path.read_text()) for path in sorted((tmp_path / "data" / "receipts" / "compose").iterdir())]
    measured = np.unique([chunk for receipt in receipts for chunk in receipt["info"]["measured"]])
    used = {span["chunk"] for row in rows_of(tmp_path / "data")[1] for span in row["spans"]}
    assert set(measured.tolist()) - used
    joiner = open_joiner(tokenizer_folder, "\n\n", load_tokenizer(tokenizer_folder).fingerprint)
    store = TokenStore(family_pool, joiner)
    assert len(store.missing(measured)) == len(store.missing(np.array(sorted(used)))) == 0
