"""The methods by name: the package's own, and those that other packages bring."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract

from nextlong.composition.method import Method
from nextlong.composition.session import Session
from nextlong.composition.tokens import ChunkTokens
from nextlong.config import CompositionConfig, DatasetConfig, MiningConfig, Part, config_hash, validated
from nextlong.errors import NextlongError, UsageError
from nextlong.pool.pool import Ordinals

# The group of entry points in which another package names its methods: name = "module:Class".
ENTRY_POINTS = "nextlong.methods"

_OWN = {
    "nextlong": "Nextlong",
    "standard": "Standard",
    "knn": "Knn",
    "iclm": "Iclm",
    "quest": "Quest",
    "untie": "Untie",
}
# What a method may use once: see `Method.USES_ONCE`.
_ONCE = ("root", "chunk", "nothing")
# Keys of `composition` that are for every method.
FOR_ALL = frozenset({"composition.method", "composition.separator", "composition.bos", "composition.eos"})


def method_names() -> list[str]:
    """All names, the package's own first. Nothing is loaded, so a broken plugin is among them."""
    return [*_OWN, *sorted(set(_brought()) - set(_OWN))]


def method_package(name: str) -> str | None:
    """The package that brings a method, with its version; None for the package's own."""
    points = [] if name in _OWN else _brought().get(name, [])
    return " and ".join(_package(point) for point in points) or None


def method_class(name: str) -> type[Method]:
    """The method of this name. The package's own names cannot be taken.

    Raises:
        UsageError: there is none.
        NextlongError: another package names it, and it cannot be loaded or is no method; or several packages do.
    """
    if name in _OWN:
        found = getattr(import_module(f"nextlong.composition.{name}"), _OWN[name])
        return found  # type: ignore[no-any-return]
    points = _brought().get(name, [])
    if not points:
        close = difflib.get_close_matches(name, method_names(), n=1)
        guess = f"Did you mean `{close[0]}`? " if close else "If another package brings it, install that package. "
        raise UsageError(f"Unknown method `{name}`.", f"{guess}Known methods: {', '.join(method_names())}.")
    if len(points) > 1:
        packages = " and ".join(_package(point) for point in points)
        raise NextlongError(f"Several packages bring a method `{name}`: {packages}.", "Uninstall all of them but one.")
    (point,) = points
    where, hint = f"The method `{name}` ({point.value})", f"Mend the package that brings it: {_package(point)}."
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # whatever a plugin's module raises
        raise NextlongError(f"{where} cannot be loaded: {error!r}.", hint) from error
    if defect := _defect(name, found):
        raise NextlongError(f"{where} {defect}.", hint)
    return found  # type: ignore[no-any-return]


def _brought() -> dict[str, list[EntryPoint]]:
    brought: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=ENTRY_POINTS):
        brought.setdefault(point.name, []).append(point)
    return brought


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _defect(name: str, found: object) -> str | None:
    """What keeps an object from being the method of this name, in words."""
    if not (isinstance(found, type) and issubclass(found, Method)):
        return "is no subclass of nextlong.composition.method.Method"
    if isabstract(found):
        return f"does not define {' and '.join(sorted(found.__abstractmethods__))}"
    for attribute in ("NAME", "SUMMARY"):
        if not isinstance(getattr(found, attribute, None), str):
            return f"has no {attribute}"
    if name != found.NAME:
        return f"has the NAME `{found.NAME}`, which is not that of its entry point"
    if not (isinstance(found.Options, type) and issubclass(found.Options, Part)):
        return "has Options that are no subclass of nextlong.config.Part"
    if found.USES_ONCE not in _ONCE:
        return f"has {found.USES_ONCE!r} as USES_ONCE, which is none of {', '.join(_ONCE)}"
    if not isinstance(found.READS, frozenset):
        return "has READS that are no frozenset"
    strange = sorted(found.READS - set(shared_keys()))
    return f"has `{strange[0]}` in READS, which is no key of `mining` or `composition`" if strange else None


def shared_keys() -> dict[str, Part]:
    """``section.key`` of every key that methods share, with the section at its defaults."""
    sections = {"mining": MiningConfig(), "composition": CompositionConfig()}
    return {f"{section}.{key}": part for section, part in sections.items() for key in type(part).model_fields}


def method_options(config: DatasetConfig) -> Part:
    """The method's own options, checked; and that nothing is set which the method does not read.

    Raises:
        UsageError: an unknown option, a wrong value, or a key that would do nothing.
    """
    method = method_class(config.composition.method)
    hint = f"`nextlong methods {method.NAME}` shows what it uses."
    for name, default in shared_keys().items():
        section, _, key = name.partition(".")
        value = getattr(getattr(config, section), key)
        if name not in method.READS | FOR_ALL and value != getattr(default, key):
            raise UsageError(f"The method `{method.NAME}` does not use `{key}`, so {value!r} would do nothing.", hint)
    try:
        return validated(method.Options, config.options, where=f"the options of the method {method.NAME}")
    except UsageError as error:
        raise UsageError(error.message, error.hint or hint) from error


def make_method(session: Session, put: Callable[[Ordinals], bool] | None = None) -> Method:
    """The method of a dataset, ready to work.

    Args:
        session: the dataset.
        put: see :class:`~nextlong.composition.tokens.ChunkTokens`.
    """
    found = method_class(session.config.composition.method)
    return found(session, method_options(session.config), ChunkTokens(session, put))


def method_code(name: str) -> str:
    """The class of a method and its version: what changes when the same configuration gives other sequences."""
    found = method_class(name)
    return f"{found.__module__}:{found.__qualname__}:{found.VERSION}"


def method_version(config: DatasetConfig) -> str:
    """A hash that changes with everything by which a method's sequences may change, besides pool and tokenizer."""
    options = method_options(config)  # with its defaults, so that a changed default counts
    code = method_code(config.composition.method)
    return config_hash(code, config.length, config.seed, config.mining, config.composition, options)
