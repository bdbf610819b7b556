"""Sequences as the page shows them: a block for each chunk, with the text that is read when it is opened."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from nextlong.inspection.opened import Dataset, Sample
from nextlong.pool.pool import Ordinals, Pool
from nextlong.public_text import printable

# Sequences shown of each dataset, and the bytes that they and their texts may take: with all else a page stays below 5 MB.
SHOWN_SEQUENCES = 6
MOST_BYTES = 3_500_000
# No text is cut shorter than this; fewer sequences are shown instead.
_LEAST_CHARACTERS = 400


def ribbons(datasets: list[Dataset], samples: list[Sample]) -> list[dict[str, Any]]:
    """For each dataset the sequences that are shown, evenly from its sample, and the texts of their chunks.

    Returns:
        For each dataset ``sequences`` (``id``, ``root``, ``topic``, and ``chunks`` as lists of role, index into ``texts``,
        group, rank, score, first and last token) and ``texts``: of each different chunk document, position in it, the
        text as far as there is room, and how many characters were left out.
    """
    for most in range(SHOWN_SEQUENCES, 0, -1):
        places = [_shown(sample, most) for sample in samples]
        chunks = [_chunks(sample, shown) for sample, shown in zip(samples, places, strict=True)]
        # All but the texts, which are put in where there is room.
        content: list[dict[str, Any]] = [
            {"sequences": [_sequence(sample, place, own) for place in shown], "texts": _origins(dataset, own)}
            for dataset, sample, shown, own in zip(datasets, samples, places, chunks, strict=True)
        ]
        room = max(0, MOST_BYTES - len(packed(content).encode()))
        least = sum(_least_characters(dataset.pool, own) for dataset, own in zip(datasets, chunks, strict=True))
        if least > room and most > 1:  # a character takes a byte or more
            continue
        texts = [[printable(text) for text in d.pool.texts(own)] for d, own in zip(datasets, chunks, strict=True)]
        limit, longest = _limit([text for each in texts for text in each], room)
        if limit >= min(_LEAST_CHARACTERS, longest):
            break
    for one, own_texts in zip(content, texts, strict=True):
        for origin, text in zip(one["texts"], own_texts, strict=True):
            origin += [text[:limit], max(0, len(text) - limit)]
    return content


def _least_characters(pool: Pool, chunks: Ordinals) -> int:
    """How many characters chunks have, counting no more of each than every text is shown of."""
    total = 0
    for shard, places in pool.by_shard(chunks):
        own = pool.chunk_characters(shard)[chunks[places] - pool.shard_start(shard)]
        total += int(np.minimum(own, _LEAST_CHARACTERS).sum())
    return total


def _shown(sample: Sample, most: int) -> list[int]:
    """Places of sequences in a sample, evenly."""
    return sorted({round(place) for place in np.linspace(0, len(sample) - 1, min(most, len(sample)))})


def _chunks(sample: Sample, shown: list[int]) -> Ordinals:
    """The different chunks of some sequences, ascending."""
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(sample.spans.of(place).chunks for place in shown)]))


def packed(content: object) -> str:
    """JSON that may stand in a page: no character of it can end its element, or begin a comment, which would hide the end.

    Nor can any turn the text around it: what is not printable is escaped.
    """
    written = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    hidden = {each for each in set(written) if each == "<" or not each.isprintable()}
    return written.translate({ord(each): _escape(each) for each in hidden})


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def _limit(texts: list[str], most: int) -> tuple[int, int]:
    """The most characters of each text with which all together take ``most`` bytes at most, and how many the longest has."""
    ordered = np.sort(np.array([len(text) for text in texts], dtype=np.int64))
    longest = int(ordered[-1]) if len(ordered) else 0
    room = int(most * ordered.sum() / max(1, len(packed(texts).encode())))
    # With the limit at the n-th length, all shorter ones are whole and the others are cut.
    totals = np.cumsum(ordered) + ordered * np.arange(len(ordered) - 1, -1, -1)
    fitting = int(np.searchsorted(totals, room, side="right"))
    if fitting == len(ordered):
        return longest, longest
    return (room - int(ordered[:fitting].sum())) // (len(ordered) - fitting), longest


def _sequence(sample: Sample, place: int, chunks: Ordinals) -> dict[str, Any]:
    spans = sample.spans.of(place)
    columns = zip(
        spans.roles.tolist(),
        np.searchsorted(chunks, spans.chunks).tolist(),
        spans.groups.tolist(),
        spans.ranks.tolist(),
        [round(score, 4) for score in spans.scores.tolist()],
        spans.token_starts.tolist(),
        spans.token_ends.tolist(),
        strict=True,
    )
    return {
        "id": printable(sample.ids[place], lines=False),
        "root": printable(sample.roots[place], lines=False),
        "topic": printable(sample.topics[place], lines=False),
        "chunks": [list(each) for each in columns],
    }


def _origins(dataset: Dataset, chunks: Ordinals) -> list[list[Any]]:
    """Of each chunk its document, and its position in it."""
    pool = dataset.pool
    ids = [printable(identity, lines=False) for identity in pool.document_ids(pool.documents_of(chunks))]
    return [list(each) for each in zip(ids, pool.positions_of(chunks).tolist(), strict=True)]
