"""A source: one file, one batch of text files, one dataset or the demo corpus, as it is planned and read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

from nextlong.errors import NextlongError, UsageError
from nextlong.public_text import HIDDEN, plain_address, printable

Kind = Literal["jsonl", "parquet", "text", "hf", "demo"]

COMPRESSIONS = ("", ".gz", ".zst", ".zstd")
JSONL_SUFFIXES = tuple(f"{name}{packed}" for name in (".jsonl", ".json", ".ndjson") for packed in COMPRESSIONS)
PARQUET_SUFFIXES = (".parquet",)
TEXT_SUFFIXES = (".txt", ".md", ".rst", ".text")
KNOWN_KINDS = ".jsonl, .json or .ndjson (plain, .gz, .zst or .zstd), .parquet, and text: .txt, .md, .rst, .text"

# Where a corpus may lie, and what may stand before it. fsspec knows more: some run commands (git, ssh), read what a file
# elsewhere tells them to (reference) or take a password from nowhere; none of them is where corpora are.
STORAGES = (
    *("file", "local", "memory", "http", "https", "ftp", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"),
    *("hf", "hdfs", "webhdfs", "oss", "oci"),
)
WRAPPERS = ("simplecache", "filecache", "blockcache")
PROTOCOLS = frozenset((*STORAGES, *WRAPPERS))

_URL = re.compile(r"[a-z][a-z0-9+.\-]*(?:::|://)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """What one task reads. Small and picklable: it travels to worker processes.

    Attributes:
        name: what people see and what provenance records: the path as given, or the URL without credentials.
        location: what to open: an absolute path, a URL, a dataset name. It, and ``files``, may hold credentials: show
            and store only ``name``.
        kind: which reader reads it.
        bytes: the size on disk, for planning; None when unknown.
        fingerprint: changes when the content could have changed.
        files: for ``text``: the files, relative to ``location``, with ``/`` between folders.
        id_prefix: for ``text``: stands before the relative path in document ids where two inputs hold the same path.
        subset: for ``hf`` by name: the dataset's configuration; empty for its default.
        split: for ``hf``: the split; empty for a saved dataset that has no splits.
    """

    name: str
    location: str
    kind: Kind
    bytes: int | None
    fingerprint: str
    files: tuple[str, ...] = ()
    id_prefix: str = ""
    subset: str = ""
    split: str = ""


def file_kind(path: str) -> Literal["jsonl", "parquet", "text"] | None:
    """The kind that a file's name says, None for a kind that is not known."""
    lower = path.lower()
    if lower.endswith(JSONL_SUFFIXES):
        return "jsonl"
    if lower.endswith(PARQUET_SUFFIXES):
        return "parquet"
    return "text" if lower.endswith(TEXT_SUFFIXES) else None


def is_url(location: str) -> bool:
    """Whether ``location`` is for fsspec (``s3://…``, ``simplecache::s3://…``) and not a local path."""
    return _URL.match(location) is not None


def public_name(location: str) -> str:
    """``location`` as it may be shown and stored.

    A URL loses its user, password, query and fragment: pre-signed URLs carry their secret in the query. Bytes of a file
    name that are not UTF-8, and control characters, are written as escapes, so that the name fits in a table and on a page.
    """
    readable = printable(location.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), lines=False)
    if not is_url(location):
        return readable
    return "::".join(part if part in PROTOCOLS else plain_address(part) for part in readable.split("::"))


def reading_error(location: str, error: BaseException) -> NextlongError:
    """What people see when the bytes of ``location`` cannot be had.

    The storage's own error may quote credentials, so raise this one ``from None``.
    """
    reason = str(error) or type(error).__name__
    for secret in _secrets(location) if is_url(location) else ():
        reason = reason.replace(secret, HIDDEN)
    return NextlongError(
        f"Cannot read {public_name(location)}: {reason}.",
        "Check that it is still there and that you may read it, then run the same command again; finished work is kept.",
    )


def _secrets(location: str) -> list[str]:
    """What :func:`public_name` leaves away: libraries may quote it outside of a URL, or one with white space."""
    user, at, _ = location.rpartition("@")
    query = re.split(r"[?#]", location, maxsplit=1)[1:]
    return [secret for secret in (user.rpartition("://")[2] if at else "", *query) if secret]


def storage_of(location: str) -> tuple[Any, str]:
    """The fsspec storage of a URL, and the path in it.

    Raises:
        UsageError: one of its protocols is not among :data:`PROTOCOLS`, or needs a package that is not installed.
        NextlongError: the storage cannot be reached.
    """
    for part in location.split("::"):
        protocol = part.partition("://")[0].lower()
        if protocol not in PROTOCOLS:
            raise UsageError(
                f"A corpus is not read from {public_name(location)}: its protocol is not among those that are trusted.",
                f"Fetch the files first, or read them by {', '.join(f'{name}://' for name in STORAGES)}, with "
                f"{', '.join(f'{name}::' for name in WRAPPERS)} before it.",
            )
    from fsspec.core import url_to_fs

    try:
        storage, path = url_to_fs(location)
    except ImportError as error:
        raise UsageError(
            f"{public_name(location)} needs a package that is not installed: {error}.", "Install it with pip."
        ) from None
    except Exception as error:  # every fsspec backend has exceptions of its own
        raise reading_error(location, error) from None
    return storage, path


def open_binary(location: str) -> IO[bytes]:
    """Open a local path or an fsspec URL for reading bytes.

    Raises:
        UsageError: see :func:`storage_of`.
        NextlongError: it cannot be opened.
    """
    try:
        if not is_url(location):
            return open(location, "rb")  # noqa: PTH123  (Path would fold the location's spelling)
        storage, path = storage_of(location)
        return cast("IO[bytes]", storage.open(path, "rb"))
    except NextlongError:
        raise
    except Exception as error:  # every fsspec backend has exceptions of its own
        raise reading_error(location, error) from None
