"""The measures of quality for datasets of several methods, of one corpus; with a model, also the long-range gain.

    python benchmarks/quality.py CORPUS --out FOLDER [--model FOLDER] [--table docs/quality.md]

Everything but the gain takes seconds once the pool is made. The gain reads some twelve thousand tokens for a sequence of 4K.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from markdown import write_table
from pipeline import machine, trained_tokenizer

import nextlong
from nextlong.execution.progress import Shown
from nextlong.inspection.opened import Dataset
from nextlong.quality.estimates import Estimate
from nextlong.quality.gain import gain
from nextlong.quality.long_range_gain import Gain, LongRangeGain
from nextlong.quality.measures import Quality, quality
from nextlong.sizes import format_count, format_seconds

# Row → what is set for it.
VARIANTS: dict[str, dict[str, Any]] = {
    "nextlong": {},
    "nextlong, near copies kept": {"mining": {"max_jaccard": 1.0}},
    "nextlong, max_jaccard 0.5": {"mining": {"max_jaccard": 0.5}},
    "nextlong, random negatives": {"mining": {"negatives": "random"}},
    **{name: {"composition": {"method": name}} for name in ("standard", "knn", "iclm", "quest", "untie")},
}
# Of these the gain is measured. With random negatives the root documents and their places are about those of `nextlong`, so
# what differs is what the negatives do.
GAINED = ("nextlong", "nextlong, max_jaccard 0.5", "nextlong, random negatives", "standard", "knn")


def main() -> None:
    """Make the datasets, measure them, print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", help="folder of a causal language model; its tokenizer makes the datasets")
    parser.add_argument("--length", default="4K")
    parser.add_argument("--tokens", default="400K")
    parser.add_argument("--sample", type=int, default=20, help="sequences that the gain is measured on")
    parser.add_argument("--table", type=Path, help="a Markdown file to write the tables into")
    arguments = parser.parse_args()

    tokenizer = arguments.model or str(trained_tokenizer(arguments.corpus, arguments.out / "tokenizer"))
    pool = nextlong.build_pool(arguments.corpus, arguments.out / "pool", progress=Shown())
    folders = {name: arguments.out / f"data-{name.replace(', ', '-').replace(' ', '-')}" for name in VARIANTS}
    keys = {"length": arguments.length, "tokens": arguments.tokens, "tokenizer": tokenizer}
    measured: dict[str, Quality] = {}
    for name, variant in VARIANTS.items():
        nextlong.synthesize(pool, folders[name], progress=Shown(), **keys, **variant)
        dataset = Dataset(folders[name])
        measured[name] = quality(dataset, dataset.sample())
    asked = f"--length {arguments.length} --tokens {arguments.tokens}"
    lines = ["", *_measures(measured, pool, f"python benchmarks/quality.py {Path(arguments.corpus).name} {asked}")]
    if arguments.model:
        started = time.process_time()
        chosen = [folders[name] for name in GAINED]
        found = gain(chosen, arguments.model, sample=arguments.sample, dtype="bfloat16", progress=Shown())
        lines += _gains(dict(zip(GAINED, found, strict=True)), time.process_time() - started)
    text = "\n".join([*lines, ""])
    if arguments.table:
        write_table(arguments.table, "quality.py", text)
    else:
        print(text)


def _measures(measured: dict[str, Quality], pool: nextlong.Pool, command: str) -> list[str]:
    counts = pool.description["counts"]
    heads = (
        "dataset",
        "copies, 0.8",
        "copies, 0.5",
        "with a passage of the root",
        "a rare one",
        "root covered",
        "documents, effective",
        "largest document",
        "repeated",
    )
    return [
        f"`{command}`",
        f"on {machine()}; nextlong {nextlong.__version__}. Corpus:",
        f"{counts['documents']:,} documents, {format_count(counts['characters'])} characters, {counts['chunks']:,} chunks.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(_quality_row(name, one) for name, one in measured.items()),
        "",
    ]


def _quality_row(name: str, one: Quality) -> str:
    copies = {each.similarity: each.of_any for each in one.copies}
    wrong, spread = one.false_negatives, one.diversity.documents
    cells = (
        name,
        _percent(copies[0.8]),
        _percent(copies[0.5]),
        _percent(wrong.share),
        _percent(wrong.share_rare),
        _percent(wrong.root_covered),
        _number(spread.effective, 1),
        _percent(spread.largest),
        f"{one.reuse.repeated:.1%}",
    )
    return f"| {' | '.join(cells)} |"


def _gains(found: dict[str, LongRangeGain], seconds: float) -> list[str]:
    heads = ("dataset", "distance", "chunks", "tokens", "loss", "gain over local", "gain over replaced", "key tokens")
    rows = [
        f"| {' | '.join((name, distance, *_gain_cells(part)))} |"
        for name, one in found.items()
        for distance, part in (
            ("all", one.same_document),
            *((f"{bin.low:,} to {bin.high - 1:,}", bin.gain) for bin in one.by_distance),
            ("other documents", one.other_documents),
        )
        if part is not None
    ]
    (first, *_), without = found.values(), sum(one.without for one in found.values())
    return [
        f"The long-range gain of {first.sequences} sequences each, in bfloat16, local context {first.local:,} tokens, in",
        f"{format_seconds(seconds)} of processor time. {without} of these sequences have no chunk to measure.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *rows,
        "",
    ]


def _gain_cells(part: Gain) -> tuple[str, ...]:
    return (
        f"{part.chunks:,}",
        f"{part.tokens:,}",
        f"{part.loss:.3f}",
        _number(part.over_local, 3),
        _number(part.over_replaced, 3),
        _percent(part.key_tokens),
    )


def _number(estimate: Estimate | None, places: int) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:.{places}f} ({estimate.low:.{places}f} to {estimate.high:.{places}f})"


def _percent(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


if __name__ == "__main__":
    main()
