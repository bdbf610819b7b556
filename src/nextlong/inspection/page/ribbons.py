"""Sequences as the page shows them: a block for each chunk, with the text that is read when it is opened."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from nextlong.inspection.opened import Dataset, Sample
from nextlong.pool.pool import Ordinals
from nextlong.public_text import printable

# Sequences shown of each dataset, and the bytes that their texts may take: with all else a page stays below 5 MB.
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
    places = [_shown(sample, SHOWN_SEQUENCES) for sample in samples]
    while True:
        chunks = [_chunks(sample, shown) for sample, shown in zip(samples, places, strict=True)]
        texts = [[printable(text) for text in d.pool.texts(own)] for d, own in zip(datasets, chunks, strict=True)]
        limit = _limit([text for each in texts for text in each])
        most = max(len(shown) for shown in places)
        if limit >= _LEAST_CHARACTERS or most <= 1:
            break
        places = [_shown(sample, most - 1) for sample in samples]
    return [
        {
            "sequences": [_sequence(sample, place, own) for place in shown],
            "texts": _texts(dataset, own, text, limit),
        }
        for dataset, sample, shown, own, text in zip(datasets, samples, places, chunks, texts, strict=True)
    ]


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


def _limit(texts: list[str]) -> int:
    """The most characters of each text with which all together take no more bytes than there is room for."""
    ordered = np.sort(np.array([len(text) for text in texts], dtype=np.int64))
    room = int(MOST_BYTES * ordered.sum() / max(1, len(packed(texts).encode())))
    # With the limit at the n-th length, all shorter ones are whole and the others are cut.
    totals = np.cumsum(ordered) + ordered * np.arange(len(ordered) - 1, -1, -1)
    fitting = int(np.searchsorted(totals, room, side="right"))
    if fitting == len(ordered):
        return int(ordered[-1]) if len(ordered) else room
    return (room - int(ordered[:fitting].sum())) // (len(ordered) - fitting)


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


def _texts(dataset: Dataset, chunks: Ordinals, texts: list[str], limit: int) -> list[list[Any]]:
    pool = dataset.pool
    ids = [printable(identity, lines=False) for identity in pool.document_ids(pool.documents_of(chunks))]
    positions = pool.positions_of(chunks).tolist()
    return [
        [identity, position, text[:limit], max(0, len(text) - limit)]
        for identity, position, text in zip(ids, positions, texts, strict=True)
    ]
