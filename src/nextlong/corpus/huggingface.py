"""Hugging Face datasets: by name, streamed; or a folder that `save_to_disk` wrote, memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash

from nextlong.config import CorpusConfig
from nextlong.corpus.parquet import ROWS_PER_BATCH, documents_of_batch, needed_columns
from nextlong.corpus.rows import DEFAULT_ID_COLUMN, column_error, document_from_row
from nextlong.corpus.source import Source, public_name
from nextlong.errors import NextlongError, UsageError
from nextlong.execution.files import plain_name
from nextlong.records import Document, Reject

PREFIX = "hf:"
DEFAULT_SPLIT = "train"

# The version of `datasets` that runs no scripts any more.
_WITHOUT_SCRIPTS = 4

_STATE_FILE = "state.json"
_SPLITS_FILE = "dataset_dict.json"


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder: one dataset, or a dictionary of splits."""
    one = (folder / _STATE_FILE).is_file() and (folder / "dataset_info.json").is_file()
    return one or (folder / _SPLITS_FILE).is_file()


def find_dataset(given: str) -> Source:
    """The source of ``hf:NAME``, ``hf:NAME:SPLIT`` or ``hf:NAME:SUBSET/SPLIT``; NAME may be a local folder.

    Raises:
        UsageError: no such dataset, subset or split.
        NextlongError: the `datasets` package is missing, or the hub cannot be reached.
    """
    name, subset, split = _parts(given.removeprefix(PREFIX))
    if not name:
        raise UsageError(f"`{given}` names no dataset.", "Write hf:NAME, hf:NAME:SPLIT or hf:NAME:SUBSET/SPLIT.")
    folder = Path(name).expanduser()
    if is_saved_dataset(folder):
        if subset:
            raise UsageError(f"{name} is a saved dataset; those have no subsets such as `{subset}`.")
        return find_saved_dataset(folder, split, f"{PREFIX}{name}")
    return _find_by_name(str(folder.resolve()) if folder.is_dir() else name, name, subset, split or DEFAULT_SPLIT)


def find_saved_dataset(folder: Path, split: str, shown: str) -> Source:
    """The source of a folder that `save_to_disk` wrote.

    Args:
        folder: the folder, for which `is_saved_dataset` holds.
        split: the split to take; empty takes the folder's only dataset, or ``train``.
        shown: how people named the folder.

    Raises:
        UsageError: no such split, or the folder's own descriptions cannot be read.
    """
    try:
        splits = None
        if (folder / _SPLITS_FILE).is_file():
            splits = json.loads((folder / _SPLITS_FILE).read_text(encoding="utf-8"))["splits"]
            split = split or DEFAULT_SPLIT
            if split not in splits:
                raise _no_split(shown, split, splits)
        part = folder / split if splits else folder
        state = json.loads((part / _STATE_FILE).read_text(encoding="utf-8"))
        own_split = str(state.get("_split") or "")
        if not splits and split not in ("", own_split):
            raise _no_split(shown, split, [own_split] if own_split else [])
        files = [plain_name(entry["filename"], part / _STATE_FILE) for entry in state["_data_files"]]
        size = sum((part / name).stat().st_size for name in files)
        fingerprint = f"{state['_fingerprint']}-{size}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{shown} looks like a dataset written by save_to_disk and cannot be read as one: {_short(error)}.",
            "Save it again, or give its files (Parquet, JSON Lines) instead of the folder.",
        ) from error
    label = f"{shown}:{split}" if splits else shown
    return Source(public_name(label), str(part.resolve()), "hf", size, fingerprint)


