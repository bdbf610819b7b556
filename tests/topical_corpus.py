"""A corpus for methods that put whole documents together: topics, keywords, copies, documents of one chunk and of many."""

from __future__ import annotations

import random

STOP_WORDS = ("the", "of", "and", "is", "with", "in", "for")
_SYLLABLES = ("ba", "co", "di", "fu", "ge", "hi", "ka", "lo", "mé", "nu", "pi", "ra", "se", "tö", "vi", "str", "ing")


def _new_words(generator: random.Random, amount: int, known: set[str]) -> list[str]:
    words: list[str] = []
    while len(words) < amount:
        word = "".join(generator.choices(_SYLLABLES, k=generator.randint(2, 4)))
        if word not in known and word not in STOP_WORDS:
            known.add(word)
            words.append(word)
    return words


def _paragraph(generator: random.Random, phrases: list[str], words: list[str]) -> str:
    parts = []
    for _ in range(generator.randint(3, 9)):
        parts.append(generator.choice(STOP_WORDS))
        parts.append(generator.choice(phrases) if generator.random() < 0.6 else generator.choice(words))
        if generator.random() < 0.2:
            parts[-1] += ","
    return " ".join(parts).capitalize() + "."


def topical_documents(
    amount: int = 160, topics: int = 6, seed: int = 0, paragraphs: tuple[int, int] = (1, 24), blank: int = 4
) -> list[dict[str, str]]:
    """Documents (id and text) on topics, with phrases that RAKE finds; every ninth is a copy of an earlier one.

    Args:
        amount: how many.
        topics: a topic has words and phrases of its own, and documents of one topic are similar.
        seed: of all of it.
        paragraphs: the fewest and the most of a document, of some 80 characters each.
        blank: so many documents more have no word at all, and so no vector by the encoder ``lsa``.
    """
    generator = random.Random(seed)
    known: set[str] = set()
    words = [_new_words(generator, 20, known) for _ in range(topics)]
    phrases = []
    for _ in range(topics):
        own = _new_words(generator, 40, known)
        pairs = [" ".join(own[2 * n : 2 * n + 2]) for n in range(15)]
        phrases.append(pairs + [" ".join(own[30 + n : 33 + n]) for n in range(8)])
    documents: list[dict[str, str]] = []
    for number in range(amount):
        topic = generator.randrange(topics)
        if number % 9 == 8:
            text = generator.choice(documents)["text"]
        else:
            favourites = generator.sample(phrases[topic], 4)
            lines = generator.randint(*paragraphs)
            text = "\n".join(_paragraph(generator, favourites, words[topic]) for _ in range(lines))
        documents.append({"id": f"document-{number}", "text": text})
    for number in range(blank):
        lines = ["".join(generator.choices("*-=+~#", k=90)) for _ in range(generator.randint(2, 14))]
        documents.append({"id": f"blank-{number}", "text": "\n".join(lines)})
    generator.shuffle(documents)
    return documents
