"""A source: one file, one batch of text files, one dataset or the demo corpus, as it is planned and read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, Literal, cast
from urllib.parse import urlsplit, urlunsplit

from nextlong.errors import NextlongError

Kind = Literal["jsonl", "parquet", "text", "hf", "demo"]

COMPRESSIONS = ("", ".gz", ".zst", ".zstd")
JSONL_SUFFIXES = tuple(f"{name}{packed}" for name in (".jsonl", ".json", ".ndjson") for packed in COMPRESSIONS)
PARQUET_SUFFIXES = (".parquet",)
TEXT_SUFFIXES = (".txt", ".md", ".rst", ".text")
KNOWN_KINDS = ".jsonl, .json or .ndjson (plain, .gz, .zst or .zstd), .parquet, and text: .txt, .md, .rst, .text"

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
    name that are not UTF-8 are written as escapes, so that the name fits in a table.
    """
    readable = location.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if not is_url(location):
        return readable
    chain, separator, url = readable.rpartition("::")
    parts = urlsplit(url)
    return chain + separator + urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def reading_error(location: str, error: BaseException) -> NextlongError:
    """What people see when the bytes of ``location`` cannot be had; credentials are cut out of the system's message."""
    reason = str(error) or type(error).__name__
    if is_url(location):
        parts = urlsplit(location.rpartition("::")[2])
        for secret in (parts.netloc.rpartition("@")[0], parts.query):
            if secret:
                reason = reason.replace(secret, "…")
    return NextlongError(
        f"Cannot read {public_name(location)}: {reason}.",
        "Check that it is still there and that you may read it, then run the same command again; finished work is kept.",
    )


def open_binary(location: str) -> IO[bytes]:
    """Open a local path or an fsspec URL for reading bytes.

    Raises:
        NextlongError: it cannot be opened.
    """
    try:
        if not is_url(location):
            return open(location, "rb")  # noqa: PTH123  (Path would fold the location's spelling)
        from fsspec.core import url_to_fs

        filesystem, path = url_to_fs(location)
        return cast("IO[bytes]", filesystem.open(path, "rb"))
    except Exception as error:  # every fsspec backend has exceptions of its own
        raise reading_error(location, error) from error
