"""Pool → dataset: a method plans units of work; they are mined, composed and written, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nextlong.composition.fill import chunks_of
from nextlong.composition.method import Method, Unit
from nextlong.composition.registry import make_method, method_code, method_options, method_version
from nextlong.composition.session import Session
from nextlong.config import DatasetConfig, config_hash
from nextlong.dataset import compose, layout, mine, plan, search, write
from nextlong.dataset.describe import describe
from nextlong.errors import UsageError
from nextlong.execution.arrays import load_array
from nextlong.execution.executor import ANY_WORKER, Executor, Needs
from nextlong.execution.object_path import is_stored
from nextlong.execution.progress import Progress
from nextlong.execution.run import Run, claimed, refuse_foreign
from nextlong.execution.tables import read_table
from nextlong.execution.tasks import Ledger, Receipt, Task
from nextlong.formats.registry import check_merge, token_dtype
from nextlong.formats.shards import write_all
from nextlong.mining.nearest import Parts
from nextlong.pool.derived import derive
from nextlong.pool.pool import Ordinals, Pool
from nextlong.records import SEQUENCE_SCHEMA
from nextlong.tokenization.fill import fill
from nextlong.tokenization.tokenizer import Tokenizer, load_tokenizer


def sequences_wanted(config: DatasetConfig) -> int:
    """How many sequences the configuration asks for: ``roots``, or ``tokens`` rounded up to whole sequences.

    Raises:
        UsageError: neither or both are given.
    """
    if (config.tokens is None) == (config.roots is None):
        raise UsageError("Say how much to make: either tokens or roots.", "For example --tokens 100M, or --roots 1000.")
    return config.roots if config.roots is not None else math.ceil((config.tokens or 0) / config.length)


def check_request(config: DatasetConfig, folder: Path) -> Tokenizer:
    """What can be known to be wrong before there is a pool; returns the tokenizer.

    Raises:
        UsageError: no size, no tokenizer, or the folder holds something else.
        NextlongError: the tokenizer cannot be loaded.
    """
    sequences_wanted(config)
    method_options(config)
    if config.tokenizer is None:
        raise UsageError(
            "No tokenizer is given.", "Name the tokenizer of the model to be trained: --tokenizer FOLDER_OR_NAME."
        )
    refuse_foreign(folder, "dataset", (layout.POOL,))
    tokenizer = load_tokenizer(config.tokenizer)
    token_dtype(config.format, config.dtype, tokenizer.vocabulary_size)
    check_merge(config.format, config.merge)
    return tokenizer


def synthesize_from(
    pool: Pool, config: DatasetConfig, folder: Path, executor: Executor, progress: Progress, overwrite: bool = False
) -> None:
    """Make the dataset, or finish one that was begun.

    Args:
        pool: what to make it from.
        config: how.
        folder: the dataset's folder.
        executor: what runs the tasks.
        progress: where to show it.
        overwrite: do again what depends on a changed configuration or pool.

    Raises:
        UsageError: the configuration makes no sense for this pool, or the folder holds something else.
        NextlongError: the pool has too little text, …
    """
    wanted = sequences_wanted(config)
    tokenizer = check_request(config, folder)
    spec = config.tokenizer or ""
    if Path(spec).exists():  # so that the dataset can be verified from any working directory
        config = config.model_copy(update={"tokenizer": str(Path(spec).absolute())})
    pool = Pool(pool.folder)  # as it is now, if it was made again since the caller opened it
    session = Session(folder, pool.folder, pool.id, config.tokenizer or "", tokenizer.fingerprint, config)
    if session.content < 1:
        raise UsageError(f"A length of {config.length} tokens leaves no room for text.")
    method = make_method(session)
    method.check(wanted)
    inputs = method.inputs()
    described = {
        "kind": "dataset",
        "config": config.model_dump(mode="json", exclude={"tokenizer"}),  # its fingerprint counts, not its path
        "pool": pool.id,
        "tokenizer": tokenizer.fingerprint,
        "method": method_code(config.composition.method),
        "inputs": list(inputs),
    }
    with claimed(folder, described, layout.DESCRIPTION, overwrite, progress, inside=(layout.POOL,)):
        run = Run(folder, executor, progress, sources=lambda: _read_from(method))
        if not session.joiner().local:
            progress.say(
                "This tokenizer's tokens reach across separators, so every sequence is encoded whole: right, but slow"
            )
        _Synthesis(run, method, inputs, tokenizer, wanted).do()


def _read_from(method: Method) -> dict[Path, str]:
    """What is read when something is made from the pool → checksum: the pool, what is kept in it for the method, tokens.

    The tokens may be more than are needed, but are no more than were asked for before.
    """
    session = method.session
    pool = session.pool()
    if is_stored(pool.folder):
        return {}
    files = dict(pool.checksums)
    for folder in (session.store().folder, *(derived.folder(pool) for derived in method.derived())):
        files |= Ledger(folder).checksums()
    return files


class _Synthesis:
    """The stages of one dataset."""

    def __init__(self, run: Run, method: Method, inputs: tuple[str, ...], tokenizer: Tokenizer, wanted: int) -> None:
        session = method.session
        self.run, self.method, self.session, self.wanted = run, method, session, wanted
        self.fingerprint = config_hash(session.pool_id, tokenizer.fingerprint)
        derived = [[each.name, each.version] for each in self.method.derived()]
        self.parts: dict[str, Parts] = {}
        self.version = config_hash(self.fingerprint, method_version(session.config), inputs, derived)

    def do(self) -> None:
        """All stages. A sequence that was discarded is replaced: more is planned, which leaves what is done as it is."""
        for derived in self.method.derived():
            derive(self.run, self.session.pool(), derived)
        asked, made, exhausted = self._asked(), 0, False
        while True:
            planned = self._plan(asked)
            exhausted = planned.rows < asked
            batches = self._batches(planned)
            mined = self._mine(batches)
            composed = self._compose(batches, mined)
            made = sum(receipt.rows for receipt in composed)
            if made >= self.wanted:
                break
            if exhausted:
                self.method.documents_passed_over.update(planned.info["documents_passed_over"])
                raise self.method.shortage(self.wanted, made, sum(receipt.info["discarded"] for receipt in composed))
            asked += self.wanted - made
        while made > self.wanted:  # where more was planned, a unit that had lacked a sequence may have made it after all
            batches = plan.without_last(batches, made - self.wanted)
            mined = self._mine(batches)
            composed = self._compose(batches, mined)
            made = sum(receipt.rows for receipt in composed)
        self.run.drop("search", layout.SEARCH)
        self.run.clear([planned], layout.UNITS)
        if mined:
            self.run.clear(mined, layout.NEIGHBOURS, layout.WANTED)
        else:
            self.run.drop("mine", layout.NEIGHBOURS, layout.WANTED)
        self.run.clear(composed, layout.SEQUENCES)
        self._tokenize(self._used_chunks(composed))
        written = self._write(composed)
        self.session.pool()  # raises if it was made again meanwhile
        if not self.run.worked and all((self.run.folder / name).exists() for name in (layout.DESCRIPTION, layout.CARD)):
            return
        describe(self.run, self.session, planned, composed, written)

    def _plan(self, asked: int) -> Receipt:
        task = Task(
            "plan",
            "all",
            plan.plan,
            (self.session, asked, self._tokenize),
            config_hash(self.version, plan.VERSION),
            {"asked": str(asked), "wanted": str(self.wanted)},
        )
        return self.run.here(task, "sequences")

    def _asked(self) -> int:
        """For how many sequences was planned so far: a run that goes on need not find out again how many are discarded."""
        for receipt in self.run.ledger.receipts("plan"):
            if receipt.config == config_hash(self.version, plan.VERSION) and receipt.inputs["wanted"] == str(self.wanted):
                return int(receipt.inputs["asked"])
        return self.wanted

    def _batches(self, planned: Receipt) -> dict[str, list[Unit]]:
        self.run.require_intact(self.run.outputs([planned], layout.UNITS))
        units = plan.read_units(self.run.folder / layout.UNITS / "all.arrow")
        groups = plan.batches(units, self.session.sequences_per_shard)
        return {f"{number:05d}": group for number, group in enumerate(groups)}

    def _mine(self, batches: dict[str, list[Unit]]) -> list[Receipt]:
        """Search, and put into the token store what the sequences will use."""
        if not self.method.SEARCHES:
            documents = [plan.documents_of(units) for units in batches.values()]
            if documents:
                self._tokenize(chunks_of(self.session, np.concatenate(documents)))
            return []
        version = config_hash(self.version, mine.VERSION)

        def task(batch: str, parts: Parts | None) -> Task:
            units = batches[batch]
            arguments = (self.session, batch, units, parts)
            return Task("mine", batch, mine.mine, arguments, version, {"units": plan.hash_of(units)})

        undone = {batch for batch in batches if self.run.ledger.receipt(task(batch, None)) is None}
        self.parts = search.search(self.run, self.session, batches, undone, self.version)
        tasks = [task(batch, self.parts.get(batch)) for batch in batches]
        needs = Needs(model=True, gpu=True) if self.session.config.mining.scorer else ANY_WORKER
        mined = self.run.stage(tasks, "units", sum(map(len, batches.values())), needs=needs) if tasks else []
        if mined:
            self._tokenize(self._wanted_chunks(mined))
        return mined

    def _compose(self, batches: dict[str, list[Unit]], mined: Sequence[Receipt]) -> list[Receipt]:
        version = config_hash(self.version, compose.VERSION)
        found = {receipt.name: receipt.checksums() for receipt in mined}
        reads = self.run.outputs_by_name(mined, layout.NEIGHBOURS)
        tasks, receipts, first = [], [], 0
        before: tuple[tuple[Path, str], ...] = ()
        for batch, units in batches.items():
            inputs = {"units": plan.hash_of(units), **found.get(batch, {})}
            sequences = sum(unit.sequences for unit in units)
            if self.method.in_order:
                inputs["before"] = config_hash([check for _, check in before])
            usage_of = before if self.method.in_order else None
            arguments = (self.session, batch, units, first, usage_of, self.parts.get(batch))
            tasks.append(Task("compose", batch, compose.compose, arguments, version, inputs))
            if self.method.in_order:
                receipts += self.run.stage(tasks[-1:], "sequences", sequences, reads=reads)
                self.run.require_intact(self.run.outputs(receipts[-1:], layout.SEQUENCES))  # the next batches read them
                before += tuple((self.run.folder / path, check) for path, check in receipts[-1].checksums().items())
            first += sequences
        return receipts or (self.run.stage(tasks, "sequences", first, reads=reads) if tasks else [])

    def _write(self, composed: Sequence[Receipt]) -> list[Receipt]:
        config = self.session.config
        version = config_hash(
            self.fingerprint, config.length, config.composition, config.format, config.dtype, write.VERSION
        )
        tasks = [
            Task("write", receipt.name, write.write, (self.session, receipt.name), version, receipt.checksums())
            for receipt in composed
        ]
        rows = sum(receipt.rows for receipt in composed)
        merge, reads = check_merge(config.format, config.merge), self.run.outputs_by_name(composed, layout.SEQUENCES)
        return write_all(self.run, tasks, rows, config.format, layout.TOKENS, merge, reads)

    def _wanted_chunks(self, mined: Sequence[Receipt]) -> Ordinals:
        folder = self.run.folder / layout.WANTED
        self.run.require_intact(self.run.outputs(mined, layout.WANTED))
        return np.unique(np.concatenate([load_array(folder / f"{receipt.name}.npy", np.int64) for receipt in mined]))

    def _used_chunks(self, composed: Sequence[Receipt]) -> Ordinals:
        folder = self.run.folder / layout.SEQUENCES
        self.run.require_intact(self.run.outputs(composed, layout.SEQUENCES))
        used = [
            write.used_chunks(read_table(folder / f"{receipt.name}.parquet", SEQUENCE_SCHEMA, ["spans"]))
            for receipt in composed
        ]
        measured = [np.array(receipt.info.get("measured", ()), dtype=np.int64) for receipt in composed]
        return np.unique(np.concatenate(used + measured))

    def _tokenize(self, chunks: Ordinals) -> bool:
        return fill(self.run, self.session.pool(), self.session.joiner_arguments, chunks)
