"""What a person wants to know when a pool or a dataset is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextlong.cli.terminal import cell
from nextlong.dataset import layout
from nextlong.dataset.describe import pool_folder
from nextlong.execution.run import read_metrics
from nextlong.execution.tables import read_table
from nextlong.mining.candidates import REASONS
from nextlong.pool.layout import REJECTS
from nextlong.pool.pool import Pool
from nextlong.records import SEQUENCE_SCHEMA
from nextlong.sizes import format_bytes, format_count, format_length, format_seconds

# The outline shows the first and the last of a group's negatives, so that similarity by rank is seen.
_SHOWN_FIRST, _SHOWN_LAST = 3, 1
_SHOWN_GROUPS = 3
_EXCERPT = 50


def print_pool(pool: Pool, console: Console) -> None:
    """Counts, what was set aside, the index and its recall, and what the stages took."""
    counts, index = pool.description["counts"], pool.description["index"]
    rows = [
        ("documents", f"{counts['documents']:,} ({format_count(counts['characters'])} characters)"),
        ("chunks", f"{counts['chunks']:,} ({counts['chunks'] / counts['documents']:.1f} a document)"),
        ("vectors", f"{pool.description['dimensions']} dimensions, {pool.config.encoder.name}"),
        ("index", _index_line(index)),
    ]
    if counts["rejected"]:
        reasons = ", ".join(f"{reason}: {amount:,}" for reason, amount in pool.description["rejected"].items())
        rows.append(("rejected", f"{counts['rejected']:,} rows ({reasons}); each is listed in {pool.folder / REJECTS}"))
    if counts["repeated_documents"]:
        rows.append(
            ("same text", f"{counts['repeated_documents']:,} documents repeat another's text; their ids have a suffix")
        )
    if counts["zero_vectors"]:
        amount, example = counts["zero_vectors"], pool.description["zero_vectors"][0]
        rows.append(("no vector", f"{amount:,} chunks have a zero vector and are never neighbours, such as {example}"))
    _print_rows(console, f"Pool {pool.folder}", rows)
    print_stages(pool.folder, console)


def _index_line(index: dict[str, Any]) -> str:
    if index["kind"] != "ivf":
        return "flat (exact)" if index["kind"] == "flat" else "cuvs (exact, on a GPU)"
    return (
        f"ivf, {index['lists']:,} lists, {index['probes']:,} probed at most: recall@{index['recall_at']} "
        f"{index['recall']:.3f} (target {index['recall_target']}), measured against exact search on "
        f"{index['recall_sample']:,} queries"
    )


def print_dataset(folder: Path, card: dict[str, Any], console: Console) -> None:
    """Counts, similarity by rank, what was passed over, what the stages took, and one sequence as an outline."""
    counts, config = card["counts"], card["config"]
    sequences = max(1, counts["sequences"])
    rows = [
        ("sequences", f"{counts['sequences']:,} of {format_length(config['length'])} tokens"),
        ("tokens", f"{counts['tokens']:,}"),
        ("method", config["composition"]["method"]),
        ("a sequence", _parts_of_a_sequence(counts, sequences)),
        ("wasted", f"{counts['tokens_wasted']:,} tokens, cut off or left over ({_share(counts):.2%} of those taken up)"),
    ]
    if card["similarity_by_rank"]:
        ranks = ", ".join(f"rank {rank}: {score:.2f}" for rank, score in card["similarity_by_rank"].items())
        rows.append(("similarity", ranks))
    if card["candidates_passed_over"]:
        reasons = [f"{amount:,} {REASONS[name]}" for name, amount in card["candidates_passed_over"].items()]
        rows.append(("passed over", "; ".join(reasons)))
    if counts["discarded"]:
        rows.append(("discarded", f"{counts['discarded']:,} sequences that fell short (paper mode)"))
    if not card["tokenizer"]["exact_joins"]:
        rows.append(
            ("joins", "NOT exact for this tokenizer: tokens at some chunk borders differ from encoding the whole text")
        )
    _print_rows(console, f"Dataset {folder}", rows)
    print_stages(folder, console)
    print_outline(folder, card, console)


def _parts_of_a_sequence(counts: dict[str, int], sequences: int) -> str:
    documents = f"{counts['documents'] / sequences:.1f} documents"
    if not counts["meta_chunks"]:
        return documents
    return (
        f"{counts['meta_chunks'] / sequences:.1f} meta-chunks, {counts['negatives'] / sequences:.1f} negatives, {documents}"
    )


def _share(counts: dict[str, int]) -> float:
    return counts["tokens_wasted"] / max(1, counts["tokens"] + counts["tokens_wasted"])


def _print_rows(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=cell(title, "bold"), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for name, value in rows:
        table.add_row(name, cell(value))
    console.print(table)


def print_stages(folder: Path, console: Console) -> None:
    """What each stage took, the last time it had something to do."""
    stages = read_metrics(folder)
    if not stages:
        return
    merged: dict[str, dict[str, Any]] = {}
    for line in stages:
        known = merged.setdefault(line["stage"], {**line, "rows": 0, "seconds": 0.0, "peak_memory": 0})
        known["rows"] += line["rows"]
        known["seconds"] += line["seconds"]
        known["peak_memory"] = max(known["peak_memory"], line["peak_memory"])
    table = Table(box=None, pad_edge=False, title="Stages", title_justify="left", title_style="bold")
    table.add_column("stage", style="dim")
    for heading in ("done", "time", "rate", "memory"):
        table.add_column(heading, justify="right")
    for name, line in merged.items():
        rate = f"{format_count(line['rows'] / max(line['seconds'], 1e-9))}/s"
        done = f"{line['rows']:,} {line['unit']}"
        table.add_row(cell(name), cell(done), format_seconds(line["seconds"]), rate, format_bytes(line["peak_memory"]))
    console.print(table)


def print_outline(folder: Path, card: dict[str, Any], console: Console) -> None:
    """The first sequence: which chunk of which document stands where, in which role, how similar."""
    tables = (
        read_table(path, SEQUENCE_SCHEMA).slice(0, 1) for path in sorted((folder / layout.SEQUENCES).glob("*.parquet"))
    )
    # In paper mode all sequences of a file may have been discarded.
    sequence = next(table.to_pylist()[0] for table in tables if table.num_rows)
    pool = Pool(pool_folder(folder, card))
    spans = sequence["spans"]
    groups = sorted({span["group"] for span in spans})
    kind = "meta-chunks" if spans[0]["role"] != "document" else "documents"
    title = f"Outline of {sequence['id']} (root document {sequence['root']}, {len(groups)} {kind})"
    table = Table(title=cell(title, "bold"), title_justify="left", box=None, pad_edge=False, expand=False)
    table.add_column("tokens", style="dim", no_wrap=True, min_width=15)
    table.add_column("role", style="dim", no_wrap=True, min_width=12)
    table.add_column("score", style="dim", no_wrap=True, min_width=5, justify="right")
    table.add_column("document:chunk", no_wrap=True, max_width=36)
    table.add_column("begins", no_wrap=True, max_width=_EXCERPT)
    for group in groups[:_SHOWN_GROUPS]:
        own = [span for span in spans if span["group"] == group]
        shown = [span for span in own if span["role"] != "negative" or span["rank"]]
        hidden = len(shown) - _SHOWN_FIRST - _SHOWN_LAST - 1
        for place, span in enumerate(shown):
            if hidden > 0 and _SHOWN_FIRST < place < len(shown) - _SHOWN_LAST:
                if place == _SHOWN_FIRST + 1:
                    table.add_row("…", f"{hidden} more", "", "", "")
                continue
            text = " ".join(pool.texts(np.array([span["chunk"]]))[0][: _EXCERPT * 2].split())
            role = span["role"]
            named = {"meta": "meta-chunk", "negative": f"negative {span['rank']}", "document": "document"}[role]
            table.add_row(
                f"{span['token_start']:,}-{span['token_end']:,}",
                Text(named, style="bold" if role == "meta" else ""),
                f"{span['score']:.2f}" if span["rank"] else "",
                cell(f"{span['document']}:{span['position']}"),
                cell(text),
            )
    if len(groups) > _SHOWN_GROUPS:
        table.add_row("…", f"{len(groups) - _SHOWN_GROUPS} more groups", "", "", "")
    console.print(table)
