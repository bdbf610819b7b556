"""Options that several subcommands share, named as in the configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from nextlong.cli.terminal import errors_for_people
from nextlong.errors import UsageError
from nextlong.execution.object_path import located
from nextlong.execution.progress import Progress, Quiet, Shown
from nextlong.plain_yaml import load_yaml

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_CORPUS, _CHUNKS, _SCREENING, _ENCODER, _RUN = "Corpus", "Chunks", "Screening", "Vectors and index", "Run"

Out = Annotated[Path, typer.Option("--out", help="The folder to write.", show_default=False, parser=located, metavar="PATH")]
Recipe = Annotated[Path | None, typer.Option(help="A recipe file; options override it.", show_default=False)]

MovedPool = Annotated[
    Path | None,
    typer.Option("--pool", help="Where the dataset's pool is now, if it was moved.", parser=located, metavar="PATH"),
]

SampleSize = Annotated[
    int | None,
    typer.Option(
        "--sample", help="Sequences to make figures of, at most. (default: 4096; fewer long ones, of 64M tokens)", min=1
    ),
]

SampleSeed = Annotated[int, typer.Option("--seed", help="Which sequences, or chunks of a pool, are drawn.", min=0)]

TextColumn = Annotated[str | None, typer.Option(help="Column of the text. (default: text)", rich_help_panel=_CORPUS)]
IdColumn = Annotated[
    str | None,
    typer.Option(help="Column of the id. (default: id where there is one, else from the text)", rich_help_panel=_CORPUS),
]
Strict = Annotated[bool, typer.Option("--strict", help="Make a bad row fatal.", rich_help_panel=_CORPUS)]

Chunker = Annotated[str | None, typer.Option(help="lossless, paper or tokens. (default: lossless)", rich_help_panel=_CHUNKS)]
Granularity = Annotated[
    str | None,
    typer.Option(help="Size of a chunk in characters (tokens for `tokens`). (default: 2048)", rich_help_panel=_CHUNKS),
]
Cap = Annotated[
    str | None, typer.Option(help="Most characters of a chunk. (default: twice the granularity)", rich_help_panel=_CHUNKS)
]
ChunkTokenizer = Annotated[
    str | None, typer.Option(help="What the chunker `tokens` counts with.", rich_help_panel=_CHUNKS, show_default=False)
]

Decontaminate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILES",
        help="Evaluation data: chunks that share a run of words with it are dropped. May be repeated.",
        rich_help_panel=_SCREENING,
    ),
]
EvaluationField = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Take its texts from this field only; may be repeated. (default: all)",
        rich_help_panel=_SCREENING,
    ),
]
Contaminated = Annotated[
    str | None,
    typer.Option(
        help="Drop contaminated chunks, or documents; or only report them. (default: chunks)", rich_help_panel=_SCREENING
    ),
]
NgramWords = Annotated[int | None, typer.Option(help="Words of a run. (default: 13)", rich_help_panel=_SCREENING)]
MaxNgramDocuments = Annotated[
    int | None,
    typer.Option(help="Runs in more documents of the corpus do not count. (default: all do)", rich_help_panel=_SCREENING),
]
Deduplicate = Annotated[
    str | None,
    typer.Option(
        help="Chunks that are copies of earlier ones: off, report or drop. (default: off)", rich_help_panel=_SCREENING
    ),
]
DuplicateJaccard = Annotated[
    float | None,
    typer.Option(help="Copies have 5-word shingles this similar. (default: 0.8)", rich_help_panel=_SCREENING),
]

Encoder = Annotated[
    str | None,
    typer.Option(
        help="static, minilm, lsa, sentence-transformers:NAME or endpoint:URL. (default: static)", rich_help_panel=_ENCODER
    ),
]
Window = Annotated[
    int | None,
    typer.Option(help="Most characters encoded at once; a chunk is the mean of its windows.", rich_help_panel=_ENCODER),
]
BatchSize = Annotated[int | None, typer.Option(help="Texts per call of the model.", rich_help_panel=_ENCODER)]
Dimensions = Annotated[int | None, typer.Option(help="Width of the vectors.", rich_help_panel=_ENCODER)]
Prompt = Annotated[str | None, typer.Option(help="Text put before every chunk.", rich_help_panel=_ENCODER)]
Device = Annotated[str | None, typer.Option(help="cuda, cpu, … for sentence-transformers.", rich_help_panel=_ENCODER)]
EndpointModel = Annotated[
    str | None, typer.Option("--endpoint-model", help="Model name in an endpoint's requests.", rich_help_panel=_ENCODER)
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let a hub model run its own code here.", rich_help_panel=_ENCODER)
]
IndexKind = Annotated[
    str | None, typer.Option("--index", help="flat, ivf, cuvs (a GPU) or auto. (default: auto)", rich_help_panel=_ENCODER)
]
RecallTarget = Annotated[
    float | None,
    typer.Option(help="Share of exact neighbours that ivf must find. (default: 0.95)", rich_help_panel=_ENCODER),
]

Format = Annotated[
    str | None,
    typer.Option(help="parquet, jsonl, mds, megatron or numpy. (default: parquet)", rich_help_panel="Output"),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="Type of a token in megatron and numpy: uint16, int32 or uint32. (default: the smallest that holds all)",
        rich_help_panel="Output",
    ),
]
Merge = Annotated[
    bool | None,
    typer.Option(
        "--merge/--no-merge",
        help="Join the shards to one. (default: as the format's readers want)",
        rich_help_panel="Output",
    ),
]

Workers = Annotated[
    int | None, typer.Option(min=1, help="The most processes at once. (default: one a core)", rich_help_panel=_RUN)
]
Executor = Annotated[
    str,
    typer.Option("--executor", help="What runs the work: local, this machine; or ray, a Ray cluster.", rich_help_panel=_RUN),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="The Ray cluster: HOST:PORT, or auto. (default: $RAY_ADDRESS, else one is started on this machine)",
        rich_help_panel=_RUN,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Do again what depends on a changed configuration.", rich_help_panel=_RUN)
]
Plan = Annotated[bool, typer.Option("--plan", help="Print what would be done, and stop.", rich_help_panel=_RUN)]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.", rich_help_panel=_RUN)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=_RUN)]


# Option → where it stands in the pool's configuration.
_POOL_KEYS = {
    "text_column": ("corpus", "text_column"),
    "id_column": ("corpus", "id_column"),
    "chunker": ("chunking", "chunker"),
    "granularity": ("chunking", "granularity"),
    "cap": ("chunking", "cap"),
    "chunk_tokenizer": ("chunking", "tokenizer"),
    "decontaminate": ("screening", "decontaminate"),
    "evaluation_field": ("screening", "evaluation_fields"),
    "contaminated": ("screening", "contaminated"),
    "ngram_words": ("screening", "ngram_words"),
    "max_ngram_documents": ("screening", "max_ngram_documents"),
    "deduplicate": ("screening", "deduplicate"),
    "duplicate_jaccard": ("screening", "duplicate_jaccard"),
    "encoder": ("encoder", "name"),
    "window": ("encoder", "window"),
    "batch_size": ("encoder", "batch_size"),
    "dimensions": ("encoder", "dimensions"),
    "prompt": ("encoder", "prompt"),
    "device": ("encoder", "device"),
    "endpoint_model": ("encoder", "model"),
    "trust_remote_code": ("encoder", "trust_remote_code"),
    "index": ("index", "kind"),
    "recall_target": ("index", "recall_target"),
}


def pool_sections(options: dict[str, Any]) -> dict[str, Any]:
    """The sections of a pool's configuration from a command's options by name; what is not given is left out."""
    sections: dict[str, Any] = {section: {} for section, _ in _POOL_KEYS.values()}
    for option, (section, key) in _POOL_KEYS.items():
        value = options[option]
        sections[section][key] = (tuple(value) or None) if isinstance(value, list) else value
    # The one switch: not given, it leaves the recipe's value alone.
    sections["encoder"]["trust_remote_code"] = options["trust_remote_code"] or None
    return given(sections)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Nested options without those that were not given (None), and without sections that are then empty."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        inner = given(value) if isinstance(value, dict) else value
        if inner is not None and inner != {}:
            result[name] = inner
    return result


def parsed(assignments: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as a dictionary; values are read as YAML, so that numbers are numbers.

    Raises:
        UsageError: one is no assignment.
    """
    result: dict[str, Any] = {}
    for each in assignments:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise UsageError(f"--option {each} is no NAME=VALUE.", "For example: --option min_score=3.0")
        if name in result:
            raise UsageError(f"--option {name} is given twice.", "Give each name once.")
        try:
            result[name] = load_yaml(value)
        except ValueError as error:
            raise UsageError(f"--option {each} has a value that cannot be read: {error}") from error
    return result


def shown(quiet: bool, as_json: bool) -> Progress:
    """Progress for the terminal; none with ``--quiet``."""
    return Quiet() if quiet or as_json else Shown()


def friendly(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Errors for people, and the exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 ended."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with errors_for_people():
            return command(*args, **kwargs)

    return run
