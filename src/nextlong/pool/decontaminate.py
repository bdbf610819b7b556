"""Which chunks share runs of words with evaluation data: the table of runs, where they are, and in how many documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nextlong.config import ScreeningConfig
from nextlong.corpus import Source
from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array, save_array
from nextlong.execution.arrow import open_arrow, places_in, record_batch, strings, whole_numbers, write_arrow
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome
from nextlong.pool import layout
from nextlong.records import CHUNK_SCHEMA, EVALUATION_SCHEMA, MATCH_SCHEMA
from nextlong.screening.contamination import SHORTEST_TEXT_WORDS, Counts, Runs, collected, find_runs, words_of
from nextlong.screening.evaluation import EvaluationText, evaluation_texts

VERSION = 1

# The runs of the table, and in how many documents of the corpus each is.
KEYS, TEXTS, FILTER, LENGTHS = "keys.npy", "texts.npy", "filter.npy", "lengths.npy"
NAMES = "names.arrow"
SHARED = "shared.npy"
# Runs that stand in the most documents, which people look at: texts of licences, and what else is no contamination.
_SHOWN = 5


def evaluation(folder: Path, sources: Sequence[Source], screening: ScreeningConfig) -> Outcome:
    """Read evaluation data and write the table of its runs of words to ``screening/evaluation``.

    Raises:
        NextlongError: a source cannot be read, or no text has words enough.
    """
    names: dict[str, list[Any]] = {name: [] for name in EVALUATION_SCHEMA.names}
    counts = Counts()

    def texts() -> Iterator[str]:
        for source in sources:
            for each in evaluation_texts(source, screening.evaluation_fields):
                _add(names, each)
                advance(1)
                yield each.text

    runs = collected(texts(), screening.ngram_words, counts)
    if not len(runs):
        raise NextlongError(
            f"The evaluation data has {counts.texts:,} texts, and none with {SHORTEST_TEXT_WORDS} words.",
            "Are these the right files, and with --evaluation-field the right fields?",
        )
    out = folder / layout.EVALUATION
    arrays: dict[str, npt.NDArray[Any]] = {KEYS: runs.keys, TEXTS: runs.texts, FILTER: runs.filter, LENGTHS: runs.lengths}
    for name, array in arrays.items():
        save_array(out / name, array)
    write_arrow(out / NAMES, record_batch(names, EVALUATION_SCHEMA))
    figures = {"texts": counts.texts, "whole_texts": counts.whole, "ignored_texts": counts.ignored, "runs": len(runs)}
    return Outcome([*(out / name for name in arrays), out / NAMES], counts.texts, figures)


def _add(names: dict[str, list[Any]], text: EvaluationText) -> None:
    names["source"].append(text.source)
    names["row"].append(text.row)
    names["name"].append(text.name)


@lru_cache(maxsize=1)
def load_runs(folder: Path, version: str) -> Runs:
    """The table that :func:`evaluation` wrote, memory-mapped; kept by a worker until ``version`` says that it is another."""
    out = folder / layout.EVALUATION
    runs = Runs(
        load_array(out / KEYS, np.uint64),
        load_array(out / TEXTS, np.int64),
        load_array(out / FILTER, np.uint8),
        load_array(out / LENGTHS, np.int64, mapped=False),
    )
    if not runs.is_sound():
        raise NextlongError(
            f"{out} is damaged: its files do not belong together.", "Delete it and run `nextlong index` again."
        )
    return runs


def match(folder: Path, base: Path, shard: str, version: str) -> Outcome:
    """Write ``screening/matches/<shard>.arrow``, if a run of evaluation data is in the shard.

    Args:
        folder: the pool's.
        base: where the chunks are.
        shard: which of them.
        version: of the table of runs.
    """
    found = matches(base, shard, load_runs(folder, version))
    chunks = open_arrow(base / layout.CHUNKS / f"{shard}.arrow", CHUNK_SCHEMA).num_rows
    advance(chunks)
    if not found.num_rows:
        return Outcome([], chunks)
    path = folder / layout.MATCHES / f"{shard}.arrow"
    write_arrow(path, found)
    return Outcome([path], chunks)


def matches(base: Path, shard: str, runs: Runs) -> pa.RecordBatch:
    """Where runs of evaluation data are in a shard; of :data:`~nextlong.records.MATCH_SCHEMA`."""
    path = base / layout.CHUNKS / f"{shard}.arrow"
    chunks = open_arrow(path, CHUNK_SCHEMA)
    owners = whole_numbers(chunks.column("document")).astype(np.int64)
    found = find_runs(_whole_texts(chunks, np.arange(chunks.num_rows), path), owners, runs)
    columns = {
        "document": owners[found.first],
        "first": found.first,
        "last": found.last,
        "at": found.at,
        "words": found.words,
        "run": found.runs,
        "text": runs.texts[found.runs],
    }
    return record_batch(columns, MATCH_SCHEMA)


def _whole_texts(chunks: pa.RecordBatch, rows: npt.NDArray[np.int64], path: Path) -> list[str]:
    """The texts of some chunks, each with what stood between it and the next."""
    texts, glue = (strings(chunks.column(name).take(pa.array(rows)), path) for name in ("text", "glue"))
    return [text + between for text, between in zip(texts, glue, strict=True)]


def shared_words(base: Path, shard: str, found: dict[str, npt.NDArray[np.int64]], places: Sequence[int]) -> list[str]:
    """The words of some matches of a shard."""
    path = base / layout.CHUNKS / f"{shard}.arrow"
    chunks = open_arrow(path, CHUNK_SCHEMA)
    owners = whole_numbers(chunks.column("document"))
    words = []
    for place in places:
        first, last = int(found["first"][place]), int(found["last"][place])
        has_before = first > 0 and owners[first - 1] == owners[first]
        before, *own = ["", *_whole_texts(chunks, np.arange(first, last + 1), path)]
        if has_before:
            (before,) = _whole_texts(chunks, np.array([first - 1]), path)
        words.append(words_of(own, int(found["at"][place]), int(found["words"][place]), before))
    return words


def open_matches(folder: Path, base: Path, shard: str) -> dict[str, npt.NDArray[np.int64]]:
    """The columns of what :func:`match` wrote.

    Raises:
        NextlongError: it is damaged.
    """
    path = folder / layout.MATCHES / f"{shard}.arrow"
    batch, chunks = (
        open_arrow(path, MATCH_SCHEMA),
        open_arrow(base / layout.CHUNKS / f"{shard}.arrow", CHUNK_SCHEMA).num_rows,
    )
    runs = len(load_array(folder / layout.EVALUATION / KEYS, np.uint64))
    most = {"document": chunks, "first": chunks, "last": chunks, "run": runs}
    found = {name: places_in(batch.column(name), most.get(name, 1 << 62), path) for name in MATCH_SCHEMA.names}
    if (found["first"] > found["last"]).any():
        raise NextlongError(f"{path} is damaged: a run ends before it begins.", "Delete it and run `nextlong index` again.")
    return found


def shared(folder: Path, base: Path, shards: list[str], version: str) -> Outcome:
    """Write ``shared.npy``: in how many documents of the corpus each run is (int64); and say which are in the most.

    Args:
        folder: the pool's.
        base: where the chunks are.
        shards: those with matches.
        version: of the table of runs.
    """
    counts = documents_with(folder, base, shards, load_runs(folder, version))
    path = folder / layout.EVALUATION / SHARED
    save_array(path, counts)
    # Of runs in equally many documents the first; of runs one behind the other, which are in the same ones, too.
    most = np.argsort(-counts, kind="stable")[: min(_SHOWN * 100, len(counts))]
    shown: list[dict[str, Any]] = []
    seen: set[int] = set()
    for run in most.tolist():
        if counts[run] > 1 and int(counts[run]) not in seen and len(shown) < _SHOWN:
            seen.add(int(counts[run]))
            shown.append({"documents": int(counts[run]), "words": _words_of_run(folder, base, shards, run)})
    return Outcome([path], len(shards), {"shared_runs": int((counts > 0).sum()), "most_shared": shown})


def documents_with(folder: Path, base: Path, shards: Sequence[str], runs: Runs) -> npt.NDArray[np.int64]:
    """In how many documents of some shards each run is."""
    counts = np.zeros(len(runs), dtype=np.int64)
    for shard in shards:
        found = open_matches(folder, base, shard)
        pairs = np.unique(np.stack([found["document"], found["run"]], axis=1), axis=0)
        each, amounts = np.unique(pairs[:, 1], return_counts=True)
        counts[each] += amounts
        advance(1)
    return counts


def _words_of_run(folder: Path, base: Path, shards: Sequence[str], run: int) -> str:
    for shard in shards:
        found = open_matches(folder, base, shard)
        places = np.flatnonzero(found["run"] == run)
        if len(places):
            return shared_words(base, shard, found, [int(places[0])])[0]
    raise NextlongError(f"No shard has run {run}.", "Run the same command again.")


def counted(folder: Path, found: dict[str, npt.NDArray[np.int64]], screening: ScreeningConfig) -> npt.NDArray[np.int64]:
    """Places of the matches whose runs are in no more documents than the configuration lets count."""
    if screening.max_ngram_documents is None:
        return np.arange(len(found["run"]))
    path = folder / layout.EVALUATION / SHARED
    documents = load_array(path, np.int64)
    if len(found["run"]) and found["run"].max() >= len(documents):
        raise NextlongError(f"{path} is damaged: it is too short.", "Delete it and run `nextlong index` again.")
    return np.flatnonzero(documents[found["run"]] <= screening.max_ngram_documents)


def contaminated(found: dict[str, npt.NDArray[np.int64]], places: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    """The chunks that runs touch: ``rows``, ascending, how many ``runs`` touch each, and the ``place`` of its first."""
    sizes = found["last"][places] - found["first"][places] + 1
    touched = np.repeat(found["first"][places], sizes) + np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows, first, amounts = np.unique(touched, return_index=True, return_counts=True)
    return {"rows": rows, "runs": amounts, "place": np.repeat(places, sizes)[first]}


def names_of_texts(folder: Path, texts: npt.NDArray[np.int64]) -> dict[str, list[Any]]:
    """Source, row and name of evaluation texts."""
    path = folder / layout.EVALUATION / NAMES
    every = open_arrow(path, EVALUATION_SCHEMA)
    found = every.take(pa.array(places_in(pa.array(texts), every.num_rows, path)))
    return {
        "source": strings(found.column("source"), path),
        "row": found.column("row").to_pylist(),
        "name": strings(found.column("name"), path),
    }
