"""The stages of the screening: what is looked for in documents that were read, and what of them becomes the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextlong.config import ScreeningConfig, config_hash
from nextlong.corpus import Source
from nextlong.errors import NextlongError
from nextlong.execution.object_path import remove_folder
from nextlong.execution.run import Run
from nextlong.execution.tasks import Receipt, Task
from nextlong.pool import decontaminate, deduplicate, layout, screen
from nextlong.pool.ingest import named_fingerprints

_LOST = ("dropped_documents", "dropped_chunks", "dropped_characters")
_CONTAMINATED = ("contaminated_documents", "contaminated_chunks")
_COPIES = ("copies", "near_copies")


@dataclass(frozen=True)
class Screened:
    """What came of it.

    Attributes:
        receipts: one for each shard that was read.
        figures: of evaluation data, shared words and copies, for people.
    """

    receipts: list[Receipt]
    figures: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """For the counts of the pool."""
        names = _LOST + (_CONTAMINATED if "evaluation" in self.figures else ())
        sums = {name: sum(receipt.info[name] for receipt in self.receipts) for name in names}
        copies = self.figures.get("copies", {})
        return {**{name: copies[name] for name in _COPIES if name in copies}, **sums}


def base_of(folder: Path, screening: ScreeningConfig) -> Path:
    """Where documents and chunks are written as they are read: into the pool itself, if none of them is dropped."""
    return folder / layout.INGESTED if screening.drops else folder


def prepare(run: Run, screening: ScreeningConfig) -> None:
    """Remove what an earlier configuration left that does not belong to this one."""
    if not screening.drops and (run.folder / layout.INGESTED).exists():
        # Its receipts name files that other stages now write.
        run.drop("screen", layout.REPORT)
        remove_folder(run.folder / layout.INGESTED)
    if not screening.decontaminate:
        run.drop("match", layout.MATCHES)
        run.drop("shared")
        run.drop("evaluation", layout.EVALUATION)
    if screening.deduplicate == "off":
        run.drop("deduplicate", layout.COPIES)
    if not screening.looks:
        run.drop("screen", layout.REPORT, layout.SCREENING)


def read_evaluation(run: Run, screening: ScreeningConfig, sources: Sequence[Source]) -> Receipt:
    """Read the evaluation data; the first of all stages, since what is wrong with it should not wait.

    Raises:
        NextlongError: it cannot be read, or is too short.
    """
    of_texts = config_hash(screening.ngram_words, screening.evaluation_fields, decontaminate.VERSION)
    arguments = (run.folder, list(sources), screening)
    task = Task("evaluation", "all", decontaminate.evaluation, arguments, of_texts, named_fingerprints(sources))
    return run.stage([task], "texts", None)[0]


def screened(
    run: Run,
    screening: ScreeningConfig,
    evaluation: Receipt | None,
    ingested: Sequence[Receipt],
    fingerprinted: Sequence[Receipt],
) -> Screened:
    """Look for what the configuration says, report it, and write the pool's shards if anything is dropped.

    Args:
        run: the pool's.
        screening: what is looked for.
        evaluation: of the evaluation data, if there is any.
        ingested: receipts of what was read.
        fingerprinted: of its fingerprints, one a shard, in the order of the corpus.

    Raises:
        NextlongError: nothing is left.
    """
    return _Screening(run, screening, evaluation, ingested, fingerprinted).done()


class _Screening:
    """The stages, one after the other."""

    def __init__(
        self,
        run: Run,
        screening: ScreeningConfig,
        evaluation: Receipt | None,
        ingested: Sequence[Receipt],
        fingerprinted: Sequence[Receipt],
    ) -> None:
        self._run, self._screening, self._evaluation = run, screening, evaluation
        self._base = base_of(run.folder, screening)
        self._fingerprinted = fingerprinted
        self._shards = [receipt.name for receipt in fingerprinted]
        self._chunks = sum(receipt.rows for receipt in fingerprinted)
        self._read = {path: checksum for receipt in ingested for path, checksum in receipt.checksums().items()}
        # All that stages read, since reports name documents of other shards.
        self._files = run.outputs(ingested, layout.INGESTED, layout.DOCUMENTS, layout.CHUNKS)

    def done(self) -> Screened:
        """Do all stages."""
        matched, copies = {}, {}
        figures: dict[str, Any] = {}
        of_matches: dict[str, str] = {}  # what the screening of a shard with matches depends on
        if self._evaluation:
            matched = self._matched(self._evaluation)
            shared = self._shared(self._evaluation, matched)
            figures |= {"evaluation": self._evaluation.info, **shared.info}
            of_matches = self._evaluation.checksums()
            if self._screening.max_ngram_documents is not None:
                of_matches |= shared.checksums()
        if self._screening.deduplicate != "off":
            found = self._deduplicated(matched, of_matches)
            copies = {Path(path).stem: checksum for path, checksum in found.checksums().items()}
            figures["copies"] = found.info
        tasks = [
            Task(
                "screen",
                shard,
                screen.screen,
                (self._run.folder, self._base, shard, self._screening, shard in matched, shard in copies),
                self._rules(),
                self._inputs(shard, matched, of_matches, copies),
            )
            for shard in self._shards
        ]
        of_pool = (layout.DOCUMENTS, layout.CHUNKS, layout.FINGERPRINTS) if self._screening.drops else ()
        self._files |= self._run.outputs(self._fingerprinted, layout.INGESTED, layout.FINGERPRINTS)
        receipts = self._stage(tasks, (*of_pool, layout.REPORT))
        if not sum(receipt.info["documents"] for receipt in receipts):
            raise NextlongError(
                "No document is left: all share words with the evaluation data, or are copies of others.",
                f"See {self._run.folder / layout.REPORT} for the reasons.",
            )
        return Screened(receipts, figures)

    def _stage(self, tasks: Sequence[Task], owns: Sequence[str]) -> list[Receipt]:
        receipts = self._run.stage(tasks, "chunks", self._chunks, owns=owns, reads=lambda _: self._files)
        self._files |= self._run.outputs(receipts, layout.SCREENING)
        return receipts

    def _rules(self) -> str:
        """What decides on which of the found chunks are dropped, and how they are reported."""
        rules = self._screening
        counts = (rules.max_ngram_documents, rules.contaminated) if rules.decontaminate else ()
        return config_hash(rules.deduplicate, *counts, screen.VERSION)

    def _inputs(
        self, shard: str, matched: dict[str, str], of_matches: dict[str, str], copies: dict[str, str]
    ) -> dict[str, str]:
        inputs = {shard: self._of_shard(shard)}
        if shard in matched:
            inputs |= {"matches": matched[shard], **of_matches}
        if shard in copies:
            inputs |= {"copies": copies[shard], "documents": config_hash(self._read)}
        return inputs

    def _of_shard(self, shard: str) -> str:
        return config_hash({path: checksum for path, checksum in self._read.items() if Path(path).stem == shard})

    def _matched(self, evaluation: Receipt) -> dict[str, str]:
        """Shard → checksum of its matches, of shards that have some."""
        version = version_of(evaluation)
        tasks = [
            Task(
                "match",
                shard,
                decontaminate.match,
                (self._run.folder, self._base, shard, version),
                config_hash(decontaminate.VERSION),
                {shard: self._of_shard(shard), "runs": version},
            )
            for shard in self._shards
        ]
        self._files |= self._run.outputs([evaluation], layout.SCREENING)
        receipts = self._stage(tasks, (layout.MATCHES,))
        return {Path(path).stem: checksum for receipt in receipts for path, checksum in receipt.checksums().items()}

    def _shared(self, evaluation: Receipt, matched: dict[str, str]) -> Receipt:
        arguments = (self._run.folder, self._base, list(matched), version_of(evaluation))
        inputs = {**matched, "runs": version_of(evaluation)}
        task = Task("shared", "all", decontaminate.shared, arguments, config_hash(decontaminate.VERSION), inputs)
        receipt = self._run.stage([task], "shards", len(matched), reads=lambda _: self._files)[0]
        self._files |= self._run.outputs([receipt], layout.SCREENING)
        self._run.ledger.keep_stages(("evaluation", "shared"), [evaluation, receipt], layout.EVALUATION)
        return receipt

    def _deduplicated(self, matched: dict[str, str], of_matches: dict[str, str]) -> Receipt:
        rules = self._screening
        inputs = {path: checksum for receipt in self._fingerprinted for path, checksum in receipt.checksums().items()}
        gone: list[str] = []
        version: tuple[object, ...] = (deduplicate.VERSION, rules.duplicate_jaccard)
        if rules.drops_contaminated:
            gone = list(matched)
            inputs |= {**{f"matches/{shard}": checksum for shard, checksum in matched.items()}, **of_matches}
            version = (*version, rules.contaminated, rules.max_ngram_documents)
        arguments = (self._run.folder, self._base, self._shards, rules, gone)
        task = Task("deduplicate", "all", deduplicate.deduplicate, arguments, config_hash(*version), inputs)
        self._files |= self._run.outputs(self._fingerprinted, layout.INGESTED, layout.FINGERPRINTS)
        return self._stage([task], (layout.COPIES,))[0]


def version_of(evaluation: Receipt) -> str:
    """Of the table of runs."""
    return config_hash(evaluation.checksums())
