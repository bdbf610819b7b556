"""One fuzz target, guided by coverage: python tests/fuzz/run.py TARGET [SECONDS]; without a target, all of them in turn.

Inputs that fail are kept in ``fuzz-found/TARGET/``; move one to ``tests/fuzz/found/TARGET/`` with the fix, and the suite
runs it for ever.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
DEFAULT_SECONDS = 60
# One input may take this long, and the process this much memory.
SECONDS_AT_MOST, MEGABYTES_AT_MOST = 20, 4096
LARGEST_INPUT = 1 << 16


def run_one(name: str, seconds: int) -> None:
    """Fuzz a target in this process; ends it."""
    import atheris

    with atheris.instrument_imports(include=["nextlong", "yaml", "json"], enable_loader_override=False):
        sys.path[:0] = [str(HERE), str(HERE.parent)]
        from targets import TARGETS

    found = Path("fuzz-found") / name
    found.mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.mkdtemp(prefix=f"nextlong-fuzz-{name}-"))
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "timeout": SECONDS_AT_MOST,
        "rss_limit_mb": MEGABYTES_AT_MOST,
        "max_len": LARGEST_INPUT,
        "artifact_prefix": f"{found}/",
        "print_final_stats": 1,
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{option}={value}" for option, value in options.items()), str(corpus)], TARGETS[name].run
    )
    atheris.Fuzz()


def main() -> int:
    """Run a target, or all; the exit code is that of the last one that found something."""
    if len(sys.argv) > 1 and not sys.argv[1].isdigit():
        run_one(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_SECONDS)
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    from targets import TARGETS

    seconds, worst = (sys.argv[1] if len(sys.argv) > 1 else str(DEFAULT_SECONDS)), 0
    for name in TARGETS:
        print(f"--- {name}, {seconds} s", flush=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        worst = subprocess.run([sys.executable, __file__, name, seconds], env=environment).returncode or worst
    return worst


if __name__ == "__main__":
    sys.exit(main())
