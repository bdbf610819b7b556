"""Hostile evaluation data, and hostile text that is found in it."""

from __future__ import annotations

import json

import pytest
from hostile_runs import CONTROLS, FORBIDDEN, HOSTILE, hostile_corpus, on_a_terminal

OPTIONS = ("--encoder", "lsa", "--dimensions", "16", "--granularity", "256", "--index", "flat", "--workers", "1")
FOUND = 0
NOT_READ = 1


@pytest.fixture
def folder(tmp_path):
    hostile_corpus(tmp_path / "corpus")
    return tmp_path


def written(folder, *rows):
    path = folder / f"{CONTROLS['colour']}{CONTROLS['bidi']}.jsonl"
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def screened(folder, path, *options):
    code, shown = on_a_terminal("index", "corpus", "--out", "pool", "--decontaminate", path, *options, *OPTIONS, cwd=folder)
    assert not [sequence for sequence in FORBIDDEN if sequence in shown]
    return code, shown


def test_what_is_found_reaches_a_terminal_as_words(folder):
    (corpus,) = (folder / "corpus").iterdir()
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()[:3]]
    path = written(folder, *(json.dumps({HOSTILE: {HOSTILE * 9: text}}) for text in texts))
    code, shown = screened(folder, path, "--deduplicate", "report", "--contaminated", "report")
    assert code == FOUND and "shared most" in shown and "colour" in shown


@pytest.mark.parametrize(
    "row",
    [HOSTILE, f'{{"{HOSTILE[:3]}', '{"text": ' * 5000, '{"a": ' + "9" * 5000 + "}", json.dumps([HOSTILE])],
    ids=range(5),
)
def test_a_row_that_cannot_be_read_is_an_error(folder, row):
    code, shown = screened(folder, written(folder, '{"text": "good"}', row.replace("\n", " ")))
    assert code == NOT_READ and "The evaluation data" in shown and "row 2" in shown


def test_a_field_that_is_not_there_is_shown_harmlessly(folder):
    code, shown = screened(folder, written(folder, '{"text": "good"}'), "--evaluation-field", HOSTILE.replace("\n", " "))
    assert code == NOT_READ and "has no text in" in shown
