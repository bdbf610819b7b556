"""Reading a source of any kind."""

from __future__ import annotations

from collections.abc import Iterator

from nextlong.config import CorpusConfig
from nextlong.corpus.demo import demo_documents
from nextlong.corpus.huggingface import read_dataset
from nextlong.corpus.jsonl import read_jsonl
from nextlong.corpus.parquet import read_parquet
from nextlong.corpus.source import Source
from nextlong.corpus.text import read_text
from nextlong.records import Document, Reject


def read_source(source: Source, config: CorpusConfig) -> Iterator[Document | Reject]:
    """The documents of ``source`` in order, and a reject for every row that cannot be one.

    Streams: memory is bounded by one row or one small batch. Bad rows and damaged files never raise.

    Raises:
        NextlongError: on the first step, when the source cannot be opened or the whole table lacks a column; later,
            when the storage fails.
    """
    if source.kind == "jsonl":
        return read_jsonl(source, config)
    if source.kind == "parquet":
        return read_parquet(source, config)
    if source.kind == "text":
        return read_text(source)
    if source.kind == "hf":
        return read_dataset(source, config)
    return iter(demo_documents())
