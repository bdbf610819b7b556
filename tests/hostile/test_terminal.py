"""No control sequence of a corpus, a file's name, a recipe or a command line reaches a terminal."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from cli_runs import run_cli
from hostile_runs import CONTROLS, FORBIDDEN, HOSTILE, hostile_corpus, on_a_terminal
from small_runs import LENGTH, POOL_OPTIONS, train_tokenizer, write_corpus

from nextlong.dataset.markdown import code, code_block
from nextlong.errors import NextlongError
from nextlong.public_text import printable

ONE = ("--workers", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the hostile corpus, and a pool and a dataset of it in folders with hostile names."""
    folder = tmp_path_factory.mktemp("made")
    hostile_corpus(folder / "corpus")
    train_tokenizer(write_corpus(folder / "plain", files=1, documents=4), folder / "tokenizer")
    return folder


def clean(output):
    """Assert that an output has nothing that a terminal would act on, besides what rich writes itself."""
    found = [repr(sequence) for sequence in FORBIDDEN if sequence in output.replace("\r\n", "\n")]
    assert not found, (found, output)
    return output


OUT = f"out{HOSTILE}".replace("/", "_")


@pytest.mark.slow
def test_a_hostile_corpus_from_beginning_to_end(made):
    """Bars, summaries with rejects and outlines, verification, plans: of folders with hostile names."""
    pool, data = f"pool-{OUT}", f"data-{OUT}"
    size = ("--length", LENGTH, "--roots", 2, "--tokenizer", "tokenizer", *ONE)
    for arguments, expected in (
        (("index", "corpus", "--out", pool, *POOL_OPTIONS, *ONE), "rejected"),
        (("index", "corpus", "--out", f"{pool}2", *POOL_OPTIONS, *ONE, "--plan"), "Nothing was written"),
        (("synthesize", pool, "--out", data, *size), "COLOUR"),
        (("synthesize", pool, "--out", f"{data}2", *size, "--plan"), "Nothing was written"),
        (("verify", pool, *ONE), "is verified"),
        (("verify", data, *ONE), "is verified"),
        (("export", data, "--out", f"{data}3", "--format", "jsonl", *ONE), "COLOUR"),
        (("export", data, "--out", f"{data}4", "--format", "jsonl", *ONE, "--plan"), "Nothing was written"),
    ):
        code, output = on_a_terminal(*arguments, cwd=made)
        assert (code, expected in clean(output)) == (0, True), output
    for path in (pool, data, f"{data}3"):
        code, output = on_a_terminal("verify", path, *ONE, "--json", cwd=made)
        assert (code, json.loads(output)["ok"], output.isascii()) == (0, True, True)
    for card in (made / data / "README.md", made / f"{data}3" / "README.md"):
        text = card.read_text(encoding="utf-8")
        assert "COLOUR" in text and text == printable(text)
    rejects = "".join(path.read_text(encoding="utf-8") for path in (made / pool / "rejects").iterdir())
    assert "COLOUR" in rejects and rejects == printable(rejects)


