"""The datasets that an export takes its sequences from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from nextlong.composition.session import Session
from nextlong.config import DatasetConfig, MixPart, config_hash, validated
from nextlong.dataset import layout
from nextlong.dataset.describe import load_dataset_card, pool_folder, right_pool
from nextlong.errors import NextlongError, UsageError
from nextlong.execution.object_path import located
from nextlong.execution.run import read_plan
from nextlong.execution.tasks import Ledger
from nextlong.pool.pool import Pool
from nextlong.tokenization.tokenizer import load_tokenizer


@dataclass(frozen=True)
class Source:
    """A finished dataset as a part of an export; small enough to send to any worker.

    Attributes:
        number: among the parts, 0-based.
        name: of its folder, made unique.
        weight: its share of the rows.
        folder: the dataset's.
        id: the dataset's.
        config: the dataset's, as it was made.
        sequences: how many it has.
        files: name → checksum of its sequence files, in order.
        filled: checksums of those of them that hold any sequence.
        session: makes tokens with the export's tokenizer and the length that a sequence has in the export.
        retokenized: whether that is another tokenizer than the dataset's.
    """

    number: int
    name: str
    weight: float
    folder: Path
    id: str
    config: DatasetConfig
    sequences: int
    files: dict[str, str]
    filled: frozenset[str]
    session: Session
    retokenized: bool

    @property
    def fingerprint(self) -> str:
        """A hash of its sequences: the same in every format and in a folder of any name."""
        return config_hash(list(self.files.values()))

    @property
    def length(self) -> int:
        """Tokens of one of its sequences in the export."""
        return self.session.config.length


def open_source(
    folder: Path,
    number: int = 0,
    name: str = "",
    weight: float = 1.0,
    tokenizer: str | None = None,
    length: int | None = None,
) -> Source:
    """Open a dataset.

    Args:
        folder: of a finished dataset.
        number, name, weight: see :class:`Source`.
        tokenizer: another tokenizer, or the dataset's own at another place; None is where the dataset's lay.
        length: with another tokenizer, the new length of a sequence.

    Raises:
        UsageError: the folder holds something else, or is itself an export.
        NextlongError: the dataset is not finished, or its pool or tokenizer is not to be found.
    """
    kind = read_plan(folder).get("kind")
    if kind == "export":
        raise UsageError(
            f"{folder} is an export, and what is exported or mixed are datasets.",
            "Name the datasets that it was made from; its dataset.yaml lists them.",
        )
    if kind == "pool":
        raise UsageError(f"{folder} is a pool.", "Make a dataset of it first: nextlong synthesize POOL --out FOLDER …")
    card = load_dataset_card(folder)
    config = validated(DatasetConfig, card["config"], where=str(folder / layout.DESCRIPTION))
    spec = str(Path(tokenizer).absolute()) if tokenizer and Path(tokenizer).exists() else tokenizer or config.tokenizer or ""
    fingerprint = _fingerprint(spec, folder, tokenizer is not None)
    retokenized = fingerprint != card["tokenizer"]["fingerprint"]
    if retokenized and tokenizer is None:
        raise NextlongError(
            f"The tokenizer {spec} is not the one any more that {folder} was made with.",
            "Name the right one with: nextlong export --tokenizer, or put it back.",
        )
    pool = _open_pool(folder, card)
    changes: dict[str, Any] = {"tokenizer": spec}
    if retokenized and length is not None:
        changes["length"] = length
    session = Session(
        folder=folder,
        pool_folder=pool.folder,
        pool_id=pool.id,
        tokenizer=spec,
        tokenizer_fingerprint=fingerprint,
        config=config.model_copy(update=changes),
    )
    if session.content < 1:
        raise UsageError(f"A length of {session.config.length} tokens leaves no room for text.")
    return Source(
        number,
        name or folder.resolve().name,
        weight,
        folder.absolute(),
        card["id"],
        config,
        card["counts"]["sequences"],
        *_files(folder, card["counts"]["sequences"]),
        session,
        retokenized,
    )


def open_sources(parts: Sequence[MixPart]) -> list[Source]:
    """Open the datasets of a mix.

    Raises:
        UsageError: there are none, two have the same sequences, or their tokenizers differ.
        NextlongError: as :func:`open_source`.
    """
    if not parts:
        raise UsageError("No datasets are given.", "Name them with their weights: nextlong mix data-512k:1 data-64k:2 …")
    names: list[str] = []
    sources: list[Source] = []
    for number, part in enumerate(parts):
        base = located(part.dataset).resolve().name
        tries = (f"{base}-{again}" if again > 1 else base for again in count(1))
        names.append(next(name for name in tries if name not in names))
        source = open_source(located(part.dataset), number, names[-1], part.weight)
        for other in sources:
            _refuse_repeated(other, source)
        sources.append(source)
    first = sources[0].session
    for source in sources[1:]:
        if source.session.tokenizer_fingerprint != first.tokenizer_fingerprint:
            raise UsageError(
                f"{sources[0].folder} has the tokenizer {first.tokenizer}, and {source.folder} has "
                f"{source.session.tokenizer}: a model reads the tokens of one.",
                "Make both with the same tokenizer: nextlong synthesize POOL --tokenizer … (a single dataset can be given "
                "another one by nextlong export --tokenizer, but an export is no part of a mix).",
            )
    return sources


def _refuse_repeated(one: Source, other: Source) -> None:
    """Check that two parts have no file of sequences in common. The datasets' ids differ with the format."""
    shared = one.filled & other.filled
    if not shared:
        return
    if one.filled == other.filled:
        raise UsageError(
            f"{one.folder} and {other.folder} are the same dataset"
            + ("" if one.id == other.id else ", its rows written in two ways")
            + ", so its sequences would be repeated.",
            "Name each once, and give it more weight instead.",
        )
    raise UsageError(
        f"{one.folder} and {other.folder} were made alike: {len(shared):,} of their files have the same sequences, which "
        "would be repeated.",
        "Name the larger one alone, or make one of them with another --seed.",
    )


