"""What is asked for, checked before anything is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nextlong.config import ExportConfig, MixConfig
from nextlong.errors import NextlongError, UsageError
from nextlong.exporting.order import least_weight, mixed, sequences_in_a_row, whole_weights
from nextlong.exporting.parts import Source, open_source, open_sources
from nextlong.formats.registry import check_merge, check_packing, token_dtype
from nextlong.sizes import format_length


@dataclass(frozen=True)
class Request:
    """An export that was found to make sense.

    Attributes:
        kind: ``export`` of one dataset, or ``mix``.
        config: what was asked for.
        sources: the parts.
        length: tokens of a row.
        per_row: for each part, how many of its sequences stand in a row.
        wanted: how many rows were asked for; None for as many as there can be.
        seed: of the order of a part's sequences; None for that of the dataset.
    """

    kind: Literal["export", "mix"]
    config: ExportConfig | MixConfig
    sources: tuple[Source, ...]
    length: int
    per_row: tuple[int, ...]
    wanted: int | None = None
    seed: int | None = None

    @property
    def weights(self) -> list[int]:
        """Of the parts, as whole numbers."""
        return whole_weights([source.weight for source in self.sources])

    def rows_of(self, sequences: Sequence[int]) -> list[int]:
        """How many rows each part can give, if it has so many sequences."""
        return [available // count for available, count in zip(sequences, self.per_row, strict=True)]


def export_request(dataset: Path, config: ExportConfig) -> Request:
    """Check an export of one dataset.

    Raises:
        UsageError: it makes no sense.
        NextlongError: the dataset, its pool or the tokenizer cannot be used.
    """
    source = open_source(dataset, tokenizer=config.tokenizer, length=config.length)
    length = config.length or source.length
    request = Request("export", config, (source,), length, (sequences_in_a_row(source.length, length, str(dataset)),))
    return _checked(request)


def mix_request(config: MixConfig) -> Request:
    """Check a mix.

    Raises:
        UsageError: it makes no sense.
        NextlongError: a dataset, its pool or the tokenizer cannot be used.
    """
    sources = open_sources(config.parts)
    length = config.length or max(source.length for source in sources)
    per_row = tuple(sequences_in_a_row(source.length, length, f"the part {source.name}") for source in sources)
    wanted = None if config.tokens is None else math.ceil(config.tokens / length)
    return _checked(Request("mix", config, tuple(sources), length, per_row, wanted, config.seed))


def _checked(request: Request) -> Request:
    config, sources = request.config, request.sources
    packed = [source for source, count in zip(sources, request.per_row, strict=True) if count > 1]
    if packed:
        check_packing(config.format, all(source.session.eos for source in packed))
    token_dtype(config.format, config.dtype, sources[0].session.joiner().tokenizer.vocabulary_size)
    check_merge(config.format, config.merge)
    if not sources[0].retokenized:  # else it is known when they are tokenised
        rows_taken(request, [source.sequences for source in sources])
    return request


def rows_taken(request: Request, sequences: Sequence[int]) -> list[int]:
    """The part of each row.

    Args:
        request: the export.
        sequences: how many sequences each part can give.

    Raises:
        UsageError: a part would be in no row, for its weight or for the few rows that are asked for.
        NextlongError: there is no row, or there are fewer than asked for.
    """
    rows_of = request.rows_of(sequences)
    for source, available, count, amount in zip(request.sources, sequences, request.per_row, rows_of, strict=True):
        if not amount:
            raise NextlongError(
                f"{source.folder} gives no row: a row of {request.length:,} tokens takes {count:,} of its sequences, and it "
                f"has {available:,}.",
                "Make more sequences, or take a shorter --length.",
            )
    parts = mixed(request.weights, rows_of, request.wanted)
    if request.wanted is not None and len(parts) < request.wanted:
        gives = ", ".join(f"{source.name} {amount:,}" for source, amount in zip(request.sources, rows_of, strict=True))
        weights = " : ".join(f"{source.weight:g}" for source in request.sources)
        raise NextlongError(
            f"{request.wanted:,} rows of {format_length(request.length)} tokens were asked for. The parts can give so many "
            f"rows: {gives}; at the weights {weights} that makes {len(parts):,}.",
            f"Ask for at most --tokens {len(parts) * request.length}, leave --tokens away for all there are, change the "
            "weights, or make more sequences.",
        )
    for source in request.sources:
        if source.number not in parts:
            raise _in_no_row(request, source, rows_of, len(parts))
    return parts


def _in_no_row(request: Request, source: Source, rows_of: Sequence[int], rows: int) -> UsageError:
    parts, length = len(request.sources), format_length(request.length)
    if request.wanted is not None and request.wanted < parts:
        return UsageError(
            f"A mix of {rows:,} rows of {length} tokens has no room for all {parts} parts: {source.folder} would have none.",
            f"Ask for --tokens {parts * request.length} or more, or leave parts away.",
        )
    least = least_weight([each.weight for each in request.sources], source.number, rows_of, request.wanted)
    weight = "a greater weight" if least is None else f"the weight {least:g} or more"
    more = "" if request.wanted is None else "ask for more --tokens, "
    return UsageError(
        f"With the weight {source.weight:g} {source.folder} would be in none of the {rows:,} rows.",
        f"Give it {weight}, {more}or leave it away.",
    )
