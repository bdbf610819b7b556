"""The parts of an export as it lies on disk, and whether its gathered sequences are those of its datasets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nextlong.composition.session import Session
from nextlong.config import DatasetConfig, validated
from nextlong.dataset import layout as dataset_layout
from nextlong.dataset.describe import load_dataset_card, right_pool
from nextlong.errors import NextlongError
from nextlong.execution.arrow import rows_of, strings
from nextlong.execution.object_path import recorded
from nextlong.execution.progress import advance
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Ledger
from nextlong.exporting import layout
from nextlong.exporting.gather import STAGE as GATHER
from nextlong.exporting.gather import open_gathered
from nextlong.records import SEQUENCE_SCHEMA
from nextlong.tokenization.tokenizer import load_tokenizer
from nextlong.verification.report import Failure

# More failures than this say nothing new.
MOST_FAILURES_PER_SHARD = 20

POSITIONS = ("token_start", "token_end")


@dataclass(frozen=True)
class ExportPart:
    """A part as the export's description has it; small enough to send to any worker.

    Attributes:
        number: among the parts, 0-based.
        described: what the description says of it.
        session: of its sequences as they are in the export.
    """

    number: int
    described: dict[str, Any]
    session: Session

    @property
    def dataset(self) -> Path:
        """The folder of its dataset, which may not be there any more."""
        return self.session.folder

    @property
    def length(self) -> int:
        """Tokens of one of its sequences."""
        return self.session.config.length


@dataclass
class Gathered:
    """What the gathered sequences of a part say.

    Attributes:
        files: where they lie.
        checksums: of these files; the same for the same sequences, whatever their part is called.
        place: id → number of the file, row.
        order: ids of those that are long enough.
        count: how many there are.
        wasted: tokens of those that are longer than a sequence.
    """

    files: list[Path]
    checksums: list[str]
    place: dict[str, tuple[int, int]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    count: int = 0
    wasted: int = 0

    def key(self, identity: str) -> tuple[str, str] | None:
        """What tells a sequence from all others of all parts; None if it was not gathered."""
        found = self.place.get(identity)
        return found and (self.checksums[found[0]], identity)


def open_parts(folder: Path, card: dict[str, Any], pool: Path | None, tokenizer: str | None) -> list[ExportPart]:
    """The parts of an export, to make their tokens again.

    Raises:
        NextlongError: a pool or the tokenizer is not to be found.
    """
    if pool is not None and card["pool"] is None:
        raise NextlongError(f"The parts of {folder} have pools of their own, so --pool cannot say where they are.")
    fingerprint, spec = card["tokenizer"]["fingerprint"], tokenizer or card["config"]["tokenizer"]
    if load_tokenizer(spec).fingerprint != fingerprint:
        raise NextlongError(
            f"The tokenizer {spec} is not the one that {folder} was made with.", "Name the right one with --tokenizer."
        )
    parts = []
    for number, described in enumerate(card["parts"]):
        known = pool or recorded(folder, described["pool"]["folder"])
        if not known.exists():
            raise NextlongError(f"The pool of {folder} is not at {known} any more.", "Name where it is now with --pool.")
        hint = "Name the right one with --pool, or make the export again."
        opened = right_pool(known, described["pool"]["id"], folder, hint)
        config = validated(DatasetConfig, described["config"], where=str(folder / dataset_layout.DESCRIPTION))
        session = Session(
            folder=recorded(folder, described["dataset"]["folder"]),
            pool_folder=opened.folder,
            pool_id=opened.id,
            tokenizer=spec,
            tokenizer_fingerprint=fingerprint,
            config=config.model_copy(update={"length": described["sequence_length"], "tokenizer": spec}),
        )
        parts.append(ExportPart(number, described, session))
    return parts


def gathered_of(folder: Path, part: ExportPart) -> Gathered:
    """Read which sequences of a part were gathered."""
    outputs = {path: check for receipt in Ledger(folder).receipts(GATHER) for path, check in receipt.checksums().items()}
    files = sorted((folder / layout.GATHERED).glob(f"{part.number:02d}-*.arrow"))
    found = Gathered(files, [outputs[str(path.relative_to(folder))] for path in files])
    for number, path in enumerate(found.files):
        batch = open_gathered(path)
        ids, fits = strings(batch.column("id"), path), batch.column("fits").to_pylist()
        found.place |= {identity: (number, row) for row, identity in enumerate(ids)}
        found.order += [identity for identity, fit in zip(ids, fits, strict=True) if fit]
        found.count += len(ids)
        tokens = batch.column("tokens").to_numpy()[np.array(fits, dtype=bool)]
        found.wasted += int((tokens - part.session.content).sum())
    return found


def what_became_of(part: ExportPart) -> Literal["there", "gone", "made again"]:
    """Whether the part's dataset can still be compared with."""
    if not (part.dataset / dataset_layout.DESCRIPTION).exists():
        return "gone"
    return "there" if load_dataset_card(part.dataset)["id"] == part.described["dataset"]["id"] else "made again"


def source_failures(part: ExportPart, path: Path) -> list[Failure]:
    """What differs between a file of gathered sequences and the dataset's own."""
    name = path.stem.split("-", 1)[1]
    source = part.dataset / dataset_layout.SEQUENCES / f"{name}.parquet"
    try:
        own = read_table(source, SEQUENCE_SCHEMA, ["id", "method", "spans"]).to_pylist()
    except NextlongError as error:
        return [Failure(str(source), f"it cannot be read ({error.message}): verify {part.dataset}")]
    batch = open_gathered(path)
    found = rows_of(batch, path)
    if [sequence["id"] for sequence in own] != [sequence["id"] for sequence in found]:
        return [Failure(str(path), f"its sequences are not those of {source}")]
    failures = []
    retokenized = part.described["retokenized"]
    for row, (sequence, expected) in enumerate(zip(found, own, strict=True)):
        spans, wanted = sequence["spans"], expected["spans"]
        if retokenized:
            wanted = wanted[: len(spans)]
            if not sequence["fits"]:
                failures += [
                    Failure(f"{path}, row {row}", what) for what in _short_failures(part.session, sequence, expected)
                ]
        at = next((at for at, pair in enumerate(zip(spans, wanted, strict=False)) if _differ(*pair, retokenized)), None)
        if at is not None or len(spans) != len(wanted) or sequence["method"] != expected["method"]:
            place = min(len(spans), len(wanted)) if at is None else at
            failures.append(Failure(f"{path}, row {row} ({sequence['id']})", f"span {place} is not that of {source}"))
        advance(1)
    return failures[:MOST_FAILURES_PER_SHARD]


def _differ(one: dict[str, Any], other: dict[str, Any], retokenized: bool) -> bool:
    ignored = POSITIONS if retokenized else ()
    return any(one[name] != other[name] for name in other if name not in ignored)


def _short_failures(session: Session, sequence: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    """A sequence that was dropped has too few tokens indeed."""
    texts = session.pool().texts(np.array([span["chunk"] for span in expected["spans"]]))
    tokens = len(session.joiner().join(session.joiner().encode_units(texts), texts)[0])
    if tokens != sequence["tokens"] or tokens >= session.content:
        yield f"{sequence['id']} was dropped for its {sequence['tokens']:,} tokens, and it has {tokens:,}"
