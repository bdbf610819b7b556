"""``nextlong index``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

import nextlong
from nextlong.cli import options
from nextlong.cli.plan import print_pool_plan
from nextlong.cli.summary import print_pool
from nextlong.cli.terminal import console, name, say


def index(
    out: options.Out,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CORPUS...", help="Files, folders, patterns, URLs, hf:NAME[:SPLIT], or demo.", show_default=False
        ),
    ] = None,
    recipe: options.Recipe = None,
    text_column: options.TextColumn = None,
    id_column: options.IdColumn = None,
    strict: options.Strict = False,
    chunker: options.Chunker = None,
    granularity: options.Granularity = None,
    cap: options.Cap = None,
    chunk_tokenizer: options.ChunkTokenizer = None,
    decontaminate: options.Decontaminate = None,
    evaluation_field: options.EvaluationField = None,
    contaminated: options.Contaminated = None,
    ngram_words: options.NgramWords = None,
    max_ngram_documents: options.MaxNgramDocuments = None,
    deduplicate: options.Deduplicate = None,
    duplicate_jaccard: options.DuplicateJaccard = None,
    encoder: options.Encoder = None,
    window: options.Window = None,
    batch_size: options.BatchSize = None,
    dimensions: options.Dimensions = None,
    prompt: options.Prompt = None,
    device: options.Device = None,
    endpoint_model: options.EndpointModel = None,
    trust_remote_code: options.TrustRemoteCode = False,
    index: options.IndexKind = None,
    recall_target: options.RecallTarget = None,
    workers: options.Workers = None,
    executor: options.Executor = "local",
    ray_address: options.RayAddress = None,
    overwrite: options.Overwrite = False,
    plan: options.Plan = False,
    quiet: options.QuietOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Make a pool: chunk, embed and index a corpus. Run it again to go on where it stopped."""
    sections = options.pool_sections(locals())
    if plan:
        print_pool_plan(inputs or [], recipe, sections, workers, console())
        return
    progress = options.shown(quiet, as_json)
    pool = nextlong.build_pool(
        inputs or [],
        out,
        recipe=recipe,
        workers=workers,
        executor=executor,
        ray_address=ray_address,
        overwrite=overwrite,
        strict=strict,
        progress=progress,
        **sections,
    )
    if as_json:
        typer.echo(json.dumps(pool.description))
    elif not quiet:
        print_pool(pool, console())
        say(f"\nNext: nextlong synthesize {name(out)} --out DATASET --length 128K --tokens 100M --tokenizer NAME_OR_FOLDER")
