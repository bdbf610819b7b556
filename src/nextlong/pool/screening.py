"""The stages of the screening: what is looked for in documents that were read, and what of them becomes the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextlong.config import ScreeningConfig, config_hash
from nextlong.errors import NextlongError
from nextlong.execution.object_path import remove_folder
from nextlong.execution.run import Run
from nextlong.execution.tasks import Receipt, Task
from nextlong.pool import deduplicate, layout, screen

_LOST = ("dropped_documents", "dropped_chunks", "dropped_characters")


@dataclass(frozen=True)
class Screened:
    """What came of it.

    Attributes:
        receipts: one for each shard that was read.
        figures: of the copies, for people.
    """

    receipts: list[Receipt]
    figures: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """For the counts of the pool."""
        lost = {name: sum(receipt.info[name] for receipt in self.receipts) for name in _LOST}
        return {**{name: self.figures[name] for name in ("copies", "near_copies")}, **lost}


def base_of(folder: Path, screening: ScreeningConfig) -> Path:
    """Where documents and chunks are written as they are read: into the pool itself, if none of them is dropped."""
    return folder / layout.INGESTED if screening.drops else folder


def prepare(run: Run, screening: ScreeningConfig) -> None:
    """Remove what an earlier configuration left that does not belong to this one."""
    if not screening.drops and (run.folder / layout.INGESTED).exists():
        # Its receipts name files that other stages now write.
        run.drop("screen", layout.REPORT)
        remove_folder(run.folder / layout.INGESTED)
    if screening.deduplicate == "off":
        run.drop("deduplicate", layout.COPIES)
    if not screening.looks:
        run.drop("screen", layout.REPORT, layout.SCREENING)


def screened(
    run: Run, screening: ScreeningConfig, ingested: Sequence[Receipt], fingerprinted: Sequence[Receipt]
) -> Screened:
    """Look for what the configuration says, report it, and write the pool's shards if anything is dropped.

    Args:
        run: the pool's.
        screening: what is looked for.
        ingested: receipts of what was read.
        fingerprinted: of its fingerprints, one a shard, in the order of the corpus.

    Raises:
        NextlongError: nothing is left.
    """
    base = base_of(run.folder, screening)
    shards = [receipt.name for receipt in fingerprinted]
    chunks = sum(receipt.rows for receipt in fingerprinted)
    found, figures = {}, {}
    if screening.deduplicate != "off":
        copies = _deduplicated(run, screening, base, fingerprinted)
        found, figures = {Path(path).stem: checksum for path, checksum in copies.checksums().items()}, copies.info
    read = {path: checksum for receipt in ingested for path, checksum in receipt.checksums().items()}
    tasks = [
        Task(
            "screen",
            shard,
            screen.screen,
            (run.folder, base, shard, screening, shard in found),
            config_hash(screening, screen.VERSION),
            # A report names documents of other shards.
            {shard: found[shard], "all": config_hash(read)} if shard in found else {shard: _of_shard(read, shard)},
        )
        for shard in shards
    ]
    of_pool = (layout.DOCUMENTS, layout.CHUNKS, layout.FINGERPRINTS) if screening.drops else ()
    files = {
        **run.outputs(ingested, layout.INGESTED, layout.DOCUMENTS, layout.CHUNKS),
        **run.outputs(fingerprinted, layout.INGESTED, layout.FINGERPRINTS),
    }
    receipts = run.stage(tasks, "chunks", chunks, owns=(*of_pool, layout.REPORT), reads=lambda _: files)
    if not sum(receipt.info["documents"] for receipt in receipts):
        raise NextlongError(
            "No document is left: all are copies of others, or share words with the evaluation data.",
            f"See {run.folder / layout.REPORT} for the reasons.",
        )
    return Screened(receipts, figures)


def _of_shard(read: dict[str, str], shard: str) -> str:
    return config_hash({path: checksum for path, checksum in read.items() if Path(path).stem == shard})


def _deduplicated(run: Run, screening: ScreeningConfig, base: Path, fingerprinted: Sequence[Receipt]) -> Receipt:
    shards = [receipt.name for receipt in fingerprinted]
    inputs = {path: checksum for receipt in fingerprinted for path, checksum in receipt.checksums().items()}
    task = Task(
        "deduplicate",
        "all",
        deduplicate.deduplicate,
        (run.folder, base, shards, screening.duplicate_jaccard),
        config_hash(deduplicate.VERSION, screening.duplicate_jaccard),
        inputs,
    )
    files = run.outputs(fingerprinted, layout.INGESTED, layout.FINGERPRINTS)
    chunks = sum(receipt.rows for receipt in fingerprinted)
    return run.stage([task], "chunks", chunks, owns=(layout.COPIES,), reads=lambda _: files)[0]
