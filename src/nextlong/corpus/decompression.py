"""The bytes of a file that may be compressed, in blocks of bounded size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO

import zstandard

from nextlong.corpus.source import open_binary, reading_error

BLOCK_BYTES = 1 << 20

# Some bytes of compressed data can hold 128 KiB of the same, and a Zstandard object gives at once all that its input
# holds: small bites bound the memory that a very compressible file takes. 4 KiB would be 3 % faster, and take 135 MB.
ZSTD_BITE_BYTES = 256

# Corpora made with `zstd --long=31` need it; memory is taken only for frames that ask for it.
ZSTD_MOST_WINDOW_BYTES = 1 << 31

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAGIC_BYTES = 4
_GZIP_WITH_HEADER = 31  # zlib's word for: gzip framing, largest window


class DamagedFile(Exception):
    """A file's bytes are not what they should be; the message says how. All good bytes were given before."""


def blocks_of(location: str) -> Iterator[bytes]:
    """The decompressed content of ``location``; how it is compressed is told from the content, not from the name.

    Raises:
        DamagedFile: compressed data ends early or is corrupt, or the name promises compressed data and it is none.
        NextlongError: the file cannot be opened or the storage fails.
    """
    with open_binary(location) as file:
        raw = _raw_blocks(location, file)
        first = b""
        while len(first) < _MAGIC_BYTES and (block := next(raw, b"")):
            first += block
        promised = _promised(location)
        if first.startswith(_GZIP_MAGIC):
            yield from _gunzipped(first, raw)
        elif first.startswith(_ZSTD_MAGIC) or _is_skippable(first):
            yield from _unzstandarded(first, raw)
        elif promised and not first:
            raise DamagedFile(f"the file is empty, without even a {promised} header: it ends early")
        # Web servers and browsers unpack files and keep the name, so text is fine.
        elif promised and not first.lstrip().startswith((b"{", b"\xef\xbb\xbf")):
            raise DamagedFile(f"the file's name says {promised} and its content is neither that nor JSON: it is damaged")
        else:
            yield first
            yield from raw


def _promised(location: str) -> str:
    path = location.lower().partition("?")[0]
    if path.endswith(".gz"):
        return "gzip"
    return "Zstandard" if path.endswith((".zst", ".zstd")) else ""


def _is_skippable(first: bytes) -> bool:
    # Parallel compressors put a skippable frame first: magic number 0x184D2A50 to 0x184D2A5F, little-endian.
    return first[1:4] == b"\x2a\x4d\x18" and first[0] >> 4 == 5


def _raw_blocks(location: str, file: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            block = file.read(BLOCK_BYTES)
        except Exception as error:  # every fsspec backend has exceptions of its own
            raise reading_error(location, error) from None
        if not block:
            return
        yield block


def _gunzipped(first: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP_WITH_HEADER)
    block = first
    while True:
        try:
            unpacked = member.decompress(block, BLOCK_BYTES)
        except zlib.error as error:
            raise DamagedFile("the gzip data is damaged") from error
        if unpacked:
            yield unpacked
        if member.eof:
            # Members may follow each other, and tape-like tools pad with zeros.
            block = member.unused_data.lstrip(b"\0")
            while not block and (more := next(raw, b"")):
                block = more.lstrip(b"\0")
            if not block:
                return
            member = zlib.decompressobj(_GZIP_WITH_HEADER)
        else:
            block = member.unconsumed_tail or next(raw, b"")
            # Output may be pending in the object even when all input is taken; only silence is the end.
            if not block and not unpacked:
                raise DamagedFile("the gzip data ends early")


def _unzstandarded(first: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=ZSTD_MOST_WINDOW_BYTES)
    frame = context.decompressobj()
    in_frame = False
    block = first
    while block:
        for start in range(0, len(block), ZSTD_BITE_BYTES):
            bite = block[start : start + ZSTD_BITE_BYTES]
            while bite:
                in_frame = True
                try:
                    unpacked = frame.decompress(bite)
                except zstandard.ZstdError as error:
                    raise DamagedFile("the Zstandard data is damaged") from error
                if unpacked:
                    yield unpacked
                bite = b""
                if frame.eof:
                    bite = frame.unused_data
                    frame = context.decompressobj()
                    in_frame = False
        block = next(raw, b"")
    if in_frame:
        raise DamagedFile("the Zstandard data ends early")
