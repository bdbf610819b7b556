"""Making an export: gather the sequences, draw the rows, write them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from nextlong.config import config_hash
from nextlong.dataset import layout as dataset_layout
from nextlong.errors import NextlongError
from nextlong.execution.executor import Executor
from nextlong.execution.object_path import is_stored
from nextlong.execution.progress import Progress
from nextlong.execution.run import Run, claimed, refuse_foreign
from nextlong.execution.tasks import Ledger, Receipt, Task
from nextlong.exporting import gather, layout, rows
from nextlong.exporting.describe import describe
from nextlong.exporting.order import drawn
from nextlong.exporting.parts import Source
from nextlong.exporting.request import Request, rows_taken
from nextlong.exporting.rows import Taken
from nextlong.formats.registry import check_merge
from nextlong.formats.shards import write_all
from nextlong.pool.pool import Ordinals
from nextlong.tokenization.fill import fill


def build(request: Request, folder: Path, executor: Executor, progress: Progress, overwrite: bool = False) -> None:
    """Make the export, or finish one that was begun.

    Args:
        request: what to make.
        folder: where.
        executor: what runs the tasks.
        progress: where to show it.
        overwrite: do again what depends on a changed configuration.

    Raises:
        UsageError: the folder holds something else, or was made with another configuration.
        NextlongError: a dataset is damaged, has too few sequences, …
    """
    refuse_foreign(folder, "export")
    config, tokenizer = request.config, request.sources[0].session.tokenizer_fingerprint
    plan = {
        "kind": "export",
        "of": request.kind,
        "config": {**config.model_dump(mode="json", exclude={"tokenizer", "parts"}), "length": request.length},
        "parts": {
            str(source.number): {
                "name": source.name,
                "dataset": source.id,
                "pool": source.session.pool_id,
                "weight": source.weight,
            }
            for source in request.sources
        },
        "tokenizer": tokenizer,  # its fingerprint counts, not its path
    }
    with claimed(folder, plan, dataset_layout.DESCRIPTION, overwrite, progress):
        _Export(Run(folder, executor, progress, sources=lambda: _read_from(request.sources)), request).do()


def _read_from(sources: Sequence[Source]) -> dict[Path, str]:
    """What is read of the pools of datasets → checksum; sequences of the datasets are looked at where they are read."""
    files: dict[Path, str] = {}
    for session in (source.session for source in sources):
        if not is_stored(session.pool_folder):
            files |= session.pool().checksums | Ledger(session.store().folder).checksums()
    return files


class _Export:
    """The stages of one export."""

    def __init__(self, run: Run, request: Request) -> None:
        self.run, self.request = run, request
        self.version = config_hash([_identity(source) for source in request.sources])

    def do(self) -> None:
        """All stages."""
        tasks = self._gather_tasks()
        self._tokenize(tasks)
        gathered = self._gather(tasks)
        self.run.require_intact(self.run.outputs([receipt for own in gathered for receipt in own], layout.GATHERED))
        taken = self._taken(gathered)
        made = self._rows(gathered, taken)
        written = self._write(made)
        finished = (dataset_layout.DESCRIPTION, dataset_layout.CARD)
        if self.run.worked or not all((self.run.folder / name).exists() for name in finished):
            describe(self.run, self.request, gathered, taken, made, written)

    def _gather_tasks(self) -> list[list[Task]]:
        """For each part, a task for each of its files."""
        version = config_hash(self.version, gather.VERSION)
        return [
            [
                Task(
                    gather.STAGE,
                    layout.gathered_path(self.run.folder, source.number, name).stem,
                    gather.gather,
                    (source, name, self.run.folder),
                    version,
                    {name: check},
                )
                for name, check in source.files.items()
            ]
            for source in self.request.sources
        ]

    def _tokenize(self, tasks: Sequence[Sequence[Task]]) -> None:
        """Put the chunks into the pools' token stores. With the datasets' tokenizer they are there, or were deleted.

        What is gathered already was tokenised before, and to look at its chunks would be to read the whole dataset.
        """
        ledger = self.run.ledger
        for source, own in zip(self.request.sources, tasks, strict=True):
            todo = [name for name, task in zip(source.files, own, strict=True) if ledger.receipt(task) is None]
            if not todo:
                continue
            session = source.session
            if not session.joiner().local:
                self.run.progress.say(
                    "This tokenizer's tokens reach across separators, so every sequence is encoded whole: right, but slow"
                )
            used = [gather.chunks_of(source, name) for name in todo]
            fill(self.run, session.pool(), session.joiner_arguments, np.unique(np.concatenate(used)))

    def _gather(self, tasks: Sequence[Sequence[Task]]) -> list[list[Receipt]]:
        total = sum(source.sequences for source in self.request.sources)
        every = [task for own in tasks for task in own]
        receipts = iter(self.run.stage(every, "sequences", total, owns=(layout.GATHERED, layout.REJECTS)))
        return [list(islice(receipts, len(own))) for own in tasks]

    def _taken(self, gathered: Sequence[Sequence[Receipt]]) -> list[Taken]:
        """The rows: which sequences of which part stand in each."""
        request = self.request
        orders = [self._order(source, len(receipts)) for source, receipts in zip(request.sources, gathered, strict=True)]
        if not any(map(len, orders)):
            raise self._nothing_fits()
        used = [0] * len(orders)
        taken = []
        for part in rows_taken(request, [len(order) for order in orders]):
            stop = used[part] + request.per_row[part]
            taken.append(Taken(part, tuple(orders[part][used[part] : stop].tolist())))
            used[part] = stop
        return taken

    def _order(self, source: Source, files: int) -> Ordinals:
        """The positions of a part's sequences that can be used, in the order in which rows take them."""
        batches = [gather.open_gathered(layout.gathered_path(self.run.folder, source.number, name)) for name in source.files]
        fits = np.concatenate([batch.column("fits").to_numpy(zero_copy_only=False) for batch in batches])
        places = np.flatnonzero(fits)
        if self.request.seed is None:
            return places
        ids = [identity for batch in batches for identity in batch.column("id").to_pylist()]
        order = drawn(self.request.seed, source.fingerprint, [ids[place] for place in places.tolist()])
        return places[order]

    def _nothing_fits(self) -> NextlongError:
        (source,) = self.request.sources
        session = source.session
        batches = [gather.open_gathered(layout.gathered_path(self.run.folder, 0, name)) for name in source.files]
        tokens = np.concatenate([batch.column("tokens").to_numpy() for batch in batches])
        around = len(session.bos) + len(session.eos)
        most, lowest_tenth = int(tokens.max()) + around, int(np.quantile(tokens, 0.1, method="lower")) + around
        return NextlongError(
            f"With the tokenizer {session.tokenizer} none of the {len(tokens):,} sequences of {source.folder} fills "
            f"{source.length:,} tokens; the longest has {most:,}.",
            f"Nine in ten have {lowest_tenth:,} or more: give --length {lowest_tenth}. Or make the dataset anew with that "
            "tokenizer.",
        )

    def _rows(self, gathered: Sequence[Sequence[Receipt]], taken: Sequence[Taken]) -> list[Receipt]:
        request, folder = self.request, self.run.folder
        ends = [np.cumsum([receipt.rows for receipt in receipts]) for receipts in gathered]
        checks = config_hash([receipt.checksums() for receipts in gathered for receipt in receipts])
        names = [source.name for source in request.sources] if request.kind == "mix" else []  # they are in the rows
        version = config_hash(self.version, names, request.kind, request.length, rows.VERSION)
        size = dataset_layout.sequences_per_shard(request.length)
        tasks = []
        for number, first in enumerate(range(0, len(taken), size)):
            own = taken[first : first + size]
            name = f"{number:05d}"
            inputs = {"gathered": checks, "rows": config_hash([[row.part, *row.sequences] for row in own])}
            arguments = (folder, name, request.sources, ends, own, first, request.kind)
            tasks.append(Task("rows", name, rows.make_rows, arguments, version, inputs))
        return self.run.stage(tasks, "rows", len(taken), owns=(layout.ROWS,))

    def _write(self, made: Sequence[Receipt]) -> list[Receipt]:
        config, sources = self.request.config, self.request.sources
        version = config_hash(self.version, self.request.length, config.format, config.dtype, rows.VERSION, "write")
        tasks = [
            Task(
                "write",
                receipt.name,
                rows.write,
                (self.run.folder, receipt.name, sources, config.format, config.dtype),
                version,
                receipt.checksums(),
            )
            for receipt in made
        ]
        amount = sum(receipt.rows for receipt in made)
        merge = check_merge(config.format, config.merge)
        reads = self.run.outputs_by_name(made, layout.ROWS)
        return write_all(self.run, tasks, amount, config.format, dataset_layout.TOKENS, merge, reads)


def _identity(source: Source) -> list[object]:
    """What the rows of a part depend on."""
    session, composition = source.session, source.session.config.composition
    own = [source.id, session.pool_id, session.tokenizer_fingerprint, source.length]
    return [*own, composition.separator, composition.bos, composition.eos]
