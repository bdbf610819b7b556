"""``--plan``: stages, tasks, tokens, disk and memory, before any work. Estimates, from a look at the corpus or the pool."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import zstandard
from rich.console import Console
from rich.table import Table

from nextlong.api import base_recipe, dataset_config, is_pool, pool_config
from nextlong.chunking import make_chunker
from nextlong.cli.terminal import cell
from nextlong.composition.registry import method_class, method_options
from nextlong.config import CorpusConfig, DatasetConfig, PoolConfig
from nextlong.corpus import Source, find_sources, read_source
from nextlong.corpus.source import open_binary
from nextlong.dataset.layout import sequences_per_shard
from nextlong.dataset.search import searched_together
from nextlong.dataset.synthesize import sequences_wanted
from nextlong.errors import UsageError
from nextlong.execution.local import default_workers
from nextlong.execution.object_path import located
from nextlong.index.choose import choose_kind
from nextlong.index.protocol import shards_for
from nextlong.pool.build import grouped
from nextlong.pool.layout import SHARD_CHARACTERS
from nextlong.pool.pool import Pool
from nextlong.records import Document
from nextlong.sizes import format_bytes, format_count, format_length

# What is looked at to guess the rest.
_SAMPLE_DOCUMENTS = 100
_SAMPLE_SOURCES = 20
_SAMPLE_BYTES = 1 << 22

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

_DIMENSIONS = {"static": 256, "minilm": 384, "lsa": 256}
_UNKNOWN_DIMENSIONS = 1024
_SIGNATURE_BYTES = 128 * 2 + 8
# A row of tokens as zstd-compressed Parquet, its spans included, and a stored chunk token.
_ROW_BYTES_PER_TOKEN = 2.0
_STORED_BYTES_PER_TOKEN = 4
_CHARACTERS_PER_TOKEN = 4
# For each chunk of a sequence, the neighbours of 12 bytes that each meta-chunk asks for at first, and those that are kept:
# some roots need more.
_ASKED_BYTES, _KEPT_BYTES = 2 * 12, 4 * 12
# Memory of a chunk while copies are looked for, less what is mapped.
_DEDUPLICATION_BYTES = 125
# Resident memory of a worker with an encoder from the registry, and of one that searches and composes.
_ENCODING_WORKER_BYTES = 700 << 20
_COMPOSING_WORKER_BYTES = 500 << 20


def print_pool_plan(
    inputs: Sequence[str], recipe: Path | None, sections: dict[str, Any], workers: int | None, console: Console
) -> None:
    """What ``nextlong index`` would do."""
    config = pool_config(base_recipe(recipe), inputs, sections)
    sources = find_sources(config.corpus)
    groups = len(grouped(sources))
    characters, documents, chunks = _estimate(sources, config)
    shards = max(groups, math.ceil(characters / SHARD_CHARACTERS))
    kind = choose_kind(config.index, chunks)
    dimensions = config.encoder.dimensions or _DIMENSIONS.get(config.encoder.name.split(":")[0], _UNKNOWN_DIMENSIONS)
    vectors = chunks * dimensions * 2
    table = _table(
        f"Plan of a pool: {len(sources):,} sources, about {format_count(documents)} documents, {format_count(chunks)} chunks"
    )
    if config.screening.decontaminate:
        files = find_sources(CorpusConfig(inputs=config.screening.decontaminate))
        table.add_row("evaluation", "1", f"{len(files):,} files of evaluation data", "2 to 4 times their size")
    table.add_row("ingest", f"{groups:,}", f"{format_count(characters)} characters", format_bytes(characters + chunks * 24))
    _add_screening(table, config, shards, (characters, documents, chunks))
    table.add_row("catalog", "1", f"{format_count(documents)} documents", format_bytes(documents * 16))
    if not config.screening.looks:
        table.add_row(
            "fingerprint", f"{shards:,}", f"{format_count(chunks)} chunks", format_bytes(chunks * _SIGNATURE_BYTES)
        )
    table.add_row(
        "embed",
        f"{shards:,}",
        cell(f"{format_count(chunks)} chunks, {config.encoder.name}, {dimensions} dimensions"),
        format_bytes(vectors),
    )
    ivf = kind == "ivf"  # centroids, the shards of the index, recall; of each vector a copy in int16, and its ordinal
    table.add_row(
        "index", f"{2 + shards_for(chunks) if ivf else 1:,}", kind, format_bytes(vectors + chunks * 4 if ivf else 0)
    )
    console.print(table)
    workers = workers or default_workers()
    console.print(
        f"memory: about {format_bytes(workers * _ENCODING_WORKER_BYTES)} for {workers} workers; files are memory-mapped"
    )
    console.print("Nothing was written. These are estimates from the first documents.")


def _add_screening(table: Table, config: PoolConfig, shards: int, sizes: tuple[int, int, int]) -> None:
    """The stages of the screening, and that of the fingerprints, which come first then."""
    screening, (characters, _, chunks) = config.screening, sizes
    if not screening.looks:
        return
    every, fingerprints = f"{format_count(chunks)} chunks", chunks * _SIGNATURE_BYTES
    table.add_row("fingerprint", f"{shards:,}", every, format_bytes(fingerprints))
    if screening.decontaminate:
        table.add_row("match", f"{shards:,}", f"{every}, runs of {screening.ngram_words} words", "what is found")
        table.add_row("shared", "1", "in how many documents each run is", "what is found")
    if screening.deduplicate != "off":
        memory = f"{every}, about {format_bytes(chunks * _DEDUPLICATION_BYTES)} of memory"
        table.add_row("deduplicate", "1", memory, "what is found")
    # What is left of documents, chunks and fingerprints is written once more.
    kept = f"up to {format_bytes(characters + chunks * 24 + fingerprints)}" if screening.drops else "what is found"
    table.add_row("screen", f"{shards:,}", every, kept)


def _estimate(sources: Sequence[Source], config: PoolConfig) -> tuple[int, int, int]:
    """Characters, documents and chunks of the corpus, scaled up from the first documents of some sources."""
    chunker = make_chunker(config.chunking)
    looked_at = [sources[place] for place in sorted({round(at) for at in np.linspace(0, len(sources) - 1, _SAMPLE_SOURCES)})]
    totals = np.zeros(3)
    for source in looked_at:
        found = (record for record in read_source(source, config.corpus) if isinstance(record, Document))
        texts = [document.text for document in islice(found, _SAMPLE_DOCUMENTS)]
        if not texts:
            continue
        seen = np.array([sum(map(len, texts)), len(texts), sum(len(chunker(text)) for text in texts)])
        totals += seen * max(1.0, _documents(source, seen[0] / seen[1]) / seen[1])
    sizes = sum(source.bytes or 0 for source in looked_at)
    scale = sum(source.bytes or 0 for source in sources) / sizes if sizes else len(sources) / len(looked_at)
    characters, documents, chunks = (int(total * scale) for total in totals)
    return characters, documents, chunks


def _documents(source: Source, characters: float) -> float:
    """About how many documents a source holds, if one has so many characters."""
    if source.kind == "parquet":
        with open_binary(source.location) as file:
            return float(pq.ParquetFile(file).metadata.num_rows)
    return (source.bytes or 0) * _expansion(source) / characters


def _expansion(source: Source) -> float:
    """How many bytes of text a byte of the source holds, from its header or its first MiB."""
    if source.kind != "jsonl":
        return 1.0
    with open_binary(source.location) as file:
        head = file.read(_SAMPLE_BYTES)
    try:
        if head.startswith(_GZIP):
            return len(zlib.decompressobj(wbits=31).decompress(head)) / len(head)
        if head.startswith(_ZSTD):
            whole = zstandard.frame_content_size(head)  # most writers put it into the header
            if whole > 0 and source.bytes:
                return whole / source.bytes
            return len(zstandard.ZstdDecompressor().decompressobj().decompress(head)) / len(head)
    except (zlib.error, zstandard.ZstdError):  # damaged: reading it will say where
        return 1.0
    return 1.0


def print_dataset_plan(
    source: Sequence[str],
    out: Path,
    recipe: Path | None,
    sections: dict[str, Any],
    keys: dict[str, Any],
    workers: int | None,
    console: Console,
) -> None:
    """What ``nextlong synthesize`` would do."""
    config = dataset_config(base_recipe(recipe), keys)
    sequences = sequences_wanted(config)
    method_options(config)
    if len(source) == 1 and is_pool(source[0]):
        pool = Pool(located(source[0]))
        characters, chunks = pool.characters, pool.chunks
        documents = pool.documents
        eligible = int((np.diff(pool.first_chunk) >= config.composition.min_meta_chunks).sum())
        if config.composition.method == "nextlong" and eligible < sequences:
            raise UsageError(
                f"The pool has {eligible:,} documents that can be roots, and {sequences:,} sequences need one each."
            )
    else:
        print_pool_plan(source, recipe, sections, workers, console)
        merged = pool_config(base_recipe(recipe), source, sections)
        characters, documents, chunks = _estimate(find_sources(merged.corpus), merged)
    _print_dataset(config, sequences, (characters, documents, chunks), out, workers, console)


def _print_dataset(
    config: DatasetConfig,
    sequences: int,
    sizes: tuple[int, int, int],
    out: Path,
    workers: int | None,
    console: Console,
) -> None:
    characters, documents, chunks = sizes
    tokens = sequences * config.length
    batches = math.ceil(sequences / sequences_per_shard(config.length))
    uses = tokens / max(1.0, characters / max(1, chunks) / _CHARACTERS_PER_TOKEN)
    # Chunks drawn evenly from the pool would leave this many untouched; hard negatives are less even, so this is a ceiling.
    distinct = chunks * (1 - math.exp(-uses / max(1, chunks)))
    stored = distinct * characters / max(1, chunks) / _CHARACTERS_PER_TOKEN * _STORED_BYTES_PER_TOKEN
    what = f"{sequences:,} sequences of {format_length(config.length)} by {config.composition.method}, {tokens:,} tokens"
    table = _table(f"Plan of {out}: {what}")
    table.add_row("plan", "1", "which documents make which sequences", format_bytes(sequences * 24))
    if method_class(config.composition.method).SEARCHES:
        metas = uses * max(1.0, chunks / max(1, documents))
        shards, roots = shards_for(chunks), f"{sequences:,} root documents"
        tasks = shards * math.ceil(sequences / searched_together(sequences))
        if config.mining.retrieval != "bm25" and config.mining.negatives != "random":  # else no index of vectors is asked
            table.add_row(
                "search", f"{tasks:,}", roots, f"{format_bytes(shards * metas * _ASKED_BYTES)} until it is composed"
            )
        table.add_row("mine", f"{batches:,}", roots, format_bytes(metas * _KEPT_BYTES))
    table.add_row("tokenize", "by shard", f"up to {format_count(distinct)} chunks", f"{format_bytes(stored)} in the pool")
    table.add_row(
        "compose", f"{batches:,}", f"about {uses / max(1, sequences):,.0f} chunks a sequence", format_bytes(uses * 20)
    )
    table.add_row("write", f"{batches:,}", config.format, format_bytes(tokens * _ROW_BYTES_PER_TOKEN))
    console.print(table)
    workers = workers or default_workers()
    console.print(f"memory: about {format_bytes(workers * _COMPOSING_WORKER_BYTES)} for {workers} workers")
    console.print("Nothing was written.")


def _table(title: str) -> Table:
    table = Table(title=cell(title, "bold"), title_justify="left", box=None, pad_edge=False)
    table.add_column("stage", style="dim")
    table.add_column("tasks", justify="right")
    table.add_column("what")
    table.add_column("disk", justify="right")
    return table
