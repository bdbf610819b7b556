"""Composing and writing at 128K: over the naive way, and over writing the same bytes and nothing else.

Counted is everything from candidates found to rows on disk: judging candidates, choosing, joining, the table of sequences,
the rows, their files synced. Not counted: the pool, the search, starting processes, loading the tokenizer. All run in one
process, in turns, and what is compared is processor time, of which each takes the least of its rounds: the naive way would
use one core on any machine, and ours uses all. Words and joins that a process remembers are forgotten before each of ours.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from naive import Naive, Taken

import nextlong
from measures.figures import Bench, Figure
from nextlong.composition.session import Session
from nextlong.config import DatasetConfig
from nextlong.dataset import compose, layout, plan, write
from nextlong.execution.files import atomic
from nextlong.execution.progress import send_progress_to
from nextlong.execution.run import read_metrics
from nextlong.formats import parquet
from nextlong.formats.protocol import Rows
from nextlong.sizes import format_count, format_length
from nextlong.tokenization.store import grouped, open_joiner, tokenize
from nextlong.tokenization.tokenizer import load_tokenizer

LEAST_STORED, LEAST_FIRST, MOST_OVER_WRITING = 50.0, 3.0, 2.0
LENGTH, SEQUENCES = 1 << 17, 192  # three shards of the dataset
SMOKE_LENGTH, SMOKE_SEQUENCES = 1 << 12, 4
REPEATS = 3
NAIVE_SEQUENCES = 8


@dataclass(frozen=True)
class Used:
    """What something took, in seconds."""

    processor: float
    wall: float


def measure(bench: Bench) -> list[Figure]:
    """Ours, the writer alone, and the naive way, in turns."""
    length, sequences = (SMOKE_LENGTH, SMOKE_SEQUENCES) if bench.smoke else (LENGTH, SEQUENCES)
    pool = nextlong.build_pool(bench.corpus, bench.work / "pool", index={"kind": "flat"})
    made = bench.work / "made"
    for _ in range(2):  # the second time with the tokens stored
        shutil.rmtree(made, ignore_errors=True)
        nextlong.synthesize(pool, made, length=length, roots=sequences, tokenizer=bench.tokenizer)
    ours = _Ours(pool, made, bench.work / "again", bench.tokenizer, length)
    naive, roots = Naive(pool, Path(bench.tokenizer)), ours.roots[: min(NAIVE_SEQUENCES, sequences)]

    rounds: dict[str, list[Used]] = {"ours": [], "writing": [], "tokenizing": []}
    naively: list[Taken] = []
    ours.check(made)
    for _ in range(1 if bench.smoke else REPEATS):
        ours.forget()
        rounds["ours"].append(_timed(ours.compose_and_write))
        rounds["writing"].append(_timed(ours.only_write))
        ours.forget()
        rounds["tokenizing"].append(_timed(ours.tokenize))
        naively.append(naive.make(roots, length, bench.work / "naive.parquet"))
    best = {name: min(used, key=lambda one: one.processor) for name, used in rounds.items()}
    slow = min(naively, key=lambda one: one.processor_seconds)

    tokens = sequences * length
    rate, first = tokens / best["ours"].processor, tokens / (best["ours"].processor + best["tokenizing"].processor)
    naive_rate = slow.encoded / slow.processor_seconds  # what is cut off again is counted for it
    sizes = f"{sequences:,} sequences of {format_length(length)} tokens"
    against = f"{_rate(naive_rate)} the naive way (of {len(roots)} sequences, tokens counted before they are cut)"
    return [
        Figure(
            "composing and writing, tokens stored, over the naive way",
            rate / naive_rate,
            LEAST_STORED,
            "at least",
            "×",
            f"{sizes}: {_rate(rate)} over {against}; {_rate(tokens / _stages(made))} of wall time on all workers",
        ),
        Figure(
            "composing and writing on first use, tokenising included, over the naive way",
            first / naive_rate,
            LEAST_FIRST,
            "at least",
            "×",
            f"{sizes}, {ours.used:,} different chunks: {_rate(first)} over {against}",
        ),
        Figure(
            "composing and writing over writing the same bytes",
            best["ours"].processor / best["writing"].processor,
            MOST_OVER_WRITING,
            "at most",
            "×",
            f"{sizes}: {best['ours'].processor:.2f} s over {best['writing'].processor:.2f} s of processor time, "
            f"{best['ours'].wall:.2f} s over {best['writing'].wall:.2f} s of wall time, one process each",
        ),
    ]


class _Ours:
    """The tasks of a dataset that was made, to be done again in this process, with the tokens stored."""

    def __init__(self, pool: nextlong.Pool, made: Path, folder: Path, tokenizer: str, length: int) -> None:
        send_progress_to(lambda amount: None)
        config = DatasetConfig.model_validate(nextlong.load_dataset_card(made)["config"])
        loaded = load_tokenizer(tokenizer)
        self.session = Session(folder, pool.folder, pool.id, tokenizer, loaded.fingerprint, config)
        self.session.joiner()
        shutil.copytree(made / layout.NEIGHBOURS, folder / layout.NEIGHBOURS)
        units = plan.read_units(made / layout.UNITS / "all.arrow")
        self.roots = [int(unit.documents[0]) for unit in units]
        self.batches = list(plan.batches(units, self.session.sequences_per_shard))
        tables = [pq.read_table(path) for path in sorted((made / layout.SEQUENCES).iterdir())]
        self._sequences, self._rows = tables, [self._row_table(made, table) for table in tables]
        chunks = np.unique(np.concatenate([write.used_chunks(table) for table in tables]))
        self.used, self._shards = len(chunks), grouped(pool, chunks)
        self._length = length

    def forget(self) -> None:
        """Load the tokenizer anew, as a process does that has met no word and no join yet."""
        open_joiner.cache_clear()
        self.session.joiner()

    def compose_and_write(self) -> None:
        """From candidates to rows on disk."""
        first = 0
        for number, units in enumerate(self.batches):
            name = f"{number:05d}"
            first += compose.compose(self.session, name, units, first, None, None).rows
            write.write(self.session, name)

    def check(self, made: Path) -> None:
        """What is measured is what the dataset is made by: the same bytes."""
        self.compose_and_write()
        for folder in (layout.SEQUENCES, layout.TOKENS):
            for path in sorted((made / folder).iterdir()):
                if path.read_bytes() != (self.session.folder / folder / path.name).read_bytes():
                    raise SystemExit(f"{path} was not made again as it was")

    def only_write(self) -> None:
        """Write the same bytes from memory: the table of sequences, and the rows."""
        for sequences, rows in zip(self._sequences, self._rows, strict=True):
            with atomic(self.session.folder / "sequences.parquet") as path:
                pq.write_table(sequences, path, compression="zstd")
            with atomic(self.session.folder / "rows.parquet") as path:
                parquet.write([path], rows)

    def tokenize(self) -> None:
        """Tokenise the chunks that the sequences use, as the first dataset of a pool does."""
        for number, (shard, rows) in enumerate(self._shards):
            path = self.session.folder / f"{number}.arrow"
            tokenize(self.session.pool_folder, self.session.pool_id, self.session.joiner_arguments, shard, rows, path)

    def _row_table(self, made: Path, sequences: pa.Table) -> Rows:
        first, last = (sequences.column("id")[place].as_py() for place in (0, -1))
        for path in sorted((made / layout.TOKENS).iterdir()):
            table = pq.read_table(path)
            if (table.column("id")[0].as_py(), table.column("id")[-1].as_py()) == (first, last):
                flat = table.column("input_ids").combine_chunks().flatten().to_numpy()
                length = self.session.config.length
                return Rows(write.row_table(sequences, length), flat.reshape(-1, length), "int32", str)
        raise SystemExit(f"{made} has no rows of the sequences {first} to {last}")


def _timed(work: Callable[[], None]) -> Used:
    processor, wall = time.process_time(), time.perf_counter()
    work()
    return Used(time.process_time() - processor, time.perf_counter() - wall)


def _stages(made: Path) -> float:
    """Wall time of composing and writing on all workers, as the run counted it."""
    return sum(float(stage["seconds"]) for stage in read_metrics(made) if stage["stage"] in ("compose", "write"))


def _rate(tokens_per_second: float) -> str:
    return f"{format_count(tokens_per_second)} tokens/s"
