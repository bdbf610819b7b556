"""Objects of a store, and this machine's copies of them: the *mirror*.

The store holds the truth. A mirrored file counts only with a mark that says which version of the object it is, so that a
kill at any moment leaves nothing wrong, and the mirror may be deleted whenever nothing runs.
"""

from __future__ import annotations

import errno
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from nextlong.errors import NextlongError
from nextlong.execution.cache import cache_folder

# Where one request writes a whole object or nothing, and one can ask that it be written only if it is not there.
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
TEMPORARY_SUFFIX = ".tmp"

# What a store may call the version or the time of an object.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "size", "LastModified", "last_modified", "updated", "mtime")

Info = dict[str, Any]


class Place(NamedTuple):
    """Where an object lies, or a folder: the start of the keys of all that lies in it."""

    protocol: str
    key: str

    def __str__(self) -> str:
        return f"{self.protocol}://{self.key}"

    @property
    def mirrored(self) -> Path:
        """The file of this machine that may hold a copy."""
        return mirror_folder() / self.protocol / self._inside

    @property
    def _mark(self) -> Path:
        return cache_folder().absolute() / "marks" / self.protocol / self._inside

    @property
    def _inside(self) -> str:
        if not _stays_inside(self.key):
            raise NextlongError(f"{self.protocol}://{self.key} cannot be kept on this machine.", "Remove it, or rename it.")
        return self.key


def mirror_folder() -> Path:
    """Where the copies are, by protocol, bucket and key: in the user's cache."""
    return cache_folder().absolute() / "objects"


def _stays_inside(key: str) -> bool:
    """Whether a key, which in a store is any text, is a path that leads to no other folder."""
    return "\0" not in key and not {"", ".", ".."}.intersection(key.split("/"))


def look(place: Place) -> Info | None:
    """What the store knows of an object; of a folder a ``type`` of ``directory``; None where there is nothing."""
    seen: dict[str, Info] | None = getattr(_seen, "objects", None)
    if seen is not None and place.protocol == _seen.place.protocol and place.key.startswith(_seen.place.key + "/"):
        if place.key in seen:
            return seen[place.key]
        return {"type": "directory"} if any(key.startswith(place.key + "/") for key in seen) else None
    with explained(place):
        try:
            info: Info = _store(place.protocol).info(place.key)
        except FileNotFoundError:
            return None
        return info


# What the thread's look over a whole folder found.
_seen = threading.local()


@contextmanager
def looked_over(place: Place) -> Iterator[None]:
    """List a folder once instead of asking for each of its objects, and fetch its JSON files together.

    Inside, nothing may write to the folder.
    """
    with explained(place):
        everything = _store(place.protocol).find(place.key, detail=True)
    # Whoever may write to the bucket may have put there what none of ours is called.
    found = {key: info for key, info in everything.items() if _stays_inside(key)}
    receipts = {key: info for key, info in found.items() if key.endswith(".json")}
    _fetch_together(place.protocol, {key: info for key, info in receipts.items() if not _is_recent(place, key, info)})
    _seen.place, _seen.objects = place, found
    try:
        yield
    finally:
        _seen.objects = None


def _is_recent(place: Place, key: str, info: Info) -> bool:
    return _copy_is(Place(place.protocol, key), info)


def _fetch_together(protocol: str, wanted: dict[str, Info]) -> None:
    """Many small objects at a time: receipts may be thousands."""
    if not wanted:
        return
    places = [Place(protocol, key) for key in wanted]
    files = [_beside(place) for place in places]
    with explained(places[0]):
        _store(protocol).get(list(wanted), [str(file) for file in files])
    for place, file in zip(places, files, strict=True):
        _take(place, file, wanted[place.key])


def fetch(place: Place) -> None:
    """Make the mirror's copy that of the store: fetched if it is another version, removed where the store has none."""
    info = look(place)
    if info is None:
        forget(place)
        return
    if info["type"] == "directory" or _copy_is(place, info):
        return
    file = _beside(place)
    try:
        with explained(place):
            _store(place.protocol).get_file(place.key, str(file))
        _take(place, file, info)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _take(place: Place, file: Path, info: Info) -> None:
    if file.stat().st_size != info["size"]:
        raise NextlongError(f"{place} was changed while it was read.", "Run the same command again.")
    _name(place, file, info)


