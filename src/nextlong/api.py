"""The Python interface: the same verbs and keys as on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nextlong.config import DatasetConfig, ExportConfig, MixConfig, PoolConfig, Recipe, load_recipe, merged
from nextlong.dataset import layout
from nextlong.dataset.describe import load_dataset_card
from nextlong.dataset.synthesize import check_request, synthesize_from
from nextlong.errors import UsageError
from nextlong.execution.executor import make_executor
from nextlong.execution.object_path import can_hold_folder, located
from nextlong.execution.progress import Progress, Quiet
from nextlong.execution.run import read_plan
from nextlong.exporting.build import build as build_export
from nextlong.exporting.parts import parts_given
from nextlong.exporting.request import export_request, mix_request
from nextlong.pool.build import build
from nextlong.pool.layout import DESCRIPTION as POOL_DESCRIPTION
from nextlong.pool.pool import Pool
from nextlong.verification.report import Report
from nextlong.verification.verify import verify_path


def build_pool(
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    workers: int | None = None,
    executor: str = "local",
    ray_address: str | None = None,
    overwrite: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
    **sections: dict[str, Any],
) -> Pool:
    """Make a pool from a corpus, or finish one that was begun.

    Args:
        inputs: files, folders, patterns, URLs, ``hf:NAME`` or ``demo``.
        out: the pool's folder.
        recipe: a recipe file whose ``pool`` section is the base.
        workers: the most processes at once; None for all cores.
        executor, ray_address: what runs the work: see :func:`~nextlong.execution.executor.make_executor`.
        overwrite: do again what depends on a changed configuration or corpus.
        strict: make a bad row fatal.
        progress: where to show it; None shows nothing.
        **sections: ``corpus``, ``chunking``, ``screening``, ``encoder`` and ``index``, each a dictionary of keys of
            :class:`~nextlong.config.PoolConfig`.

    Raises:
        UsageError: a key or value makes no sense, or ``out`` holds something else.
        NextlongError: the corpus cannot be used.

    >>> pool = build_pool("corpus.jsonl.zst", "pool", chunking={"granularity": 1024})  # doctest: +SKIP
    """
    paths = [inputs] if isinstance(inputs, str | Path) else inputs
    config = pool_config(base_recipe(recipe), [str(path) for path in paths], sections)
    shown = progress or Quiet()
    return build(config, located(out), make_executor(executor, workers, ray_address, shown.say), shown, overwrite, strict)


def synthesize(
    source: str | Path | Sequence[str | Path] | Pool,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    workers: int | None = None,
    executor: str = "local",
    ray_address: str | None = None,
    overwrite: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
    pool: dict[str, dict[str, Any]] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Make a dataset from a pool, or from a corpus (the pool is then made in ``out/pool``).

    Args:
        source: a pool, its folder, or a corpus as for :func:`build_pool`.
        out: the dataset's folder.
        recipe: a recipe file; its ``dataset`` section is the base (and its ``pool`` section, if a pool is made).
        workers: the most processes at once; None for all cores.
        executor, ray_address: what runs the work: see :func:`~nextlong.execution.executor.make_executor`.
        overwrite: do again what depends on a changed configuration.
        strict: make a bad row fatal, if a pool is made.
        progress: where to show it; None shows nothing.
        pool: sections of the pool's configuration, if one is made.
        **keys: ``length``, ``tokens`` or ``roots``, ``tokenizer``, ``seed``, ``format``, ``dtype``, ``merge``,
            ``license``, and the dictionaries ``mining``, ``composition`` and ``options``: see
            :class:`~nextlong.config.DatasetConfig`.

    Returns:
        What :func:`load_dataset_card` returns.

    Raises:
        UsageError: a key or value makes no sense, or ``out`` holds something else.
        NextlongError: the pool has too little text, …

    >>> synthesize("pool", "data", length="128K", tokens="100M", tokenizer="gpt2")["counts"]  # doctest: +SKIP
    """
    config = dataset_config(base_recipe(recipe), keys)
    shown = progress or Quiet()
    out = located(out)
    check_request(config, out)
    made = _pool_of(
        source,
        out,
        pool or {},
        recipe=recipe,
        workers=workers,
        executor=executor,
        ray_address=ray_address,
        overwrite=overwrite,
        strict=strict,
        progress=shown,
    )
    synthesize_from(made, config, out, make_executor(executor, workers, ray_address, shown.say), shown, overwrite)
    return load_dataset_card(out)


