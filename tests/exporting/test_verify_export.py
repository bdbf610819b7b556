"""Whatever is changed in an export, `verify` says so."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from cli_runs import run_cli
from exported import LONG_ROWS, SHORT_ROWS, flip_a_byte, forge_receipts, small_shards

import nextlong
from nextlong.execution.arrow import write_arrow
from nextlong.execution.files import read_description, write_description
from nextlong.exporting.gather import open_gathered


@pytest.fixture(scope="module")
def mixed(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("mixed") / "out"
    with small_shards():
        nextlong.mix({str(made / "long"): 1, str(made / "short"): 2}, out, workers=1)
    return out


@pytest.fixture
def mix(mixed, tmp_path):
    return shutil.copytree(mixed, tmp_path / "out")


@pytest.fixture(scope="module")
def exported(made, tokenizers, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    with small_shards():
        nextlong.export(made / "short", out, tokenizer=str(tokenizers / "dense"), length=400, workers=1)
    assert nextlong.load_dataset_card(out)["counts"]["dropped"]
    return out


def edit(folder, part, change, name=None):
    """Change the rows of a Parquet file as plain values, and make the receipts agree."""
    path = min((folder / part).glob("*.parquet")) if name is None else folder / part / name
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    forge_receipts(folder)


def assert_found(folder, *words):
    result = run_cli("verify", folder, "--workers", 1)
    assert result.exit_code == 1, result.stdout
    assert "the export is NOT what it should be" in result.stdout
    for word in words:
        assert word in result.stderr, result.stderr


def test_what_was_not_touched_is_verified(mixed, exported):
    for folder in (mixed, exported):
        result = run_cli("verify", folder, "--workers", 1)
        assert result.exit_code == 0, result.stderr
        assert "the export is verified" in result.stdout


@pytest.mark.parametrize("name", ["tokens/00001.parquet", "rows/00000.parquet", "gathered/01-00002.arrow"])
def test_a_flipped_byte_is_found(mix, name):
    flip_a_byte(mix / name)
    assert_found(mix, f"{mix / name}: the checksum is")


def test_a_stray_or_missing_file_is_found(mix):
    (mix / "tokens" / "00099.parquet").touch()
    assert_found(mix, "no task made this file")
    (mix / "tokens" / "00099.parquet").unlink()
    (mix / "tokens" / "00001.parquet").unlink()
    assert_found(mix, "the file is missing")


def test_a_rejects_file_that_changed_is_found(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "out")
    flip_a_byte(min((folder / "rejects").iterdir()))
    assert_found(folder, "rejects/", "the checksum is")


def another_token(rows):
    rows[0]["input_ids"][700] ^= 1


def shorter(rows):
    rows[0]["input_ids"].pop()


def other_borders(rows):
    rows[0]["indices"] = [[0, 1024], [1024, 2048]]


def other_span(rows):
    rows[0]["spans"][2]["chunk"] += 1


def in_another_order(rows):
    rows[0], rows[1] = rows[1], rows[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_token, ("its sequence 1 (nextlong-", "its text differs from its chunks' at character")),
        (shorter, ("it has 2,047 tokens, not 2,048",)),
        (other_borders, ("its indices are [[0, 1024], [1024, 2048]], not [[0, 512], [512, 1024]",)),
        (other_span, ("its spans are not those in rows/",)),
        (in_another_order, ("it is mix-00000001, not mix-00000000",)),
    ],
)
def test_changed_tokens_are_found(mix, change, words):
    edit(mix, "tokens", change)
    assert_found(mix, "00000.parquet, row 0 (mix-00000000)", *words)


def move_border(rows):
    spans = rows[0]["spans"]
    spans[1]["token_end"] -= 1
    spans[2]["token_start"] -= 1


def repeat(rows):
    rows[0]["sequences"][0] = rows[0]["sequences"][1]


def unknown(rows):
    rows[0]["sequences"][0] = "nextlong-99999999"


def other_part(rows):
    rows[1]["domain"] = "short"


def no_part(rows):
    rows[1]["domain"] = "nobody"


def unpacked(rows):
    rows[0]["indices"] = [[0, 2048]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (move_border, ("its spans are not those in gathered/",)),
        (repeat, ("of short is in it 2 times",)),
        (unknown, ("short has no sequence nextlong-99999999",)),
        (other_part, ("of the first 3 rows 0 are of long, and its weight makes that 1.00",)),
        (no_part, ("a row is of 'nobody', which is no part",)),
        (unpacked, ("it holds 4 sequences at [[0, 2048]], not 4 of 512 tokens",)),
    ],
)
def test_changed_rows_are_found(mix, change, words):
    edit(mix, "rows", change)
    result = run_cli("verify", mix, "--workers", 1, "--json")
    assert result.exit_code == 1
    for word in words:
        assert word in result.stdout, result.stdout


def edit_gathered(folder, change):
    path = min((folder / "gathered").iterdir())
    batch = open_gathered(path)
    rows = batch.to_pylist()
    change(rows)
    changed = pa.RecordBatch.from_pylist(rows, schema=batch.schema)
    del batch
    path.unlink()
    write_arrow(path, changed)
    forge_receipts(folder)


def other_role(rows):
    rows[0]["spans"][0]["role"] = "negative"


def other_id(rows):
    rows[0]["id"] = "nextlong-77777777"


@pytest.mark.parametrize(("change", "words"), [(other_role, "span 0 is not that of"), (other_id, "are not those of")])
def test_gathered_sequences_that_are_not_the_datasets_are_found(mix, change, words):
    edit_gathered(mix, change)
    assert_found(mix, words, "long/sequences/00000.parquet")


def test_a_sequence_that_was_dropped_without_reason_is_found(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "out")

    def drop_more(rows):
        row = next(row for row in rows if row["fits"])
        row.update(fits=False, tokens=10)

    edit_gathered(folder, drop_more)
    assert_found(folder, "was dropped for its 10 tokens, and it has")


@pytest.mark.parametrize("name", ["rows", "sequences", "tokens", "dropped"])
def test_counts_that_are_not_so_are_found(mix, name):
    content = read_description(mix / "dataset.yaml")
    content["counts"][name] += 1
    write_description(mix / "dataset.yaml", content)
    assert_found(mix, f" {name}, and dataset.yaml says")


def test_an_edited_description_is_found(mix):
    path = mix / "dataset.yaml"
    path.write_text(path.read_text().replace("weight: 2.0", "weight: 3.0"))
    result = run_cli("verify", mix, "--workers", 1)
    assert result.exit_code == 1 and "is damaged or was edited" in result.stderr
    assert yaml.safe_load(path.read_text())["parts"][1]["weight"] == 3.0


def test_a_dataset_made_anew_is_not_compared(made, family_pool, tokenizer_folder, tmp_path):
    data = shutil.copytree(made / "long", tmp_path / "data")
    nextlong.export(data, tmp_path / "out", workers=1)
    keys = {"length": 2048, "roots": 3, "tokenizer": tokenizer_folder}
    nextlong.synthesize(family_pool, data, workers=1, overwrite=True, **keys)
    report = nextlong.verify(tmp_path / "out", workers=1)
    assert report.ok and report.checks["sequences equal to those of their datasets"] == 0
    assert report.gaps == ["sequences not compared: their dataset was made again"]
    assert report.checks[report.gaps[0]] == LONG_ROWS


def test_sequences_that_are_not_compared_are_told_however_it_is_asked(made, tmp_path):
    data, out = shutil.copytree(made / "short", tmp_path / "short"), tmp_path / "out"
    nextlong.mix([made / "long", data], out, workers=1)
    gap = "sequences not compared: their dataset is gone"
    for asked in ((), ("--quiet",), ("--json",)):
        result = run_cli("verify", out, "--workers", 1, *asked)
        assert result.exit_code == 0 and "not compared" not in result.stdout + result.stderr
    shutil.rmtree(data)
    result = run_cli("verify", out, "--workers", 1)
    verdict = f"{out}: the export is verified, but for {SHORT_ROWS} {gap}."
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == verdict
    assert f"{SHORT_ROWS:>12}  {gap}" in result.stdout.splitlines()
    result = run_cli("verify", out, "--workers", 1, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", verdict + "\n")
    found = json.loads(run_cli("verify", out, "--workers", 1, "--json").stdout)
    assert found["ok"] and found["checks"][gap] == SHORT_ROWS and found["gaps"] == [gap]


def test_a_moved_tokenizer_can_be_named(made, tokenizer_folder, tmp_path):
    home = shutil.copytree(tokenizer_folder, tmp_path / "tokenizer")
    nextlong.export(made / "short", tmp_path / "out", tokenizer=str(home), workers=1)
    shutil.move(home, tmp_path / "elsewhere")
    assert run_cli("verify", tmp_path / "out", "--workers", 1).exit_code != 0
    assert nextlong.verify(tmp_path / "out", workers=1, tokenizer=str(tmp_path / "elsewhere")).ok
