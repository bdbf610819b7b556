"""Typed, validated configuration of a pool and of a dataset.

A recipe is a YAML file with the sections ``pool`` and ``dataset``; the command line and the Python functions take the
same keys. An unknown key is an error. Every part that a stage depends on hashes into the stage's receipts.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, Literal, TypeVar

import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from nextlong.errors import UsageError
from nextlong.plain_yaml import load_yaml
from nextlong.sizes import Count, Length


class Part(BaseModel):
    """A section of the configuration: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class CorpusConfig(Part):
    """What to read.

    Attributes:
        inputs: files, folders, glob patterns, fsspec URLs, ``hf:NAME[:SPLIT]`` for a Hugging Face dataset by name or a
            ``save_to_disk`` folder, or ``demo`` for the built-in corpus.
        text_column: the column that holds the text.
        id_column: the column that holds the id; None takes ``id`` where a row has one and derives the rest from the text.
    """

    inputs: tuple[str, ...] = ()
    text_column: str = "text"
    id_column: str | None = None


class ChunkingConfig(Part):
    """How documents become chunks (paper §3.1).

    Attributes:
        chunker: ``lossless``, ``paper`` (the authors' released chunker) or ``tokens``.
        granularity: the size s of a chunk, in characters; in tokens for the ``tokens`` chunker.
        cap: the most characters (tokens) that a chunk of ``lossless`` (``tokens``) may have; None is twice the granularity.
        tokenizer: what ``tokens`` counts with.
    """

    chunker: Literal["lossless", "paper", "tokens"] = "lossless"
    granularity: Length = 2048
    cap: Length | None = None
    tokenizer: str | None = None


class ScreeningConfig(Part):
    """What is looked for in the corpus before it is indexed: copies, and text of evaluation data.

    Attributes:
        decontaminate: evaluation data, named as the inputs of a corpus are: files, folders, patterns, URLs. Chunks that
            share a run of words with them are contaminated.
        evaluation_fields: of JSON and tables, take strings below keys, or in columns, of these names only; empty takes all.
        contaminated: drop contaminated ``chunks``, or their whole ``documents``; or only ``report`` them.
        ngram_words: how many words a run has.
        max_ngram_documents: runs that are in more documents of the corpus than this do not count; None: all do.
        deduplicate: ``off``; ``report`` chunks that are copies of earlier ones; or ``drop`` them.
        duplicate_jaccard: chunks whose 5-word shingles have this Jaccard similarity (MinHash estimate) or more are copies;
            text equal after white-space folding is one in any case.
    """

    decontaminate: tuple[str, ...] = ()
    evaluation_fields: tuple[str, ...] = ()
    contaminated: Literal["chunks", "documents", "report"] = "chunks"
    ngram_words: int = Field(default=13, ge=5, le=100)
    max_ngram_documents: int | None = Field(default=None, gt=0)
    deduplicate: Literal["off", "report", "drop"] = "off"
    duplicate_jaccard: float = Field(default=0.8, ge=0.7, le=1)

    @field_validator("deduplicate", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        return "off" if value is False else value  # what YAML makes of it

    @property
    def looks(self) -> bool:
        """Whether anything is looked for."""
        return self.deduplicate != "off" or bool(self.decontaminate)

    @property
    def drops(self) -> bool:
        """Whether anything that is found is dropped."""
        return self.deduplicate == "drop" or self.drops_contaminated

    @property
    def drops_contaminated(self) -> bool:
        """Whether what shares words with evaluation data is dropped."""
        return bool(self.decontaminate) and self.contaminated != "report"


class EncoderConfig(Part):
    """What turns chunks into vectors.

    Attributes:
        name: ``static``, ``minilm``, ``lsa``, ``sentence-transformers:NAME``, ``endpoint:URL``; the first two also with
            the folder of another model, as ``static:FOLDER``.
        window: the most characters encoded at once; longer chunks are the mean of their windows. None is the encoder's own.
        batch_size: texts per call of the model.
        dimensions: truncate vectors to this width (for models trained for it), or the width of ``static`` and ``lsa``.
        prompt: text put before every chunk, for models trained with one.
        device: for ``sentence-transformers``: ``cuda``, ``cpu``, …; None is a GPU when there is one.
        model: for ``endpoint``: the model's name in the request.
        trust_remote_code: let a hub model run its own code on this machine.
    """

    name: str = "static"
    window: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=32, gt=0)
    dimensions: int | None = Field(default=None, gt=0)
    prompt: str = ""
    device: str | None = None
    model: str | None = None
    trust_remote_code: bool = False


