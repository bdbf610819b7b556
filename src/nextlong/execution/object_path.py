"""Folders in an object store, used like folders of this machine.

An object store has no folders, no renames, and nothing to memory-map. So an :class:`ObjectPath` is the path of a file in
the mirror (see :mod:`~nextlong.execution.object_store`) that stands for an object: reading it fetches the object first,
unless the mirror holds that very version; committing a file (:func:`nextlong.execution.files.atomic`) uploads it before it
gets its name. Every machine of a cluster has its own mirror.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from nextlong.errors import UsageError
from nextlong.execution import object_store
from nextlong.execution.object_store import PACKAGES, TEMPORARY_SUFFIX, Place, mirror_folder

# How long :func:`last_change` may answer from memory: it is asked for every sequence, and each look is a request.
_RECENT_SECONDS = 5.0


def located(place: str | os.PathLike[str]) -> Path:
    """The path that a person wrote: a folder or file of this machine, or ``s3://…``, ``gs://…``, ``az://…``.

    Raises:
        UsageError: it is a URL of something that nextlong cannot write to, or has credentials in it.
    """
    if isinstance(place, ObjectPath):
        return place
    text = os.fspath(place)
    if "://" not in text:
        return Path(text)
    url = urlsplit(text)
    if url.scheme == "file":
        return Path(url.path)
    if url.scheme not in PACKAGES:
        raise UsageError(
            f"Cannot keep a folder at {url.scheme}://….",
            f"Give a folder, or one in an object store: {', '.join(f'{store}://' for store in PACKAGES)}.",
        )
    if ":" in url.netloc or (url.scheme == "s3" and "@" in url.netloc):
        raise UsageError(
            "The URL of a folder must not hold credentials.",
            "Set them in the environment, where the store's own programs look for them.",
        )
    parts = [part for part in url.path.split("/") if part]
    if url.query or url.fragment or not url.netloc or {".", ".."}.intersection(parts):
        raise UsageError(f"{text} is no folder in an object store.", f"Write it like {url.scheme}://bucket/folder.")
    return ObjectPath(mirror_folder() / url.scheme / url.netloc, *parts)


def can_hold_folder(place: str | os.PathLike[str]) -> bool:
    """Whether :func:`located` knows such a place, from how it is written."""
    protocol, separator, _ = os.fspath(place).partition("://") if not isinstance(place, ObjectPath) else ("", "", "")
    return not separator or protocol in PACKAGES or protocol == "file"


def recorded(folder: Path, place: str) -> Path:
    """A place that a description in ``folder`` names: whole, or from there on."""
    known = located(place)
    return known if known.is_absolute() else folder / known


class ObjectPath(type(Path())):  # type: ignore[misc]
    """A path in an object store: made by :func:`located`, and from there with ``/`` like any path."""

    __slots__ = ()

    @property
    def local(self) -> Path:
        """The file in the mirror, whether it is there and recent or not."""
        return Path(*self.parts)

    @property
    def place(self) -> Place:
        """The object."""
        protocol, *key = self.parts[len(mirror_folder().parts) :]
        return Place(protocol, "/".join(key))

    @property
    def _is_part(self) -> bool:
        """Whether this is only a part of a path, as ``relative_to`` gives."""
        root: str = self.root
        return root == ""

    @property
    def _temporary(self) -> bool:
        name: str = self.name
        return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)

    def __str__(self) -> str:
        return super().__str__() if self._is_part else str(self.place)

    def __fspath__(self) -> str:
        """The file in the mirror, fetched if the store has another version of it."""
        if not self._is_part and not self._temporary:
            object_store.fetch(self.place)
        return str(self.local)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another machine may keep its mirror elsewhere.
        return (Path, self.parts) if self._is_part else (located, (str(self),))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """The kind and the size; an object's times are none of a file's. See :meth:`pathlib.Path.stat`."""
        if self._temporary:
            return self.local.stat()
        info = object_store.look(self.place)
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        kind = stat.S_IFDIR | 0o755 if info["type"] == "directory" else stat.S_IFREG | 0o644
        return os.stat_result((kind, 0, 0, 1, 0, 0, int(info.get("size") or 0), 0, 0, 0))

    def _kind(self) -> str | None:
        info = object_store.look(self.place)
        return None if info is None else str(info["type"])

    def exists(self, **_: Any) -> bool:
        """Whether the store has it, or anything below it."""
        return self.local.exists() if self._temporary else self._kind() is not None

    def is_file(self, **_: Any) -> bool:
        """Whether the store has an object of this name."""
        return self._kind() == "file"

    def is_dir(self, **_: Any) -> bool:
        """Whether the store has anything below it."""
        return self._kind() == "directory"

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def absolute(self) -> ObjectPath:
        """Itself."""
        return self

    def resolve(self, strict: bool = False) -> ObjectPath:
        """Itself."""
        return self

    def expanduser(self) -> ObjectPath:
        """Itself."""
        return self

    def iterdir(self) -> Generator[ObjectPath, None, None]:
        """What lies in it, as the store tells."""
        for name in object_store.names_in(self.place):
            yield self / name

    def glob(self, pattern: str, **_: Any) -> Generator[ObjectPath, None, None]:
        """What lies in it under a name that matches; the pattern is of one name, not of a path."""
        if "/" in pattern or "**" in pattern:
            raise ValueError(f"{pattern} is no pattern of names")
        return (entry for entry in self.iterdir() if fnmatchcase(entry.name, pattern))

    def open(self, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
        """Open for reading; only a temporary file may be written."""
        if not self._temporary and set(mode) & set("wax+"):
            raise ValueError(f"{self} is written by `atomic` only")
        return Path(os.fspath(self)).open(mode, *arguments, **options)

    def mkdir(self, *arguments: Any, **options: Any) -> None:
        """Make it in the mirror; a store needs no folders."""
        self.local.mkdir(*arguments, **options)

    def rmdir(self) -> None:
        """Nothing to do: an empty folder is none."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object, and the mirror's copy."""
        if self._temporary:
            self.local.unlink(missing_ok=missing_ok)
        elif not object_store.remove(self.place) and not missing_ok:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))

    def replace(self, target: str | os.PathLike[str]) -> ObjectPath:
        """Commit a temporary file as ``target``."""
        if not isinstance(target, ObjectPath) or not self._temporary:
            raise ValueError("only a temporary file can be committed, and only to an object store")
        object_store.upload(self.local, target.place)
        return target


def is_stored(path: Path) -> bool:
    """Whether the path lies in an object store."""
    return isinstance(path, ObjectPath)


def on_this_machine(path: Path) -> Path:
    """Where a path's copy lies, without looking whether it is there or recent; a path of this machine is itself."""
    return path.local if isinstance(path, ObjectPath) else path


def last_change(path: Path) -> object:
    """Something that differs after the file was written anew; of an object, this is noticed some seconds later.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if isinstance(path, ObjectPath):
        return _recent_version(path.place, int(time.monotonic() / _RECENT_SECONDS))
    return path.stat().st_mtime_ns


@lru_cache(maxsize=64)
def _recent_version(place: Place, moment: int) -> str:
    version = object_store.version(place)
    if version is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    return version


def looked_over(folder: Path) -> AbstractContextManager[None]:
    """Around many looks into a folder that nothing writes to meanwhile: in an object store they are one request."""
    return object_store.looked_over(folder.place) if isinstance(folder, ObjectPath) else nullcontext()


def remove_folder(folder: Path) -> None:
    """Remove a folder and all that lies in it."""
    import shutil

    if isinstance(folder, ObjectPath):
        object_store.remove_all(folder.place)
    else:
        shutil.rmtree(folder)
