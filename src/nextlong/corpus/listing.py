"""Which files an input names: a path, a folder, a glob pattern, here or in fsspec storage."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from nextlong.corpus.huggingface import is_saved_dataset
from nextlong.corpus.source import KNOWN_KINDS, file_kind, is_url, public_name, reading_error, storage_of
from nextlong.errors import UsageError

# What accompanies data and is not data. In a folder that holds JSON Lines or Parquet they are left out.
COMPANIONS = {"readme", "license", "licence", "notice", "changelog", "citation", "contributing"}

# What a storage calls the parts of a file's description that change with its content.
_VERSION_KEYS = (
    *("ETag", "etag", "checksum", "md5Hash", "content_md5", "sha256", "blob_id", "oid", "version", "generation"),
    *("LastModified", "last_modified", "mtime", "modified", "created"),
)


@dataclass(frozen=True)
class Entry:
    """A file, or a folder with a saved dataset.

    Attributes:
        root: the folder that document ids of text files are relative to, as given.
        path: relative to ``root``, with ``/`` between folders; empty for a root that is a saved dataset.
        location: what to open.
        size: bytes; None when unknown.
        version: changes when the content could have changed.
        identity: equal for two names of the same file.
        saved_dataset: it is such a folder.
    """

    root: str
    path: str
    location: str
    size: int | None
    version: str
    identity: str
    saved_dataset: bool = False

    @property
    def name(self) -> str:
        """The name as people gave it."""
        return joined(self.root, self.path) if self.path else self.root


def joined(root: str, path: str) -> str:
    """``path`` in the folder ``root``; either may be empty, and ``root`` may end with a slash."""
    return f"{root}{'' if not root or root.endswith('/') else '/'}{path}"


def list_input(given: str) -> list[Entry]:
    """The entries that one input names, sorted by path; at least one.

    Folders are searched recursively for known kinds of file, without hidden names.

    Raises:
        UsageError: nothing matches, or a file is of a kind that is not known.
        NextlongError: the storage cannot be reached.
    """
    local = given
    if given.lower().startswith(("file://", "local://")):
        local = given.partition("://")[2]
    elif is_url(given):
        return _list_remote(given)
    path = Path(local).expanduser()
    if path.is_dir():
        if is_saved_dataset(path):
            return [_saved(path, local, "")]
        entries = _without_companions(_local_entries(_walk(path), path, local))
        if not entries:
            raise UsageError(f"The folder {public_name(given)} holds no file of a known kind.", _known())
        return entries
    if path.is_file():
        _require_known(given, str(path))
        root, _, name = local.rpartition("/")
        root = root or ("/" if local.startswith("/") else "")
        return [_local_entry(path, root, name)]
    if glob.has_magic(local):
        return _list_pattern(given, local)
    if path.exists():
        raise UsageError(f"{public_name(given)} is neither a file nor a folder; a corpus is read more than once.")
    raise UsageError(
        f"Nothing is at {public_name(given)}.",
        f"Looked in {Path.cwd()}. A corpus is a file, a folder, a glob pattern, a URL, hf:NAME[:SPLIT] or demo.",
    )


def _list_pattern(given: str, pattern: str) -> list[Entry]:
    root = _fixed_part(pattern)
    base = Path(root).expanduser()
    matches = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))  # noqa: PTH111, PTH207 (Path.glob has other rules)
    entries: list[Entry] = []
    walked: set[Path] = set()
    inside_saved = cache(is_saved_dataset)  # their descriptions are .json files, and no corpus
    for match in map(Path, matches):
        if not walked.isdisjoint(match.parents):
            continue  # `**` matches folders, and all that is in them again
        if match.is_dir():
            walked.add(match)
            if is_saved_dataset(match):
                entries.append(_saved(match, root, _relative(match, base)))
            else:
                entries += _without_companions(_local_entries(_walk(match), base, root))
        elif match.is_file() and file_kind(match.name) and not inside_saved(match.parent):
            entries.append(_local_entry(match, root, _relative(match, base)))
    if not entries:
        found = f"matches {len(matches):,} names, none of a known kind" if matches else "matches nothing"
        raise UsageError(f"The pattern {public_name(given)} {found}.", _known() if matches else f"Looked in {Path.cwd()}.")
    return sorted(entries, key=lambda entry: entry.path)


def _walk(folder: Path) -> Iterator[Path]:
    """Files of known kinds and saved datasets under ``folder``; links are followed, each folder once."""
    seen: set[str] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        here = Path(current)
        real = os.path.realpath(current)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        saved = [name for name in folders if is_saved_dataset(here / name)]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in saved)
        yield from (here / name for name in saved)
        known = [name for name in files if not name.startswith(".") and file_kind(name)]
        yield from (here / name for name in known if (here / name).is_file())


def _local_entries(paths: Iterator[Path], base: Path, root: str) -> list[Entry]:
    entries = []
    for path in paths:
        relative = _relative(path, base)
        entries.append(_saved(path, root, relative) if path.is_dir() else _local_entry(path, root, relative))
    return sorted(entries, key=lambda entry: entry.path)


def _local_entry(path: Path, root: str, relative: str) -> Entry:
    try:
        status = path.stat()
    except OSError as error:
        raise reading_error(str(path), error) from error
    location = os.path.abspath(path)  # noqa: PTH100 (resolve() would replace links by their targets, which may lack a suffix)
    version = f"{status.st_size}-{status.st_mtime_ns}"
    return Entry(root, relative, location, status.st_size, version, os.path.realpath(path))


def _saved(path: Path, root: str, relative: str) -> Entry:
    location = os.path.abspath(path)  # noqa: PTH100
    return Entry(root, relative, location, None, "", os.path.realpath(path), saved_dataset=True)


def _list_remote(given: str) -> list[Entry]:
    shown = public_name(given)
    storage, path = storage_of(given)
    if not given.rstrip("/").endswith(path.rstrip("/")):
        given = storage.unstrip_protocol(path)  # the storage spells the path in a way of its own
    # In URLs of the web a question mark starts the query.
    magic = glob.has_magic(path.partition("?")[0] if "http" in str(storage.protocol) else path)
    try:
        if not magic and storage.isfile(path):
            _require_known(given, path)
            folder, _, name = path.rpartition("/")
            return [_remote_entry(given, path, folder, name, path, storage.info(path))]
        base = _fixed_part(path) if magic else path.rstrip("/")
        found: dict[str, Any] = storage.glob(path, detail=True) if magic else storage.find(path, detail=True)
        if magic:
            for name in [name for name, info in found.items() if info.get("type") == "directory"]:
                found |= storage.find(name, detail=True)
    except UsageError:
        raise
    except Exception as error:  # every fsspec backend has exceptions of its own
        raise reading_error(given, error) from None
    entries = []
    for name, info in sorted(found.items()):
        relative = name.removeprefix(base).lstrip("/")
        hidden = any(part.startswith(".") for part in relative.split("/"))
        if info.get("type") != "directory" and file_kind(name) and not hidden:
            if info.get("size") is None:  # a web server's index has names only
                info = _described(storage, name, given)
            entries.append(_remote_entry(given, path, base, relative, name, info))
    entries = entries if magic else _without_companions(entries)
    if not entries:
        what = f"{len(found):,} names, none of a known kind" if found else "nothing"
        raise UsageError(f"{shown} matches {what}.", _known() if found else "Check the address.")
    return entries


def _described(storage: Any, name: str, given: str) -> dict[str, Any]:
    try:
        return dict(storage.info(name))
    except Exception as error:  # every fsspec backend has exceptions of its own
        raise reading_error(given, error) from None


def _remote_entry(given: str, given_path: str, base: str, relative: str, name: str, info: dict[str, Any]) -> Entry:
    """The entry of ``name``, spelled with the protocol, host and user of ``given``, whose own path is ``given_path``."""
    before = given.rstrip("/").removesuffix(given_path.rstrip("/"))
    size = info.get("size")
    values = [info[key] for key in _VERSION_KEYS if info.get(key) is not None]
    # One storage may tell the same time as a number in a listing and as a datetime for a single file.
    version = "-".join(str(value.timestamp() if isinstance(value, datetime) else value) for value in values)
    location = before + name
    return Entry(before + base, relative, location, size, f"{size}-{version}", location)


def _without_companions(entries: list[Entry]) -> list[Entry]:
    if not any(entry.saved_dataset or file_kind(entry.path) != "text" for entry in entries):
        return entries
    return [
        entry
        for entry in entries
        if file_kind(entry.path) != "text" or PurePosixPath(entry.path).stem.lower() not in COMPANIONS
    ]


def _fixed_part(pattern: str) -> str:
    """The folder before a pattern's first wildcard."""
    parts = pattern.split("/")
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]) or ("/" if pattern.startswith("/") else "")


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


def _require_known(given: str, path: str) -> None:
    if file_kind(path.partition("?")[0] if is_url(given) else path) is None:
        raise UsageError(f"{public_name(given)} is not of a known kind.", _known())


def _known() -> str:
    return f"Known kinds: {KNOWN_KINDS}."
