"""YAML that is hostile: bombs of aliases, values that no tag fits, text that no file can hold."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextlong.config import load_recipe
from nextlong.errors import NextlongError, UsageError
from nextlong.execution.files import read_description
from nextlong.plain_yaml import MOST_REPEATED, load_yaml


def bomb(levels=40, wide=9):
    """Each level is a list of the one before it, nine times: 9^40 values."""
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * wide)}]" for level in range(1, levels)]
    return "\n".join(lines)


def test_aliases_are_followed():
    content = "base: &base {chunker: paper, cap: 7}\none: *base\ntwo: {<<: *base, cap: 8}\n"
    assert load_yaml(content) == {
        "base": {"chunker": "paper", "cap": 7},
        "one": {"chunker": "paper", "cap": 7},
        "two": {"chunker": "paper", "cap": 8},
    }
    assert load_yaml("") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bomb(), "aliases repeat more than"),
        ("a: &a [*a]", "refers to itself"),
        ("&a {b: *a}", "refers to itself"),
        ("a: 1\nb: 2\na: 3\n", "the key 'a' is there twice"),
        ("pool:\n  x: 1\n  x: 1\n", "the key 'x' is there twice"),
        ('a: "\\0"', "a NUL or half of a surrogate pair"),
        ('a: "\\ud800"', "a NUL or half of a surrogate pair"),
        ('"\\0": 1', "a NUL or half of a surrogate pair"),
        ("[" * 5000, "nested too deeply"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("!!int x", "invalid literal"),
        ("!!int ''", "index out of range"),
        ("!!bool x", "x"),
        ("!!timestamp x", "NoneType"),
        ("2001-99-99", "month"),
        ("? [1]\n: 2", "unhashable"),
        ("a: {", "expected the node content"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("\x07", "special characters are not allowed"),
    ],
)
def test_what_is_no_plain_yaml_is_a_value_error(content, why):
    with pytest.raises(ValueError, match=why):
        load_yaml(content)


def test_the_limit_is_on_repetition_and_not_on_length():
    assert len(load_yaml("\n".join(f"- {number}" for number in range(MOST_REPEATED // 4)))) == MOST_REPEATED // 4
    rows = "x: &x [1, 2, 3, 4, 5, 6, 7, 8, 9]\ny:\n" + "\n".join(["- *x"] * (MOST_REPEATED // 10 - 1))
    assert len(load_yaml(rows)["y"]) == MOST_REPEATED // 10 - 1
    with pytest.raises(ValueError, match="aliases"):
        load_yaml(rows + "\n- *x\n- *x\n- *x")


@given(st.text(alphabet="a:-{}[]&*!<>|\n \t\"'\\,?#0x\x00\ud800", max_size=60))
def test_any_text_is_values_or_a_value_error(content):
    with contextlib.suppress(ValueError):
        load_yaml(content)


def test_a_bomb_is_refused_as_a_recipe_and_as_a_description(tmp_path):
    (tmp_path / "bomb.yaml").write_text("pool: {corpus: {inputs: [a]}}\n" + bomb())
    with pytest.raises(UsageError, match=r"Cannot read the recipe .*bomb\.yaml: its aliases repeat"):
        load_recipe(tmp_path / "bomb.yaml")
    (tmp_path / "pool.yaml").write_text("checksum: x\n" + bomb())
    with pytest.raises(NextlongError, match=r"pool\.yaml is damaged: its aliases repeat"):
        read_description(tmp_path / "pool.yaml")


def test_the_command_line_refuses_a_bomb_in_little_memory(tmp_path):
    (tmp_path / "bomb.yaml").write_text("pool: {corpus: {inputs: [a]}}\n" + bomb())
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from nextlong.cli.main import main; main()",
            "index",
            "--recipe",
            "bomb.yaml",
            "--out",
            "pool",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )
    assert done.returncode == 2
    assert "its aliases repeat" in done.stderr
    assert not (tmp_path / "pool").exists()
