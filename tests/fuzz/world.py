"""A small pool, datasets in every format, and what else fuzz targets begin with; made once a process."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from small_runs import DIMENSIONS, GRANULARITY, LENGTH, train_tokenizer, write_corpus

import nextlong
from nextlong.execution.files import checksum, read_record, write_record

# Files that are larger are left alone: mutating them finds little.
MOST_BYTES = 1 << 16


@cache
def folder() -> Path:
    """Where it all lies, until the process ends."""
    made = Path(tempfile.mkdtemp(prefix="nextlong-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def corpus() -> Path:
    """JSON Lines of ten documents."""
    return write_corpus(folder() / "corpus", files=1, documents=10)


@cache
def tokenizer() -> Path:
    """A byte-level BPE."""
    return train_tokenizer(corpus(), folder() / "tokenizer")


@cache
def pool() -> Path:
    """The pool of the corpus."""
    path = folder() / "pool"
    encoder = {"name": "lsa", "dimensions": DIMENSIONS}
    nextlong.build_pool(str(corpus()), path, workers=1, chunking={"granularity": GRANULARITY}, encoder=encoder)
    return path


@cache
def screened_pool() -> Path:
    """A pool of the corpus and its copy, without the copies and without what is in its first document."""
    path, evaluation = folder() / "screened-pool", folder() / "evaluation.jsonl"
    text = json.loads((corpus() / "part-0.jsonl").read_text().splitlines()[0])["text"]
    again = write_corpus(folder() / "again", files=1, documents=10)
    evaluation.write_text(json.dumps({"text": text[:300]}))
    nextlong.build_pool(
        [str(corpus()), str(again)],
        path,
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": DIMENSIONS},
        screening={"deduplicate": "drop", "decontaminate": [str(evaluation)], "max_ngram_documents": 9},
    )
    return path


@cache
def dataset(form: str = "parquet") -> Path:
    """A dataset of two sequences in a format."""
    path = folder() / f"data-{form}"
    keys = {"length": LENGTH, "roots": 2, "tokenizer": str(tokenizer()), "format": form}
    nextlong.synthesize(str(pool()), path, workers=1, **keys)
    return path


@cache
def export() -> Path:
    """An export of the dataset: its rows packed in twos."""
    path = folder() / "export"
    nextlong.export(dataset(), path, workers=1, length=2 * LENGTH)
    return path


class Forged:
    """A folder in which one file at a time is replaced, its receipt made to agree, and put back afterwards."""

    def __init__(self, made: Path) -> None:
        self.folder = made
        paths = [path for path in sorted(made.rglob("*")) if path.is_file() and path.name not in (".lock", "metrics.jsonl")]
        self._contents = {path: path.read_bytes() for path in paths}
        self.files = [path for path in paths if "receipts" not in path.parts and len(self._contents[path]) <= MOST_BYTES]
        self._receipts = {path: read_record(path) for path in paths if "receipts" in path.parts}

    def seeds(self) -> list[bytes]:
        """Every file as it is: its number, then its content."""
        return [bytes([number]) + self._contents[path] for number, path in enumerate(self.files)]

    def forge(self, data: bytes) -> Path:
        """Replace the file that the first byte names by the other bytes; gives its path."""
        path = self.files[data[0] % len(self.files)]
        replace(path, data[1:])
        name = str(path.relative_to(self.folder))
        for receipt, content in self._receipts.items():
            if name in content["outputs"]:
                entry = {"checksum": checksum(path), "bytes": path.stat().st_size}
                write_record(receipt, {**content, "outputs": {**content["outputs"], name: entry}})
        replace(self.folder / "plan.json", (self.folder / "plan.json").read_bytes())
        return path

    def restore(self) -> None:
        """Put back what was replaced."""
        for path, content in self._contents.items():
            if path.read_bytes() != content:
                replace(path, content)


def replace(path: Path, content: bytes) -> None:
    """Write a file under another name first: memory maps of what it was stay as they are."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
