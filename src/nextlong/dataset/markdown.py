"""Names and configuration on a data card: as they are read, never as Markdown or HTML."""

from __future__ import annotations

import re

from nextlong.public_text import printable, redacted


def code(text: str) -> str:
    """``text`` as code within a line, also within a table."""
    shown = printable(redacted(text), lines=False).replace("|", "\\|")
    fence = "`" * (_longest_run(shown) + 1)
    padding = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def code_block(text: str, language: str) -> str:
    """``text`` as a block of code."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _longest_run(text: str) -> int:
    """The most backticks in a row."""
    return max(map(len, re.findall("`+", text)), default=0)
