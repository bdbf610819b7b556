"""Files that are either whole or absent: written beside their name, synced, renamed; and checksums of them."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import xxhash
import yaml

from nextlong.errors import NextlongError
from nextlong.execution.object_path import is_stored, on_this_machine
from nextlong.execution.object_store import TEMPORARY_SUFFIX
from nextlong.execution.run_mark import check_run
from nextlong.execution.shapes import Shape, require
from nextlong.plain_yaml import load_yaml

# What a processor's cache holds: hashing is then a third faster than with larger blocks.
_READ_BYTES = 1 << 20

_REMAKE = "Delete it and run the command that made its folder again."


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well it is synced to disk and renamed to ``path``, or uploaded as it.

    Raises:
        NextlongError: the disk is full or the folder cannot be written; ``path`` is then as it was.
    """
    # A name of its own keeps apart a task and its orphan: the worker of a killed run that has not ended yet, perhaps on
    # another machine, where process ids are the same.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        check_run(path)
        temporary.replace(path)
        if not is_stored(path):
            _sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        raise explained(error, path) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    # Where nothing can be written nothing is left to remove, and what went wrong first is what people should see.
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def is_temporary(name: str, of: str) -> bool:
    """Whether a file of this name is one that :func:`atomic` began for another, and that has not got its name."""
    return name.startswith(f".{of}.") and name.endswith(TEMPORARY_SUFFIX)


def explained(error: OSError, path: Path) -> Exception:
    """The error of writing ``path`` in words for people; one that says nothing about disk or permissions as it is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NextlongError(
            f"No space left to write {path}: {error.strerror}.",
            "Free some space and run the same command again; what is finished is kept.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NextlongError(f"Cannot write {path}: {error.strerror}.", "Check the folder's permissions, or choose another.")
    return error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> str:
    """XXH3 128 of a file's bytes, as 32 hexadecimal digits."""
    digest = xxhash.xxh3_128()
    # Not memory-mapped: a file that is cut short meanwhile would kill the process.
    block = memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while amount := file.readinto(block):
            digest.update(block[:amount])
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        NextlongError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise NextlongError(f"{path} is damaged: it is nested too deeply.", _REMAKE) from None
    except ValueError as error:  # no JSON, no UTF-8, a number of too many digits
        raise NextlongError(f"{path} is damaged: {error}.", _REMAKE) from error


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with a checksum of the rest as one more key."""
    plain = json.loads(json.dumps(content))
    write_json(path, {**plain, "checksum": _checksum_of(plain)})


def read_record(path: Path, *keys: str) -> dict[str, Any]:
    """What :func:`write_record` wrote, without the checksum.

    Raises:
        NextlongError: the file is damaged or was edited, or lacks one of ``keys``.
    """
    content = mapping(read_json(path), path, *keys)
    found = content.pop("checksum", None)
    if found is not None and found != _checksum_of(content):  # earlier versions wrote none
        raise NextlongError(f"{path} is damaged or was edited.", _REMAKE)
    return content


def write_yaml(path: Path, content: Any) -> None:
    """Write YAML in the given order of keys, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def read_yaml(path: Path) -> Any:
    """Read YAML.

    Raises:
        NextlongError: the file is damaged.
    """
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NextlongError(f"{path} is damaged: {error}.", _REMAKE) from error


def write_description(path: Path, content: dict[str, Any]) -> None:
    """Write YAML with a checksum of the rest as its last key."""
    write_yaml(path, {**content, "checksum": _checksum_of(content)})


def read_description(path: Path, shape: Shape = None) -> dict[str, Any]:
    """What :func:`write_description` wrote, without the checksum.

    Args:
        path: the file.
        shape: what it must hold; None for anything.

    Raises:
        NextlongError: the file is damaged or was edited, or has another shape.
    """
    content = mapping(read_yaml(path), path, "checksum")
    try:
        intact = content.pop("checksum") == _checksum_of(content)
    except TypeError:  # YAML has values and keys that JSON has not
        intact = False
    if not intact:
        raise NextlongError(f"{path} is damaged or was edited.", _REMAKE)
    if shape is not None:
        require(content, shape, path)
    return content


def _checksum_of(content: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(content, sort_keys=True).encode())


def mapping(content: Any, path: Path, *keys: str) -> dict[str, Any]:
    """``content``, which was read from ``path``, if it is a mapping with these keys.

    Raises:
        NextlongError: it is not, so the file is damaged or was edited.
    """
    if not isinstance(content, dict):
        raise NextlongError(f"{path} is damaged: it is no mapping.", _REMAKE)
    if lacking := [key for key in keys if key not in content]:
        raise NextlongError(f"{path} is damaged: it has no `{lacking[0]}`.", _REMAKE)
    return content


def plain_name(name: object, path: Path) -> str:
    """``name``, which was read from ``path``, if it is the name of a file and leads nowhere else.

    Raises:
        NextlongError: it is not, so the file is damaged or was edited.
    """
    if isinstance(name, str) and name.isprintable() and "/" not in name and name not in ("", ".", ".."):
        return name
    raise NextlongError(f"{path} is damaged or was edited: {name!r} is no name of a file.", _REMAKE)


def plain_path(name: object, path: Path) -> str:
    """``name``, which was read from ``path``, if it is a path below a folder, of plain names with ``/`` between them.

    Raises:
        NextlongError: it is not, so the file is damaged or was edited.
    """
    if isinstance(name, str):
        return "/".join(plain_name(part, path) for part in name.split("/"))
    raise NextlongError(f"{path} is damaged or was edited: {name!r} is no path.", _REMAKE)


@contextmanager
def without_leftovers(folder: Path, inside: Sequence[str] = ()) -> Iterator[None]:
    """Around work in a folder whose lock is held: removes temporary files of a run that was killed, and, if the work ends
    with an error, those of its workers that were stopped.

    Args:
        folder: where to look, at any depth.
        inside: folders in it that have a lock of their own, and so may be written to right now.
    """
    _remove_leftovers(folder, inside)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the next run removes what is left
            _remove_leftovers(folder, inside)
        raise


def _remove_leftovers(folder: Path, inside: Sequence[str]) -> None:
    here = on_this_machine(folder)
    for path in here.rglob(f".*{TEMPORARY_SUFFIX}"):
        if path.relative_to(here).parts[0] not in inside:
            path.unlink(missing_ok=True)
