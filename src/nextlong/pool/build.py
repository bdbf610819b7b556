"""Corpus → pool: documents are chunked, fingerprinted and encoded shard by shard, then indexed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import nextlong
from nextlong.config import CorpusConfig, PoolConfig, config_hash
from nextlong.corpus import Source, find_sources
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import load_encoder, needs_fit, preparation
from nextlong.errors import NextlongError
from nextlong.execution.executor import Executor, Needs
from nextlong.execution.files import checksum, write_description, write_json
from nextlong.execution.object_path import remove_folder
from nextlong.execution.progress import Progress
from nextlong.execution.run import Run, claimed
from nextlong.execution.tasks import Receipt, Task
from nextlong.index.cuvs import require_cuvs
from nextlong.pool import catalog, embed, fingerprints, indexing, ingest, layout, screening
from nextlong.pool.derived import remove_outdated
from nextlong.pool.ingest import ShardReady, named_fingerprints
from nextlong.pool.pool import Pool
from nextlong.pool.screening import Screened
from nextlong.public_text import redacted
from nextlong.tokenization.tokenizer import load_tokenizer

# Chunks without a vector that the description names.
_SHOWN_ZERO_VECTORS = 10

# The figures of an ingest receipt that add up over sources.
_COUNTED = ("documents", "chunks", "characters", "rejected", "blank_chunks")

# Folders of a pool that nothing is made from.
_NOT_READ = (layout.REJECTS, layout.INGESTED, layout.SCREENING)


def build(
    config: PoolConfig, folder: Path, executor: Executor, progress: Progress, overwrite: bool = False, strict: bool = False
) -> Pool:
    """Build the pool, or finish one that was begun.

    Args:
        config: what to make it from and how.
        folder: the pool's folder.
        executor: what runs the tasks.
        progress: where to show it.
        overwrite: do again what depends on a changed configuration or a changed corpus.
        strict: make a bad row fatal.

    Raises:
        UsageError: the configuration makes no sense, or the folder holds something else.
        NextlongError: a source cannot be read, two documents share an id, no document is left, …
    """
    sources = find_sources(config.corpus)
    looked_for = find_sources(CorpusConfig(inputs=config.screening.decontaminate)) if config.screening.decontaminate else []
    if config.index.kind == "cuvs":
        require_cuvs()  # which should not wait until the corpus is encoded
    encoder = None
    if not needs_fit(config.encoder):
        if first := preparation(config.encoder):
            progress.say(first)
        encoder = load_encoder(config.encoder)  # a wrong name or missing weights should not wait until the corpus is read
    plan = {
        "kind": "pool",
        "config": _shown(config, exclude={"corpus": {"inputs"}, "screening": {"decontaminate"}}),
        "sources": named_fingerprints(sources),
        **({"evaluation": named_fingerprints(looked_for)} if looked_for else {}),
    }
    with claimed(folder, plan, layout.DESCRIPTION, overwrite, progress, inside=(layout.TOKENS, layout.DERIVED)):
        run = Run(folder, executor, progress)
        screening.prepare(run, config.screening)
        evaluation = screening.read_evaluation(run, config.screening, looked_for) if looked_for else None
        ingested = _ingest(run, config, sources, strict, encoder)
        base = screening.base_of(folder, config.screening)
        fingerprinted, screened = [], None
        if config.screening.looks:
            fingerprinted = _fingerprint(run, base, ingested)
            screened = screening.screened(run, config.screening, evaluation, ingested, fingerprinted)
        # What is in the pool: as it was read, or what the screening left of it.
        made = screened.receipts if screened and config.screening.drops else ingested
        described = _catalog(run, made)
        shards = _shards(made)
        fingerprinted = fingerprinted or _fingerprint(run, base, ingested)
        embedded = _embed(run, config, made, described, shards, encoder)
        rows = tuple(receipt.rows for receipt in embedded)
        checksums = tuple(checksum for receipt in embedded for checksum in receipt.checksums().values())
        vectors = indexing.Vectors(folder / layout.VECTORS, tuple(shards), rows, checksums)
        indexed = indexing.build_index(run, vectors, config.index, run.outputs(embedded, layout.VECTORS))
        _write_checksums(run, [*made, described, *fingerprinted, *embedded, *indexed])
        _describe(run, config, (sources, looked_for), ingested, made, screened, described, embedded, indexed)
    return Pool(folder)


def _shown(config: PoolConfig, exclude: dict[str, Any] | None = None) -> dict[str, Any]:
    """A pool's configuration as it is stored: an encoder's address may have a key in it. Without a screening that is off."""
    plain = config.model_dump(mode="json", exclude=exclude)
    shown = {**plain, "encoder": {**plain["encoder"], "name": redacted(plain["encoder"]["name"])}}
    if not config.screening.looks:
        del shown["screening"]
    return shown


def _ingest(run: Run, config: PoolConfig, sources: Sequence[Source], strict: bool, encoder: Encoder | None) -> list[Receipt]:
    corpus = config.corpus.model_copy(update={"inputs": ()})  # each task has its own source
    counts_with = load_tokenizer(config.chunking.tokenizer).fingerprint if config.chunking.tokenizer else None
    base = screening.base_of(run.folder, config.screening)
    place = _place(run, base)
    version = config_hash(
        corpus, config.chunking, counts_with, ingest.VERSION, layout.SHARD_CHARACTERS, layout.SHARD_DOCUMENTS, *place
    )
    this_run = uuid4().hex
    tasks = [
        Task(
            "ingest",
            f"{number:05d}",
            ingest.ingest,
            (group, number, corpus, config.chunking, run.folder, strict, this_run, base),
            version,
            named_fingerprints(group),
        )
        for number, group in enumerate(grouped(sources))
    ]

    def following(ready: ShardReady) -> list[Task]:
        if ready.run != this_run:
            return []
        follow = [_fingerprint_task(run, base, ready.name, ready.chunks)]
        if encoder is not None and encoder.quick and not config.screening.drops:
            follow.insert(0, _embed_task(run, config, encoder, ready.name, {ready.name: ready.chunks}))
        return follow

    # Sources that are a shard or less are done before anything could follow; starting workers for them takes longer.
    large = any(source.bytes is None or source.bytes > layout.SOURCE_GROUP_BYTES for source in sources)
    owns = ("/".join((*place, layout.DOCUMENTS)), "/".join((*place, layout.CHUNKS)), layout.REJECTS)
    receipts = run.stage(tasks, "documents", None, owns=owns, following=following if large else None)
    rejected = sum(receipt.info["rejected"] for receipt in receipts)
    if rejected and strict:
        raise NextlongError(
            f"{rejected:,} rows were rejected; see {run.folder / layout.REJECTS}.", "Without --strict they are set aside."
        )
    if not sum(receipt.rows for receipt in receipts):
        raise NextlongError(
            f"No document was found in {len(sources)} sources ({rejected:,} rows rejected).",
            f"See {run.folder / layout.REJECTS} for the reasons." if rejected else "Are the sources empty?",
        )
    return receipts


def grouped(sources: Sequence[Source]) -> list[list[Source]]:
    """Neighbouring small sources together, so that thousands of them do not become thousands of shards."""
    groups: list[list[Source]] = []
    held = 0
    for source in sources:
        size = layout.SOURCE_GROUP_BYTES if source.bytes is None else source.bytes
        if not groups or held + size > layout.SOURCE_GROUP_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(source)
        held += size
    return groups


def _place(run: Run, base: Path) -> tuple[str, ...]:
    """Where documents are written as they are read, in words of the pool's folder."""
    return base.relative_to(run.folder).parts