def _name(place: Place, file: Path, info: Info) -> None:
    """Give a file its name in the mirror. Its mark comes last: without it the file is not trusted."""
    place._mark.unlink(missing_ok=True)
    file.replace(place.mirrored)
    place._mark.parent.mkdir(parents=True, exist_ok=True)
    temporary = place._mark.with_name(f".{place._mark.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    temporary.write_text(_version(info), encoding="utf-8")
    temporary.replace(place._mark)


def _copy_is(place: Place, info: Info) -> bool:
    try:
        return place.mirrored.exists() and place._mark.read_text(encoding="utf-8") == _version(info)
    except FileNotFoundError:
        return False


def _version(info: Info) -> str:
    return "|".join(str(info.get(name)) for name in _VERSION_KEYS)


def version(place: Place) -> str | None:
    """What differs between two versions of an object; None where there is none."""
    info = look(place)
    return None if info is None else _version(info)


def _beside(place: Place) -> Path:
    place.mirrored.parent.mkdir(parents=True, exist_ok=True)
    return place.mirrored.with_name(f".{place.mirrored.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")


def upload(file: Path, place: Place) -> None:
    """Write a file as an object, in one piece, and make it the mirror's copy. Other readers see the old or the new one."""
    with explained(place, writes=True):
        _store(place.protocol).put_file(str(file), place.key)
    info = look(place)
    if info is None or info["size"] != file.stat().st_size:
        raise NextlongError(f"{place} was changed while it was written.", "Is another process working on it?")
    _name(place, file, info)


def create(place: Place, content: bytes) -> bool:
    """Write a small object if there is none of that name; whether it was written. Of several processes one succeeds."""
    with explained(place, writes=True):
        try:
            _store(place.protocol).pipe_file(place.key, content, mode="create")
        except FileExistsError:
            return False
        return True


def write(place: Place, content: bytes) -> None:
    """Write a small object."""
    with explained(place, writes=True):
        _store(place.protocol).pipe_file(place.key, content)


def read(place: Place) -> bytes | None:
    """A small object as it is now; None where there is none."""
    with explained(place):
        try:
            content: bytes = _store(place.protocol).cat_file(place.key)
        except FileNotFoundError:
            return None
        return content


def names_in(place: Place) -> list[str]:
    """The names of the objects and folders in a folder, sorted."""
    with explained(place):
        try:
            entries = _store(place.protocol).ls(place.key, detail=False)
        except FileNotFoundError:
            return []
    names = {entry.rstrip("/").rpartition("/")[2] for entry in entries if entry.strip("/") != place.key}
    return sorted(name for name in names if _stays_inside(name))


def remove(place: Place) -> bool:
    """Remove an object and its copy; whether there was one."""
    there = look(place) is not None
    with explained(place), suppress(FileNotFoundError):
        _store(place.protocol).rm_file(place.key)
    forget(place)
    return there


def remove_all(place: Place) -> None:
    """Remove all that lies in a folder."""
    import shutil

    with explained(place), suppress(FileNotFoundError):
        _store(place.protocol).rm(place.key, recursive=True)
    for copies in (place.mirrored, place._mark):
        shutil.rmtree(copies, ignore_errors=True)


def forget(place: Place) -> None:
    """Remove the mirror's copy."""
    place.mirrored.unlink(missing_ok=True)
    place._mark.unlink(missing_ok=True)


@lru_cache(maxsize=len(PACKAGES))
def _store(protocol: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        package = PACKAGES[protocol]
        raise NextlongError(f"{protocol}:// needs the package {package}.", f"Install it: pip install {package}") from error


@contextmanager
def explained(place: Place, writes: bool = False) -> Iterator[None]:
    """Errors of a store in words for people. They come from its own libraries and have no common type."""
    try:
        yield
    except (NextlongError, FileExistsError):
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not writes:  # what is written is not there before, but its bucket is
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # this machine's disk: the mirror
            raise
        raise NextlongError(
            f"The object store could not be reached or refused to work on {place}: {error}",
            "Check the address, the credentials and the rights, and run the same command again; what is finished is kept.",
        ) from error
