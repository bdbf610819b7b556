"""The methods by name: the package's own, and those that other packages bring."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

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
# Keys of `composition` that are for every method.
_FOR_ALL = frozenset({"composition.method", "composition.separator", "composition.bos", "composition.eos"})


def method_names() -> list[str]:
    """All names, the package's own first."""
    return [*_OWN, *sorted(set(_brought()) - set(_OWN))]


def method_class(name: str) -> type[Method]:
    """The method of this name.

    Raises:
        UsageError: there is none.
        NextlongError: another package names it, and it cannot be loaded.
    """
    if name in _OWN:
        found = getattr(import_module(f"nextlong.composition.{name}"), _OWN[name])
        return found  # type: ignore[no-any-return]
    brought = _brought()
    if name not in brought:
        close = difflib.get_close_matches(name, method_names(), n=1)
        guess = f"Did you mean `{close[0]}`? " if close else ""
        raise UsageError(f"Unknown method `{name}`.", f"{guess}Known methods: {', '.join(method_names())}.")
    point = brought[name]
    try:
        found = point.load()
    except Exception as error:  # whatever a plugin's module raises
        raise NextlongError(
            f"The method `{name}` ({point.value}) cannot be loaded: {error!r}.", "Mend the package that brings it."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise NextlongError(f"The method `{name}` ({point.value}) is no subclass of nextlong.composition.method.Method.")
    return found


def _brought() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def method_options(config: DatasetConfig) -> Part:
    """The method's own options, checked; and that nothing is set which the method does not read.

    Raises:
        UsageError: an unknown option, a wrong value, or a key that would do nothing.
    """
    method = method_class(config.composition.method)
    defaults = {"mining": MiningConfig(), "composition": CompositionConfig()}
    for section, default in defaults.items():
        for key in type(default).model_fields:
            name, value = f"{section}.{key}", getattr(getattr(config, section), key)
            if name not in method.READS | _FOR_ALL and value != getattr(default, key):
                raise UsageError(
                    f"The method `{method.NAME}` does not use `{key}`, so {value!r} would do nothing.",
                    f"`nextlong methods {method.NAME}` shows what it uses.",
                )
    return validated(method.Options, config.options, where=f"the options of the method {method.NAME}")


def make_method(session: Session, put: Callable[[Ordinals], bool] | None = None) -> Method:
    """The method of a dataset, ready to work.

    Args:
        session: the dataset.
        put: see :class:`~nextlong.composition.tokens.ChunkTokens`.
    """
    found = method_class(session.config.composition.method)
    return found(session, method_options(session.config), ChunkTokens(session, put))


def method_version(config: DatasetConfig) -> str:
    """A hash that changes with everything by which a method's sequences may change, besides pool and tokenizer."""
    found = method_class(config.composition.method)
    options = method_options(config)  # with its defaults, so that a changed default counts
    code = f"{found.__module__}:{found.__qualname__}:{found.VERSION}"
    return config_hash(code, config.length, config.seed, config.mining, config.composition, options)
