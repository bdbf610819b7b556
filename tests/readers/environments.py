"""The consumers' own readers, each in an environment of its own, which ``make readers`` makes.

A reader is a script beside this file. It runs in its environment, without nextlong, and prints what it read as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).parent
_FOLDER = Path(os.environ.get("NEXTLONG_READERS", _HERE.parents[1] / ".readers"))


def read_with(environment: str, *arguments: object) -> Any:
    """What ``tests/readers/<environment>_reader.py ARGUMENTS…`` prints in its environment; skips where there is none."""
    python = _FOLDER / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"there is no environment of the reader {environment}: make it with `make readers`")
    script = _HERE / f"{environment}_reader.py"
    done = subprocess.run(
        [python, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
