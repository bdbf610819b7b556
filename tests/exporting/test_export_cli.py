"""``nextlong export`` and ``nextlong mix`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import run_cli
from exported import LONG, LONG_ROWS, SHORT, SHORT_ROWS, rows_of

import nextlong

RECIPE = Path(__file__).parent.parent.parent / "recipes" / "mix-512k.yaml"


def test_export_prints_what_was_made_and_what_was_not(made, tmp_path):
    result = run_cli("export", made / "short", "--out", tmp_path / "out", "--length", "2K", "--workers", 1)
    assert result.exit_code == 0, result.stderr
    assert f"{SHORT_ROWS // 4:,} rows of 2K" in result.stdout and "20,480 tokens" in result.stdout
    assert "3  sequences dropped: they fill no row" in result.stdout
    assert f"Next: nextlong verify {tmp_path / 'out'}" in result.stdout
    assert run_cli("verify", tmp_path / "out", "--workers", 1).exit_code == 0


def test_export_for_another_tokenizer_prints_what_was_wasted(made, tokenizers, tmp_path):
    arguments = ("export", made / "long", "--out", tmp_path / "out", "--tokenizer", tokenizers / "sparse", "--length", "1K")
    result = run_cli(*arguments, "--workers", 1)
    assert result.exit_code == 0, result.stderr
    wasted = nextlong.load_dataset_card(tmp_path / "out")["counts"]["tokens_wasted"]
    assert f"{wasted:,}  tokens wasted" in result.stdout and "meta-chunks cut, or cut off" in result.stdout


def test_json_and_quiet(made, tmp_path):
    result = run_cli("export", made / "long", "--out", tmp_path / "a", "--format", "numpy", "--json", "--workers", 1)
    assert json.loads(result.stdout) == json.loads(json.dumps(nextlong.load_dataset_card(tmp_path / "a")))
    result = run_cli("mix", made / "long", f"{made / 'short'}:2", "--out", tmp_path / "b", "--quiet", "--workers", 1)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("command", ["export", "mix"])
def test_plan_writes_nothing(made, tmp_path, command):
    result = run_cli(command, made / "short", "--out", tmp_path / "out", "--length", LONG, "--plan")
    assert result.exit_code == 0, result.stderr
    assert f"{SHORT_ROWS // 4:,} rows of 2K" in result.stdout and "Nothing was written." in result.stdout
    assert not (tmp_path / "out").exists()


def test_plan_of_another_tokenizer_says_at_most(made, tokenizers, tmp_path):
    result = run_cli("export", made / "long", "--out", tmp_path / "out", "--tokenizer", tokenizers / "dense", "--plan")
    assert f"at most {LONG_ROWS} rows" in result.stdout


def test_mix_prints_every_part(made, tmp_path):
    result = run_cli("mix", f"{made / 'long'}:1", f"{made / 'short'}:2", "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 0, result.stderr
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.startswith(("long ", "short "))}
    assert lines["long"][1:] == ["2K", "1", "1", "5", "5", "2"]
    assert lines["short"][1:] == [str(SHORT), "4", "2", "10", "40", "3"]
    assert "5  sequences not drawn" in result.stdout


def test_mix_by_the_papers_recipe(made, tmp_path, monkeypatch):
    """The recipe as it is, with its parts' folders in place and its sizes made small."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data-512k").symlink_to(made / "long")
    (tmp_path / "data-64k").symlink_to(made / "short")
    sizes = ("--length", "2K", "--tokens", "12K")
    result = run_cli("mix", "--recipe", RECIPE, "--out", "out", *sizes, "--workers", 1)
    assert result.exit_code == 0, result.stderr
    assert [row["domain"] for row in rows_of(tmp_path / "out")] == ["short", "long", "short"] * 2
    assert nextlong.load_dataset_card("out")["config"]["format"] == "mds"
    # Parts on the command line take the place of the recipe's.
    result = run_cli("mix", made / "long", "--recipe", RECIPE, "--out", "one", *sizes, "--workers", 1)
    assert result.exit_code == 0, result.stderr
    assert {row["domain"] for row in rows_of(tmp_path / "one")} == {"long"}


def test_a_colon_in_a_folders_name_is_no_weight(made, tmp_path):
    (tmp_path / "a:2").symlink_to(made / "long")
    card = nextlong.mix([f"{tmp_path / 'a:2'}", f"{made / 'short'}:2.5"], tmp_path / "out", workers=1)
    assert [part["weight"] for part in card["parts"]] == [1.0, 2.5]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("export", "long", "--length", LONG + 1), 2, "rows of T+1 would drift by one a sample"),
        (("export", "short", "--length", LONG, "--format", "jsonl"), 2, "Choose another format, or do not pack."),
        (("export", "nothing"), 1, "holds no finished dataset"),
        (("mix", "long:0"), 2, "Wrong value for `parts.0.weight`"),
        (("mix", "long:1", "short:abc"), 2, "The weight of short is no number: 'abc'."),
        (("mix", "long:"), 2, "The weight of long is no number: ''."),
        (("mix", "nothing:abc"), 1, "nothing:abc holds no finished dataset"),
        (("mix", "long", "short:1e-300", "--plan"), 2, "short would be in none of the 7 rows"),
        (("mix",), 2, "Name them with their weights"),
        (("mix", "long", "--tokens", "1M"), 1, "Ask for at most --tokens"),
        (("export", "long", "--format", "arrow"), 2, "Wrong value for `format`"),
    ],
)
def test_errors_say_what_to_do(made, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(made)
    result = run_cli(*arguments, "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == code and words in result.stderr, result.stderr
    assert not (tmp_path / "out").exists()
