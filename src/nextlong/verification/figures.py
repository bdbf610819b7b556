"""What a dataset's description counts that its rows cannot tell, against the receipts of what made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nextlong.dataset import layout
from nextlong.execution.tasks import Ledger, Receipt
from nextlong.verification.report import Failure

# Sums over sequences of what is not in them any more.
_SUMMED = ("discarded", "searched_deeper", "tokens_wasted")

# The description rounds mean similarities to four decimals.
_SIMILARITY_TOLERANCE = 1e-4


def figure_failures(folder: Path, card: dict[str, Any]) -> Iterator[Failure]:
    """Figures of the description that are not those of the receipts.

    Args:
        folder: the dataset.
        card: its description.
    """
    ledger = Ledger(folder)
    composed = ledger.receipts("compose")
    counts = {name: sum(receipt.info.get(name, 0) for receipt in composed) for name in _SUMMED}
    counts["tokens"] = sum(receipt.rows for receipt in composed) * card["config"]["length"]
    # What else is counted is compared with the rows themselves.
    said = {name: card["counts"].get(name) for name in counts}
    yield from _differences(folder, "counts", said, counts)
    for section, receipts, name in (
        ("candidates_passed_over", composed, "passed_over"),
        ("documents_passed_over", ledger.receipts("plan"), "documents_passed_over"),
    ):
        yield from _differences(folder, section, card.get(section, {}), _added_up(receipts, name))
    known, said = _similarities(composed), card.get("similarity_by_rank", {})
    for rank, similarity in said.items():
        if rank not in known or abs(known[rank] - similarity) > _SIMILARITY_TOLERANCE:
            yield from _differences(folder, "similarity_by_rank", {rank: similarity}, {rank: known.get(rank, "nothing")})


def _differences(folder: Path, section: str, said: Mapping[Any, Any], known: Mapping[Any, Any]) -> Iterator[Failure]:
    for name in dict.fromkeys([*said, *known]):
        if said.get(name, 0) != known.get(name, 0):
            what = f"it says {said.get(name, 0)} for {name}, and the receipts of what made it {known.get(name, 0)}"
            yield Failure(str(folder / layout.DESCRIPTION), f"{section}: {what}")


def _added_up(receipts: list[Receipt], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for receipt in receipts:
        total.update(receipt.info.get(name, {}))
    return total


def _similarities(composed: list[Receipt]) -> dict[int, float]:
    """The mean similarity at every rank at which there was a negative."""
    totals = np.sum([receipt.info["rank_scores"] for receipt in composed], axis=0)
    return {rank: float(total / amount) for rank, (total, amount) in enumerate(totals.tolist(), start=1) if amount}
