"""The keywords of every document of a pool, from its own text or from queries that were predicted for it."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextlong.composition.keywords import KeywordSettings, document_keywords
from nextlong.config import config_hash
from nextlong.errors import NextlongError, UsageError
from nextlong.execution.arrow import open_arrow, sound_strings, write_arrow
from nextlong.execution.files import checksum
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Ledger, Outcome, Task
from nextlong.pool.derived import Derived
from nextlong.pool.pool import Ordinals, Pool, open_pool

VERSION = 2

KEYWORD_SCHEMA = pa.schema([pa.field("keywords", pa.list_(pa.string()), nullable=False)])


def pool_keywords(settings: KeywordSettings, queries: str | None) -> Derived:
    """The keywords of a pool's documents.

    Args:
        settings: what counts as a keyword.
        queries: a JSON Lines file of ``id`` and ``queries`` (a list of texts) for each document; None takes the documents'
            own text.

    Raises:
        UsageError: there is no such file.
    """
    checked = queries_checksum(queries) if queries is not None else None
    path = Path(queries).absolute() if queries is not None else None
    described = {
        **asdict(settings),
        "stop_words": sorted(settings.stop_words),
        "uninformative": sorted(settings.uninformative),
    }

    def tasks(pool: Pool, folder: Path) -> list[Task]:
        inputs = {"queries": checked} if checked else {}
        return [
            Task(
                "keywords",
                shard,
                keywords_of_shard,
                (pool.folder, pool.id, number, settings, path, folder),
                config_hash(described, VERSION),
                inputs,
            )
            for number, shard in enumerate(pool.shards)
        ]

    return Derived("keywords", (VERSION, described, checked), ((tasks, "documents"),))


def queries_checksum(queries: str) -> str:
    """The checksum of a file of queries.

    Raises:
        UsageError: there is no such file.
    """
    if not Path(queries).is_file():
        raise UsageError(f"There is no file of queries {queries}.", 'It has a line {"id": …, "queries": […]} a document.')
    return checksum(Path(queries))


def keywords_of_shard(
    pool_folder: Path, pool_id: str, shard: int, settings: KeywordSettings, queries: Path | None, folder: Path
) -> Outcome:
    """Write ``<shard>.arrow``: each document's keywords, best first; count documents that the file of queries lacks."""
    pool = open_pool(pool_folder, pool_id)
    predicted = _queries(queries, checksum(queries)) if queries else None
    rows, lacking = [], 0
    for document in pool.documents_in(shard):
        if predicted is None:
            text = "\n".join(pool.texts(pool.chunks_of(document)))
        else:
            own = predicted.get(pool.document_ids(np.array([document]))[0])
            lacking += own is None
            text = "\n".join(own or ())
        rows.append([keyword for keyword, _ in document_keywords(text, settings)])
        advance(1)
    path = folder / f"{pool.shards[shard]}.arrow"
    write_arrow(path, pa.record_batch({"keywords": rows}, schema=KEYWORD_SCHEMA))
    return Outcome([path], len(rows), {"not_in_queries": lacking})


@lru_cache(maxsize=1)
def _queries(path: Path, version: str) -> dict[str, list[str]]:
    """Document id → queries; a worker keeps them between its tasks, as long as the file's checksum is the same."""
    found: dict[str, list[str]] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
                queries = row["queries"]
                if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
                    raise TypeError("queries is no list of texts")
                found.setdefault(str(row["id"]), []).extend(queries)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise NextlongError(
                    f'{path}, line {number} is no {{"id": …, "queries": […]}}: {error!r}.', "Mend the line or remove it."
                ) from error
    return found


def documents_without_queries(pool: Pool, derived: Derived) -> int:
    """How many documents the file of queries lacks."""
    return sum(int(receipt.info["not_in_queries"]) for receipt in Ledger(derived.folder(pool)).receipts("keywords"))


def open_keywords(pool: Pool, derived: Derived) -> tuple[pa.Array, Ordinals]:
    """The keywords of all documents, one document after the other, and where each document's begin.

    Returns:
        Strings, and int64 of shape ``(documents + 1,)``.

    Raises:
        NextlongError: they are not there, or damaged.
    """
    folder = derived.folder(pool)
    paths = [folder / f"{shard}.arrow" for shard in pool.shards]
    lists = [open_arrow(path, KEYWORD_SCHEMA).column("keywords") for path in paths]
    counts = np.concatenate([part.value_lengths().to_numpy() for part in lists])
    sound = [sound_strings(part.flatten(), path) for part, path in zip(lists, paths, strict=True)]
    flat = pa.concat_arrays([part.cast(pa.large_string()) for part in sound])
    return flat, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
