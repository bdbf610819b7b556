from __future__ import annotations

import json

import pytest
import yaml
from cli_runs import run_cli
from installed_plugins import METHOD, write_plugin

from nextlong.cli.options import parsed
from nextlong.composition.registry import FOR_ALL, method_class

OWN = ["nextlong", "standard", "knn", "iclm", "quest", "untie"]
WIDEST = 120

WITH_OPTIONS = (
    METHOD
    + '''
from enum import Enum
from pathlib import Path
from typing import Literal
from pydantic import Field

class Speed(Enum):
    SLOW = "slow"

class GoodOptions(Part):
    """Options.

    Attributes:
        must: has no default, and its text goes on
            in a second line: with a colon, and ``None``.
        path, speed: what is no JSON by itself.
        many: made anew each time.
    """

    must: int
    path: Path = Path("here")
    speed: Speed = Speed.SLOW
    many: list[int] = Field(default_factory=lambda: [1, 2])
    said: Literal["on", "off"] = Field(default="on", description="said by the field.")
    unsaid: str = ""

class WithOptions(Good):
    Options = GoodOptions
    READS = frozenset({"mining.range_min", "composition.separator"})
'''
)


def listed() -> dict[str, str]:
    """Name → what is said of it, of `nextlong methods`."""
    result = run_cli("methods")
    assert result.exit_code == 0, result.stderr
    text = result.stdout.partition("\n\n")[0]
    assert all(len(line) <= WIDEST and line == line.rstrip() for line in text.splitlines())
    entries: dict[str, str] = {}
    for line in text.splitlines():
        name, _, said = line.partition(" ")
        name = name or list(entries)[-1]
        entries[name] = f"{entries.get(name, '')} {said.strip()}".strip()
    return entries


def test_all_are_listed_with_a_summary():
    entries = listed()
    assert list(entries)[: len(OWN)] == OWN
    for name in OWN:
        assert entries[name] == method_class(name).SUMMARY
    assert run_cli("methods").stdout.endswith("\nOptions of one: nextlong methods NAME\n")


@pytest.mark.parametrize("name", OWN)
def test_every_option_is_shown_as_it_is_given_and_explained(name):
    (described,) = json.loads(run_cli("methods", name, "--json").stdout).values()
    defaults = method_class(name).Options().model_dump(mode="json")
    assert {key: field["default"] for key, field in described["options"].items()} == defaults
    assert set(described["reads"]) == (method_class(name).READS | FOR_ALL) - {"composition.method"}
    for key, field in {**described["options"], **described["reads"]}.items():
        assert len(field["about"]) > 10 and field["about"].endswith("."), f"{key}: {field['about']!r}"
        assert "``" not in field["about"] and "None" not in field["about"]
    shown = run_cli("methods", name).stdout
    assert all(len(line) <= WIDEST for line in shown.splitlines())
    for key, value in defaults.items():
        (line,) = [line.strip() for line in shown.splitlines() if line.startswith(f"  {key}=")]
        assert parsed([line.partition(" (or ")[0]]) == {key: value}
    for key in method_class(name).READS - FOR_ALL:
        assert f"\n  {key}=" in shown


def test_what_can_be_chosen_is_shown():
    shown = run_cli("methods", "iclm").stdout
    assert "\n  start=min-degree (or random)\n      where a path begins, and begins anew when" in shown
    assert "It has no options of its own." in run_cli("methods", "knn").stdout


