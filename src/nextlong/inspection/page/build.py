"""The page put together: one HTML file with its styles, script, figures and texts, which asks for nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

import nextlong
from nextlong.errors import UsageError
from nextlong.execution.files import atomic
from nextlong.inspection.dataset_figures import DatasetFigures, dataset_figures
from nextlong.inspection.distribution import NOTHING
from nextlong.inspection.opened import Dataset, told_apart
from nextlong.inspection.page import plots, tables
from nextlong.inspection.page.gains import gains, read_gains
from nextlong.inspection.page.ribbons import packed, ribbons
from nextlong.public_text import printable, redacted
from nextlong.quality.long_range_gain import LongRangeGain

# Nothing but what is in the file: a browser that follows this loads no address, whatever a text says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_KEYS = (
    ("click", "open a chunk"),
    ("← →", "the chunk before, the next chunk"),
    ("n p", "next meta-chunk of the document, the one before"),
    ("Home End", "first, last"),
    ("Esc", "close"),
)


def write_page(
    datasets: Sequence[Dataset], path: Path, sample: int | None = None, seed: int = 0, gain: Path | None = None
) -> int:
    """Write the page.

    Args:
        datasets: what it shows, side by side.
        path: the file.
        sample: see :meth:`~nextlong.inspection.opened.Dataset.sample`.
        seed: which ones.
        gain: what `nextlong gain --json` has printed of them.

    Returns:
        Its size in bytes.

    Raises:
        UsageError: there are more datasets than can be told apart; ``gain`` is no such file, or of other datasets.
        NextlongError: vl-convert is not installed, or a file of a dataset is missing or damaged.
    """
    if len(datasets) > plots.MOST_SERIES:
        raise UsageError(f"A page shows {plots.MOST_SERIES} datasets at most.", "Give fewer, or make several pages.")
    names = _names(datasets)
    measured = [] if gain is None else read_gains(gain, names)
    samples = [dataset.sample(sample, seed) for dataset in datasets]
    figures = [dataset_figures(*each) for each in zip(datasets, samples, strict=True)]
    content = _page(names, list(datasets), figures, measured, ribbons(list(datasets), samples)).encode()
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return len(content)


def _names(datasets: Sequence[Dataset]) -> list[str]:
    """What datasets are called: the folder's name where that tells them apart, else with its number."""
    return told_apart([printable(redacted(dataset.name), lines=False) for dataset in datasets])


