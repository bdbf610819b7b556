"""What the screening found in a shard: the report, and the shard without what is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextlong.config import ScreeningConfig
from nextlong.execution.arrays import load_array, save_array
from nextlong.execution.arrow import open_arrow, places_in, record_batch, strings, taken, whole_numbers, write_arrow
from nextlong.execution.files import atomic, plain_name
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.mining.copies import PERMUTATIONS
from nextlong.pool import decontaminate, layout
from nextlong.records import CHUNK_SCHEMA, COPY_SCHEMA, DOCUMENT_SCHEMA, SCREENED_SCHEMA

VERSION = 1

_COUNTED = ("documents", "chunks", "characters")

Rows = npt.NDArray[np.int64]

_NONE = np.empty(0, dtype=np.int64)


def screen(folder: Path, base: Path, shard: str, screening: ScreeningConfig, has_matches: bool, has_copies: bool) -> Outcome:
    """Write ``screening/report/<shard>.parquet`` if there is anything to report; and the shard, if anything is dropped.

    The shard is documents, chunks and fingerprints, as they lie in ``base``, without the chunks that are dropped and the
    documents that lose all of theirs.

    Args:
        folder: the pool's.
        base: where the shard lies as it was read.
        shard: its name.
        screening: what is dropped.
        has_matches: whether runs of evaluation data were found in the shard.
        has_copies: whether copies were.
    """
    found = screened(folder, base, shard, screening, has_matches, has_copies)
    files = []
    if found.report is not None:
        files.append(folder / layout.REPORT / f"{shard}.parquet")
        with atomic(files[-1]) as temporary:
            pq.write_table(found.report, temporary, compression="zstd")
    if screening.drops:
        files += _write_shard(folder, base, shard, found)
    lost = {f"dropped_{name}": found.before[name] - amount for name, amount in found.left.items() if name in _COUNTED}
    advance(found.before["chunks"])
    return Outcome(files, found.before["chunks"], {**found.left, **lost, **found.contaminated})


@dataclass(frozen=True, eq=False)
class ScreenedShard:
    """A shard, and what is said of it.

    Attributes:
        report: of :data:`~nextlong.records.SCREENED_SCHEMA`; None where there is nothing to report.
        chunks, documents: without what is dropped.
        rows: of the chunks that stay, in the shard as it was read.
        before: counts of the shard as it was read.
        left: counts of what stays.
        contaminated: how many chunks and documents are.
    """

    report: pa.Table | None
    chunks: pa.RecordBatch
    documents: pa.RecordBatch
    rows: Rows
    before: dict[str, int]
    left: dict[str, int]
    contaminated: dict[str, int]


def screened(
    folder: Path, base: Path, shard: str, screening: ScreeningConfig, has_matches: bool, has_copies: bool
) -> ScreenedShard:
    """What :func:`screen` writes."""
    chunks, documents = _opened(base, shard)
    before = _counts(chunks, documents)
    owners = whole_numbers(chunks.column("document"))
    found = []
    dropped = np.zeros(chunks.num_rows, dtype=bool)
    if has_matches:
        found.append(_contaminated(folder, base, shard, screening))
        dropped[found[-1].rows] = screening.drops_contaminated
    touched = np.concatenate([each.rows[np.array(each.columns["reason"]) == "evaluation"] for each in found] or [_NONE])
    if has_copies:
        found.append(_copies(folder, base, shard))
        dropped[found[-1].rows] |= screening.deduplicate == "drop"
    report = _report(chunks, documents, base, shard, found, dropped) if any(len(each.rows) for each in found) else None
    contaminated = {"contaminated_chunks": len(touched), "contaminated_documents": len(np.unique(owners[touched]))}
    if dropped.any():
        chunks, documents = _without(chunks, documents, dropped)
    left = _counts(chunks, documents)
    return ScreenedShard(report, chunks, documents, np.flatnonzero(~dropped), before, left, contaminated)


def contaminated_rows(folder: Path, base: Path, shard: str, screening: ScreeningConfig) -> Rows:
    """The chunks of a shard with matches that are contaminated, or are dropped with their documents; ascending."""
    return _contaminated(folder, base, shard, screening).rows


class _Found:
    """Chunks for the report: their rows, ascending, and columns of the report."""

    def __init__(self, rows: Rows, columns: dict[str, Any]) -> None:
        self.rows, self.columns = rows, columns


def _opened(base: Path, shard: str) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    chunks = open_arrow(base / layout.CHUNKS / f"{shard}.arrow", CHUNK_SCHEMA)
    return chunks, open_arrow(base / layout.DOCUMENTS / f"{shard}.arrow", DOCUMENT_SCHEMA)


def _contaminated(folder: Path, base: Path, shard: str, screening: ScreeningConfig) -> _Found:
    found = decontaminate.open_matches(folder, base, shard)
    touched = decontaminate.contaminated(found, decontaminate.counted(folder, found, screening))
    rows, place, amounts = touched["rows"], touched["place"], touched["runs"]
    reasons = np.full(len(rows), "evaluation", dtype=object)
    if screening.contaminated == "documents" and len(rows):
        owners = whole_numbers(_opened(base, shard)[0].column("document")).astype(np.int64)
        every = np.flatnonzero(np.isin(owners, owners[rows]))
        others = np.setdiff1d(every, rows)
        # With the first run of the document.
        first = np.searchsorted(owners[rows], owners[others])
        order = np.argsort(np.concatenate([rows, others]), kind="stable")
        reasons = np.concatenate([reasons, np.full(len(others), "document", dtype=object)])[order]
        place = np.concatenate([place, place[first]])[order]
        amounts = np.concatenate([amounts, np.zeros(len(others), dtype=np.int64)])[order]
        rows = every
    names = decontaminate.names_of_texts(folder, found["text"][place])
    different, back = np.unique(place, return_inverse=True)
    words = decontaminate.shared_words(base, shard, found, different.tolist())
    columns: dict[str, Any] = {
        "reason": reasons.tolist(),
        "other_source": names["source"],
        "other_row": names["row"],
        "other_name": names["name"],
        "other_position": np.full(len(rows), -1, dtype=np.int32),
        "similarity": np.zeros(len(rows), dtype=np.float32),
        "ngrams": amounts.astype(np.int32),
        "words": [words[number] for number in back.tolist()],
    }
    return _Found(rows, columns)


def _copies(folder: Path, base: Path, shard: str) -> _Found:
    path = folder / layout.COPIES / f"{shard}.arrow"
    found = open_arrow(path, COPY_SCHEMA)
    others = np.array([plain_name(name, path) for name in strings(found.column("kept_shard"), path)])
    columns: dict[str, Any] = {
        "reason": np.where(found.column("repeated").to_numpy(zero_copy_only=False), "copy", "near-copy").tolist(),
        "other_source": [""] * len(others),
        "other_row": np.zeros(len(others), dtype=np.int64),
        "other_name": [""] * len(others),
        "other_position": np.zeros(len(others), dtype=np.int32),
        "similarity": (whole_numbers(found.column("matches")) / PERMUTATIONS).astype(np.float32),
        "ngrams": np.zeros(len(others), dtype=np.int32),
        "words": [""] * len(others),
    }
    for other in sorted(set(others.tolist())):
        places = np.flatnonzero(others == other)
        chunks, documents = _opened(base, other)
        kept = places_in(found.column("kept_row").take(pa.array(places)), chunks.num_rows, path)
        names = _named(chunks, documents, base, other, kept)
        columns["other_row"][places], columns["other_position"][places] = names["row"], names["position"]
        for place, source, name in zip(places.tolist(), names["source"], names["document"], strict=True):
            columns["other_source"][place], columns["other_name"][place] = source, name
    return _Found(places_in(found.column("row"), _opened(base, shard)[0].num_rows, path), columns)


def _named(chunks: pa.RecordBatch, documents: pa.RecordBatch, base: Path, shard: str, rows: Rows) -> dict[str, Any]:
    """Document, source, row and position of some chunks of a shard."""
    owners = whole_numbers(chunks.column("document"))[rows].astype(np.int64)
    path = base / layout.DOCUMENTS / f"{shard}.arrow"
    found = taken(documents, owners)
    return {
        "document": strings(found.column("id"), path),
        "source": strings(found.column("source"), path),
        "row": whole_numbers(found.column("row")),
        "position": whole_numbers(chunks.column("position"))[rows],
    }


def _report(
    chunks: pa.RecordBatch,
    documents: pa.RecordBatch,
    base: Path,
    shard: str,
    found: Sequence[_Found],
    dropped: npt.NDArray[np.bool_],
) -> pa.Table:
    """What was found, in the order of the chunks; of a chunk in the order of ``found``."""
    tables = []
    for each in found:
        names = _named(chunks, documents, base, shard, each.rows)
        columns = {**names, "dropped": dropped[each.rows], **each.columns}
        tables.append(pa.Table.from_batches([record_batch(columns, SCREENED_SCHEMA)]))
    order = np.argsort(np.concatenate([each.rows for each in found]), kind="stable")
    return pa.concat_tables(tables).take(pa.array(order)).combine_chunks()


def _without(
    chunks: pa.RecordBatch, documents: pa.RecordBatch, dropped: npt.NDArray[np.bool_]
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Chunks and documents without those chunks, and without documents that have none left."""
    owners = whole_numbers(chunks.column("document")).astype(np.int64)
    before = whole_numbers(documents.column("chunks"))
    lost = np.bincount(owners[dropped], minlength=documents.num_rows)
    gone = np.flatnonzero(dropped)
    lengths = [pc.utf8_length(chunks.column(name).take(pa.array(gone))).to_numpy() for name in ("text", "glue")]
    characters = np.bincount(owners[dropped], weights=sum(lengths), minlength=documents.num_rows).astype(np.int64)
    stay = np.flatnonzero((before == 0) | (lost < before))
    left = taken(documents, stay)
    left = _replaced(left, "chunks", (before - lost)[stay])
    left = _replaced(left, "characters", (whole_numbers(documents.column("characters")) - characters)[stay])
    places = np.zeros(documents.num_rows, dtype=np.int64)
    places[stay] = np.arange(len(stay))
    kept = np.flatnonzero(~dropped)
    return _replaced(taken(chunks, kept), "document", places[owners[kept]]), left


