"""Packages that bring methods, as they lie on the path once pip has installed them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "method_plugin"


def install_example(folder: Path) -> Path:
    """Install the worked example into a folder, with pip."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(EXAMPLE)]
    if importlib.util.find_spec("hatchling"):  # else pip fetches it from the package index
        command.append("--no-build-isolation")
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


def write_plugin(folder: Path, module: str, source: str, **points: str) -> Path:
    """Write a package of one module, and its metadata, as pip would.

    Args:
        folder: what is to be on the path.
        module: its name, which no other test uses: Python loads a module once.
        source: its text.
        points: method → class.
    """
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"{name} = {module}:{target}\n" for name, target in points.items()]
    (metadata / "entry_points.txt").write_text("".join(["[nextlong.methods]\n", *lines]), encoding="utf-8")
    return folder


# Methods that differ from a good one in a line or two.
METHOD = """
from nextlong.composition.method import Method, NoOptions
from nextlong.config import Part

class Good(Method):
    NAME = "good"
    SUMMARY = "documents as they come"
    def units(self, wanted):
        yield from ()
    def compose(self, unit, found):
        yield from ()
"""