class IndexConfig(Part):
    """How neighbours are found.

    Attributes:
        kind: ``flat`` (exact), ``ivf``, ``cuvs`` (exact, on an NVIDIA GPU), or ``auto``: flat for a small pool, else ivf.
        recall_target: the share of the exact nearest neighbours that ``ivf`` must find, measured on a sample.
    """

    kind: Literal["auto", "flat", "ivf", "cuvs"] = "auto"
    recall_target: float = Field(default=0.95, gt=0, le=1)


class PoolConfig(Part):
    """Everything a pool is made from."""

    corpus: CorpusConfig = CorpusConfig()
    chunking: ChunkingConfig = ChunkingConfig()
    screening: ScreeningConfig = ScreeningConfig()
    encoder: EncoderConfig = EncoderConfig()
    index: IndexConfig = IndexConfig()


class MiningConfig(Part):
    """Which neighbours of a meta-chunk become its hard negatives; the names are the field's.

    Attributes:
        negatives: ``top`` (the most similar), or an ablation: ``random`` chunks of the pool, ``low`` (the least similar),
            ``self-repeat`` (the root document's own chunks again).
        retrieval: for ``top``, what is similar: ``dense`` (the chunks' vectors), ``bm25`` (their words), or ``hybrid`` (both
            rankings fused).
        scorer: re-rank candidates by how much they help a language model to predict the meta-chunk: ``causal-lm:FOLDER``.
        scorer_depth: how many candidates of each meta-chunk are scored and re-ranked; the others follow in their order.
        scorer_keep: of those scored, keep ``all``, or only what ``helps`` or ``hurts``.
        range_min: skip this many nearest neighbours.
        range_max: never go deeper than this rank; None is the whole pool.
        max_score: drop neighbours with a similarity above this.
        min_score: drop neighbours with a similarity below this.
        relative_margin: drop neighbours whose similarity is above ``1 - relative_margin`` times the similarity of the
            meta-chunk to the most similar other chunk of its own document.
        max_reuse: use a chunk as a negative at most this often in the whole dataset.
        max_jaccard: a neighbour whose 5-word shingles have this Jaccard similarity (MinHash estimate) or more with a chunk
            of the root document, or with a negative already in the sequence, is a copy and dropped; None keeps near-copies
            (text equal after white-space folding is dropped all the same).
    """

    negatives: Literal["top", "random", "low", "self-repeat"] = "top"
    retrieval: Literal["dense", "bm25", "hybrid"] = "dense"
    scorer: str | None = None
    scorer_depth: int = Field(default=32, gt=0)
    scorer_keep: Literal["all", "helps", "hurts"] = "all"
    range_min: int = Field(default=0, ge=0)
    range_max: int | None = Field(default=None, gt=0)
    max_score: float | None = None
    min_score: float | None = None
    relative_margin: float | None = Field(default=None, ge=0, le=1)
    max_reuse: int | None = Field(default=None, gt=0)
    max_jaccard: float | None = Field(default=0.8, gt=0, le=1)


class CompositionConfig(Part):
    """How chunks become a sequence; all but ``method``, ``separator``, ``bos`` and ``eos`` is for ``nextlong`` (paper §3.2).

    Attributes:
        method: ``nextlong``, ``standard``, ``knn``, ``iclm``, ``quest``, ``untie``, or one that a plugin brings.
        mode: ``token-exact`` fills every sequence to exactly T tokens; ``paper`` takes the paper's k negatives for each
            meta-chunk, truncates to T tokens and discards what falls short.
        position: where the meta-chunk stands among its negatives.
        separator: the text between two chunks.
        bos, eos: put the tokenizer's begin (end) token at the start (end) of a sequence, when it defines one.
        min_meta_chunks: the fewest chunks of a root document.
        max_root_fraction: the most of T that a root document may fill (token-exact mode).
        characters_per_token, oversampling: E and w of the paper's formula for k (paper mode).
    """

    method: str = "nextlong"
    mode: Literal["token-exact", "paper"] = "token-exact"
    position: Literal["head", "tail", "random"] = "head"
    separator: str = Field(default="\n\n", min_length=1)
    bos: bool = True
    eos: bool = True
    min_meta_chunks: int = Field(default=2, ge=2)
    max_root_fraction: float = Field(default=0.5, gt=0, lt=1)
    characters_per_token: float = Field(default=4.0, gt=0)
    oversampling: float = Field(default=1.5, gt=0)


