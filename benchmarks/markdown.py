"""Tables that scripts write into the documentation, between marks; the text around them is people's."""

from __future__ import annotations

from pathlib import Path


def write_table(path: Path, script: str, table: str) -> None:
    """Put a script's table between its marks in a Markdown file, or make the file."""
    begin, end = f"<!-- table: benchmarks/{script} -->", "<!-- end of table -->"
    text = path.read_text(encoding="utf-8") if path.exists() else f"# Measured\n\n{begin}\n{end}\n"
    if begin not in text:
        raise SystemExit(f"{path} has no line {begin}")
    before, _, rest = text.partition(begin)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
