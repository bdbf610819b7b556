"""The invariants of a dataset: files, rows, and what holds over all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nextlong.composition.method import Method
from nextlong.composition.registry import make_method, method_class, method_options
from nextlong.composition.session import Session
from nextlong.config import DatasetConfig, validated
from nextlong.dataset import layout
from nextlong.dataset.describe import load_dataset_card, pool_folder, right_pool
from nextlong.errors import NextlongError
from nextlong.execution.executor import Executor
from nextlong.execution.progress import Progress, advance
from nextlong.execution.tables import count_rows, read_rows
from nextlong.formats.protocol import WrittenRow
from nextlong.pool.pool import Ordinals
from nextlong.records import SEQUENCE_SCHEMA
from nextlong.tokenization.tokenizer import load_tokenizer
from nextlong.verification.figures import figure_failures
from nextlong.verification.files import seen_by_all, verify_files
from nextlong.verification.report import Failure, Report
from nextlong.verification.rows import Row, row_failures
from nextlong.verification.shards import Shard, Written, shard_groups, written_shards
from nextlong.verification.tokens import token_failures

# More failures than this say nothing new.
_MOST_FAILURES_PER_SHARD = 20

# How a check calls what a method uses once.
_ONCE = {"root": "root documents", "chunk": "chunks"}


@dataclass
class _Seen:
    """What was seen in one shard."""

    ids: list[str] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    spans: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # what the description counts, too
    negatives: list[Ordinals] = field(default_factory=list)  # where their reuse is limited
    chunks: list[Ordinals] = field(default_factory=list)  # of methods that use each once
    failures: list[Failure] = field(default_factory=list)


def verify_dataset(
    folder: Path, executor: Executor, progress: Progress, pool: Path | None = None, tokenizer: str | None = None
) -> Report:
    """Read everything again and prove the invariants.

    Args:
        folder: the dataset.
        executor: what reads the shards.
        progress: where to show it.
        pool: where the pool is now, if it was moved.
        tokenizer: where the tokenizer is now, if it was moved.

    Raises:
        NextlongError: the dataset is not finished, or its pool or tokenizer is not to be found.
    """
    report = Report("dataset")
    session = _session(folder, pool, tokenizer)
    verify_files(folder, executor, progress, report, layout.MADE)
    if report.failures:
        return report  # what is damaged cannot be read further
    names = sorted(path.stem for path in (folder / layout.SEQUENCES).glob("*.parquet"))
    card = _card(folder)
    sizes = {name: count_rows(folder / layout.SEQUENCES / f"{name}.parquet", SEQUENCE_SCHEMA) for name in names}
    groups = shard_groups(folder / layout.TOKENS, session.config.format, sizes, executor.workers)
    with progress.stage("rows", card["counts"]["sequences"], "sequences") as show:
        found = executor.map(_seen, [(session, group) for group in groups], show, seen_by_all(folder))
    shards = [shard for group in found for shard in group]
    report.failures += [failure for shard in shards for failure in shard.failures]
    report.failures += _failures_over_all(session, shards, card["counts"])
    report.failures += figure_failures(folder, card)
    config = session.config
    rows = sum(len(shard.ids) for shard in shards)
    report.checks |= {
        f"rows of exactly {config.length:,} tokens": rows,
        "spans contiguous, traced to the pool": sum(shard.spans for shard in shards),
        "rows whose text is their chunks' text, in the tokenizer's own tokens": rows,
    }
    method = make_method(session)
    if method.USES_ONCE != "nothing":
        once = rows if method.USES_ONCE == "root" else sum(len(chunks) for shard in shards for chunks in shard.chunks)
        report.checks[f"{_ONCE[method.USES_ONCE]}, each used once"] = once
    roles = sum((shard.counts for shard in shards), Counter())
    report.checks |= {promise: rows if unit == "rows" else roles[unit] for promise, unit in method.promises().items()}
    return report


def _card(folder: Path) -> dict[str, Any]:
    card = load_dataset_card(folder)
    if "kind" in card:
        raise NextlongError(f"{folder / layout.DESCRIPTION} is that of an export.", "Make the dataset again.")
    return card


def _session(folder: Path, pool: Path | None, tokenizer: str | None) -> Session:
    card = _card(folder)
    known = pool_folder(folder, card)
    if pool is None and not known.exists():
        raise NextlongError(f"The pool of {folder} is not at {known} any more.", "Name where it is now with --pool.")
    hint = "Name the right one with --pool, or make the dataset again."
    opened = right_pool(pool or known, card["pool"]["id"], folder, hint)
    config = validated(DatasetConfig, card["config"], where=str(folder / layout.DESCRIPTION))
    method_options(config)  # that the method is there is known before everything is read
    spec = tokenizer or config.tokenizer or ""
    if load_tokenizer(spec).fingerprint != card["tokenizer"]["fingerprint"]:
        raise NextlongError(
            f"The tokenizer {spec} is not the one that {folder} was made with.", "Name the right one with --tokenizer."
        )
    return Session(folder, opened.folder, opened.id, spec, card["tokenizer"]["fingerprint"], config)


def _seen(session: Session, group: list[Shard]) -> list[_Seen]:
    """Verify shards that follow each other."""
    method = make_method(session)
    written = written_shards(session.folder / layout.TOKENS, session.config.format, group)
    return [_seen_in(session, method, shard) for shard in written]


def _seen_in(session: Session, method: Method, written: Written) -> _Seen:
    sequences = session.folder / layout.SEQUENCES / f"{written.shard.name}.parquet"
    shard = _Seen()
    for number, sequence in enumerate(read_rows(sequences, SEQUENCE_SCHEMA, 16)):
        row = next(written.rows, None)
        where = f"{written.path}, row {written.before + number} ({sequence['id']})"
        if row is None or row.id not in (None, sequence["id"]):
            shard.failures.append(Failure(where, f"it is {row.id if row else 'missing'}, not {sequence['id']}"))
            return shard
        if len(shard.failures) < _MOST_FAILURES_PER_SHARD:
            shard.failures += [Failure(where, what) for what in _failures(session, method, sequence, row)]
        shard.ids.append(sequence["id"])
        shard.roots.append(sequence["root"])
        spans = sequence["spans"]
        negatives = [span["chunk"] for span in spans if span["role"] == "negative"]
        shard.spans += len(spans)
        if session.config.mining.max_reuse is not None:
            shard.negatives.append(np.array(negatives, dtype=np.int64))
        shard.counts["negatives"] += len(negatives)
        shard.counts["meta_chunks"] += sum(span["role"] == "meta" for span in spans)
        shard.counts["documents"] += len({span["document"] for span in spans})
        if method.USES_ONCE == "chunk":
            shard.chunks.append(np.array([span["chunk"] for span in spans], dtype=np.int64))
        advance(1)
    if next(written.rows, None) is not None:
        shard.failures.append(Failure(str(written.path), f"it has more rows than {layout.SEQUENCES}/, up to {sequences}"))
    return shard


def _failures(session: Session, method: Method, sequence: dict[str, Any], written: WrittenRow) -> Iterator[str]:
    row, length = Row(sequence, written.content), session.config.length
    own, spans, chunks = sequence["spans"], written.spans, session.pool().chunks
    strange = [span["chunk"] for span in own if not 0 <= span["chunk"] < chunks]
    if strange:
        yield f"it refers to chunk {strange[0]}, and the pool has {chunks:,}"
        return
    if written.indices not in (None, [[0, length]]):
        yield f"its indices are {written.indices}, not one sequence of {length:,} tokens"
    if spans is not None and spans != own:
        place = next((place for place, pair in enumerate(zip(spans, own, strict=False)) if pair[0] != pair[1]), len(own))
        yield f"its spans are not those in {layout.SEQUENCES}/: span {place} of {len(spans)} differs"
    yield from row_failures(session, method, row)
    if own:
        yield from token_failures(session, row)


def _failures_over_all(session: Session, shards: list[_Seen], counts: dict[str, int]) -> Iterator[Failure]:
    where = str(session.folder)
    ids = [identity for shard in shards for identity in shard.ids]
    if len(ids) != counts["sequences"]:
        yield Failure(where, f"it has {len(ids):,} sequences, and {layout.DESCRIPTION} says {counts['sequences']:,}")
    for name in ("meta_chunks", "negatives", "documents"):
        amount = sum(shard.counts[name] for shard in shards)
        if counts[name] != amount:
            yield Failure(where, f"it has {amount:,} {name}, and {layout.DESCRIPTION} says {counts[name]:,}")
    if len(set(ids)) != len(ids):
        yield Failure(where, "two sequences share an id")
    once = method_class(session.config.composition.method).USES_ONCE
    if once == "root":
        for root, amount in Counter(root for shard in shards for root in shard.roots).most_common(1):
            if amount > 1:
                yield Failure(where, f"document {root!r} is the root of {amount} sequences")
    if once == "chunk":
        chunk, amount = _most_used([chunks for shard in shards for chunks in shard.chunks])
        if amount > 1:
            yield Failure(where, f"chunk {chunk} is used {amount} times")
    most = session.config.mining.max_reuse
    if most is not None:
        chunk, amount = _most_used([chunks for shard in shards for chunks in shard.negatives])
        if amount > most:
            yield Failure(where, f"chunk {chunk} is a negative {amount} times; max_reuse is {most}")


def _most_used(chunks: list[Ordinals]) -> tuple[int, int]:
    """The chunk that is there most often, and how often; of several the first. (-1, 0) where there is none."""
    if not any(map(len, chunks)):
        return -1, 0
    found, amounts = np.unique(np.concatenate(chunks), return_counts=True)
    place = int(amounts.argmax())
    return int(found[place]), int(amounts[place])
