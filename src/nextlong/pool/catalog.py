"""The catalog: which documents and chunks there are, over all shards; and that no two documents share an id.

Documents and chunks are numbered through the whole pool in the order of sources and rows: their *ordinals*.
"""

from __future__ import annotations

from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from nextlong.errors import NextlongError
from nextlong.execution.arrays import save_array
from nextlong.execution.arrow import open_arrow, record_batch, utf8, whole_numbers, write_arrow
from nextlong.execution.files import mapping, plain_name, read_json, write_json
from nextlong.execution.tasks import Outcome
from nextlong.pool import layout
from nextlong.records import DOCUMENT_SCHEMA

VERSION = 1

REPEATED_SCHEMA = pa.schema([pa.field("document", pa.int64(), nullable=False), pa.field("id", pa.string(), nullable=False)])


def document_key(identity: str) -> int:
    """The 64-bit hash of a document id that stands for it in draws and look-ups."""
    return xxhash.xxh3_64_intdigest(identity.encode())


def catalog(folder: Path, shards: list[str]) -> Outcome:
    """Number all documents and chunks and check the ids.

    Writes ``first_chunk.npy`` (int64, documents + 1: the ordinal of each document's first chunk), ``keys.npy`` (uint64:
    each document's :func:`document_key`), ``repeated.arrow`` (derived ids that needed a suffix) and ``shards.json``.

    Raises:
        NextlongError: two documents have the same given id.
    """
    chunk_counts: list[npt.NDArray[np.int64]] = []
    keys: list[npt.NDArray[np.uint64]] = []
    table = []
    for shard in shards:
        documents = open_arrow(folder / layout.DOCUMENTS / f"{shard}.arrow", DOCUMENT_SCHEMA)
        counts = whole_numbers(documents.column("chunks")).astype(np.int64)
        table.append({"name": shard, "documents": documents.num_rows, "chunks": int(counts.sum())})
        chunk_counts.append(counts)
        ids = utf8(documents.column("id"))
        keys.append(np.array([xxhash.xxh3_64_intdigest(identity) for identity in ids], dtype=np.uint64))
    first_chunk = np.concatenate([[0], np.cumsum(np.concatenate(chunk_counts))]).astype(np.int64)
    all_keys = np.concatenate(keys)
    repeated = _repeated_ids(folder, table, all_keys)
    for ordinal, identity in repeated.items():
        all_keys[ordinal] = document_key(identity)

    out = folder / layout.CATALOG
    files = [out / "first_chunk.npy", out / "keys.npy", out / "repeated.arrow", out / "shards.json"]
    save_array(files[0], first_chunk)
    save_array(files[1], all_keys)
    columns = {"document": list(repeated), "id": list(repeated.values())}
    write_arrow(files[2], record_batch(columns, REPEATED_SCHEMA))
    write_json(files[3], table)
    return Outcome(
        files, len(all_keys), {"documents": len(all_keys), "chunks": int(first_chunk[-1]), "repeated": len(repeated)}
    )


def _repeated_ids(folder: Path, table: list[dict[str, int | str]], keys: npt.NDArray[np.uint64]) -> dict[int, str]:
    """Document ordinal → new id, for documents whose id was derived from a text that came before."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    if not same.any():
        return {}
    repeated: dict[int, str] = {}
    ends = np.cumsum([int(entry["documents"]) for entry in table])

    def row(ordinal: int) -> dict[str, object]:
        shard = int(np.searchsorted(ends, ordinal, side="right"))
        local = ordinal - (int(ends[shard - 1]) if shard else 0)
        batch = open_arrow(folder / layout.DOCUMENTS / f"{table[shard]['name']}.arrow", DOCUMENT_SCHEMA)
        fields: dict[str, object] = batch.slice(local, 1).to_pylist()[0]
        return fields

    def taken(identity: str) -> bool:
        key = np.uint64(document_key(identity))
        place = int(np.searchsorted(keys, key, sorter=order))
        return place < len(keys) and bool(keys[order[place]] == key)

    borders = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
    for start, end in pairwise(borders.tolist()):
        if end - start == 1:
            continue
        by_id: dict[str, list[tuple[int, dict[str, object]]]] = {}
        for ordinal in order[start:end].tolist():
            fields = row(ordinal)
            by_id.setdefault(str(fields["id"]), []).append((ordinal, fields))
        for identity, documents in by_id.items():
            given = [fields for _, fields in documents if fields["id_given"]]
            if len(given) > 1:
                one, other = given[:2]
                raise NextlongError(
                    f"Two documents have the id {identity!r}: {one['source']}, row {one['row']}, "
                    f"and {other['source']}, row {other['row']}.",
                    "Ids must be unique over all inputs: mend one of them, or name another --id-column.",
                )
            # A given id keeps its place; of derived ones, the first in corpus order does.
            later = [ordinal for ordinal, fields in documents if not fields["id_given"]][0 if given else 1 :]
            free = (new for number in count(2) if not taken(new := f"{identity}-{number}"))
            repeated |= dict(zip(later, free, strict=False))
    return dict(sorted(repeated.items()))


def read_shards(folder: Path) -> list[tuple[str, int]]:
    """Names and chunk counts of the shards, in corpus order."""
    return [(entry["name"], entry["chunks"]) for entry in read_shard_table(folder)]


def read_shard_table(folder: Path) -> list[dict[str, Any]]:
    """``name``, ``documents`` and ``chunks`` of the shards, in corpus order.

    Raises:
        NextlongError: the file is damaged.
    """
    path = folder / layout.CATALOG / "shards.json"
    table = read_json(path)
    if not isinstance(table, list) or not table:
        raise NextlongError(f"{path} is damaged: it is no list of shards.", "Delete it and run `nextlong index` again.")
    for entry in table:
        plain_name(mapping(entry, path, "name", "documents", "chunks")["name"], path)
        if not all(isinstance(entry[name], int) and entry[name] >= 0 for name in ("documents", "chunks")):
            raise NextlongError(f"{path} is damaged: a count is no number.", "Delete it and run `nextlong index` again.")
    return table