def _page(
    names: list[str],
    datasets: list[Dataset],
    figures: list[DatasetFigures],
    measured: list[LongRangeGain],
    sequences: list[dict[str, Any]],
) -> str:
    title = f"{', '.join(names)} · nextlong inspect"
    sections = {
        "Summary": tables.summary(names, figures),
        "Sequences": _sequences(names, figures),
        "Figures": _figures(names, figures),
        "Quality": _quality(names, figures),
        **({"Gain": gains(names, measured)} if measured else {}),
        "Filtered": _filtered(names, figures),
        "Throughput": tables.stages(names, figures),
        "Configuration": _configuration(names, datasets),
    }
    asset = {
        name: (files("nextlong.inspection.page") / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    }
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    body = "\n".join(
        f'<section aria-labelledby="{name.lower()}"><h2 id="{name.lower()}">{name}</h2>\n{content}\n</section>'
        for name, content in sections.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="nextlong {nextlong.__version__}">
<title>{escape(title)}</title>
<style>
{asset["page.css"]}</style>
</head>
<body>
<header><h1>{escape(", ".join(names))}</h1>
<nav aria-label="Sections">{links}</nav></header>
<main>
{body}
</main>
{_data("figures-data", [asdict(one) for one in figures])}
{_data("ribbons-data", sequences)}
<script>
{asset["page.js"]}</script>
</body>
</html>
"""


def _data(name: str, content: object) -> str:
    """Data for scripts, as :func:`~nextlong.inspection.page.ribbons.packed` packs them."""
    return f'<script type="application/json" id="{name}">{packed(content)}</script>'


def _sequences(names: list[str], figures: list[DatasetFigures]) -> str:
    keys = "; ".join(f"<kbd>{escape(key)}</kbd> {escape(meaning)}" for key, meaning in _KEYS)
    legend = (
        '<li><i style="background: var(--meta)"></i>meta-chunk (full height)</li>'
        '<li><i class="scale"></i>negative, from rank 1 to the last rank</li>'
        '<li><i style="background: var(--document-0)"></i><i style="background: var(--document-1)"></i>documents</li>'
    )
    noscript = "<noscript><p>The sequences are drawn by a script in this page, which is switched off.</p></noscript>"
    parts = [
        f'<p class="keys">A block is a chunk, as wide as its tokens. {keys}.</p><ul class="legend">{legend}</ul>{noscript}'
    ]
    for number, (name, one) in enumerate(zip(names, figures, strict=True)):
        heading = f"<h3>{escape(name)}: {escape(one.method)}</h3>" if len(names) > 1 else ""
        parts.append(f'{heading}<div data-ribbons="{number}"></div>')
    return "\n".join(parts)


def _figures(names: list[str], figures: list[DatasetFigures]) -> str:
    looked = "; ".join(
        f"{escape(name)}: {one.looked_at:,} of {one.counts['sequences']:,} sequences"
        for name, one in zip(names, figures, strict=True)
    )
    lengths = {
        "Tokens between neighbouring meta-chunks (of methods without: chunks of a document)": [
            one.distance for one in figures
        ],
        **{
            f"Tokens of a chunk, role {role}": [one.chunk_tokens.get(role, NOTHING) for one in figures]
            for role in dict.fromkeys(role for one in figures for role in one.chunk_tokens)
        },
        "Chunks of a document": [one.document_chunks for one in figures],
        "Characters of a document": [one.document_characters for one in figures],
        "Documents in a sequence": [one.documents_per_sequence for one in figures],
    }
    parts = [
        tables.figure(
            "Similarity by rank (mean, and the span from 10 % to 90 %)",
            plots.similarity_by_rank(names, figures),
            tables.similarities(names, figures),
        )
    ]
    for title, distributions in lengths.items():
        parts.append(
            tables.figure(
                title,
                plots.shares(names, distributions, title.partition(" (")[0].lower()),
                tables.quantiles(names, distributions),
            )
        )
    uses = [plots.as_counts(one.quality.reuse.by_uses) for one in figures]
    used = tables.amounts(
        names, [{str(n): chunks for n, chunks in one.quality.reuse.by_uses.items()} for one in figures], "sequences"
    )
    parts.append(
        tables.figure(
            "Sequences that a chunk stands in",
            plots.shares(names, uses, "sequences"),
            f"{used}<h3>Used most</h3>{tables.most_used(names, figures)}",
        )
    )
    sources = [{printable(each.source, lines=False) or "all others": each.tokens for each in one.sources} for one in figures]
    parts.append(
        tables.figure("Tokens by source", plots.bars(names, sources, "tokens"), tables.amounts(names, sources, "source"))
    )
    return f'<p class="soft">Looked at: {looked}.</p><div class="plots">{"".join(parts)}</div>'


def _quality(names: list[str], figures: list[DatasetFigures]) -> str:
    looked = '<p class="soft">Measured on the sequences that were looked at, with 95 % intervals over sequences.</p>'
    return f"{looked}{tables.quality(names, figures)}"


def _filtered(names: list[str], figures: list[DatasetFigures]) -> str:
    parts = {
        "Candidates passed over, and why": [one.candidates_passed_over for one in figures],
        "Documents that could not be roots": [one.documents_passed_over for one in figures],
        "Rows of the corpus that became no document": [one.rejected for one in figures],
        "What the pool's screening found, and dropped": [one.screened for one in figures],
    }
    none = '<p class="soft">None.</p>'
    return "\n".join(
        f"<h3>{title}</h3>{tables.amounts(names, each, 'reason') if any(each) else none}" for title, each in parts.items()
    )


def _configuration(names: list[str], datasets: list[Dataset]) -> str:
    parts = []
    for name, dataset in zip(names, datasets, strict=True):
        shown = {"pool": dataset.card["pool"]["config"], "dataset": dataset.card["config"]}
        content = printable(redacted(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)))
        parts.append(
            f'<details><summary>{escape(name)}</summary><pre class="configuration">{escape(content)}</pre></details>'
        )
    return "\n".join(parts)
