"""Small corpora and runs, for the tests of robustness: everything is made here, from a seed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import xxhash

from nextlong.tokenization.train import train_byte_level_bpe

# So few tokens to a shard of sequences that a small dataset has several batches, and a kill finds some of them done.
SHARD_TOKENS = 1 << 12
LENGTH = 1024
GRANULARITY = 256

# Few dimensions keep the fitted encoder, which has a row for every hash of a word, at some MiB.
DIMENSIONS = 32

POOL_OPTIONS = ("--encoder", "lsa", "--dimensions", str(DIMENSIONS), "--granularity", str(GRANULARITY))

# The command line as it is installed, save for the sizes of a batch and of a group of sources. No option sets them, and
# none should for a test.
_COMMAND = """
from nextlong.dataset import layout
from nextlong.pool import layout as pool_layout
layout.SHARD_TOKENS = {shard_tokens}
pool_layout.SOURCE_GROUP_BYTES = 1
from nextlong.cli.main import main
main()
"""

# What differs between two runs that made the same: times and memory; and the mark of a killed run, which stays where the
# next one finds all that it needs and so writes nothing.
_TIMED = ("receipts", "metrics.jsonl", ".lock", ".run")


def write_corpus(folder: Path, files: int = 4, documents: int = 10, seed: int = 0) -> Path:
    """JSON Lines of documents on a dozen topics, each of some chunks; ids are ``doc-0``, ``doc-1``, …"""
    generator = random.Random(seed)
    words = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=generator.randint(2, 9))) for _ in range(600)]
    topics = [generator.sample(words, 40) for _ in range(12)]
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for file in range(files):
        lines = []
        for _ in range(documents):
            topic = generator.choice(topics)
            lines.append(json.dumps({"id": f"doc-{number}", "text": _text(generator, topic, words)}) + "\n")
            number += 1
        (folder / f"part-{file}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def _text(generator: random.Random, topic: list[str], words: list[str]) -> str:
    def paragraph() -> str:
        return " ".join(
            generator.choice(topic if generator.random() < 0.7 else words) for _ in range(generator.randint(12, 34))
        )

    return "\n".join(paragraph() for _ in range(generator.randint(3, 6)))


def texts_of(corpus: Path) -> list[str]:
    """The texts of a corpus that :func:`write_corpus` wrote."""
    return [
        json.loads(line)["text"]
        for path in sorted(corpus.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def train_tokenizer(corpus: Path, folder: Path) -> Path:
    """A byte-level BPE of 512 tokens for a corpus."""
    train_byte_level_bpe(texts_of(corpus), 512, folder)
    return folder


def command(*arguments: object, shard_tokens: int = SHARD_TOKENS) -> list[str]:
    """The words of ``nextlong ARGUMENTS…`` for :mod:`subprocess`."""
    return [sys.executable, "-c", _COMMAND.format(shard_tokens=shard_tokens), *map(str, arguments)]


def start(*arguments: object, cwd: Path, shard_tokens: int = SHARD_TOKENS) -> subprocess.Popen[str]:
    """Start ``nextlong ARGUMENTS…`` in a process group of its own."""
    return subprocess.Popen(
        command(*arguments, shard_tokens=shard_tokens),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "200"},
        # Where the tests run in the background of a shell, Ctrl-C is ignored, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finished(*arguments: object, cwd: Path, shard_tokens: int = SHARD_TOKENS) -> subprocess.CompletedProcess[str]:
    """Run ``nextlong ARGUMENTS…`` to its end."""
    process = start(*arguments, cwd=cwd, shard_tokens=shard_tokens)
    stdout, stderr = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def contents(folder: Path) -> dict[str, str]:
    """Relative path → hash of every file that must be the same on every run, whatever was killed or how many worked.

    The absolute path of the folder and of its parent, which descriptions name, count as the same; so do checksums of them.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part in _TIMED for part in relative.parts):
            content = path.read_bytes().replace(str(folder.resolve().parent).encode(), b"PARENT")
            if path.name in ("dataset.yaml", "pool.yaml"):
                content = re.sub(rb"^checksum: .*$", b"", content, flags=re.MULTILINE)
            found[str(relative)] = xxhash.xxh3_128_hexdigest(content)
    return found


def receipts(folder: Path) -> dict[str, dict[str, object]]:
    """Relative path → content of every receipt below a folder, without times, memory and the checksum of all."""
    found: dict[str, dict[str, object]] = {}
    for path in sorted(folder.rglob("receipts/*/*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found[str(path.relative_to(folder))] = {"damaged": True}
            continue
        found[str(path.relative_to(folder))] = {
            key: value for key, value in content.items() if key not in ("seconds", "peak_memory", "checksum")
        }
    return found


def leftovers(folder: Path) -> list[str]:
    """Temporary files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tmp"))
