"""The tables of docs/scaling.md are what the script makes of the constants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def test_the_tables_are_those_of_the_script():
    script = REPOSITORY / "benchmarks" / "scaling.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.count("| --- |") >= 5
    assert done.stdout.strip() in (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8")
