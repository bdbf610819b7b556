"""``nextlong methods``."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from nextlong.cli import options
from nextlong.cli.terminal import console, say
from nextlong.composition.registry import FOR_ALL, method_class, method_names, method_package, shared_keys
from nextlong.config import Part
from nextlong.errors import NextlongError

# A string that needs no quotes in YAML; `true`, `null` and the like are no defaults.
_PLAIN = re.compile(r"[A-Za-z][\w./:-]*")
# Longer lines are hard to read, however wide the terminal is.
_WIDEST = 120
# An attribute in a docstring: its name, or names; a colon; a text whose further lines are indented deeper.
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {5,}.+)*)", re.M)


def methods(
    name: Annotated[str | None, typer.Argument(metavar="METHOD", help="The one to show with its options.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the ways of making sequences, or show the options of one."""
    shown = {name: _described(name)} if name else {each: _described_or_broken(each) for each in method_names()}
    if as_json:
        typer.echo(json.dumps(shown))
    elif name:
        _print_one(name, shown[name])
    else:
        _print_all(shown)


def _described_or_broken(name: str) -> dict[str, Any]:
    try:
        return _described(name)
    except NextlongError as error:  # a broken plugin leaves the others alone
        return {"error": error.message, "hint": error.hint, "package": method_package(name)}


def _described(name: str) -> dict[str, Any]:
    method, shared = method_class(name), shared_keys()
    reads = {key: part for key, part in shared.items() if key in method.READS | FOR_ALL and key != "composition.method"}
    return {
        "summary": method.SUMMARY,
        "package": method_package(name),
        "options": {key: _field(method.Options, key) for key in method.Options.model_fields},
        "reads": {key: _field(type(part), key.partition(".")[2]) for key, part in reads.items()},
    }


def _field(part: type[Part], key: str) -> dict[str, Any]:
    """Default, choices and meaning of a key."""
    field: FieldInfo = part.model_fields[key]
    described: dict[str, Any] = {"about": field.description or _meanings(part).get(key, ""), "required": field.is_required()}
    if not field.is_required():
        described["default"] = to_jsonable_python(field.get_default(call_default_factory=True), fallback=str)
    if get_origin(field.annotation) is Literal:
        described["choices"] = list(get_args(field.annotation))
    return described


def _meanings(part: type[Part]) -> dict[str, str]:
    """What the docstring of a section says about each of its keys."""
    _, _, attributes = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for names, text in _ATTRIBUTE.findall(attributes):
        plain = re.sub(r"\bNone\b", "null", " ".join(text.split()).replace("``", "`"))  # as it is written in YAML
        found |= dict.fromkeys(names.split(", "), plain)
    return found


def _print_all(shown: dict[str, dict[str, Any]]) -> None:
    width = max(map(len, shown))
    for name, described in shown.items():
        if "error" in described:
            said = f"BROKEN: {described['error']} {described['hint']}"
        else:
            said = described["summary"] + (f" (from {described['package']})" if described["package"] else "")
        _print(said, f"{name:<{width}}  ", " " * (width + 2))
    say("\nOptions of one: nextlong methods NAME")


def _print_one(name: str, described: dict[str, Any]) -> None:
    _print(described["summary"], f"{name}: ", "  ")
    if described["package"]:
        _print(f"From the package {described['package']}.")
    if described["options"]:
        _print("\nIts own options, given as --option NAME=VALUE, or in a recipe in the section `options` of `dataset`:")
        _print_fields(described["options"])
    else:
        _print("\nIt has no options of its own.")
    if reads := {key: field for key, field in described["reads"].items() if key not in FOR_ALL}:
        _print("\nWhat it uses of a recipe's `dataset`; most are options, too, as --range-min for mining.range_min:")
        _print_fields(reads)
    _print("\nLike all methods it uses separator, bos and eos of `composition`.")


def _print_fields(fields: dict[str, dict[str, Any]]) -> None:
    for key, field in fields.items():
        value = "VALUE (must be given)" if field["required"] else _as_yaml(field["default"])
        others = [_as_yaml(choice) for choice in field.get("choices", []) if choice != field.get("default")]
        _print(f"{key}={value}" + (f" (or {', '.join(others)})" if others else ""), "  ", "  ")
        _print(field["about"], "      ", "      ")


def _as_yaml(value: object) -> str:
    """A value as it is given to ``--option``: JSON, which is YAML, but plain strings without quotes."""
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else json.dumps(value)


def _print(text: str, first: str = "", others: str = "") -> None:
    width = min(console().width, _WIDEST)
    for line in text.splitlines():
        wrapped = textwrap.wrap(line, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
        say("\n".join(wrapped))
        first = others
