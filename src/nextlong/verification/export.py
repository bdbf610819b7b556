"""The invariants of an export: its sequences are its datasets', its rows are its sequences, and weights are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nextlong.composition.method import Method
from nextlong.composition.session import Session
from nextlong.dataset import layout as dataset_layout
from nextlong.dataset.describe import load_dataset_card
from nextlong.errors import NextlongError
from nextlong.execution.arrow import rows_of
from nextlong.execution.executor import Executor
from nextlong.execution.progress import Progress, advance
from nextlong.execution.tables import read_rows, read_table
from nextlong.exporting import layout
from nextlong.exporting.gather import open_gathered
from nextlong.exporting.order import whole_weights
from nextlong.exporting.rows import borders
from nextlong.formats.protocol import WrittenRow
from nextlong.formats.registry import FORMATS
from nextlong.records import ROW_SCHEMA
from nextlong.verification.export_parts import (
    MOST_FAILURES_PER_SHARD,
    POSITIONS,
    ExportPart,
    Gathered,
    gathered_of,
    open_parts,
    source_failures,
    what_became_of,
)
from nextlong.verification.files import seen_by_all, verify_files
from nextlong.verification.report import Failure, Report
from nextlong.verification.rows import Row, row_failures
from nextlong.verification.shards import Shard, Written, shard_groups, written_shards
from nextlong.verification.tokens import token_failures


class _AnyMethod:
    """Promises nothing: what a method promises of its sequences is proved where they were made."""

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        yield from ()


def verify_export(
    folder: Path, executor: Executor, progress: Progress, pool: Path | None = None, tokenizer: str | None = None
) -> Report:
    """Read everything again and prove the invariants.

    Args:
        folder: the export.
        executor: what reads the shards.
        progress: where to show it.
        pool: where the pool is now, if it was moved; of an export whose parts share one.
        tokenizer: where the tokenizer is now, if it was moved.

    Raises:
        NextlongError: the export is not finished, or a pool or the tokenizer is not to be found.
    """
    report = Report("export")
    card = load_dataset_card(folder)
    if card.get("kind") not in ("export", "mix") or card["config"]["format"] not in FORMATS:
        raise NextlongError(f"{folder / dataset_layout.DESCRIPTION} is that of no export.", "Make the export again.")
    parts = open_parts(folder, card, pool, tokenizer)
    verify_files(folder, executor, progress, report, layout.MADE)
    if report.failures:
        return report  # what is damaged cannot be read further
    gathered = [gathered_of(folder, part) for part in parts]
    became = [what_became_of(part) for part in parts]
    compared = [part for part in parts if became[part.number] == "there"]
    arguments = [(part, path) for part in compared for path in gathered[part.number].files]
    with progress.stage("sequences", sum(gathered[part.number].count for part in compared), "sequences") as show:
        report.failures += [
            one for found in executor.map(source_failures, arguments, show, seen_by_all(folder)) for one in found
        ]
    names = sorted(path.stem for path in (folder / layout.ROWS).glob("*.parquet"))
    tables = [
        read_table(folder / layout.ROWS / f"{name}.parquet", ROW_SCHEMA, ["id", "domain", "sequences"]) for name in names
    ]
    rows = [row for table in tables for row in table.to_pylist()]
    report.failures += _failures_over_all(folder, card, parts, gathered, rows)
    sizes = {name: table.num_rows for name, table in zip(names, tables, strict=True)}
    groups = shard_groups(folder / dataset_layout.TOKENS, card["config"]["format"], sizes, executor.workers)
    places = {name: _places(card, parts, gathered, table.to_pylist()) for name, table in zip(names, tables, strict=True)}
    tasks = [(folder, card, parts, group, {shard.name: places[shard.name] for shard in group}) for group in groups]
    with progress.stage("rows", len(rows), "rows") as show:
        report.failures += [
            one for found in executor.map(_group_failures, tasks, show, seen_by_all(folder)) for one in found
        ]
    sequences = sum(len(row["sequences"]) for row in rows)
    report.checks |= {
        "sequences equal to those of their datasets": sum(gathered[part.number].count for part in compared),
        f"rows of exactly {card['config']['length']:,} tokens, made of whole sequences": len(rows),
        "sequences, none in two rows, with their spans": sequences,
        "sequences whose text is their chunks' text, in the tokenizer's own tokens": sequences,
    }
    for end, what in (("gone", "is gone"), ("made again", "was made again")):
        lost = [part for part in parts if became[part.number] == end]
        for part in lost:
            progress.say(f"{part.dataset} {what}: its sequences are not compared")
        if lost:
            report.gaps.append(f"sequences not compared: their dataset {what}")
            report.checks[report.gaps[-1]] = sum(gathered[part.number].count for part in lost)
    if card["kind"] == "mix":
        report.checks["beginnings of the rows that have the weights to within a row"] = len(rows)
    return report


def _places(
    card: dict[str, Any], parts: list[ExportPart], gathered: list[Gathered], rows: list[dict[str, Any]]
) -> list[list[tuple[Path, int] | None]]:
    """For each row of a shard, where its sequences are gathered; None for one that is not."""
    number_of = _number_of(card, parts)
    result = []
    for row in rows:
        own = gathered[number_of.get(row["domain"], 0)]
        found = [own.place.get(identity) for identity in row["sequences"]]
        result.append([place and (own.files[place[0]], place[1]) for place in found])
    return result


def _number_of(card: dict[str, Any], parts: Sequence[ExportPart]) -> dict[str, int]:
    """The number of a part by what its rows have as ``domain``, in a mix; all rows of an export are of its one part."""
    return {part.described["name"]: part.number for part in parts} if card["kind"] == "mix" else {}


def _failures_over_all(
    folder: Path, card: dict[str, Any], parts: list[ExportPart], gathered: list[Gathered], rows: list[dict[str, Any]]
) -> Iterator[Failure]:
    """Rows against parts: which sequences, how often, in which shares."""
    where = str(folder)
    number_of = _number_of(card, parts)
    part_of = [number_of.get(row["domain"], 0) for row in rows]
    taken = [(number, identity) for number, row in zip(part_of, rows, strict=True) for identity in row["sequences"]]
    if card["kind"] == "mix":
        strange = [row["domain"] for row in rows if row["domain"] not in number_of]
        if strange:
            yield Failure(where, f"a row is of {strange[0]!r}, which is no part")
        yield from (Failure(where, what) for what in _weight_failures(parts, part_of))
    elif [identity for _, identity in taken] != gathered[0].order[: len(taken)]:
        yield Failure(where, "its sequences are not in the order of the dataset")
    for identity, amount in Counter(row["id"] for row in rows).most_common(1):
        if amount > 1:
            yield Failure(where, f"{amount} rows share the id {identity}")
    keys = [gathered[number].key(identity) or (number, identity) for number, identity in taken]
    for key, amount in Counter(keys).most_common(1):
        if amount > 1:
            found_in = [number for (number, _), own in zip(taken, keys, strict=True) if own == key]
            names = " and of ".join(parts[number].described["name"] for number in dict.fromkeys(found_in))
            yield Failure(where, f"sequence {key[1]} of {names} is in it {amount} times")
    unknown = [(number, identity) for number, identity in taken if identity not in gathered[number].place]
    if unknown:
        yield Failure(where, f"{parts[unknown[0][0]].described['name']} has no sequence {unknown[0][1]}")
    used = Counter(number for number, _ in taken)
    for part in parts:
        own, fits = part.described["counts"], len(gathered[part.number].order)
        found = {
            "sequences": gathered[part.number].count,
            "rows": part_of.count(part.number),
            "used": used[part.number],
            "too_short": gathered[part.number].count - fits,
            "left_over": fits - used[part.number],
            "tokens_wasted": gathered[part.number].wasted,
        }
        for name, amount in found.items():
            if own[name] != amount:
                of = f"{part.described['name']} has {amount:,} {name}"
                yield Failure(where, f"{of}, and {dataset_layout.DESCRIPTION} says {own[name]:,}")
    totals = {"rows": len(rows), "sequences": len(taken), "tokens": len(rows) * card["config"]["length"]}
    totals["dropped"] = sum(each.count for each in gathered) - len(taken)
    for name, amount in totals.items():
        if card["counts"][name] != amount:
            yield Failure(where, f"it has {amount:,} {name}, and {dataset_layout.DESCRIPTION} says {card['counts'][name]:,}")


def _weight_failures(parts: list[ExportPart], part_of: list[int]) -> Iterator[str]:
    weights = np.array(whole_weights([part.described["weight"] for part in parts]), dtype=object)
    total, counts = sum(weights.tolist()), [0] * len(parts)
    for row, part in enumerate(part_of):
        counts[part] += 1
        off = [count * total - (row + 1) * weight for count, weight in zip(counts, weights.tolist(), strict=True)]
        worst = max(range(len(parts)), key=lambda each: abs(off[each]))
        if abs(off[worst]) >= total:
            name, share = parts[worst].described["name"], (row + 1) * weights[worst] / total
            yield f"of the first {row + 1:,} rows {counts[worst]:,} are of {name}, and its weight makes that {share:.2f}"
            return


def _group_failures(
    folder: Path,
    card: dict[str, Any],
    parts: Sequence[ExportPart],
    group: list[Shard],
    places: dict[str, list[list[tuple[Path, int] | None]]],
) -> list[Failure]:
    """Verify shards of rows that follow each other."""
    written = written_shards(folder / dataset_layout.TOKENS, card["config"]["format"], group)
    return [
        failure for shard in written for failure in _shard_failures(folder, card, parts, shard, places[shard.shard.name])
    ]


def _shard_failures(
    folder: Path,
    card: dict[str, Any],
    parts: Sequence[ExportPart],
    written: Written,
    places: list[list[tuple[Path, int] | None]],
) -> list[Failure]:
    rows = folder / layout.ROWS / f"{written.shard.name}.parquet"
    number_of = _number_of(card, parts)
    failures: list[Failure] = []
    for number, row in enumerate(read_rows(rows, ROW_SCHEMA, 4)):
        found = next(written.rows, None)
        where = f"{written.path}, row {written.before + number} ({row['id']})"
        if found is None or found.id not in (None, row["id"]):
            failures.append(Failure(where, f"it is {found.id if found else 'missing'}, not {row['id']}"))
            return failures
        if len(failures) < MOST_FAILURES_PER_SHARD:
            part = parts[number_of.get(row["domain"], 0)]
            failures += [Failure(where, what) for what in _row_failures(part, places[number], card, row, found)]
        advance(1)
    if next(written.rows, None) is not None:
        failures.append(Failure(str(written.path), f"it has more rows than {layout.ROWS}/, up to {rows}"))
    return failures


def _row_failures(
    part: ExportPart, places: list[tuple[Path, int] | None], card: dict[str, Any], row: dict[str, Any], written: WrittenRow
) -> Iterator[str]:
    length, per_row = part.length, part.described["sequences_per_row"]
    if row["indices"] != borders(length, per_row) or len(row["sequences"]) != per_row:
        yield f"it holds {len(row['sequences'])} sequences at {row['indices']}, not {per_row} of {length:,} tokens"
        return
    if written.indices not in (None, row["indices"]):
        yield f"its indices are {written.indices}, not {row['indices']}"
    if written.spans is not None and written.spans != row["spans"]:
        yield f"its spans are not those in {layout.ROWS}/"
    if not isinstance(written.content, str) and len(written.content) != card["config"]["length"]:
        yield f"it has {len(written.content):,} tokens, not {card['config']['length']:,}"
        return
    starts = np.array([span["token_start"] for span in row["spans"]])
    cuts = [*np.searchsorted(starts, np.arange(per_row) * length).tolist(), len(starts)]
    for place, identity in enumerate(row["sequences"]):
        spans = [_shifted(span, place * length) for span in row["spans"][cuts[place] : cuts[place + 1]]]
        what = f"its sequence {place} ({identity}): "
        gathered = places[place]
        if gathered is None:
            continue  # said already, of all rows together
        if spans != _gathered_spans(*gathered):
            yield what + f"its spans are not those in {layout.GATHERED}/"
            continue
        content = written.content
        own = content if isinstance(content, str) else content[place * length : (place + 1) * length]
        yield from (what + one for one in _sequence_failures(part.session, identity, spans, own))


def _shifted(span: dict[str, Any], by: int) -> dict[str, Any]:
    return {**span, **{name: span[name] - by for name in POSITIONS}}


def _gathered_spans(path: Path, row: int) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], rows_of(open_gathered(path).slice(row, 1), path)[0]["spans"])


def _sequence_failures(
    session: Session, identity: str, spans: list[dict[str, Any]], written: npt.NDArray[np.int32] | str
) -> Iterator[str]:
    """A sequence cut out of its row: length, spans, provenance, text and tokens."""
    row = Row({"id": identity, "spans": spans}, written)
    chunks = session.pool().chunks
    if spans and not all(0 <= span["chunk"] < chunks for span in spans):
        yield f"it refers to a chunk that the pool, of {chunks:,}, does not have"
        return
    yield from row_failures(session, cast(Method, _AnyMethod()), row)
    if spans:
        yield from token_failures(session, row)
