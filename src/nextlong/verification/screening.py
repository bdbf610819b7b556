"""What the screening of a pool promises: what was dropped is what was found, and what was found is so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextlong.config import ScreeningConfig
from nextlong.execution.arrays import load_array
from nextlong.execution.arrow import open_arrow, strings, whole_numbers
from nextlong.execution.executor import Executor
from nextlong.execution.progress import Progress, advance, unwatched
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Ledger
from nextlong.mining.copies import required_matches
from nextlong.pool import decontaminate, layout, screen
from nextlong.pool.pool import Pool
from nextlong.pool.screening import base_of, version_of
from nextlong.records import CHUNK_SCHEMA, COPY_SCHEMA, DOCUMENT_SCHEMA, MATCH_SCHEMA, SCREENED_SCHEMA
from nextlong.screening.signatures import equal_places
from nextlong.verification.files import seen_by_all
from nextlong.verification.report import Failure, Report

_EQUAL_CHUNKS = "chunks {} and {} are equal after white-space folding, and copies are dropped"


def verify_screening(pool: Pool, executor: Executor, progress: Progress, report: Report) -> None:
    """Prove that shards are what was read less what was dropped, that reports say what was found, and that copies are some.

    Adds what is found to the report; nothing for a pool that was not screened.
    """
    screening, folder = pool.config.screening, pool.folder
    if not screening.looks:
        return
    shards = [receipt.name for receipt in Ledger(folder).receipts("screen")]
    version = version_of(*Ledger(folder).receipts("evaluation")) if screening.decontaminate else ""
    with progress.stage("screening", len(shards), "shards") as show:
        tasks = [(folder, shard, screening, version) for shard in shards]
        found = executor.map(_failures, tasks, show, seen_by_all(folder))
    report.failures += [failure for failures, _ in found for failure in failures]
    if screening.decontaminate:
        report.failures += _shared_failures(folder, base_of(folder, screening), shards, version)
    report.checks["chunks that the screening found, reported as they are"] = sum(reported for _, reported in found)
    if screening.deduplicate == "drop":
        keys = np.sort(pool.fold_keys(np.arange(pool.chunks)))
        if (keys[1:] == keys[:-1]).any():
            key = keys[1:][keys[1:] == keys[:-1]][0]
            one, other = np.flatnonzero(pool.fold_keys(np.arange(pool.chunks)) == key)[:2].tolist()
            report.failures.append(Failure(str(folder / layout.FINGERPRINTS), _EQUAL_CHUNKS.format(one, other)))


def _shared_failures(folder: Path, base: Path, shards: Sequence[str], version: str) -> list[Failure]:
    path = folder / layout.EVALUATION / decontaminate.SHARED
    with_matches = [shard for shard in shards if (folder / layout.MATCHES / f"{shard}.arrow").exists()]
    with unwatched():
        runs = decontaminate.load_runs(folder, version)
        if (runs.keys[1:] <= runs.keys[:-1]).any():
            return [Failure(str(folder / layout.EVALUATION), "the runs of words are not in order")]
        expected = decontaminate.documents_with(folder, base, with_matches, runs)
    if np.array_equal(load_array(path, np.int64), expected):
        return []
    return [Failure(str(path), "runs of words are in other numbers of documents than it says")]


def _failures(folder: Path, shard: str, screening: ScreeningConfig, version: str) -> tuple[list[Failure], int]:
    """What is wrong with a shard, and how many chunks its report has."""
    base = base_of(folder, screening)
    copies, path = folder / layout.COPIES / f"{shard}.arrow", folder / layout.REPORT / f"{shard}.parquet"
    matches = folder / layout.MATCHES / f"{shard}.arrow"
    failures, reported = [], 0
    if screening.decontaminate:
        found = decontaminate.matches(base, shard, decontaminate.load_runs(folder, version))
        if matches.exists() != bool(found.num_rows) or (
            found.num_rows and not open_arrow(matches, MATCH_SCHEMA).equals(found)
        ):
            return [Failure(str(matches), "runs of words of the evaluation data are elsewhere in the shard than it says")], 0
    expected = screen.screened(folder, base, shard, screening, matches.exists(), copies.exists())
    if expected.report is not None:
        reported = expected.report.num_rows
        if not path.exists() or not read_table(path, SCREENED_SCHEMA).equals(expected.report):
            failures.append(Failure(str(path), "the report does not say what was found"))
    elif path.exists():
        failures.append(Failure(str(path), "nothing was found in the shard, and it has a report"))
    if screening.drops:
        failures += _shard_failures(folder, base, shard, expected)
    if copies.exists():
        failures += _copy_failures(folder, base, shard, copies, screening)
    advance(1)
    return failures, reported


def _shard_failures(folder: Path, base: Path, shard: str, expected: screen.ScreenedShard) -> list[Failure]:
    pairs = ((layout.DOCUMENTS, DOCUMENT_SCHEMA, expected.documents), (layout.CHUNKS, CHUNK_SCHEMA, expected.chunks))
    failures = []
    for name, schema, batch in pairs:
        path = folder / name / f"{shard}.arrow"
        if path.exists() != bool(expected.documents.num_rows):
            failures.append(Failure(str(path), "all chunks of the shard were dropped, or else it is missing"))
        elif path.exists() and not open_arrow(path, schema).equals(batch):
            failures.append(Failure(str(path), f"it is not what was read ({base / name}) less what was dropped"))
    return failures


def _copy_failures(folder: Path, base: Path, shard: str, path: Path, screening: ScreeningConfig) -> list[Failure]:
    """Whether what is called a copy is as similar to what is kept as it says, and that is kept."""
    found = open_arrow(path, COPY_SCHEMA)
    others = np.array(strings(found.column("kept_shard"), path))
    rows, kept, matches = (whole_numbers(found.column(name)).astype(np.int64) for name in ("row", "kept_row", "matches"))
    own = _signatures(base, shard)
    for other in sorted(set(others.tolist())):
        places = np.flatnonzero(others == other)
        equal = equal_places(own[rows[places]], _signatures(base, other)[kept[places]])
        wrong = (equal != matches[places]) | (equal < required_matches(screening.duplicate_jaccard))
        theirs = folder / layout.COPIES / f"{other}.arrow"
        if theirs.exists():
            wrong |= np.isin(kept[places], whole_numbers(open_arrow(theirs, COPY_SCHEMA).column("row")))
        if wrong.any():
            place = int(places[wrong][0])
            where = f"chunk {kept[place]} of shard {other}"
            what = f"chunk {rows[place]} is no copy of {where}, or that is one itself"
            return [Failure(f"{path}, row {place}", what)]
    return []


def _signatures(base: Path, shard: str) -> npt.NDArray[np.uint16]:
    signatures: npt.NDArray[np.uint16] = load_array(base / layout.FINGERPRINTS / f"{shard}.signatures.npy", np.uint16, 2)
    return signatures
