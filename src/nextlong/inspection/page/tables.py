"""Tables of the page: the figures of all datasets, a column each. All text is escaped here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from nextlong.inspection.dataset_figures import DatasetFigures
from nextlong.inspection.distribution import Distribution
from nextlong.public_text import printable
from nextlong.quality.estimates import Estimate
from nextlong.sizes import format_bytes, format_length, format_seconds

Cell = str | int | float


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Rows under headings; the first cell of each row is its own heading."""
    head = "".join(f'<th scope="col">{text(each)}</th>' for each in headings)
    body = "".join(
        f'<tr><th scope="row">{text(str(first))}</th>{"".join(map(_cell, others))}</tr>' for first, *others in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(title: str, plot: str, numbers: str) -> str:
    """A plot with its numbers below it."""
    shown = plot or '<p class="soft">There is nothing to show.</p>'
    details = f"<details><summary>Numbers</summary>{numbers}</details>"
    return f"<figure><figcaption>{escape(title)}</figcaption>{shown}{details}</figure>"


def text(value: str) -> str:
    """Anything that others wrote, as it may stand in the page."""
    return escape(printable(value, lines=False))


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return f"<td>{text(value)}</td>"
    return f'<td class="number">{value:,}</td>' if isinstance(value, int) else f'<td class="number">{_decimal(value)}</td>'


def _decimal(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def summary(names: Sequence[str], figures: Sequence[DatasetFigures]) -> str:
    """What the datasets are."""
    lines: dict[str, Callable[[DatasetFigures], Cell]] = {
        "method": lambda one: one.method,
        "length": lambda one: format_length(one.length),
        "sequences": lambda one: one.counts["sequences"],
        "tokens": lambda one: one.counts["tokens"],
        "tokenizer": lambda one: one.tokenizer,
        "meta-chunks": lambda one: one.counts["meta_chunks"],
        "negatives": lambda one: one.counts["negatives"],
        "tokens wasted": lambda one: one.counts["tokens_wasted"],
        "sequences looked at": lambda one: one.looked_at,
        "of these, tokens of meta-chunks": lambda one: _share(one, "meta"),
        "tokens of negatives": lambda one: _share(one, "negative"),
        "documents in a sequence, mean": lambda one: one.documents_per_sequence.mean,
        "different chunks": lambda one: one.quality.reuse.chunks,
        "different sources": lambda one: one.source_count,
        "folder": lambda one: one.folder,
        "id": lambda one: one.id,
        "made by nextlong": lambda one: one.nextlong,
    }
    return table(["dataset", *names], [[name, *map(value, figures)] for name, value in lines.items()])


def _share(one: DatasetFigures, role: str) -> str:
    return f"{one.tokens_by_role.get(role, 0) / max(1, sum(one.tokens_by_role.values())):.1%}"


def quantiles(names: Sequence[str], distributions: Sequence[Distribution]) -> str:
    """What is known of some numbers of each dataset."""
    parts = ("count", "mean", "least", "low", "median", "high", "most")
    headings = ("dataset", "how many", "mean", "least", "10 %", "median", "90 %", "most")
    return table(
        headings, [[n, *(getattr(one, part) for part in parts)] for n, one in zip(names, distributions, strict=True)]
    )


def amounts(names: Sequence[str], each: Sequence[dict[str, int]], what: str) -> str:
    """An amount for each name of something, a column for each dataset."""
    listed = list(dict.fromkeys(name for one in each for name in one))
    return table([what, *names], [[name, *(one.get(name, 0) for one in each)] for name in listed])


def similarities(names: Sequence[str], figures: Sequence[DatasetFigures]) -> str:
    """Similarity by rank, dataset after dataset."""
    rows: list[list[Cell]] = [
        [name, f"{each.first}-{each.last}", each.negatives, each.mean, each.low, each.median, each.high]
        for name, one in zip(names, figures, strict=True)
        for each in one.similarity_by_rank
    ]
    return table(("dataset", "ranks", "negatives", "mean", "10 %", "median", "90 %"), rows)


def stages(names: Sequence[str], figures: Sequence[DatasetFigures]) -> str:
    """What the stages took."""
    rows: list[list[Cell]] = [
        [name, each.folder, each.stage, f"{each.done:,} {each.unit}", format_seconds(each.seconds), each.per_second,
         format_bytes(each.peak_memory)]
        for name, one in zip(names, figures, strict=True)
        for each in one.stages
    ]  # fmt: skip
    return table(("dataset", "of the", "stage", "done", "time", "a second", "peak memory"), rows)


def most_used(names: Sequence[str], figures: Sequence[DatasetFigures]) -> str:
    """The chunks that stand in most sequences."""
    rows: list[list[Cell]] = [
        [name, f"{each.document}:{each.position}", each.chunk, each.sequences]
        for name, one in zip(names, figures, strict=True)
        for each in one.quality.reuse.most_used
    ]
    return table(("dataset", "document:chunk", "number in the pool", "sequences"), rows)


def quality(names: Sequence[str], figures: Sequence[DatasetFigures]) -> str:
    """The measures of quality, each with its 95 % interval."""
    rows: dict[str, list[Estimate | None]] = {}
    for one in figures:
        wrong, spread = one.quality.false_negatives, one.quality.diversity
        measured: dict[str, Estimate | None] = {}
        for each in one.quality.copies:
            how = "equal up to white space" if each.similarity == 1.0 else f"similarity {each.similarity} or more"
            measured |= {
                f"copies of their meta-chunk, {how}": each.of_meta_chunk,
                f"copies of a chunk of the root document, {how}": each.of_root,
                f"copies of an earlier chunk of the sequence, {how}": each.of_earlier,
                f"sequences with any of these, {how}": each.sequences,
            }
        measured |= {
            f"false negatives: {wrong.words} words in a row of the root document": wrong.share,
            "false negatives by a passage that few documents have": wrong.share_rare,
            "sequences with such a false negative": wrong.sequences_rare,
            "effective number of documents in a sequence": spread.documents.effective,
            "share of the largest document": spread.documents.largest,
            "effective number of files in a sequence": spread.files.effective,
        }
        for name in measured:
            rows.setdefault(name, [])
        for name, values in rows.items():
            values.append(measured.get(name))
    return table(["measure", *names], [[name, *map(interval, values)] for name, values in rows.items()])


def interval(estimate: Estimate | None) -> str:
    """An estimate with its interval."""
    if estimate is None:
        return "none"
    return f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})"
