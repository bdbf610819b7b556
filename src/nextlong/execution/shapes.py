"""What a description that is read back must hold, so that one that was edited is an error for people and not a surprise."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Any

from nextlong.errors import NextlongError

# A type, or types that will do; a list of one shape, for a list of such; a mapping of at least these keys, whose values have
# these shapes, where the key ``None`` stands for every other key.
Shape = Any


def require(content: Any, shape: Shape, path: Path) -> None:
    """Check that what was read from ``path`` has this shape.

    Raises:
        NextlongError: it has not; names the first key that is missing or of another kind.
    """
    if wrong := _difference(content, shape, ""):
        raise NextlongError(
            f"{path} is damaged or was edited: {wrong}.", "Delete it and run the command that made its folder again."
        )


def _difference(content: Any, shape: Shape, key: str) -> str:
    """What differs, in words; empty where nothing does."""
    if isinstance(shape, dict):
        if not isinstance(content, dict):
            return f"`{key}` is no mapping" if key else "it is no mapping"
        known = [name for name in shape if name is not None]
        if lacking := [name for name in known if name not in content]:
            return f"it has no `{key}{lacking[0]}`"
        others = [name for name in content if None in shape and name not in shape]
        parts = [(content[name], shape[name], f"{key}{name}.") for name in known]
        parts += [(content[name], shape[None], f"{key}{name}.") for name in others]
    elif isinstance(shape, list):
        if not isinstance(content, list):
            return f"`{key.rstrip('.')}` is no list"
        parts = [(each, shape[0], f"{key}{place}.") for place, each in enumerate(content)]
    else:
        return "" if _is_a(content, shape) else f"`{key.rstrip('.')}` is of another kind"
    return next((wrong for part in parts if (wrong := _difference(*part))), "")


def _is_a(content: Any, kind: type | UnionType) -> bool:
    # In Python a truth value is a whole number, and a whole number is no fraction; in a description it is the other way.
    if isinstance(content, bool):
        return isinstance(True, kind) and kind is not int
    return isinstance(content, kind) or (kind is float and isinstance(content, int))
