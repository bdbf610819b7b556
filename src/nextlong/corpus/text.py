"""Text files: one document a file."""

from __future__ import annotations

from collections.abc import Iterator

from nextlong.corpus.jsonl import UTF8_BOM, UTF16_BOMS
from nextlong.corpus.rows import MOST_DOCUMENT_BYTES, blank_problem, utf8_problem
from nextlong.corpus.source import Source, is_url, open_binary, public_name, reading_error
from nextlong.records import Document, Reject


def read_text(source: Source) -> Iterator[Document | Reject]:
    """The files of a text source in order, line ends as they are; the id is the path relative to the folder given.

    Raises:
        NextlongError: a file cannot be opened or the storage fails.
    """
    for row, file in enumerate(source.files, start=1):
        location = f"{source.location.rstrip('/')}/{file}"
        with open_binary(location) as opened:
            try:
                content = opened.read(MOST_DOCUMENT_BYTES + 1)
            except Exception as error:  # every fsspec backend has exceptions of its own
                raise reading_error(location, error) from None
        # In the location of a file of the web, what follows the question mark may be a secret.
        readable = public_name(file.partition("?")[0] if is_url(source.location) else file)
        if len(content) > MOST_DOCUMENT_BYTES:
            yield Reject(row, f"{readable} has more than {MOST_DOCUMENT_BYTES >> 20} MiB")
            continue
        if content.startswith(UTF16_BOMS):
            yield Reject(row, f"{readable} is UTF-16, not UTF-8; convert it, for example with iconv")
            continue
        try:
            text = content.removeprefix(UTF8_BOM).decode("utf-8")
        except UnicodeDecodeError as error:
            yield Reject(row, f"{readable} {utf8_problem(error)}")
            continue
        problem = blank_problem(text)
        yield Reject(row, f"{readable} {problem}") if problem else Document(row, text, source.id_prefix + readable)
