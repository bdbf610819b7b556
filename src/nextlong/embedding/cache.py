"""Models that are built once on a machine: where they lie, and building them safely."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from nextlong.errors import NextlongError
from nextlong.execution.cache import cache_folder


def is_built(name: str) -> bool:
    """Whether :func:`built_once` has nothing to do."""
    return (cache_folder() / name).is_dir()


def built_once(name: str, build: Callable[[Path], None]) -> Path:
    """The folder ``name`` in the cache, built when it is not there.

    Safe with several processes: one builds, the others wait for it. A build that dies leaves nothing under ``name``.

    Args:
        name: must change whenever the content would.
        build: writes the content into the empty folder that it is given.

    Raises:
        NextlongError: the cache folder cannot be written.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _build(folder, build)
    except OSError as error:
        raise NextlongError(
            f"Cannot write the model cache {folder.parent}: {error.strerror or error}.",
            "Set NEXTLONG_CACHE to a folder that can be written and has some 200 MB free.",
        ) from error
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        build(temporary)
        # mkdtemp makes folders private, but a shared cache is there to be shared.
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
