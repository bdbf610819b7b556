"""Files that new work reads are what their receipts say.

A run skips tasks whose outputs lie there with the recorded sizes, and does not read these outputs again. But what new work
*reads* has to be right to the last bit: else damage would spread into files whose own receipts are in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nextlong.errors import NextlongError
from nextlong.execution.files import checksum
from nextlong.execution.progress import advance

# Path → checksum.
Checksums = Mapping[Path, str]

_REMAKE = "Delete it and run the command that made it again: only it is remade."


def require_intact(path: Path, expected: str) -> None:
    """Read a file and compare it with its checksum.

    Raises:
        NextlongError: it is missing, or has another checksum.
    """
    try:
        found = checksum(path)
    except FileNotFoundError as error:
        raise NextlongError(f"{path} is missing.", "Run the command that made it again: only it is remade.") from error
    if found != expected:
        raise NextlongError(f"{path} is damaged: its checksum is {found}, not {expected}.", _REMAKE)


def require_all_intact(files: Checksums) -> None:
    """:func:`require_intact` of several files, as a task."""
    for path, expected in files.items():
        require_intact(path, expected)
        advance(1)
