"""What lies where in the folder of an export, besides what :mod:`nextlong.dataset.layout` names."""

from __future__ import annotations

from pathlib import Path

from nextlong.dataset.layout import TOKENS

ROWS = "rows"
GATHERED = "gathered"
REJECTS = "rejects"
MADE = (GATHERED, ROWS, REJECTS, TOKENS)  # by the tasks of an export


def gathered_path(folder: Path, part: int, name: str) -> Path:
    """The gathered sequences of the file ``name`` of part number ``part``."""
    return folder / GATHERED / f"{part:02d}-{name}.arrow"