def read_dataset(source: Source, config: CorpusConfig) -> Iterator[Document | Reject]:
    """The rows of a Hugging Face dataset in order, a batch at a time and only the columns of text and id.

    Raises:
        NextlongError: the `datasets` package is missing, the dataset cannot be read, or it lacks a column.
    """
    datasets = _datasets()
    row = 0
    try:
        if not source.split:
            dataset = datasets.load_from_disk(source.location)
        else:
            dataset = datasets.load_dataset(
                source.location, source.subset or None, split=source.split, streaming=True, **_without_scripts(datasets)
            )
        if dataset.features is None:
            yield from _read_untyped(dataset, source, config)
            return
        columns = needed_columns(dataset.features.arrow_schema, source.name, config)
        for batch in dataset.select_columns(columns).with_format("arrow").iter(batch_size=ROWS_PER_BATCH):
            yield from documents_of_batch(batch.select(columns), row, config)
            row += batch.num_rows
    except NextlongError:
        raise
    except Exception as error:  # the library's loaders and storage raise anything
        raise NextlongError(
            f"Cannot read {source.name} after row {row:,}: {_short(error)}.",
            "Check the network and the dataset, then run the same command again; finished work is kept.",
        ) from None


def _read_untyped(dataset: Any, source: Source, config: CorpusConfig) -> Iterator[Document | Reject]:
    """A stream whose columns are known only from its rows."""
    wanted = {config.text_column, config.id_column or DEFAULT_ID_COLUMN}
    for row, values in enumerate(dataset, start=1):
        if row == 1 and config.text_column not in values:
            raise column_error(source.name, config.text_column, "text_column", values)
        yield document_from_row(row, {name: values[name] for name in values if name in wanted}, config)


def _find_by_name(location: str, name: str, subset: str, split: str) -> Source:
    datasets = _datasets()
    try:
        builder = datasets.load_dataset_builder(location, subset or None, **_without_scripts(datasets))
    except Exception as error:  # the library's loaders and storage raise anything
        hint = "Check the name, the network and whether the dataset needs a login (HF_TOKEN)."
        if "onfig name is missing" in str(error):
            hint = f"Name the subset too: {PREFIX}{name}:SUBSET/{split}."
        raise NextlongError(f"Cannot open the dataset {name}: {_short(error)}.", hint) from None
    known = builder.info.splits or {}
    files = builder.config.data_files or {}
    if (known or files) and split not in {str(key) for key in [*known, *files]}:
        raise _no_split(f"{PREFIX}{name}", split, sorted({str(key) for key in [*known, *files]}))
    # The hash covers the loader and, from the hub, its commit; the files' metadata covers what is loaded.
    origins = {str(key): getattr(value, "origin_metadata", None) for key, value in files.items()}
    state = f"{builder.hash} {builder.config_id} {split} {sorted(origins.items())}"
    size = known[split].num_bytes if split in known else None
    label = f"{PREFIX}{name}:{subset}/{split}" if subset else f"{PREFIX}{name}:{split}"
    fingerprint = xxhash.xxh3_64_hexdigest(state.encode("utf-8", "backslashreplace"))
    return Source(public_name(label), location, "hf", size or None, fingerprint, subset=subset, split=split)


def _parts(rest: str) -> tuple[str, str, str]:
    """Name, subset and split of what stands after ``hf:``; a folder's name may hold colons."""
    name, colon, selection = rest.rpartition(":")
    if not colon or Path(rest).expanduser().is_dir():
        return rest, "", ""
    subset, _, split = selection.rpartition("/")
    return name, subset, split


def _no_split(shown: str, split: str, splits: list[str]) -> UsageError:
    has = f"it has {', '.join(splits)}" if splits else "it has no splits"
    return UsageError(f"{shown} has no split `{split}`; {has}.", "Write the split after a colon: hf:NAME:SPLIT.")


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def _without_scripts(datasets: Any) -> dict[str, bool]:
    """What keeps a dataset's own script from being run: before version 4 there were such, since then not even the option."""
    return {"trust_remote_code": False} if int(datasets.__version__.split(".")[0]) < _WITHOUT_SCRIPTS else {}


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise NextlongError(
            "Hugging Face datasets need the package `datasets`, which is not installed.",
            'Install it with: pip install "nextlong[hf]"',
        ) from error
    return datasets
