"""What a person wants to know when a pool or a dataset is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nextlong.cli.outline import print_outline
from nextlong.cli.terminal import cell
from nextlong.inspection.dataset_figures import stages
from nextlong.inspection.opened import Dataset
from nextlong.mining.candidates import REASONS
from nextlong.pool.layout import REJECTS, REPORT
from nextlong.pool.pool import Pool
from nextlong.sizes import format_bytes, format_count, format_length, format_seconds


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
    rows += _screening_rows(pool)
    if counts["zero_vectors"]:
        amount, example = counts["zero_vectors"], pool.description["zero_vectors"][0]
        rows.append(("no vector", f"{amount:,} chunks have a zero vector and are never neighbours, such as {example}"))
    _print_rows(console, f"Pool {pool.folder}", rows)
    print_stages(pool.folder, console)


def _screening_rows(pool: Pool) -> list[tuple[str, str]]:
    """What the screening found; nothing where it was off."""
    screening, counts, found = pool.config.screening, pool.description["counts"], pool.description.get("screening", {})
    rows = []
    if screening.decontaminate:
        texts = found["evaluation"]
        rows.append(
            (
                "evaluation",
                f"{texts['texts']:,} texts with {texts['runs']:,} runs of {screening.ngram_words} words; shorter texts: "
                f"{texts['whole_texts']:,} looked for as a whole, {texts['ignored_texts']:,} too short to be",
            )
        )
        rows.append(
            (
                "contaminated",
                f"{counts['contaminated_chunks']:,} chunks of {counts['contaminated_documents']:,} documents share some",
            )
        )
        rows += [("shared most", f"{each['documents']:,} documents: {each['words']}") for each in found["most_shared"]]
    if screening.deduplicate != "off":
        copies = found["copies"]
        rows.append(
            (
                "copies",
                f"{counts['copies']:,} chunks have the words of an earlier one, {counts['near_copies']:,} nearly "
                f"({copies['groups']:,} groups, the largest of {copies['largest_group']:,})",
            )
        )
    if screening.drops:
        share = counts["dropped_chunks"] / (counts["chunks"] + counts["dropped_chunks"])
        rows.append(
            (
                "dropped",
                f"{counts['dropped_chunks']:,} chunks ({share:.1%}), and {counts['dropped_documents']:,} documents that "
                "have none left",
            )
        )
    if rows:
        rows.append(("", f"each is listed in {pool.folder / REPORT}"))
    return rows


def _index_line(index: dict[str, Any]) -> str:
    if index["kind"] != "ivf":
        return "flat (exact)" if index["kind"] == "flat" else "cuvs (exact, on a GPU)"
    return (
        f"ivf, {index['lists']:,} lists, {index['probes']:,} probed at most: recall@{index['recall_at']} "
        f"{index['recall']:.3f} (target {index['recall_target']}), measured against exact search on "
        f"{index['recall_sample']:,} queries"
    )


def print_dataset(dataset: Dataset, console: Console) -> None:
    """Counts, similarity by rank, what was passed over, what the stages took, and one sequence as an outline."""
    folder, card = dataset.folder, dataset.card
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
        reasons = [f"{amount:,} {REASONS.get(name, name)}" for name, amount in card["candidates_passed_over"].items()]
        rows.append(("passed over", "; ".join(reasons)))
    if counts["discarded"]:
        rows.append(("discarded", f"{counts['discarded']:,} sequences that fell short (paper mode)"))
    if not card["tokenizer"]["exact_joins"]:
        rows.append(
            ("joins", "NOT exact for this tokenizer: tokens at some chunk borders differ from encoding the whole text")
        )
    _print_rows(console, f"Dataset {folder}", rows)
    print_stages(folder, console)
    print_outline(dataset.pool, dataset.numbered(0), console)


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
    found = list(stages("", folder))
    if not found:
        return
    table = Table(box=None, pad_edge=False, title="Stages", title_justify="left", title_style="bold")
    table.add_column("stage", style="dim")
    for heading in ("done", "time", "rate", "memory"):
        table.add_column(heading, justify="right")
    for each in found:
        done = f"{each.done:,} {each.unit}"
        rate = f"{format_count(each.per_second)}/s"
        table.add_row(cell(each.stage), cell(done), format_seconds(each.seconds), rate, format_bytes(each.peak_memory))
    console.print(table)
