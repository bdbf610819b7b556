"""The long-range gain on the page: what ``nextlong gain --json`` has measured, by distance, dataset beside dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nextlong.errors import UsageError
from nextlong.inspection.page import plots, tables
from nextlong.public_text import printable, redacted
from nextlong.quality.estimates import Estimate
from nextlong.quality.long_range_gain import Gain, LongRangeGain

_HOW = "Make it with: nextlong gain DATASET… --model FOLDER --json > gain.json"
_SIDES = {
    "over_replaced": "over the same sequence with the document's earlier chunks replaced",
    "over_local": "over the local context alone",
}


def read_gains(path: Path, names: Sequence[str]) -> list[LongRangeGain]:
    """What ``nextlong gain --json`` printed, of the datasets of a page.

    Args:
        path: the file.
        names: what the datasets are called.

    Raises:
        UsageError: it is no such file, or of other datasets.
    """
    try:
        found = TypeAdapter(list[LongRangeGain]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what `nextlong gain --json` prints"
        raise UsageError(f"Cannot read the gains in {path}: {reason}.", _HOW) from error
    found = [replace(each, dataset=printable(redacted(each.dataset), lines=False)) for each in found]
    own = [each for each in found if each.dataset in names]
    if not own:
        others = ", ".join(each.dataset for each in found) or "none"
        raise UsageError(f"The gains in {path} are of other datasets: {others}.", _HOW)
    return own


def gains(names: Sequence[str], found: Sequence[LongRangeGain]) -> str:
    """The section: a plot of each gain, with its numbers."""
    first = found[0]
    looked_at = "; ".join(f"{escape(each.dataset)}: {each.sequences:,} sequences" for each in found)
    about = (
        f'<p class="soft">Nats a token that the model {tables.text(first.model)} gains on a chunk from text of its document '
        f"more than {first.local:,} tokens before it, by the distance of the nearest such text; with 95 % intervals. "
        f"{looked_at}.</p>"
    )
    figures = [
        tables.figure(
            f"Gain {words}", plots.gain_by_distance(names, _points(found, side)), tables.table(*_numbers(found, side))
        )
        for side, words in _SIDES.items()
    ]
    return f'{about}<div class="plots">{"".join(figures)}</div>'


def _points(found: Sequence[LongRangeGain], side: str) -> list[tuple[str, float, Estimate]]:
    """The dataset, the middle of the distances, and the gain there."""
    return [
        (each.dataset, (at.low * at.high) ** 0.5, estimate)
        for each in found
        for at in each.by_distance
        if (estimate := getattr(at.gain, side)) is not None
    ]


def _numbers(found: Sequence[LongRangeGain], side: str) -> tuple[Sequence[str], list[list[tables.Cell]]]:
    rows: list[list[tables.Cell]] = []
    for each in found:
        lines: list[tuple[str, Gain | None]] = [("all", each.same_document)]
        lines += [(f"{at.low:,}-{at.high - 1:,}", at.gain) for at in each.by_distance]
        lines.append(("other documents", each.other_documents))
        for distance, gain in lines:
            if gain is not None:
                rows.append(
                    [each.dataset, distance, gain.chunks, gain.tokens, gain.loss, tables.interval(getattr(gain, side))]
                )
    return ("dataset", "distance", "chunks", "tokens", "loss", "gain"), rows