def parts_given(parts: Sequence[str | Path] | Mapping[str, float]) -> list[dict[str, Any]]:
    """Parts as the configuration has them.

    Args:
        parts: folder → weight, or folders, each alone or as ``FOLDER:WEIGHT``.

    Raises:
        UsageError: what stands behind a folder is no number.
    """
    if isinstance(parts, Mapping):
        return [{"dataset": str(folder), "weight": weight} for folder, weight in parts.items()]
    return [_part_given(str(part)) for part in parts]


def _part_given(part: str) -> dict[str, Any]:
    folder, colon, weight = part.rpartition(":")
    if not colon or weight.startswith("//") or located(part).exists():  # a colon may also stand in a folder's name
        return {"dataset": part}
    try:
        return {"dataset": folder, "weight": float(weight)}
    except ValueError as error:
        if not folder or not located(folder).exists():
            return {"dataset": part}
        raise UsageError(
            f"The weight of {folder} is no number: {weight!r}.", f"Write it as {folder}:2 or {folder}:0.5."
        ) from error


def _fingerprint(spec: str, folder: Path, given: bool) -> str:
    try:
        return load_tokenizer(spec).fingerprint
    except NextlongError as error:
        if given:
            raise
        raise NextlongError(
            f"The tokenizer that {folder} was made with cannot be loaded: {error.message}",
            "Put it back, or name where it is now: nextlong export --tokenizer.",
        ) from error


def _open_pool(folder: Path, card: dict[str, Any]) -> Pool:
    known = pool_folder(folder, card)
    if not known.exists():
        raise NextlongError(
            f"The pool of {folder} is not at {known} any more, and the text of its sequences is there.",
            "Put it back there, or a link to it.",
        )
    return right_pool(known.absolute(), card["pool"]["id"], folder, "Make the dataset again.")


def _files(folder: Path, sequences: int) -> tuple[dict[str, str], frozenset[str]]:
    """The dataset's sequence files as its receipts name them, and the checksums of those that are not empty."""
    ledger = Ledger(folder)
    found = {
        Path(path).stem: (entry["checksum"], receipt.rows)
        for stage in ledger.stages()
        for receipt in ledger.receipts(stage)
        for path, entry in receipt.outputs.items()
        if Path(path).parent.name == layout.SEQUENCES
    }
    known = sum(rows for _, rows in found.values())
    if known != sequences:
        raise NextlongError(
            f"{folder} has {sequences:,} sequences, and its receipts only tell of {known:,}.",
            "Some of receipts/ is missing: run the command that made it again.",
        )
    files = {name: check for name, (check, _) in sorted(found.items())}
    return files, frozenset(check for check, rows in found.values() if rows)