def test_errors_of_a_hostile_corpus(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    (tmp_path / "recipe.yaml").write_text(json.dumps({"pool": {HOSTILE: 1}}))
    (tmp_path / "value.yaml").write_text(json.dumps({"pool": {"encoder": {"name": HOSTILE}}}))
    (tmp_path / HOSTILE.replace("/", "_")).write_text("")
    (tmp_path / "twice").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "twice" / name).write_text(json.dumps({"id": HOSTILE, "text": "text"}) + "\n")
    for arguments in (
        ("index", "corpus", "--out", tmp_path / "pool", *POOL_OPTIONS, *ONE, "--strict"),
        ("index", "corpus", "--out", tmp_path / "pool", *POOL_OPTIONS, *ONE, "--text-column", HOSTILE),
        ("index", "corpus", "--recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "pool"),
        ("index", "corpus", "--recipe", tmp_path / "value.yaml", "--out", tmp_path / "pool"),
        ("index", f"corpus/{HOSTILE}", "--out", tmp_path / "pool"),
        ("index", "corpus", "--out", tmp_path / HOSTILE.replace("/", "_")),
        ("index", tmp_path / "twice", "--out", tmp_path / "pool", *POOL_OPTIONS, *ONE),
        ("index", "corpus", "--out", tmp_path / "pool", "--encoder", HOSTILE),
        ("verify", HOSTILE),
        ("export", HOSTILE, "--out", tmp_path / "x"),
        ("mix", f"{HOSTILE}:2", "--out", tmp_path / "x"),
        ("synthesize", "corpus", "--out", tmp_path / "x", "--option", HOSTILE, "--roots", 1),
        ("synthesize", "corpus", "--out", tmp_path / "x", "--tokenizer", HOSTILE, "--roots", 1),
        ("synthesize", "corpus", "--out", tmp_path / "x", "--method", HOSTILE, "--roots", 1, "--tokenizer", "tokenizer"),
        ("methods", HOSTILE),
        ("verify", "--workers", HOSTILE),
        ("verify", "a", HOSTILE),
        (f"--{HOSTILE}",),
        (HOSTILE,),
    ):
        result = run_cli(*arguments)
        assert result.exit_code in (1, 2), (arguments, result)
        assert any(word in result.stdout + result.stderr for word in ("error: ", "Error")), result
        unseen = printable(clean(result.stdout + result.stderr))
        assert unseen == result.stdout + result.stderr


def test_failures_of_a_verification_are_one_line_each(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    size = ("--length", LENGTH, "--roots", 2, "--tokenizer", "tokenizer", *ONE)
    assert run_cli("index", "corpus", "--out", tmp_path / "pool", *POOL_OPTIONS, *ONE, "--quiet").exit_code == 0
    assert run_cli("synthesize", tmp_path / "pool", "--out", tmp_path / "data", *size, "--quiet").exit_code == 0
    (tmp_path / "data" / "tokens" / HOSTILE.replace("/", "_")).write_text("a file that nobody made")
    result = run_cli("verify", tmp_path / "data", *ONE)
    assert result.exit_code == 1 and "no task made this file" in clean(result.stderr)
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["checksums", "FAILED"]
    shutil.rmtree(tmp_path / "data")


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_what_is_printable_is_only_read(control):
    assert all(character.isprintable() or character == "\n" for character in printable(control))
    assert "\n" not in printable(control, lines=False)
    assert printable("plain “text” — ünïcode 漢字") == "plain “text” — ünïcode 漢字"


def test_an_unforeseen_error_is_printed_without_controls_and_secrets(monkeypatch, capsys):
    from nextlong.cli import main

    def fails():
        raise ValueError(f"{HOSTILE} https://user:password@host/a?signature=0123")

    monkeypatch.setattr(main, "app", fails)
    with pytest.raises(SystemExit) as ended:
        main.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "ValueError" in clean(said) and "COLOUR" in said and "this should not happen" in said
    assert "password" not in said and "0123" not in said


def test_a_name_that_the_terminal_has_no_letters_for_is_no_crash(tmp_path):
    import os
    import subprocess

    name = os.fsencode("ünï") + b"\xff"
    done = subprocess.run(
        [sys.executable, "-c", "from nextlong.cli.main import main; main()", b"verify", name],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 1 and b"error: " in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("``x", "``` ``x ```"),
        ("a|b", "`a\\|b`"),
        ("<script>alert(1)</script>", "`<script>alert(1)</script>`"),
        ("two\nlines\x1b", "`two\\nlines\\x1b`"),
        ("s3://user:pass@bucket/x?y=z", "`s3://…@bucket/x?…`"),
    ],
)
def test_names_on_a_card_are_code(text, shown):
    assert code(text) == shown


def test_a_block_on_a_card_cannot_be_closed_from_inside():
    assert code_block("a\n```\n<b>\n", "yaml") == "````yaml\na\n```\n<b>\n````"


def test_an_error_is_the_same_on_both_sides_of_a_process():
    error = NextlongError("https://u:p@h/x?y", "hint")
    kind, arguments = error.__reduce__()
    again = kind(*arguments)
    assert (again.message, again.hint) == (error.message, error.hint) == ("https://…@h/x?…", "hint")
