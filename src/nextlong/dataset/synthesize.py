"""Pool → dataset: root documents are drawn, mined, composed and written, batch by batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from filelock import FileLock

from nextlong.composition.session import Session
from nextlong.config import DatasetConfig, config_hash
from nextlong.dataset import compose, layout, mine, write
from nextlong.dataset.describe import describe
from nextlong.dataset.roots import RootDraw
from nextlong.errors import NextlongError, UsageError
from nextlong.execution.files import explained, remove_leftovers
from nextlong.execution.local import Executor
from nextlong.execution.progress import Progress
from nextlong.execution.run import Run, claimed, refuse_foreign
from nextlong.execution.tasks import Receipt, Task
from nextlong.formats.registry import check_merge, token_dtype
from nextlong.formats.shards import write_all
from nextlong.pool.pool import Ordinals, Pool
from nextlong.sizes import format_length
from nextlong.tokenization import store as token_store
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
    _check_possible(session, wanted)
    plan = {
        "kind": "dataset",
        "config": config.model_dump(mode="json", exclude={"tokenizer"}),  # its fingerprint counts, not its path
        "pool": pool.id,
        "tokenizer": tokenizer.fingerprint,
    }
    with claimed(folder, plan, layout.DESCRIPTION, overwrite, progress, inside=(layout.POOL,)):
        run = Run(folder, executor, progress)
        if not session.joiner().local:
            progress.say(
                "This tokenizer's tokens reach across separators, so every sequence is encoded whole: right, but slow"
            )
        _Synthesis(run, session, tokenizer, wanted).do()


def _check_possible(session: Session, wanted: int) -> None:
    pool, length = session.pool(), session.config.length
    if session.content < 1:
        raise UsageError(f"A length of {length} tokens leaves no room for text.")
    eligible = int((np.diff(pool.first_chunk) >= session.config.composition.min_meta_chunks).sum())
    if eligible < wanted:
        raise NextlongError(
            f"{wanted:,} sequences need as many root documents; of {pool.documents:,} documents only {eligible:,} have "
            f"{session.config.composition.min_meta_chunks} chunks or more.",
            (f"Ask for at most {eligible * length:,} tokens at this length, add" if eligible else "Add")
            + " documents, or take a smaller --granularity.",
        )


class _Synthesis:
    """The stages of one dataset."""

    def __init__(self, run: Run, session: Session, tokenizer: Tokenizer, wanted: int) -> None:
        self.run, self.session, self.wanted = run, session, wanted
        self.fingerprint = config_hash(session.pool_id, tokenizer.fingerprint)
        self.draw = RootDraw(session, self._tokenize)

    def do(self) -> None:
        """All stages. A sequence that paper mode discards is replaced by the one of the next root."""
        batches: dict[str, list[int]] = {}
        mined: list[Receipt] = []
        composed: list[Receipt] = []
        made = 0
        while made < self.wanted:
            roots = self.draw.take(self.wanted - made)
            if not roots:
                raise self._too_few_roots(made, sum(receipt.info["discarded"] for receipt in composed))
            size = layout.sequences_per_shard(self.session.config.length)
            for start in range(0, len(roots), size):
                batches[f"{len(batches):05d}"] = roots[start : start + size]
            mined = self._mine(batches)
            self._tokenize(self._wanted_chunks(mined))
            composed = self._compose(batches, mined)
            made = sum(receipt.rows for receipt in composed)
        self.run.clear(mined, layout.NEIGHBOURS, layout.WANTED)
        self.run.clear(composed, layout.SEQUENCES)
        self._tokenize(self._used_chunks(composed))
        written = self._write(composed)
        self.session.pool()  # raises if it was made again meanwhile
        if not self.run.worked and all((self.run.folder / name).exists() for name in (layout.DESCRIPTION, layout.CARD)):
            return
        describe(self.run, self.session, self.draw, composed, written)

    def _mine(self, batches: dict[str, list[int]]) -> list[Receipt]:
        config = self.session.config
        version = config_hash(
            self.fingerprint, config.length, config.seed, config.mining, config.composition, mine.VERSION, "mine"
        )
        tasks = [
            Task("mine", batch, mine.mine, (self.session, batch, roots), version, {"roots": config_hash(roots)})
            for batch, roots in batches.items()
        ]
        return self.run.stage(tasks, "roots", _total(batches))

    def _compose(self, batches: dict[str, list[int]], mined: Sequence[Receipt]) -> list[Receipt]:
        config = self.session.config
        version = config_hash(
            self.fingerprint, config.length, config.seed, config.mining, config.composition, compose.VERSION
        )
        if config.mining.max_reuse is not None:
            return self._compose_in_order(batches, mined, version)
        tasks, first = [], 0
        for (batch, roots), receipt in zip(batches.items(), mined, strict=True):
            arguments = (self.session, batch, first, None)
            tasks.append(Task("compose", batch, compose.compose, arguments, version, receipt.checksums()))
            first += len(roots)
        return self.run.stage(tasks, "sequences", _total(batches))

    def _compose_in_order(self, batches: dict[str, list[int]], mined: Sequence[Receipt], version: str) -> list[Receipt]:
        """With ``max_reuse`` a batch depends on all before it."""
        receipts: list[Receipt] = []
        before: tuple[tuple[Path, str], ...] = ()
        first = 0
        for (batch, roots), receipt in zip(batches.items(), mined, strict=True):
            inputs = {**receipt.checksums(), "before": config_hash([check for _, check in before])}
            task = Task("compose", batch, compose.compose, (self.session, batch, first, before), version, inputs)
            receipts += self.run.stage([task], "sequences", len(roots))
            before += tuple((self.run.folder / path, check) for path, check in receipts[-1].checksums().items())
            first += len(roots)
        return receipts

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
        return write_all(self.run, tasks, rows, config.format, layout.TOKENS, check_merge(config.format, config.merge))

    def _wanted_chunks(self, mined: Sequence[Receipt]) -> Ordinals:
        folder = self.run.folder / layout.WANTED
        return np.unique(np.concatenate([np.load(folder / f"{receipt.name}.npy") for receipt in mined]))

    def _used_chunks(self, composed: Sequence[Receipt]) -> Ordinals:
        folder = self.run.folder / layout.SEQUENCES
        used = [
            write.used_chunks(pq.read_table(folder / f"{receipt.name}.parquet", columns=["spans"])) for receipt in composed
        ]
        return np.unique(np.concatenate(used))

    def _tokenize(self, chunks: Ordinals) -> None:
        """Put chunks into the pool's token store. Another dataset of the same pool may be doing the same: one waits."""
        pool, store = self.session.pool(), self.session.store()
        if not len(store.missing(chunks)):
            return
        with _held(store.folder):
            store = self.session.store()  # what the other one made is there now
            lacking = store.missing(chunks)
            tasks = []
            for shard, rows in token_store.grouped(pool, lacking):
                path = token_store.part_path(store, pool, shard)
                arguments = (pool.folder, pool.id, self.session.joiner_arguments, shard, np.sort(rows), path)
                inputs = {"rows": config_hash(np.sort(rows).tolist())}
                tasks.append(Task(token_store.STAGE, path.stem, token_store.tokenize, arguments, self.fingerprint, inputs))
            if tasks:
                self.run.add(tasks, "chunks", len(lacking), store.folder)

    def _too_few_roots(self, made: int, discarded: int) -> NextlongError:
        length = self.session.config.length
        amounts = self.draw.passed_over + Counter({"fell short of the length in paper mode": discarded})
        reasons = ", ".join(f"{reason}: {amount:,}" for reason, amount in sorted(amounts.items()))
        return NextlongError(
            f"{self.wanted:,} sequences of {format_length(length)} tokens need as many root documents, and only {made:,} of "
            f"{self.session.pool().documents:,} documents can be one ({reasons}).",
            (f"Ask for at most {made * length:,} tokens, add" if made else "Add")
            + " documents, or change the length, the granularity, or max_root_fraction.",
        )


@contextmanager
def _held(store: Path) -> Iterator[None]:
    """Hold the token store, which lies in the pool, for writing.

    Raises:
        NextlongError: the pool cannot be written.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store / ".lock")
        lock.acquire()
    except OSError as error:
        raise explained(error, store) from error
    try:
        remove_leftovers(store)  # of a run that was killed; the dataset's own are not here
        yield
    finally:
        lock.release()


def _total(batches: dict[str, list[int]]) -> int:
    return sum(len(roots) for roots in batches.values())