class DatasetConfig(Part):
    """Everything a dataset is made from, besides its pool.

    Attributes:
        length: target length T of every sequence, in tokens.
        tokens: how many tokens to make; rounded up to whole sequences.
        roots: how many root documents, and so sequences, to take instead of ``tokens``.
        tokenizer: a folder, a ``tokenizer.json``, a Hugging Face name, or ``tiktoken:ENCODING``.
        seed: of the draw of root documents and of everything random.
        options: the method's own, beside those in ``mining`` and ``composition``: see ``nextlong methods``.
        format: what the rows are written as.
        dtype: what a token is written as, in formats that leave a choice; None is the smallest that holds the vocabulary.
        merge: join the shards to one; None is what readers of the format want.
        license: the dataset card's licence field; the corpus decides it, so there is no default.
    """

    length: Length = 131072
    tokens: Count | None = None
    roots: Count | None = None
    tokenizer: str | None = None
    seed: int = Field(default=0, ge=0, lt=2**64)
    mining: MiningConfig = MiningConfig()
    composition: CompositionConfig = CompositionConfig()
    options: dict[str, Any] = {}
    format: Literal["parquet", "jsonl", "mds", "megatron", "numpy"] = "parquet"
    dtype: Literal["uint16", "int32", "uint32"] | None = None
    merge: bool | None = None
    license: str = "unknown"


class RowsConfig(Part):
    """How rows that are made anew from datasets are written.

    Attributes:
        format: what the rows are written as.
        dtype: what a token is written as, in formats that leave a choice; None is the smallest that holds the vocabulary.
        merge: join the shards to one; None is what readers of the format want.
        license: the data card's licence field; None is that of the datasets, where they agree.
    """

    format: Literal["parquet", "jsonl", "mds", "megatron", "numpy"] = "parquet"
    dtype: Literal["uint16", "int32", "uint32"] | None = None
    merge: bool | None = None
    license: str | None = None


class ExportConfig(RowsConfig):
    """How one dataset is exported.

    Attributes:
        length: tokens of a row: n times the dataset's T packs n sequences to a row; None is T. With another tokenizer, the
            new length of a sequence.
        tokenizer: another tokenizer than the dataset's; None is the dataset's own.
    """

    length: Length | None = None
    tokenizer: str | None = None


class MixPart(Part):
    """A part of a mix.

    Attributes:
        dataset: the folder of a finished dataset.
        weight: its share of the rows, and so of the tokens, relative to the other parts' weights.
    """

    dataset: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class MixConfig(RowsConfig):
    """How rows of several datasets are mixed.

    Attributes:
        parts: the datasets and their weights.
        length: tokens of every row, L; a part with sequences of L/n tokens gives n of them to a row. None is the longest
            sequence length of the parts.
        tokens: how many tokens to make, rounded up to whole rows; None is as many rows as the weights allow.
        seed: of the order in which the sequences of a part are drawn.
    """

    parts: tuple[MixPart, ...] = ()
    length: Length | None = None
    tokens: Count | None = None
    seed: int = Field(default=0, ge=0, lt=2**64)


class Recipe(Part):
    """A recipe file: a pool and a dataset, or a mix of datasets."""

    pool: PoolConfig = PoolConfig()
    dataset: DatasetConfig = DatasetConfig()
    mix: MixConfig = MixConfig()


PartType = TypeVar("PartType", bound=Part)


def config_hash(*parts: object) -> str:
    """A hash of configuration values that is the same on every machine: 16 hexadecimal digits."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return xxhash.xxh3_64_hexdigest(json.dumps(plain, sort_keys=True).encode())


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: the file cannot be read, is no YAML mapping, or has an unknown key or a value of the wrong kind.
    """
    try:
        content = load_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"Cannot read the recipe {path}: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"The recipe {path} is not a mapping with the sections `pool`, `dataset` or `mix`.")
    recipe = validated(Recipe, content, where=f"the recipe {path}")
    if recipe.pool.encoder.trust_remote_code:  # a recipe may come from anybody
        raise UsageError(
            f"The recipe {path} may not trust remote code.",
            "Read the model's code, leave `trust_remote_code` out of the recipe, and give --trust-remote-code.",
        )
    return recipe


def validated(part: type[PartType], values: dict[str, Any], where: str) -> PartType:
    """``part`` from plain values, with errors for people.

    Raises:
        UsageError: names the first wrong key, and the closest right one where there is one.
    """
    try:
        return part.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(step) for step in first["loc"])
        if first["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(first["loc"][-1]), _keys_beside(part, first["loc"]), n=1)
            hint = f"Did you mean `{close[0]}`?" if close else ""
            raise UsageError(f"Unknown key `{key}` in {where}.", hint) from error
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"Wrong value for `{key}` in {where}: {reason}.") from error


def merged(base: PartType, changes: dict[str, Any], where: str) -> PartType:
    """``base`` with ``changes`` (nested dictionaries) put over it, validated."""
    return validated(type(base), _overlay(base.model_dump(), changes), where)


def _overlay(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = _overlay(base[key], value)
        else:
            result[key] = value
    return result


def _keys_beside(part: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for step in location[:-1]:
        field = part.model_fields.get(str(step))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        part = field.annotation
    return list(part.model_fields)
