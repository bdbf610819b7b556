"""``nextlong synthesize``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

import nextlong
from nextlong.cli import options
from nextlong.cli.plan import print_dataset_plan
from nextlong.cli.summary import print_dataset
from nextlong.cli.terminal import console, name, say
from nextlong.inspection.opened import Dataset

_SIZE, _MINING, _COMPOSITION = "Size", "Mining", "Composition"


def synthesize(
    out: options.Out,
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="POOL|CORPUS...", help="A pool, or a corpus (the pool is then made in OUT/pool).", show_default=False
        ),
    ] = None,
    recipe: options.Recipe = None,
    length: Annotated[str | None, typer.Option(help="Tokens of a sequence. (default: 128K)", rich_help_panel=_SIZE)] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens to make, as 100M or 4B.", rich_help_panel=_SIZE)] = None,
    roots: Annotated[
        str | None,
        typer.Option(
            help="Sequences to make (each has a root document of its own), instead of --tokens.", rich_help_panel=_SIZE
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Folder, tokenizer.json, Hugging Face name, or tiktoken:ENCODING.", rich_help_panel=_SIZE),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="How; `nextlong methods` lists them. (default: nextlong)", rich_help_panel=_SIZE),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the method itself; may be repeated.", rich_help_panel=_SIZE),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draw of roots. (default: 0)", rich_help_panel=_SIZE)] = None,
    format: options.Format = None,
    dtype: options.Dtype = None,
    merge: options.Merge = None,
    license: Annotated[
        str | None, typer.Option(help="Licence for the dataset card. (default: unknown)", rich_help_panel=_SIZE)
    ] = None,
    negatives: Annotated[
        str | None, typer.Option(help="top, random, low or self-repeat. (default: top)", rich_help_panel=_MINING)
    ] = None,
    retrieval: Annotated[
        str | None,
        typer.Option(help="What is similar: dense, bm25 or hybrid. (default: dense)", rich_help_panel=_MINING),
    ] = None,
    range_min: Annotated[int | None, typer.Option(help="Skip so many nearest neighbours.", rich_help_panel=_MINING)] = None,
    range_max: Annotated[int | None, typer.Option(help="Never go deeper than this rank.", rich_help_panel=_MINING)] = None,
    max_score: Annotated[float | None, typer.Option(help="Drop what is more similar.", rich_help_panel=_MINING)] = None,
    min_score: Annotated[float | None, typer.Option(help="Drop what is less similar.", rich_help_panel=_MINING)] = None,
    relative_margin: Annotated[
        float | None,
        typer.Option(
            help="Drop what is closer than (1 - this) times the document's own closest chunk.", rich_help_panel=_MINING
        ),
    ] = None,
    max_reuse: Annotated[
        int | None, typer.Option(help="Use a chunk at most so often in the dataset.", rich_help_panel=_MINING)
    ] = None,
    max_jaccard: Annotated[
        float | None,
        typer.Option(help="Drop copies: 5-word shingles this similar. (default: 0.8)", rich_help_panel=_MINING),
    ] = None,
    keep_near_copies: Annotated[
        bool, typer.Option("--keep-near-copies", help="Drop only exact copies.", rich_help_panel=_MINING)
    ] = False,
    scorer: Annotated[
        str | None,
        typer.Option(help="Re-rank candidates by a language model: causal-lm:FOLDER_OR_NAME.", rich_help_panel=_MINING),
    ] = None,
    scorer_depth: Annotated[
        int | None, typer.Option(help="Candidates of a meta-chunk to re-rank. (default: 32)", rich_help_panel=_MINING)
    ] = None,
    scorer_keep: Annotated[
        str | None,
        typer.Option(help="Of these, keep all, or what helps or hurts. (default: all)", rich_help_panel=_MINING),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="token-exact or paper. (default: token-exact)", rich_help_panel=_COMPOSITION)
    ] = None,
    position: Annotated[
        str | None,
        typer.Option(help="Meta-chunk at the head, tail or random. (default: head)", rich_help_panel=_COMPOSITION),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help=r"Text between chunks; \n is a newline. (default: \n\n)", rich_help_panel=_COMPOSITION)
    ] = None,
    bos: Annotated[
        bool | None,
        typer.Option("--bos/--no-bos", help="Begin token. (default: where defined)", rich_help_panel=_COMPOSITION),
    ] = None,
    eos: Annotated[
        bool | None, typer.Option("--eos/--no-eos", help="End token. (default: where defined)", rich_help_panel=_COMPOSITION)
    ] = None,
    min_meta_chunks: Annotated[
        int | None, typer.Option(help="Fewest chunks of a root. (default: 2)", rich_help_panel=_COMPOSITION)
    ] = None,
    max_root_fraction: Annotated[
        float | None,
        typer.Option(help="Most of a sequence that its root fills. (default: 0.5)", rich_help_panel=_COMPOSITION),
    ] = None,
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
    """Make long sequences from a pool. Run it again to go on where it stopped."""
    sections = options.pool_sections(locals())
    keys: dict[str, Any] = {
        "length": length,
        "tokens": tokens,
        "roots": roots,
        "tokenizer": tokenizer,
        "seed": seed,
        "format": format,
        "dtype": dtype,
        "merge": merge,
        "license": license,
        "mining": {
            "negatives": negatives,
            "retrieval": retrieval,
            "scorer": scorer,
            "scorer_depth": scorer_depth,
            "scorer_keep": scorer_keep,
            "range_min": range_min,
            "range_max": range_max,
            "max_score": max_score,
            "min_score": min_score,
            "relative_margin": relative_margin,
            "max_reuse": max_reuse,
            "max_jaccard": max_jaccard,
        },
        "composition": {
            "method": method,
            "mode": mode,
            "position": position,
            "separator": None if separator is None else separator.replace("\\n", "\n").replace("\\t", "\t"),
            "bos": bos,
            "eos": eos,
            "min_meta_chunks": min_meta_chunks,
            "max_root_fraction": max_root_fraction,
        },
    }
    keys = options.given(keys)
    if option:
        keys["options"] = options.parsed(option)  # apart: a null among them is a value
    if keep_near_copies:
        keys.setdefault("mining", {})["max_jaccard"] = None
    if plan:
        print_dataset_plan(source or [], out, recipe, sections, keys, workers, console())
        return
    card = nextlong.synthesize(
        source or [],
        out,
        recipe=recipe,
        workers=workers,
        executor=executor,
        ray_address=ray_address,
        overwrite=overwrite,
        strict=strict,
        progress=options.shown(quiet, as_json),
        pool=sections,
        **keys,
    )
    if as_json:
        typer.echo(json.dumps(card))
    elif not quiet:
        print_dataset(Dataset(out), console())
        say(f"\nNext: nextlong verify {name(out)}")
