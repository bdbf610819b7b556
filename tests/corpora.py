"""Corpora for tests: families of documents, and copies of every kind."""

from __future__ import annotations

import json
import random

# Chunks of some 90 words: a changed first word leaves a Jaccard similarity above 0.95.
GRANULARITY = 600
_SYLLABLES = (
    "ba",
    "co",
    "di",
    "fu",
    "ge",
    "hi",
    "ka",
    "lo",
    "mé",
    "nu",
    "pi",
    "ra",
    "se",
    "tö",
    "vi",
    "漢字",
    "str",
    "ing",
    "42",
)


def _words(generator, amount):
    return ["".join(generator.choices(_SYLLABLES, k=generator.randint(1, 4))) for _ in range(amount)]


def _paragraph(generator, words):
    return " ".join(generator.choices(words, k=generator.randint(9, 25))).capitalize() + "."


def _with_another_first_word(text):
    first, rest = text.split(" ", 1)
    return f"{'x' * len(first)} {rest}"


def make_documents(amount=40, families=5, seed=0, paragraphs=(1, 20)):
    """Documents (id and text) of families that share their words, none a copy of another."""
    generator = random.Random(seed)
    shared = _words(generator, 60)
    topics = [_words(generator, 40) + generator.sample(shared, 20) for _ in range(families)]
    return [
        {
            "id": f"document-{number}",
            "text": "\n".join(
                _paragraph(generator, topics[number % families]) for _ in range(generator.randint(*paragraphs))
            ),
        }
        for number in range(amount)
    ]


def with_copies(documents, every=4, seed=0):
    """The documents and, for every n-th, a copy of some kind: exact, white space, near (above 0.95), quoting (below 0.5)."""
    generator = random.Random(seed)
    result = list(documents)
    for number, document in enumerate(documents[::every]):
        text = document["text"]
        own = _words(generator, 50)
        changed = {
            "exact": text,
            "folded": text.replace(" ", "\t", 7).replace(" ", "\u2003"),
            "spaced": f" {text.replace(' ', '  ', 3)} \n" if len(text) < GRANULARITY / 2 else text,
            "near": _with_another_first_word(text) if len(text) > GRANULARITY else text,
            "quoting": "\n".join(
                f"{_paragraph(generator, own)}\n{line}\n{_paragraph(generator, own)}" for line in text.split("\n")
            ),
        }
        kind = list(changed)[number % len(changed)]
        result.append({"id": f"{kind}-of-{document['id']}", "text": changed[kind]})
    generator.shuffle(result)
    return result


def write_corpus(path, documents):
    """Write documents as JSON Lines; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(document, ensure_ascii=False) for document in documents]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
