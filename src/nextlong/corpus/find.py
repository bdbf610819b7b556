"""From what people name to the sources that tasks read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from nextlong.config import CorpusConfig
from nextlong.corpus import demo, huggingface
from nextlong.corpus.listing import Entry, joined, list_input
from nextlong.corpus.source import Source, file_kind, is_url, public_name
from nextlong.errors import UsageError

DEMO = "demo"

# A source is one task. So many small files are worth a task's overhead, and so many bytes keep the workers balanced.
TEXT_FILES_PER_SOURCE = 4096
TEXT_BYTES_PER_SOURCE = 64 << 20


def find_sources(config: CorpusConfig) -> list[Source]:
    """The sources that ``config.inputs`` name, in the order of the inputs and sorted within each; every file once.

    Folders are searched recursively for the known kinds of file: hidden names are passed over, and beside JSON Lines or
    Parquet files also README, LICENSE and their like. Text files of one folder share sources, so that a hundred
    thousand files are some dozens of sources.

    Raises:
        UsageError: an input matches nothing, is of an unknown kind, or no inputs are given.
        NextlongError: storage or a dataset cannot be reached, or a package for it is missing.
    """
    if not config.inputs:
        raise UsageError("No corpus is given.", "Name files, folders, glob patterns, URLs, hf:NAME[:SPLIT], or demo.")
    plan = _Plan()
    for given in config.inputs:
        if not given.strip():
            raise UsageError("One of the inputs is an empty name.", "Check the list of inputs, or where it came from.")
        if given == DEMO:
            plan.add_source(demo.demo_source())
        elif given.startswith(huggingface.PREFIX):
            plan.add_source(huggingface.find_dataset(given))
        else:
            for entry in list_input(given):
                plan.add_entry(entry)
    return plan.sources()


@dataclass
class _TextGroup:
    """Text files of the same folder given, which become one source or some."""

    root: str
    entries: list[Entry] = field(default_factory=list)


class _Plan:
    """Sources in the order in which they were found, each file and dataset once."""

    def __init__(self) -> None:
        self._found: list[Source | _TextGroup] = []
        self._groups: dict[str, _TextGroup] = {}
        self._seen: set[str] = set()

    def add_source(self, source: Source) -> None:
        if self._is_new(f"{source.kind} {source.location} {source.subset} {source.split}"):
            self._found.append(source)

    def add_entry(self, entry: Entry) -> None:
        if entry.saved_dataset:
            self.add_source(huggingface.find_saved_dataset(Path(entry.location), "", entry.name))
            return
        kind = file_kind(entry.path.partition("?")[0] if is_url(entry.location) else entry.path)
        if kind is None or not self._is_new(entry.identity):
            return
        if kind != "text":
            self._found.append(Source(public_name(entry.name), entry.location, kind, entry.size, entry.version))
            return
        folder = _folder(entry)
        if folder not in self._groups:
            self._groups[folder] = _TextGroup(entry.root)
            self._found.append(self._groups[folder])
        self._groups[folder].entries.append(entry)

    def sources(self) -> list[Source]:
        # Ids must tell apart what two inputs call the same, such as train/1.txt and test/1.txt given as two folders.
        counts = Counter(entry.path for group in self._groups.values() for entry in group.entries)
        sources: list[Source] = []
        for item in self._found:
            if isinstance(item, Source):
                sources.append(item)
            else:
                is_shared = any(counts[entry.path] > 1 for entry in item.entries)
                sources += _text_sources(item, joined(public_name(item.root), "") if is_shared else "")
        return sources

    def _is_new(self, identity: str) -> bool:
        is_new = identity not in self._seen
        self._seen.add(identity)
        return is_new


def _folder(entry: Entry) -> str:
    """Where the entry's root is: its location less its relative path."""
    return entry.location.removesuffix(entry.path)


def _text_sources(group: _TextGroup, id_prefix: str) -> list[Source]:
    batches: list[list[Entry]] = []
    batch_bytes = 0
    for entry in group.entries:
        size = entry.size or 0
        if not batches or len(batches[-1]) == TEXT_FILES_PER_SOURCE or batch_bytes + size > TEXT_BYTES_PER_SOURCE:
            batches.append([])
            batch_bytes = 0
        batches[-1].append(entry)
        batch_bytes += size
    if len(group.entries) == 1:
        return [_text_source(public_name(group.entries[0].name), batches[0], id_prefix)]
    name = public_name(group.root or ".")
    sources = []
    first = 1
    for batch in batches:
        last = first + len(batch) - 1
        label = f"{name} (text files {first}-{last})" if len(batches) > 1 else name
        sources.append(_text_source(label, batch, id_prefix))
        first = last + 1
    return sources


def _text_source(name: str, batch: list[Entry], id_prefix: str) -> Source:
    hasher = xxhash.xxh3_64()
    for entry in batch:
        # What follows the question mark in a URL may be a signature, which changes while the file does not.
        path = entry.path.partition("?")[0] if is_url(entry.location) else entry.path
        hasher.update(f"{path}\0{entry.version}\0".encode("utf-8", "surrogateescape"))
    sizes = [entry.size for entry in batch]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    files = tuple(entry.path for entry in batch)
    return Source(name, _folder(batch[0]), "text", total, hasher.hexdigest(), files, id_prefix)
