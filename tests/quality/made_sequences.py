"""Sequences made by hand from the chunks of a real pool, for measures whose values are then known."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np

import nextlong
from nextlong.inspection.opened import Dataset, Sample, Spans
from nextlong.records import ROLES

# Letters of a paragraph, so that each paragraph becomes a chunk: two do not fit into one.
GRANULARITY = 200


def write_documents(path, documents):
    """JSON Lines of id → paragraphs."""
    lines = [json.dumps({"id": name, "text": "\n".join(paragraphs)}) + "\n" for name, paragraphs in documents.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def words_of(start, count=30):
    """So many words that stand nowhere else, from a number on: too long together for another beside it in a chunk."""
    return " ".join(f"word{number:05d}" for number in range(start, start + count))


def opened_dataset(folder, inputs, tokenizer):
    """A real dataset, whose pool has the documents, one chunk a paragraph."""
    pool = nextlong.build_pool(
        inputs,
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY, "cap": 4 * GRANULARITY},
        encoder={"name": "lsa", "dimensions": 8},
        index={"kind": "flat"},
    )
    keys = {"length": 256, "tokens": 256, "tokenizer": tokenizer, "composition": {"method": "standard"}}
    nextlong.synthesize(pool, folder / "data", workers=1, **keys)
    return Dataset(folder / "data")


def chunk_numbers(dataset):
    """(document, position) → chunk ordinal."""
    pool = dataset.pool
    ids = pool.document_ids(np.arange(pool.documents))
    return {(name, place): int(pool.first_chunk[row]) + place
            for row, name in enumerate(ids) for place in range(len(pool.chunks_of(row)))}  # fmt: skip


def sample_of(dataset, sequences, whole=True):
    """A sample of sequences, each a list of (role, document, position, group) or with a number of tokens behind (10)."""
    numbers = chunk_numbers(dataset)
    spans = [(role, numbers[document, place], group, *(tokens or [10]))
             for sequence in sequences for role, document, place, group, *tokens in sequence]  # fmt: skip
    roles, chunks, groups, tokens = (np.array(column) for column in zip(*spans, strict=True))
    starts = np.cumsum([0, *map(len, sequences)])
    ends = np.concatenate([np.cumsum(tokens[a:b]) for a, b in pairwise(starts)])
    columns = Spans(
        starts,
        np.array([ROLES.index(role) for role in roles], dtype=np.int8),
        dataset.pool.documents_of(chunks),
        chunks.astype(np.int64),
        groups.astype(np.int32),
        np.zeros(len(chunks), dtype=np.int32),
        np.zeros(len(chunks), dtype=np.float32),
        (ends - tokens).astype(np.int32),
        ends.astype(np.int32),
    )
    roots = [sequence[0][1] for sequence in sequences]
    return Sample([f"s{row}" for row in range(len(sequences))], roots, [""] * len(sequences), columns, whole)