def _shards(made: Iterable[Receipt]) -> list[str]:
    """Names of the chunk shards, in corpus order."""
    return list(_chunk_checksums(made))


def _chunk_checksums(made: Iterable[Receipt]) -> dict[str, str]:
    """Shard name → checksum of its chunks, in corpus order."""
    outputs = ((path, checksum) for receipt in made for path, checksum in sorted(receipt.checksums().items()))
    return {Path(path).stem: checksum for path, checksum in outputs if Path(path).parent.name == layout.CHUNKS}


def _catalog(run: Run, made: Sequence[Receipt]) -> Receipt:
    documents = {
        path: checksum
        for receipt in made
        for path, checksum in receipt.checksums().items()
        if path.startswith(layout.DOCUMENTS)
    }
    task = Task("catalog", "all", catalog.catalog, (run.folder, _shards(made)), config_hash(catalog.VERSION), documents)
    files = run.outputs(made, layout.DOCUMENTS)
    return run.stage([task], "documents", None, owns=(layout.CATALOG,), reads=lambda _: files)[0]


def _fingerprint(run: Run, base: Path, ingested: Sequence[Receipt]) -> list[Receipt]:
    tasks = [_fingerprint_task(run, base, shard, chunks) for shard, chunks in _chunk_checksums(ingested).items()]
    total = sum(receipt.info["chunks"] for receipt in ingested)
    place = _place(run, base)
    reads = run.outputs_by_name(ingested, *(place or (layout.CHUNKS,)))
    return run.stage(tasks, "chunks", total, owns=("/".join((*place, layout.FINGERPRINTS)),), reads=reads)


def _fingerprint_task(run: Run, base: Path, shard: str, chunks: str) -> Task:
    version = config_hash(fingerprints.VERSION, *_place(run, base))
    return Task("fingerprint", shard, fingerprints.fingerprint, (base, shard), version, {shard: chunks})


