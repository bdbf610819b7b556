"""YAML as data: no object of any kind is made from it, and what it holds is bounded by what is written in it.

PyYAML's safe loader makes no Python objects, but a few lines of aliases of aliases stand for more values than any memory
holds, and whoever walks over them finds out.
"""

from __future__ import annotations

from typing import Any

import yaml

# Values that aliases may repeat, beyond those that are written. A recipe that shares a section needs some dozens.
MOST_REPEATED = 100_000

# What the constructors of PyYAML raise for a value that its tag does not fit, such as `!!int x`.
_CONSTRUCTOR_ERRORS = (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError)


def load_yaml(text: str) -> Any:
    """The plain values of a YAML document.

    Raises:
        ValueError: it is no YAML, names a key twice, holds text that is no valid Unicode or has a NUL, refers to itself, or
            repeats more than :data:`MOST_REPEATED` values by aliases; in words for people.
    """
    try:
        return _loaded(yaml.SafeLoader(text))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except _CONSTRUCTOR_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _loaded(loader: yaml.SafeLoader) -> Any:
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        written: dict[int, int] = {}
        if _size(node, written) - len(written) > MOST_REPEATED:
            raise ValueError(f"its aliases repeat more than {MOST_REPEATED:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases followed; fills in the size of every node by its identity."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError(f"a value refers to itself{_place(node)}")
        return known[id(node)]
    known[id(node)] = 0
    size = 1
    if isinstance(node, yaml.ScalarNode):
        _check_text(node)
    elif isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag.endswith(":str")]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {twice!r} is there twice{_place(node)}")
        size += sum(_size(part, known) for pair in node.value for part in pair)
    else:
        size += sum(_size(part, known) for part in node.value)
    known[id(node)] = size
    return size


def _check_text(node: yaml.ScalarNode) -> None:
    # Neither can be written to a file, and no path and no text of a corpus has them.
    if "\0" in node.value or any("\ud800" <= character <= "\udfff" for character in node.value):
        raise ValueError(f"a text holds a NUL or half of a surrogate pair{_place(node)}")


def _place(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})" if node.start_mark else ""
