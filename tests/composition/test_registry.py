from __future__ import annotations

import re

import pytest
from installed_plugins import METHOD, write_plugin

from nextlong.composition.method import Method
from nextlong.composition.registry import method_class, method_names, method_options, method_package, method_version
from nextlong.config import DatasetConfig
from nextlong.errors import NextlongError, UsageError

OWN = ["nextlong", "standard", "knn", "iclm", "quest", "untie"]

# Class → what is wrong with it. The entry point has the class's name.
BROKEN = {
    "unimportable": ("import no_such_module", "cannot be loaded: ModuleNotFoundError(\"No module named 'no_such_module'\")"),
    "unreadable": ("def", "cannot be loaded: SyntaxError("),
    "exit": ("raise SystemExit(3)", "cannot be loaded: SystemExit(3)"),
    "missing": ("", "cannot be loaded: AttributeError("),
    "function": ("def function(): pass", "is no subclass of nextlong.composition.method.Method"),
    "other": ("class other: pass", "is no subclass of nextlong.composition.method.Method"),
    "abstract": ("class abstract(Method):\n NAME = 'abstract'\n SUMMARY = ''", "does not define compose and units"),
    "nameless": ("class nameless(Good):\n NAME = None", "has no NAME"),
    "unsaid": ("class unsaid(Good):\n NAME = 'unsaid'\n SUMMARY = 3", "has no SUMMARY"),
    "alias": ("class alias(Good): pass", "has the NAME `good`, which is not that of its entry point"),
    "options": ("class options(Good):\n NAME = 'options'\n class Options: pass", "has Options that are no subclass"),
    "reads": (
        "class reads(Good):\n NAME = 'reads'\n READS = frozenset({'mining.rang_min', 'mining.range_max'})",
        "has `mining.rang_min` in READS, which is no key of `mining` or `composition`",
    ),
    "text": ("class text(Good):\n NAME = 'text'\n READS = 'mining.range_min'", "has READS that are no frozenset"),
    "once": ("class once(Good):\n NAME = 'once'\n USES_ONCE = 'roots'", "has 'roots' as USES_ONCE, which is none of root,"),
}


def config(method: str, **others: object) -> DatasetConfig:
    return DatasetConfig.model_validate({"composition": {"method": method}, **others})


def test_own_methods_are_what_their_names_say():
    assert method_names()[: len(OWN)] == OWN
    for name in OWN:
        assert name == method_class(name).NAME
        assert method_package(name) is None


def test_a_plugin_is_found_beside_the_own_ones(tmp_path, monkeypatch):
    before = method_names()
    monkeypatch.syspath_prepend(write_plugin(tmp_path, "plugin_found", METHOD, good="Good"))
    assert set(method_names()) == {*before, "good"}
    found = method_class("good")
    assert issubclass(found, Method) and found.__module__ == "plugin_found"
    assert method_package("good") == "plugin_found 1.0"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_an_error_of_its_own_alone(name, tmp_path, monkeypatch):
    source, reason = BROKEN[name]
    module, before = f"plugin_broken_{name}", method_names()
    monkeypatch.syspath_prepend(write_plugin(tmp_path, module, f"{METHOD}\n{source}\n", **{name: name}))
    with pytest.raises(NextlongError, match=re.escape(f"The method `{name}` ({module}:{name}) {reason}")) as caught:
        method_class(name)
    assert not isinstance(caught.value, UsageError)
    assert caught.value.hint == f"Mend the package that brings it: {module} 1.0."
    assert set(method_names()) == {*before, name}
    assert method_class("standard").NAME == "standard"


def test_a_name_of_the_package_cannot_be_taken(tmp_path, monkeypatch):
    before = method_names()
    monkeypatch.syspath_prepend(write_plugin(tmp_path, "plugin_thief", METHOD, standard="Good"))
    assert method_names() == before
    assert method_class("standard").__module__ == "nextlong.composition.standard"
    assert method_package("standard") is None


def test_two_packages_with_one_method_are_an_error(tmp_path, monkeypatch):
    for module in ("plugin_one", "plugin_two"):
        monkeypatch.syspath_prepend(write_plugin(tmp_path / module, module, METHOD, good="Good"))
    assert method_names().count("good") == 1
    with pytest.raises(NextlongError, match="Several packages bring a method `good`: ") as caught:
        method_class("good")
    assert all(package in caught.value.message for package in ("plugin_one 1.0", "plugin_two 1.0"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nextlon", "Did you mean `nextlong`? Known methods: nextlong, standard, "),
        ("sdtandard", "Did you mean `standard`?"),
        ("good-one", "Did you mean `good`?"),
        ("xyz", "If another package brings it, install that package. Known methods: nextlong, standard, "),
        ("", "If another package"),
    ],
)
def test_an_unknown_method_names_the_closest(name, hint, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(write_plugin(tmp_path, "plugin_close", METHOD, good="Good"))
    with pytest.raises(UsageError, match=f"Unknown method `{name}`") as caught:
        method_class(name)
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        (
            config("standard", mining={"range_min": 3}),
            "The method `standard` does not use `range_min`, so 3 would do nothing.",
            "`nextlong methods standard` shows what it uses.",
        ),
        (
            config("standard", mining={"max_jaccard": None}),
            "The method `standard` does not use `max_jaccard`, so None would do nothing.",
            "`nextlong methods standard` shows what it uses.",
        ),
        (
            DatasetConfig.model_validate({"composition": {"method": "knn", "mode": "paper"}}),
            "The method `knn` does not use `mode`, so 'paper' would do nothing.",
            "`nextlong methods knn` shows what it uses.",
        ),
        (
            config("quest", options={"min_scor": 3}),
            "Unknown key `min_scor` in the options of the method quest.",
            "Did you mean `min_score`?",
        ),
        (
            config("standard", options={"x": 3}),
            "Unknown key `x` in the options of the method standard.",
            "`nextlong methods standard` shows what it uses.",
        ),
        (
            config("untie", options={"piece": 0}),
            "Wrong value for `piece` in the options of the method untie: Input should be greater than 0.",
            "`nextlong methods untie` shows what it uses.",
        ),
    ],
)
def test_what_a_method_does_not_use_is_refused(given, message, hint):
    with pytest.raises(UsageError) as caught:
        method_options(given)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_what_a_method_uses_is_taken():
    method_options(config("nextlong", mining={"range_min": 3, "max_jaccard": None}))
    method_options(DatasetConfig.model_validate({"composition": {"method": "knn", "separator": "\n", "bos": False}}))
    assert method_options(config("untie", options={"piece": 2})).model_dump() == {"piece": 2, "probability": 1.0}


def test_the_version_of_a_method_changes_with_what_changes_its_sequences(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(write_plugin(tmp_path, "plugin_version", METHOD, good="Good"))
    different = [
        config("good"),
        config("good", seed=1),
        config("good", length=4096),
        config("untie"),
        config("untie", options={"piece": 2}),
    ]
    versions = [method_version(each) for each in different]
    assert len(set(versions)) == len(versions)
    assert method_version(config("untie", options={"piece": 1})) == method_version(config("untie"))
    monkeypatch.setattr(method_class("good"), "VERSION", 2)
    assert method_version(config("good")) not in versions
