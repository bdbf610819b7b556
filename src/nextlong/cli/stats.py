"""``nextlong stats``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nextlong.cli import options
from nextlong.execution.object_path import located
from nextlong.inspection.stats import stats as figures_of


def stats(
    paths: Annotated[list[Path], typer.Argument(help="Folders of pools or datasets.", parser=located, metavar="PATH...")],
    pool: options.MovedPool = None,
    sample: options.SampleSize = None,
    seed: options.SampleSeed = 0,
) -> None:
    """Print what pools or datasets are like, in numbers, as JSON: an object, or a list of several."""
    figures = [asdict(figures_of(path, pool=pool, sample=sample, seed=seed)) for path in paths]
    typer.echo(json.dumps(figures[0] if len(figures) == 1 else figures, indent=2))
