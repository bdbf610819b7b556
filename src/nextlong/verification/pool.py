"""The invariants of a pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.execution.arrays import load_array
from nextlong.execution.arrow import open_arrow, strings
from nextlong.execution.executor import Executor
from nextlong.execution.progress import Progress, advance
from nextlong.mining.copies import fingerprints
from nextlong.pool import layout
from nextlong.pool.pool import Pool
from nextlong.records import CHUNK_SCHEMA, DOCUMENT_SCHEMA, VECTOR_STEP
from nextlong.verification.files import seen_by_all, verify_files
from nextlong.verification.report import Failure, Report
from nextlong.verification.screening import verify_screening

# What float32 adds to the length of a vector; the rest is the rounding of its elements, by half a step at most.
_LENGTH_TOLERANCE = 1e-4


def verify_pool(folder: Path, executor: Executor, progress: Progress) -> Report:
    """Prove that documents, chunks, fingerprints and vectors belong together and are whole.

    Raises:
        NextlongError: the pool is not finished, so there is nothing to verify.
    """
    report = Report("pool")
    pool = Pool(folder)
    _ = pool.checksums  # an error if it is damaged
    verify_files(folder, executor, progress, report, layout.MADE)
    if report.failures:
        return report  # what is damaged cannot be read further
    whole = not pool.config.screening.drops
    with progress.stage("shards", len(pool.shards), "shards") as show:
        shards = [(folder, shard, whole) for shard in pool.shards]
        found = executor.map(_shard_failures, shards, show, seen_by_all(folder))
    report.failures += [failure for failures in found for failure in failures]
    verify_screening(pool, executor, progress, report)
    if len(np.unique(pool.keys)) != pool.documents:
        report.failures.append(Failure(str(folder / layout.CATALOG), "two documents share a key"))
    report.checks |= {
        "documents with an id of their own": pool.documents,
        "chunks in place, with text, fingerprint and vector": pool.chunks,
    }
    for kept in (layout.TOKENS, layout.DERIVED):
        for store in sorted((folder / kept).glob("*")):
            verify_files(store, executor, progress, report)
    return report


def _shard_failures(folder: Path, shard: str, whole: bool) -> list[Failure]:
    """What is wrong with a shard; ``whole`` if no chunk of a document may be missing."""
    path = folder / layout.CHUNKS / f"{shard}.arrow"
    chunks = open_arrow(path, CHUNK_SCHEMA)
    documents = open_arrow(folder / layout.DOCUMENTS / f"{shard}.arrow", DOCUMENT_SCHEMA)
    texts, counts = strings(chunks.column("text"), path), documents.column("chunks").to_numpy().astype(np.int64)
    if (counts < 0).any() or counts.sum() != len(texts):
        return [Failure(str(path), f"it has {len(texts)} chunks, and its documents {counts.sum()}")]
    expected_documents = np.repeat(np.arange(len(counts)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    failures = []
    if not np.array_equal(chunks.column("document").to_numpy(), expected_documents):
        failures.append(Failure(str(path), "chunks do not belong to the documents that the documents shard counts"))
    elif whole and not np.array_equal(chunks.column("position").to_numpy(), np.arange(chunks.num_rows) - starts):
        failures.append(Failure(str(path), "positions of chunks have gaps"))
    blank = [row for row, text in enumerate(texts) if not text.strip()]
    if blank:
        failures.append(Failure(f"{path}, row {blank[0]}", "the chunk is blank"))
    vectors_path = folder / layout.VECTORS / f"{shard}.npy"
    vectors = load_array(vectors_path, np.float16, 2)
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    tolerance = VECTOR_STEP / 2 * vectors.shape[1] ** 0.5 + _LENGTH_TOLERANCE
    wrong = np.flatnonzero(~((np.abs(lengths - 1) < tolerance) | (lengths == 0)))
    steps = vectors.astype(np.float32) / np.float32(VECTOR_STEP)
    rounded = (steps == np.rint(steps)).all(axis=1)
    if len(vectors) != chunks.num_rows:
        failures.append(Failure(str(vectors_path), f"{len(vectors)} vectors for {chunks.num_rows} chunks"))
    elif len(wrong):
        failures.append(Failure(f"{vectors_path}, row {wrong[0]}", f"the vector's length is {lengths[wrong[0]]}, not 1"))
    elif not rounded.all():
        row = int(np.flatnonzero(~rounded)[0])
        failures.append(Failure(f"{vectors_path}, row {row}", "an element is no multiple of 2^-11"))
    failures += _fingerprint_failures(folder, shard, texts)
    advance(1)
    return failures


def _fingerprint_failures(folder: Path, shard: str, texts: list[str]) -> list[Failure]:
    keys_path, signatures_path = (folder / layout.FINGERPRINTS / f"{shard}.{kind}.npy" for kind in ("keys", "signatures"))
    failures = []
    keys, signatures = fingerprints(texts)
    stored: list[npt.NDArray[Any]] = [load_array(keys_path, np.uint64), load_array(signatures_path, np.uint16, 2)]
    made: list[npt.NDArray[Any]] = [keys, signatures.astype(np.uint16)]  # the low 16 bits of each number are kept
    for path, found, expected in zip((keys_path, signatures_path), stored, made, strict=True):
        if found.shape != expected.shape:
            failures.append(Failure(str(path), f"{len(found)} fingerprints for {len(texts)} chunks"))
        elif len(rows := np.nonzero(found != expected)[0]):
            failures.append(Failure(f"{path}, row {rows[0]}", "the fingerprint is not that of the chunk's text"))
    return failures