def export(
    dataset: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    executor: str = "local",
    ray_address: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Write the rows of a dataset anew: in another format, several sequences packed to a row, or for another tokenizer.

    Args:
        dataset: its folder.
        out: the export's folder.
        workers: the most processes at once; None for all cores.
        executor, ray_address: what runs the work: see :func:`~nextlong.execution.executor.make_executor`.
        overwrite: do again what depends on a changed configuration.
        progress: where to show it; None shows nothing.
        **keys: ``format``, ``length``, ``tokenizer``, ``dtype``, ``merge``, ``license``: see
            :class:`~nextlong.config.ExportConfig`.

    Returns:
        What :func:`load_dataset_card` returns.

    Raises:
        UsageError: a key or value makes no sense, or ``out`` holds something else.
        NextlongError: the dataset, its pool or the tokenizer cannot be used.

    >>> export("data-64k", "packed", length="512K", format="mds")["counts"]  # doctest: +SKIP
    """
    request = export_request(located(dataset), export_config(keys))
    shown = progress or Quiet()
    build_export(request, located(out), make_executor(executor, workers, ray_address, shown.say), shown, overwrite)
    return load_dataset_card(out)


def mix(
    parts: Sequence[str | Path] | Mapping[str, float],
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    workers: int | None = None,
    executor: str = "local",
    ray_address: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """Mix datasets by weight to rows of one length; shorter sequences are packed, several to a row.

    Args:
        parts: folder → weight, or folders, each alone or as ``FOLDER:WEIGHT``; empty takes those of the recipe.
        out: the mix's folder.
        recipe: a recipe file whose ``mix`` section is the base.
        workers: the most processes at once; None for all cores.
        executor, ray_address: what runs the work: see :func:`~nextlong.execution.executor.make_executor`.
        overwrite: do again what depends on a changed configuration.
        progress: where to show it; None shows nothing.
        **keys: ``length``, ``tokens``, ``seed``, ``format``, ``dtype``, ``merge``, ``license``: see
            :class:`~nextlong.config.MixConfig`.

    Returns:
        What :func:`load_dataset_card` returns.

    Raises:
        UsageError: a key or value makes no sense, or ``out`` holds something else.
        NextlongError: a dataset cannot be used, or has too few sequences.

    >>> mix({"data-512k": 1, "data-64k": 2}, "mixed", length="512K", format="mds")["counts"]  # doctest: +SKIP
    """
    request = mix_request(mix_config(recipe, parts, keys))
    shown = progress or Quiet()
    build_export(request, located(out), make_executor(executor, workers, ray_address, shown.say), shown, overwrite)
    return load_dataset_card(out)


def verify(
    path: str | Path,
    *,
    workers: int | None = None,
    executor: str = "local",
    ray_address: str | None = None,
    progress: Progress | None = None,
    pool: str | Path | None = None,
    tokenizer: str | None = None,
) -> Report:
    """Prove the invariants of a pool or a dataset.

    Args:
        path: its folder.
        workers: the most processes at once; None for all cores.
        executor, ray_address: what runs the work: see :func:`~nextlong.execution.executor.make_executor`.
        progress: where to show it; None shows nothing.
        pool: of a dataset whose pool was moved, where it is now.
        tokenizer: of a dataset whose tokenizer was moved, where it is now.

    Raises:
        NextlongError: there is nothing finished to verify.
    """
    shown = progress or Quiet()
    runs = make_executor(executor, workers, ray_address, shown.say)
    return verify_path(located(path), runs, shown, located(pool) if pool else None, tokenizer)


def base_recipe(recipe: str | Path | None) -> Recipe:
    """The recipe of a file, or the defaults."""
    return load_recipe(recipe) if recipe is not None else Recipe()


def pool_config(recipe: Recipe, inputs: Sequence[str], sections: dict[str, Any]) -> PoolConfig:
    """The recipe's pool with inputs and sections put over it.

    Raises:
        UsageError: a key or value makes no sense, or there are no inputs.
    """
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise UsageError(f"`{name}` is no section of the pool's configuration.", _where_it_belongs(name))
    changes = dict(sections)
    if inputs:
        changes["corpus"] = {**changes.get("corpus", {}), "inputs": tuple(inputs)}
    config = merged(recipe.pool, changes, "the pool's configuration")
    if not config.corpus.inputs:
        raise UsageError("No corpus is given.", "Name files, folders, patterns, hf:NAME, or demo.")
    return config


def _where_it_belongs(key: str) -> str:
    for name, field in PoolConfig.model_fields.items():
        if key in getattr(field.annotation, "model_fields", {}):
            return f"It is a key of the section `{name}`: {name}={{{key!r}: …}}."
    return f"The sections are {', '.join(PoolConfig.model_fields)}, each a dictionary."


def dataset_config(recipe: Recipe, keys: dict[str, Any]) -> DatasetConfig:
    """The recipe's dataset with keys put over it.

    Raises:
        UsageError: a key or value makes no sense.
    """
    base = recipe.dataset
    if keys.get("tokens") is not None or keys.get("roots") is not None:
        base = base.model_copy(update={"tokens": None, "roots": None})  # the recipe's size gives way to either
    return merged(base, keys, "the dataset's configuration")


def export_config(keys: dict[str, Any]) -> ExportConfig:
    """The configuration of an export.

    Raises:
        UsageError: a key or value makes no sense.
    """
    return merged(ExportConfig(), keys, "the export's configuration")


def mix_config(
    recipe: str | Path | None, parts: Sequence[str | Path] | Mapping[str, float], keys: dict[str, Any]
) -> MixConfig:
    """The recipe's mix with parts and keys put over it.

    Raises:
        UsageError: a key or value makes no sense.
    """
    changes = {**keys, "parts": parts_given(parts)} if parts else keys
    return merged(base_recipe(recipe).mix, changes, "the mix's configuration")


def is_pool(path: str | Path) -> bool:
    """Whether a folder holds a pool, finished or not."""
    if not can_hold_folder(path):
        return False
    folder = located(path)
    # A finished pool whose plan was lost is one still, and no corpus.
    return read_plan(folder).get("kind") == "pool" or (folder / POOL_DESCRIPTION).is_file()


def _pool_of(
    source: str | Path | Sequence[str | Path] | Pool,
    out: Path,
    sections: dict[str, dict[str, Any]],
    **run: Any,
) -> Pool:
    if isinstance(source, Pool):
        return source
    paths = [source] if isinstance(source, str | Path) else list(source)
    if len(paths) == 1 and is_pool(paths[0]):
        if sections:
            raise UsageError(
                f"{paths[0]} is a pool already, so {', '.join(sorted(sections))} cannot be set here.",
                "Give these options to `nextlong index`.",
            )
        return Pool(located(paths[0]))
    given: dict[str, Any] = {**run, **sections}
    return build_pool(paths, out / layout.POOL, **given)
