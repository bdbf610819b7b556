"""The formats by name, and what each can hold."""

from __future__ import annotations

from typing import Any, cast

from nextlong.errors import UsageError
from nextlong.formats import jsonl, mds, megatron, numpy_tokens, parquet
from nextlong.formats.protocol import Format

FORMATS: dict[str, Format] = {
    "parquet": cast(Format, parquet),
    "jsonl": cast(Format, jsonl),
    "mds": cast(Format, mds),
    "megatron": cast(Format, megatron),
    "numpy": cast(Format, numpy_tokens),
}

# Formats that the hub, and so `datasets`, reads.
_ON_THE_HUB = ("parquet", "jsonl")

# Number of token ids that each type can tell apart.
_CAPACITY = {"uint16": 1 << 16, "int32": 1 << 31, "uint32": 1 << 32}


def hub_configs(format: str, folder: str) -> dict[str, Any]:
    """What a data card's front matter says of the files, for the Hugging Face hub; nothing where it cannot read them."""
    if format not in _ON_THE_HUB:
        return {}
    files = [{"split": "train", "path": f"{folder}/*{FORMATS[format].SUFFIXES[0]}"}]
    return {"configs": [{"config_name": "default", "data_files": files}]}


def token_dtype(format: str, asked: str | None, vocabulary_size: int) -> str:
    """What a token is written as: what was asked for, else the smallest type of the format that holds the vocabulary.

    Args:
        format: a name in :data:`FORMATS`.
        asked: ``uint16``, ``int32`` or ``uint32``, or None.
        vocabulary_size: every token id is below it.

    Returns:
        A NumPy type name; "" for a format of text.

    Raises:
        UsageError: the format does not write that type, or the type cannot hold the vocabulary.
    """
    dtypes = FORMATS[format].DTYPES
    if asked is not None and asked not in dtypes:
        raise UsageError(
            f"The format {format} does not write tokens as {asked}.",
            f"It writes {' or '.join(dtypes) or 'text'}; leave --dtype away.",
        )
    if asked is not None and vocabulary_size > _CAPACITY[asked]:
        raise UsageError(
            f"The tokenizer has {vocabulary_size:,} tokens, and {asked} can tell {_CAPACITY[asked]:,} apart: ids above "
            f"{_CAPACITY[asked] - 1:,} would come out as other tokens.",
            "Leave --dtype away: a type that holds them all is then chosen.",
        )
    fitting = [dtype for dtype in dtypes if vocabulary_size <= _CAPACITY[dtype]]
    return asked or (fitting[0] if dtypes else "")


def check_packing(format: str, has_end_token: bool) -> None:
    """Refuse to put several sequences into a row where the format would lose the borders between them.

    Raises:
        UsageError: the mask question would have no answer.
    """
    borders = FORMATS[format].BORDERS
    if borders == "none":
        raise UsageError(
            f"The format {format} cannot say where one sequence of a row ends and the next begins, so a trainer could not "
            "mask between them.",
            "Choose another format, or do not pack.",
        )
    if borders == "end token" and not has_end_token:
        raise UsageError(
            f"In the format {format} only end tokens tell the sequences of a row apart, and these sequences have none.",
            "Make them with --eos and a tokenizer that defines an end token, or choose parquet or mds.",
        )


def check_merge(format: str, merge: bool | None) -> bool:
    """Whether shards are to be joined to one.

    Args:
        format: a name in :data:`FORMATS`.
        merge: what the user asked for; None for what the consumer wants.

    Raises:
        UsageError: the format cannot, or must.
    """
    merges = FORMATS[format].MERGES
    if merge and merges == "never":
        raise UsageError(f"Shards of the format {format} stay apart: its readers take any number of them.")
    if merge is False and merges == "always":
        raise UsageError(f"Readers of the format {format} take one file, so its shards are always joined.")
    return merges == "always" if merge is None else merge
