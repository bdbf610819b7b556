"""A larger corpus out of a given one, whose chunks have neighbours like real ones.

    python benchmarks/resample.py CORPUS.jsonl.zst OUT_FOLDER --characters 1.7B [--seed 0]

Real documents are sorted into topics of some fifty: k-means of the default encoder's vectors of their beginnings. A new
document takes the length of a real one, drawn at random, and is filled with short runs of consecutive paragraphs (lines),
each run from a random place of a random document of the same topic. So every paragraph is real, what stands together is
about the same thing, and the distribution of lengths stays. A run has two to ten paragraphs, so that a chunk is made of
several: two chunks share a run now and then, as chunks of real documentation share boilerplate, but seldom most of them.

The same corpus, size and seed give the same files. A part holds `PART_CHARACTERS` characters.
"""

from __future__ import annotations

import argparse
import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

import faiss
import numpy as np
import numpy.typing as npt
import zstandard

from nextlong.config import CorpusConfig, EncoderConfig
from nextlong.corpus import find_sources, read_source
from nextlong.embedding.registry import load_encoder
from nextlong.records import Document
from nextlong.sizes import parse_count

DOCUMENTS_PER_TOPIC = 50
TOPIC_CHARACTERS = 2048  # of a document's beginning, which say what it is about
KMEANS_ITERATIONS = 8
SHORTEST_RUN, LONGEST_RUN = 2, 10  # paragraphs
PART_CHARACTERS = 250_000_000
COMPRESSION_LEVEL = 3


@dataclass(frozen=True)
class _Topics:
    """The documents by topic, and where their paragraphs begin; the end of the text is the last place."""

    texts: list[str]
    starts: list[npt.NDArray[np.int32]]
    topic: list[int]
    members: list[list[int]]


def main() -> None:
    """Write the parts and say how many documents they hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--characters", type=parse_count, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{resample(options.corpus, options.out, options.characters, options.seed):,} documents")


def resample(corpus: Path, out: Path, characters: int, seed: int = 0) -> int:
    """Write ``part-*.jsonl.zst`` with at least so many characters together; returns how many documents that took."""
    topics = _topics(corpus)
    out.mkdir(parents=True, exist_ok=True)
    number = written = part = 0
    documents = _documents(topics, Random(seed))
    while written < characters:
        ends = min(characters, (part + 1) * PART_CHARACTERS)
        path = out / f"part-{part:04d}.jsonl.zst"
        compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        with zstandard.open(path, "wt", cctx=compressor, encoding="utf-8") as file:
            while written < ends:
                text = next(documents)
                file.write(json.dumps({"id": f"resampled-{number}", "text": text}, ensure_ascii=False) + "\n")
                number, written = number + 1, written + len(text)
        part += 1
    return number


def _topics(corpus: Path) -> _Topics:
    config = CorpusConfig(inputs=(str(corpus),))
    records = (record for source in find_sources(config) for record in read_source(source, config))
    texts = [record.text for record in records if isinstance(record, Document)]
    vectors = load_encoder(EncoderConfig()).encode([text[:TOPIC_CHARACTERS] for text in texts])
    amount = max(1, len(texts) // DOCUMENTS_PER_TOPIC)
    kmeans = faiss.Kmeans(
        vectors.shape[1], amount, niter=KMEANS_ITERATIONS, spherical=True, seed=0, min_points_per_centroid=1
    )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms == 0, 1, norms)
    kmeans.train(vectors)
    topic = kmeans.index.search(vectors, 1)[1][:, 0].tolist()
    members: list[list[int]] = [[] for _ in range(amount)]
    for document, number in enumerate(topic):
        members[number].append(document)
    return _Topics(texts, [_paragraph_starts(text) for text in texts], topic, members)


def _paragraph_starts(text: str) -> npt.NDArray[np.int32]:
    return np.fromiter(accumulate((len(line) + 1 for line in text.split("\n")), initial=0), dtype=np.int32)


def _documents(topics: _Topics, draw: Random) -> Iterator[str]:
    while True:
        model = draw.randrange(len(topics.texts))
        members = topics.members[topics.topic[model]]
        runs: list[str] = []
        missing = len(topics.texts[model])
        while missing > 0:
            run = _run(topics, members[draw.randrange(len(members))], draw)
            runs.append(run)
            missing -= len(run) + 1
        text = "\n".join(runs)[: len(topics.texts[model])]
        if not text.isspace():
            yield text


def _run(topics: _Topics, document: int, draw: Random) -> str:
    """Some paragraphs of a document, from a place drawn by characters, so that long paragraphs come as often as they do."""
    starts, text = topics.starts[document], topics.texts[document]
    first = bisect_right(starts, draw.randrange(len(text))) - 1
    last = min(first + draw.randint(SHORTEST_RUN, LONGEST_RUN), len(starts) - 1)
    return text[starts[first] : starts[last] - 1]


if __name__ == "__main__":
    main()