def _embed(
    run: Run,
    config: PoolConfig,
    made: Sequence[Receipt],
    described: Receipt,
    shards: Sequence[str],
    encoder: Encoder | None,
) -> list[Receipt]:
    fitted, inputs = None, {}
    checksums = _chunk_checksums(made)
    if encoder is None:
        fitted = embed.fitted_path(run.folder)
        run.require_intact(run.outputs([described], layout.CATALOG))
        table = catalog.read_shards(run.folder)
        arguments = (run.folder, table, config.encoder)
        task = Task("fit", "encoder", embed.fit, arguments, config_hash(config.encoder, embed.VERSION), checksums)
        chunks = run.outputs(made, layout.CHUNKS)
        encoders = run.stage([task], "chunks", None, owns=(layout.ENCODER,), reads=lambda _: chunks)
        run.require_intact(run.outputs(encoders, layout.ENCODER))
        inputs = encoders[0].checksums()
        encoder = load_encoder(config.encoder, fitted)
    else:
        run.drop("fit", layout.ENCODER)
    tasks = [_embed_task(run, config, encoder, shard, {shard: checksums[shard], **inputs}, fitted) for shard in shards]
    needs = Needs(workers=encoder.max_workers, model=True, gpu=encoder.takes_gpu)
    reads = run.outputs_by_name(made, layout.DOCUMENTS, layout.CHUNKS)
    return run.stage(tasks, "chunks", described.info["chunks"], owns=(layout.VECTORS,), needs=needs, reads=reads)


def _embed_task(
    run: Run, config: PoolConfig, encoder: Encoder, shard: str, inputs: dict[str, str], fitted: Path | None = None
) -> Task:
    version = config_hash(encoder.fingerprint, embed.VERSION)
    arguments = (run.folder, shard, config.encoder, fitted, encoder.fingerprint)
    return Task("embed", shard, embed.embed, arguments, version, inputs)


def _write_checksums(run: Run, receipts: Sequence[Receipt]) -> None:
    """Put the checksums of all that may be read from the pool into one file: there may be very many receipts."""
    files = {path: checksum for receipt in receipts for path, checksum in receipt.checksums().items()}
    write_json(
        run.folder / layout.CHECKSUMS,
        {path: checksum for path, checksum in files.items() if path.split("/")[0] not in _NOT_READ},
    )


def _describe(
    run: Run,
    config: PoolConfig,
    sources: tuple[Sequence[Source], Sequence[Source]],
    ingested: Sequence[Receipt],
    made: Sequence[Receipt],
    screened: Screened | None,
    described: Receipt,
    embedded: Sequence[Receipt],
    indexed: Sequence[Receipt],
) -> None:
    counts = {name: sum(receipt.info[name] for receipt in ingested) for name in _COUNTED}
    counts |= {name: sum(receipt.info[name] for receipt in made) for name in ("documents", "chunks", "characters")}
    counts["largest_chunk"] = max(receipt.info["largest_chunk"] for receipt in made)
    counts["zero_vectors"] = sum(receipt.info["zero_vectors"] for receipt in embedded)
    counts["repeated_documents"] = described.info["repeated"]
    if screened:
        counts |= screened.counts
    reasons: dict[str, int] = {}
    for receipt in ingested:
        for reason, amount in receipt.info["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + amount
    made_of = [described.checksums(), _chunk_checksums(made), *(receipt.checksums() for receipt in embedded)]
    plain = _shown(config)
    plain["corpus"]["inputs"] = [source.name for source in sources[0]]  # no credentials, no patterns
    if sources[1]:
        plain["screening"]["decontaminate"] = [source.name for source in sources[1]]
    content: dict[str, Any] = {
        "id": config_hash(made_of, indexed[-1].info, *(receipt.checksums() for receipt in indexed)),
        "chunks_id": config_hash(_chunk_checksums(made)),
        "checksums": checksum(run.folder / layout.CHECKSUMS),
        "nextlong": nextlong.__version__,
        "config": plain,
        "counts": counts,
        "rejected": dict(sorted(reasons.items())),
        **({"screening": screened.figures} if screened else {}),
        "zero_vectors": [name for receipt in embedded for name in receipt.info["zero_examples"]][:_SHOWN_ZERO_VECTORS],
        "dimensions": embedded[0].info["dimensions"],
        "index": indexed[-1].info,
    }
    for store in (run.folder / layout.TOKENS).glob("*"):
        if not store.name.startswith(content["chunks_id"]):  # tokens of chunks that are no more
            remove_folder(store)
    remove_outdated(run.folder, content["id"])
    write_description(run.folder / layout.DESCRIPTION, content)