def test_options_of_every_kind_are_shown(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(write_plugin(tmp_path, "plugin_with_options", WITH_OPTIONS, good="WithOptions"))
    assert listed()["good"] == "documents as they come (from plugin_with_options 1.0)"
    lines = run_cli("methods", "good").stdout.splitlines()
    assert lines[:2] == ["good: documents as they come", "From the package plugin_with_options 1.0."]
    assert lines[4:] == [
        "  must=VALUE (must be given)",
        "      has no default, and its text goes on in a second line: with a colon, and `null`.",
        "  path=here",
        "      what is no JSON by itself.",
        "  speed=slow",
        "      what is no JSON by itself.",
        "  many=[1, 2]",
        "      made anew each time.",
        "  said=on (or off)",
        "      said by the field.",
        '  unsaid=""',
        "",
        "What it uses of a recipe's `dataset`; most are options, too, as --range-min for mining.range_min:",
        "  mining.range_min=0",
        "      skip this many nearest neighbours.",
        "",
        "Like all methods it uses separator, bos and eos of `composition`.",
    ]
    assert [yaml.safe_load(line.partition("=")[2]) for line in lines[6:11:2]] == ["here", "slow", [1, 2]]
    described = json.loads(run_cli("methods", "good", "--json").stdout)["good"]
    assert described["package"] == "plugin_with_options 1.0"
    assert described["options"]["must"]["required"] and "default" not in described["options"]["must"]
    assert described["options"]["speed"]["default"] == "slow"
    assert described["options"]["said"] == {
        "about": "said by the field.",
        "required": False,
        "default": "on",
        "choices": ["on", "off"],
    }


def test_a_broken_plugin_is_listed_with_its_error_beside_the_others(tmp_path, monkeypatch):
    source = METHOD + "\nraise RuntimeError('two\\nlines \\x1b[31m')\n"
    monkeypatch.syspath_prepend(write_plugin(tmp_path, "plugin_raises", source, broken="Good"))
    entries = listed()
    assert entries["broken"].startswith("BROKEN: The method `broken` (plugin_raises:Good) cannot be loaded: RuntimeError(")
    assert entries["broken"].endswith("Mend the package that brings it: plugin_raises 1.0.")
    assert "\x1b" not in run_cli("methods").stdout
    assert [entries[name] for name in OWN] == [method_class(name).SUMMARY for name in OWN]
    described = json.loads(run_cli("methods", "--json").stdout)
    assert set(described["broken"]) == {"error", "hint", "package"}
    assert described["standard"]["options"] == {}
    assert run_cli("methods", "standard").exit_code == 0
    alone = run_cli("methods", "broken")
    assert (alone.exit_code, alone.stdout) == (1, "")
    assert alone.stderr.startswith("error: The method `broken` (plugin_raises:Good) cannot be loaded: RuntimeError(")


def test_an_unknown_one_is_wrong_usage():
    result = run_cli("methods", "qest")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: Unknown method `qest`.\n  Did you mean `quest`? Known methods: ")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--method", "standrd"], "Unknown method `standrd`.", "Did you mean `standard`? "),
        (
            ["--method", "standard", "--range-min", "3"],
            "The method `standard` does not use `range_min`, so 3 would do nothing.",
            "`nextlong methods standard` shows",
        ),
        (
            ["--method", "quest", "--option", "max_word=2"],
            "Unknown key `max_word` in the options",
            "Did you mean `max_words`?",
        ),
        (["--option", "x=1"], "Unknown key `x` in the options of the method nextlong.", "`nextlong methods nextlong` shows"),
        (["--method", "quest", "--option", "max_words=two"], "Wrong value for `max_words` in the options", "`nextlong"),
        (["--method", "quest", "--option", "max_words"], "--option max_words is no NAME=VALUE.", "For example: --option"),
        (["--method", "quest", "--option", "=2"], "--option =2 is no NAME=VALUE.", "For example: --option"),
    ],
)
def test_wrong_options_of_a_dataset_stop_it_before_anything_is_written(
    arguments, message, hint, family_pool, tokenizer_folder, tmp_path
):
    out = tmp_path / "data"
    result = run_cli(
        "synthesize", family_pool.folder, "--out", out, "--roots", 1, "--tokenizer", tokenizer_folder, *arguments
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {message}")
    assert f"\n  {hint}" in result.stderr
    assert not out.exists()


def test_a_broken_plugin_stops_its_own_datasets_and_no_others(family_pool, tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(write_plugin(tmp_path / "path", "plugin_stops", "import no_such_module", broken="Good"))
    to_all = ["--length", 1024, "--roots", 1, "--tokenizer", tokenizer_folder, "--workers", 1, "--quiet"]
    result = run_cli("synthesize", family_pool.folder, "--out", tmp_path / "broken", "--method", "broken", *to_all)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: The method `broken` (plugin_stops:Good) cannot be loaded: ModuleNotFoundError(")
    assert not (tmp_path / "broken").exists()
    result = run_cli("synthesize", family_pool.folder, "--out", tmp_path / "good", "--method", "standard", *to_all)
    assert result.exit_code == 0, result.stderr
    assert run_cli("verify", tmp_path / "good", "--workers", 1, "--quiet").exit_code == 0
