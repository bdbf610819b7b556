"""A corpus of two files, and a tokenizer for it: enough for a few sequences of 4K tokens, made in a second."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import zstandard

from nextlong.tokenization.train import train_byte_level_bpe

DOCUMENTS = 160
# 60 words: made of these, so that documents that share favourites are similar.
_WORDS = [first + second for first in ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru") for second in
          ("lo", "mane", "ri", "tuka", "ka", "sen")]  # fmt: skip


def text_of(number: int) -> str:
    """A document of 2 to 4 chunks of 2,048 characters; every tenth is a copy of the one before it, save for white space."""
    draw = random.Random(number - 1 if number % 10 == 9 else number)
    favourites = draw.sample(_WORDS, 15)
    paragraphs = [
        " ".join(draw.choice(favourites if draw.random() < 0.6 else _WORDS) for _ in range(draw.randint(20, 60))) + "."
        for _ in range(draw.randint(12, 30))
    ]
    return ("\n\n" if number % 10 == 9 else "\n").join(paragraphs)


def texts() -> Iterator[str]:
    """The texts of all documents."""
    return map(text_of, range(DOCUMENTS))


def write_corpus(folder: Path) -> None:
    """Write ``0.jsonl.zst`` and ``1.jsonl.zst``."""
    folder.mkdir(parents=True)
    for part in range(2):
        lines = [json.dumps({"id": f"doc-{n}", "text": text_of(n)}) + "\n" for n in range(part, DOCUMENTS, 2)]
        (folder / f"{part}.jsonl.zst").write_bytes(zstandard.compress("".join(lines).encode()))


def write_tokenizer(folder: Path) -> None:
    """Train a byte-level BPE on the corpus: some three characters a token, fewer than the four of the paper's formula."""
    train_byte_level_bpe(texts(), 320, folder)
