"""File systems in memory, mounted where a test wants one that is small or can only be read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def mount(*arguments: object) -> None:
    """Run ``mount``; skips the test where this process may not."""
    try:
        result = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if result.returncode:
        pytest.skip(f"cannot mount: {result.stderr.strip()}")


def mounted(folder: Path, options: str) -> None:
    """A memory file system in a folder, which is made."""
    folder.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "tmpfs", folder)


def remounted(folder: Path, options: str) -> None:
    """It, with other options."""
    mount("-o", f"remount,{options}", folder)
