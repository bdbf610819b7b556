"""Where this machine keeps what can be made or fetched again: models, and files of object stores."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder: ``$NEXTLONG_CACHE``, else ``$XDG_CACHE_HOME/nextlong``, else ``~/.cache/nextlong``."""
    named = os.environ.get("NEXTLONG_CACHE")
    if named:
        return Path(named)
    parent = os.environ.get("XDG_CACHE_HOME")
    return (Path(parent) if parent else Path.home() / ".cache") / "nextlong"
