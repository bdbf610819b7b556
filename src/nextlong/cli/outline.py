"""One sequence in a terminal: its outline, and its text with the roles in colour."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextlong.cli.terminal import cell
from nextlong.inspection.opened import DOCUMENT, META, Sample, Spans
from nextlong.pool.pool import Pool
from nextlong.public_text import printable

# Of a shortened outline the first and the last of a group's negatives are shown, so that similarity by rank is seen.
_SHOWN_FIRST, _SHOWN_LAST = 3, 1
_SHOWN_GROUPS = 3
_EXCERPT = 50
# Roles by number: told apart without colours, too.
_STYLES = ("bold green", "", "bold cyan")


def print_outline(pool: Pool, sample: Sample, console: Console, whole: bool = False) -> None:
    """The first sequence of a sample: which chunk of which document stands where, in which role, how similar.

    Args:
        pool: what it was made from.
        sample: the sequence.
        console: where to print.
        whole: print all chunks.
    """
    spans = sample.spans.of(0)
    groups = np.unique(spans.groups).tolist()
    kind = "documents" if DOCUMENT in spans.roles else "meta-chunks"
    title = f"Outline of {sample.ids[0]} (root document {sample.roots[0]}, {len(groups)} {kind})"
    table = Table(title=cell(title, "bold"), title_justify="left", box=None, pad_edge=False, expand=False)
    table.add_column("tokens", style="dim", no_wrap=True, min_width=15)
    table.add_column("role", style="dim", no_wrap=True, min_width=12)
    table.add_column("score", style="dim", no_wrap=True, min_width=5, justify="right")
    table.add_column("document:chunk", no_wrap=True, max_width=36)
    table.add_column("begins", no_wrap=True, max_width=_EXCERPT)
    if whole:  # in the order of the tokens, in which the groups of some methods are interleaved
        for place in range(len(spans.chunks)):
            table.add_row(*_row(pool, spans, place))
        console.print(table)
        return
    for group in groups[:_SHOWN_GROUPS]:
        # A negative without a rank was drawn at random; there is nothing to see in many of them.
        own = np.flatnonzero(
            (spans.groups == group) & ((spans.roles == META) | (spans.ranks > 0) | (spans.roles == DOCUMENT))
        )
        hidden = len(own) - _SHOWN_FIRST - _SHOWN_LAST - 1
        shown = own if hidden <= 0 else np.concatenate([own[: _SHOWN_FIRST + 1], own[-_SHOWN_LAST:]])
        for number, place in enumerate(shown.tolist()):
            if hidden > 0 and number == _SHOWN_FIRST + 1:
                table.add_row("…", f"{hidden} more", "", "", "")
            table.add_row(*_row(pool, spans, place))
    if len(groups) > _SHOWN_GROUPS:
        table.add_row("…", f"{len(groups) - _SHOWN_GROUPS} more groups", "", "", "")
    console.print(table)


def _row(pool: Pool, spans: Spans, place: int) -> list[str | Text]:
    rank, role = int(spans.ranks[place]), int(spans.roles[place])
    return [
        f"{spans.token_starts[place]:,}-{spans.token_ends[place]:,}",
        Text(role_of(spans, place), style="bold" if role == META else ""),
        f"{spans.scores[place]:.2f}" if rank else "",
        cell(chunk_name(pool, int(spans.chunks[place]))),
        cell(" ".join(pool.head(int(spans.chunks[place]), _EXCERPT * 2).split())),
    ]


def role_of(spans: Spans, place: int) -> str:
    """What a chunk is, in words: ``meta-chunk``, ``negative 3``, ``document``."""
    rank = int(spans.ranks[place])
    return ("meta-chunk", f"negative {rank}" if rank else "negative", "document")[int(spans.roles[place])]


def chunk_name(pool: Pool, chunk: int) -> str:
    """A chunk's document and its position in it."""
    one = np.array([chunk])
    return f"{pool.document_ids(pool.documents_of(one))[0]}:{pool.positions_of(one)[0]}"


def print_text(pool: Pool, sample: Sample, console: Console) -> None:
    """The text of the first sequence of a sample, chunk by chunk, each under a line that says what it is."""
    spans = sample.spans.of(0)
    for place, chunk in enumerate(spans.chunks.tolist()):
        style = _STYLES[int(spans.roles[place])]
        score = f", score {spans.scores[place]:.2f}" if spans.ranks[place] else ""
        tokens = f"tokens {spans.token_starts[place]:,}-{spans.token_ends[place]:,}"
        head = f"── {role_of(spans, place)}: {chunk_name(pool, chunk)}, {tokens}{score}"
        console.print(cell(head, f"dim {style}"))
        # The last chunk of a sequence may be cut off in its row: this is the whole chunk.
        console.print(Text(printable(pool.texts([chunk])[0]), style=style))
