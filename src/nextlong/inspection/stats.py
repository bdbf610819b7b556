"""The figures of whatever lies in a folder."""

from __future__ import annotations

from pathlib import Path

from nextlong.config import MiningConfig
from nextlong.execution.object_path import located
from nextlong.inspection.dataset_figures import DatasetFigures, dataset_figures
from nextlong.inspection.opened import Dataset
from nextlong.inspection.pool_figures import PoolFigures, pool_figures
from nextlong.pool.layout import DESCRIPTION
from nextlong.pool.pool import Pool


def stats(
    path: str | Path, *, pool: str | Path | None = None, sample: int | None = None, seed: int = 0
) -> DatasetFigures | PoolFigures:
    """What a pool or a dataset is like, in numbers.

    Args:
        path: its folder.
        pool: where the dataset's pool is now, if it was moved.
        sample: sequences of a dataset to look at, at most; None for 4,096, or for 64M tokens of long ones.
        seed: which sequences of a dataset, or chunks of a pool, are drawn.

    Raises:
        UsageError: it is an export or a mix.
        NextlongError: there is no finished pool or dataset, or a file of it is missing or damaged.

    >>> stats("data").similarity_by_rank[0].mean  # doctest: +SKIP
    0.93
    """
    if (located(path) / DESCRIPTION).exists():
        return pool_figures(Pool(path), MiningConfig().max_jaccard or 1.0, seed)
    dataset = Dataset(path, pool)
    return dataset_figures(dataset, dataset.sample(sample, seed))
