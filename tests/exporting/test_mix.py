"""A mix keeps its weights in every beginning, packs what is shorter, and repeats nothing."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from exported import LONG, LONG_ROWS, SHORT, SHORT_ROWS, rows_of, sequences_of, shifted, tokens_of, written_rows
from small_runs import contents

import nextlong
from nextlong.config import MixConfig
from nextlong.execution.local import LocalExecutor
from nextlong.execution.progress import Quiet
from nextlong.exporting.build import build
from nextlong.exporting.parts import open_source
from nextlong.exporting.request import Request
from nextlong.formats.registry import FORMATS

PER_ROW = LONG // SHORT
PACKING = sorted(name for name, form in FORMATS.items() if form.BORDERS != "none")


def parts_of(made, **weights):
    return {str(made / name): weight for name, weight in weights.items()}


@pytest.mark.parametrize("form", PACKING)
def test_one_to_two_with_four_packed_to_a_row(made, tmp_path, form):
    card = nextlong.mix(parts_of(made, long=1, short=2), tmp_path / "out", length="2K", format=form, workers=1)
    rows, table = written_rows(tmp_path / "out", form), rows_of(tmp_path / "out")
    # 43 short sequences are 10 rows of four, which is what ends it.
    assert card["counts"]["rows"] == len(rows) == len(table) == 15
    assert [row["domain"] for row in table] == ["short", "long", "short"] * 5
    sources = {name: (sequences_of(made / name), tokens_of(made / name)) for name in ("long", "short")}
    taken = {"long": [], "short": []}
    for number, (row, canonical) in enumerate(zip(rows, table, strict=True)):
        domain, own = canonical["domain"], canonical["sequences"]
        sequences, tokens = sources[domain]
        assert canonical["id"] == f"mix-{number:08d}" and row.id in (None, canonical["id"])
        assert len(own) == {"long": 1, "short": PER_ROW}[domain]
        assert np.array_equal(row.content, np.concatenate([tokens[identity] for identity in own]))
        length = LONG // len(own)
        assert canonical["indices"] == [[place * length, (place + 1) * length] for place in range(len(own))]
        spans = [span for place, one in enumerate(own) for span in shifted(sequences[one]["spans"], place * length)]
        assert canonical["spans"] == spans and row.spans in (None, spans)
        taken[domain] += own
    assert len(set(taken["long"])) == 5 and len(set(taken["short"])) == 40
    assert taken["short"] != sorted(taken["short"])  # drawn
    used = {part["name"]: part["counts"] for part in card["parts"]}
    assert used["long"]["left_over"] == LONG_ROWS - 5 and used["short"]["left_over"] == SHORT_ROWS - 40
    assert nextlong.verify(tmp_path / "out", workers=1).ok


def test_the_amount_is_what_was_asked_for_and_the_seed_draws(made, tmp_path):
    parts = parts_of(made, long=1, short=2)
    asked = 5 * LONG + 1
    card = nextlong.mix(parts, tmp_path / "a", tokens=asked, workers=1)
    assert card["counts"]["rows"] == 6 and card["config"]["length"] == LONG  # the longest sequences' length
    nextlong.mix(parts, tmp_path / "all", workers=1)
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "all")[:6]
    nextlong.mix(parts, tmp_path / "b", tokens=asked, seed=1, workers=1)
    first, second = ([row["sequences"] for row in rows_of(tmp_path / name)] for name in ("a", "b"))
    assert first != second


def test_too_much_is_refused_with_what_there_is(made, tmp_path):
    with pytest.raises(nextlong.NextlongError) as error:
        nextlong.mix(parts_of(made, long=1, short=2), tmp_path / "out", tokens=16 * LONG, workers=1)
    assert "16 rows of 2K tokens were asked for" in error.value.message
    assert "long 7, short 10; at the weights 1 : 2 that makes 15" in error.value.message
    assert f"--tokens {15 * LONG}" in error.value.hint
    assert not (tmp_path / "out").exists()
    card = nextlong.mix(parts_of(made, long=1, short=2), tmp_path / "out", tokens=15 * LONG, workers=1)
    assert card["counts"]["tokens"] == 15 * LONG


def test_any_number_of_workers_makes_the_same(made, tmp_path):
    for workers in (1, 2):
        nextlong.mix(parts_of(made, long=1, short=1), tmp_path / str(workers), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_parts_may_differ_in_begin_and_end_tokens_and_separator(made, family_pool, tokenizer_folder, tmp_path):
    other = {"bos": False, "separator": "\n---\n", "max_root_fraction": 0.9}
    keys = {"length": LONG, "roots": 4, "tokenizer": tokenizer_folder, "composition": other}
    nextlong.synthesize(family_pool, tmp_path / "bare", workers=1, **keys)
    parts = [made / "long", f"{tmp_path / 'bare'}:0.5"]
    tokens = {"long": tokens_of(made / "long"), "bare": tokens_of(tmp_path / "bare")}
    texts = {}
    for name in ("long", "bare"):
        source = made / "long" if name == "long" else tmp_path / "bare"
        nextlong.export(source, tmp_path / f"{name}-text", format="jsonl", workers=1)
        texts[name] = {row.id: row.content for row in written_rows(tmp_path / f"{name}-text", "jsonl")}
    for form in ("parquet", "jsonl"):
        nextlong.mix(parts, tmp_path / form, format=form, workers=1)
        for row, canonical in zip(written_rows(tmp_path / form, form), rows_of(tmp_path / form), strict=True):
            (identity,), name = canonical["sequences"], canonical["domain"]
            if form == "parquet":
                assert np.array_equal(row.content, tokens[name][identity])
            else:
                assert row.content == texts[name][identity]
        assert nextlong.verify(tmp_path / form, workers=1).ok


def test_parts_whose_folders_share_a_name_have_names_of_their_own(made, family_pool, tokenizer_folder, tmp_path):
    keys = {"length": LONG, "roots": 3, "tokenizer": tokenizer_folder, "seed": 9}
    nextlong.synthesize(family_pool, tmp_path / "long", workers=1, **keys)
    card = nextlong.mix([made / "long", tmp_path / "long"], tmp_path / "out", workers=1)
    assert [part["name"] for part in card["parts"]] == ["long", "long-2"]
    assert {row["domain"] for row in rows_of(tmp_path / "out")} == {"long", "long-2"}
    assert nextlong.verify(tmp_path / "out", workers=1).ok


def test_a_part_that_is_gone_leaves_a_mix_that_can_be_verified(made, family_pool, tmp_path, tokenizer_folder):
    data = shutil.copytree(made / "short", tmp_path / "short")
    nextlong.mix([made / "long", data], tmp_path / "out", workers=1)
    shutil.rmtree(data)
    report = nextlong.verify(tmp_path / "out", workers=1)
    assert report.ok and report.checks["sequences equal to those of their datasets"] == LONG_ROWS


@pytest.fixture
def as_text(made, family_pool, tokenizer_folder, tmp_path):
    """The dataset ``short`` again, in another format."""
    keys = {"length": SHORT, "tokenizer": tokenizer_folder, "composition": {"max_root_fraction": 0.9}, "format": "jsonl"}
    nextlong.synthesize(family_pool, tmp_path / "text", roots=SHORT_ROWS, workers=1, **keys)
    one, other = (nextlong.load_dataset_card(folder)["id"] for folder in (made / "short", tmp_path / "text"))
    assert one != other and sequences_of(made / "short") == sequences_of(tmp_path / "text")
    return tmp_path / "text"


def test_the_same_sequences_are_refused_in_whatever_format_they_are(made, as_text, tmp_path):
    with pytest.raises(nextlong.UsageError) as error:
        nextlong.mix([made / "short", as_text], tmp_path / "out", workers=1)
    same = f"{made / 'short'} and {as_text} are the same dataset"
    assert error.value.message == f"{same}, its rows written in two ways, so its sequences would be repeated."
    assert not (tmp_path / "out").exists()


def test_datasets_that_have_files_of_sequences_in_common_are_refused(made, family_pool, tokenizer_folder, tmp_path):
    keys = {"length": SHORT, "tokenizer": tokenizer_folder, "composition": {"max_root_fraction": 0.9}}
    nextlong.synthesize(family_pool, tmp_path / "fewer", roots=20, workers=1, **keys)
    shared = [row for row in sequences_of(tmp_path / "fewer").values() if row in sequences_of(made / "short").values()]
    assert shared
    with pytest.raises(nextlong.UsageError, match=r"were made alike: \d of their files have the same sequences"):
        nextlong.mix([made / "short", tmp_path / "fewer"], tmp_path / "out", workers=1)
    nextlong.synthesize(family_pool, tmp_path / "others", roots=20, seed=1, workers=1, **keys)
    nextlong.mix([made / "short", tmp_path / "others"], tmp_path / "out", workers=1)
    assert nextlong.verify(tmp_path / "out", workers=1).ok


def test_empty_files_of_sequences_are_nothing_in_common(family_pool, tokenizer_folder, tmp_path):
    paper = {"mode": "paper", "oversampling": 0.72, "characters_per_token": 4}
    for seed in (0, 1):
        keys = {"length": LONG, "roots": 5, "tokenizer": tokenizer_folder, "seed": seed}
        nextlong.synthesize(family_pool, tmp_path / str(seed), composition=paper, workers=1, **keys)
    empty = [path for path in tmp_path.glob("*/sequences/*.parquet") if not pq.read_metadata(path).num_rows]
    assert {path.parts[-3] for path in empty} == {"0", "1"} and len({path.read_bytes() for path in empty}) == 1
    assert nextlong.mix([tmp_path / "0", tmp_path / "1"], tmp_path / "out", workers=1)["counts"]["rows"] >= 2


def test_sequences_that_a_mix_has_twice_are_found(made, as_text, tmp_path):
    config = MixConfig()
    sources = (open_source(made / "short", 0, "short"), open_source(as_text, 1, "text"))
    build(Request("mix", config, sources, SHORT, (1, 1), seed=0), tmp_path / "out", LocalExecutor(1), Quiet())
    report = nextlong.verify(tmp_path / "out", workers=1)
    assert [failure.what[-38:] for failure in report.failures] == [" of short and of text is in it 2 times"]


def test_a_part_gives_the_same_sequences_whatever_its_folder_is_called(made, tmp_path):
    folders = [shutil.copytree(made / name, tmp_path / name) for name in ("long", "short")]
    nextlong.mix(folders, tmp_path / "before", workers=1)
    renamed = folders[1].rename(tmp_path / "other")
    nextlong.mix([folders[0], renamed], tmp_path / "after", workers=1)
    before, after = rows_of(tmp_path / "before"), rows_of(tmp_path / "after")
    assert {row["domain"] for row in after} == {"long", "other"}
    assert [{**row, "domain": row["domain"].replace("other", "short")} for row in after] == before
    with pytest.raises(nextlong.UsageError) as error:
        nextlong.mix([folders[0], renamed], tmp_path / "before", workers=1)
    assert error.value.message.splitlines()[1:] == ["  parts.1.name: short → other"]
    nextlong.mix([folders[0], renamed], tmp_path / "before", workers=1, overwrite=True)
    assert contents(tmp_path / "before") == contents(tmp_path / "after")


def test_a_mix_of_the_same_parts_in_another_order_is_another(made, tmp_path):
    nextlong.mix([made / "long", made / "short"], tmp_path / "out", workers=1)
    with pytest.raises(nextlong.UsageError, match=r"parts.0.name: long → short"):
        nextlong.mix([made / "short", made / "long"], tmp_path / "out", workers=1)


def test_a_part_that_would_be_in_no_row_is_refused_with_the_least_weight(made, tmp_path):
    parts = [made / "long", f"{made / 'short'}:1e-300"]
    with pytest.raises(nextlong.UsageError) as error:
        nextlong.mix(parts, tmp_path / "out", workers=1)
    assert error.value.message == f"With the weight 1e-300 {made / 'short'} would be in none of the {LONG_ROWS} rows."
    least = float(re.fullmatch(r"Give it the weight (\S+) or more, or leave it away.", error.value.hint)[1])
    with pytest.raises(nextlong.UsageError, match="would be in none of"):
        nextlong.mix([parts[0], f"{made / 'short'}:{least * 0.9}"], tmp_path / "out", workers=1)
    with pytest.raises(nextlong.UsageError, match=r"no room for all 2 parts: .*\n.*--tokens 4096 or more"):
        nextlong.mix(parts_of(made, long=1, short=2), tmp_path / "out", tokens=LONG, workers=1)
    with pytest.raises(nextlong.UsageError, match=r"none of the 2 rows.\n.*, ask for more --tokens, or leave"):
        nextlong.mix(parts_of(made, long=9, short=1), tmp_path / "out", tokens=2 * LONG, workers=1)
    assert not (tmp_path / "out").exists()
    card = nextlong.mix([parts[0], f"{made / 'short'}:{least}"], tmp_path / "out", workers=1)
    assert [part["counts"]["rows"] for part in card["parts"]][1] == 1


def test_what_makes_no_sense_is_refused(made, family_pool, tokenizers, tmp_path):
    def refused(match, parts, error=nextlong.UsageError, **keys):
        with pytest.raises(error, match=match):
            nextlong.mix(parts, tmp_path / "out", workers=1, **keys)

    both = parts_of(made, long=1, short=2)
    refused("No datasets are given", [])
    refused("are the same dataset, so its sequences would be repeated", [made / "long", made / "long"])
    refused("the sequences of the part long, which have 2,048 tokens: .* drop meta-chunks", both, length=SHORT)
    refused("the sequences of the part long, .* drift by one a sample", both, length=LONG + 1)
    refused("The format jsonl cannot say where one sequence", both, format="jsonl")
    refused("Wrong value for `parts.0.weight`", parts_of(made, long=0))
    refused("Wrong value for `parts.1.weight`", parts_of(made, long=1, short=float("inf")))
    refused("Unknown key `weights`", both, weights=[1, 2])
    refused("holds no finished dataset", [made / "long", tmp_path], error=nextlong.NextlongError)
    refused("is a pool", [family_pool.folder])
    one = [made / "short"]
    refused("gives no row: a row of 32,768 tokens takes 64 of its sequences, and it has 43", one, nextlong.NextlongError,
            length="32K")  # fmt: skip
    keys = {"length": LONG, "roots": 3, "tokenizer": str(tokenizers / "dense")}
    nextlong.synthesize(family_pool, tmp_path / "dense", workers=1, **keys)
    refused("a model reads the tokens of one.*\n.*nextlong export --tokenizer", [made / "long", tmp_path / "dense"])
    nextlong.export(made / "short", tmp_path / "exported", workers=1)
    refused("is an export, and what is exported or mixed are datasets", [made / "long", tmp_path / "exported"])
    assert not (tmp_path / "out").exists()


def test_a_changed_mix_is_refused_without_overwrite(made, tmp_path):
    nextlong.mix(parts_of(made, long=1, short=2), tmp_path / "out", workers=1)
    with pytest.raises(nextlong.UsageError, match=r"parts.1.weight: 2.0 → 3.0"):
        nextlong.mix(parts_of(made, long=1, short=3), tmp_path / "out", workers=1)
    nextlong.mix(parts_of(made, long=1, short=3), tmp_path / "out", workers=1, overwrite=True)
    nextlong.mix(parts_of(made, long=1, short=3), tmp_path / "fresh", workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