def _replaced(batch: pa.RecordBatch, name: str, values: npt.NDArray[Any]) -> pa.RecordBatch:
    columns: dict[str, Any] = dict(zip(batch.schema.names, batch.columns, strict=True))
    return record_batch({**columns, name: values}, batch.schema)


def _write_shard(folder: Path, base: Path, shard: str, found: ScreenedShard) -> list[Path]:
    """Write what is left of a shard; nothing if nothing is."""
    if not found.documents.num_rows:
        return []
    files = [folder / name / f"{shard}.arrow" for name in (layout.DOCUMENTS, layout.CHUNKS)]
    for path, batch in zip(files, (found.documents, found.chunks), strict=True):
        write_arrow(path, batch)
    for kind, dtype, dimensions in (("keys", np.uint64, 1), ("signatures", np.uint16, 2)):
        name = f"{shard}.{kind}.npy"
        array = load_array(base / layout.FINGERPRINTS / name, dtype, dimensions)
        files.append(folder / layout.FINGERPRINTS / name)
        save_array(files[-1], array[found.rows])
    return files


def _counts(chunks: pa.RecordBatch, documents: pa.RecordBatch) -> dict[str, int]:
    lengths = pc.utf8_length(chunks.column("text"))
    return {
        "documents": documents.num_rows,
        "chunks": chunks.num_rows,
        "characters": int(whole_numbers(documents.column("characters")).sum()),
        "largest_chunk": int(pc.max(lengths).as_py() or 0),
    }
