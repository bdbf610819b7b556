"""The methods that put whole documents together, once more and as plainly as it can be said, from the specification.

Like ``oracle.py``, from which the corpus and the joining of chunks come, it shares no code with the package. Of the pool it
takes the vectors of documents, as they are stored; the test compares these with means made by hand.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from oracle import OutOfText, key_of, splitmix64

SHARD_TOKENS = 1 << 23


class Made:
    """Sequences, each as root id, topic, tokens and spans; and the tokens that were wasted on them."""

    def __init__(self):
        self.sequences, self.wasted = [], 0

    def __len__(self):
        return len(self.sequences)


class Placing:
    """A chunk in a sequence, and how its document was found."""

    def __init__(self, chunk, rank=0, score=0.0):
        self.chunk, self.rank, self.score = chunk, rank, float(score)


def draw_order(corpus, seed):
    """All documents, in the order of the draw."""
    mixed = splitmix64(seed)
    return sorted(range(len(corpus.ids)), key=lambda document: splitmix64(key_of(corpus.ids[document]) ^ mixed))


def joined(corpus, options, chunks):
    """The tokens of chunks with a separator after each, encoded at once, and how many of them end by the end of each."""
    parts = [corpus.texts[chunk] + options.separator for chunk in chunks]
    encoding = corpus.encode("".join(parts) + "a")
    borders = np.cumsum([len(part) for part in parts])
    ends = np.maximum.accumulate([end for _, end in encoding.offsets[:-1]])
    return encoding.ids[:-1], [int((ends <= border).sum()) for border in borders]


def amount_to_fill(corpus, options, chunks):
    """How many of the chunks fill a sequence, and not one more; None if all do not."""

    def tokens(amount):
        return len(joined(corpus, options, chunks[:amount])[0])

    most = 1
    while most < len(chunks) and tokens(most) < options.content:
        most *= 2
    amount = 1 + bisect_left(range(1, min(most, len(chunks)) + 1), options.content, key=tokens)
    return amount if amount <= len(chunks) else None


def tokens_of(corpus, options, chunks):
    return sum(corpus.length(chunk, options.separator) for chunk in chunks)


def write(made, corpus, options, placings, topic=""):
    """Join the chunks, cut them to length, and put the sequence down; what is cut off is wasted."""
    tokens, ends = joined(corpus, options, [placing.chunk for placing in placings])
    content, first = options.content, len(options.bos)
    assert len(tokens) >= content
    made.wasted += len(tokens) - content
    # Documents are numbered as they appear.
    groups = {}
    spans = []
    for placing, (start, end) in zip(placings, pairwise([0, *ends]), strict=True):
        document = corpus.document_of[placing.chunk]
        groups.setdefault(document, len(groups))
        if start < content:
            spans.append(
                {
                    "role": "document",
                    "document": corpus.ids[document],
                    "position": placing.chunk - corpus.chunks_of[document][0],
                    "chunk": placing.chunk,
                    "group": groups[document],
                    "rank": placing.rank,
                    "score": placing.score,
                    "token_start": first + start,
                    "token_end": first + min(end, content),
                }
            )
    row = options.bos + tokens[:content] + options.eos
    made.sequences.append({"root": spans[0]["document"], "topic": topic, "tokens": row, "spans": spans})


def sequences_per_shard(options):
    return max(1, SHARD_TOKENS // options.length)


def end_of_shard(corpus, options, documents, sequences):
    """How many of the documents a shard takes: up to that of the chunk behind its sequences, by the lengths of chunks."""
    taken = 0
    chunks = [(number, chunk) for number, document in enumerate(documents) for chunk in corpus.chunks_of[document]]
    for _ in range(sequences):
        tokens = 0
        while tokens < options.content:
            if taken == len(chunks):
                return len(documents)
            tokens += corpus.length(chunks[taken][1], options.separator)
            taken += 1
    return chunks[taken][0] + 1 if taken < len(chunks) else len(documents)


def along_a_path(corpus, options, path, amount, arrange=lambda chunks: chunks):
    """Cut the chunks of a path of documents into sequences; ``arrange`` may then change their order."""
    made, path = Made(), list(path)
    while len(made) < amount:
        sequences = min(sequences_per_shard(options), amount - len(made))
        documents = end_of_shard(corpus, options, path, sequences)
        chunks = [chunk for document in path[:documents] for chunk in corpus.chunks_of[document]]
        path = path[documents:]
        for _ in range(sequences):
            taken = amount_to_fill(corpus, options, chunks)
            if taken is None:
                raise OutOfText(len(made))
            # The chunks interleaved may have fewer tokens, where these reach over separators.
            while len(joined(corpus, options, arrange(chunks[:taken]))[0]) < options.content:
                taken += 1
            write(made, corpus, options, [Placing(chunk) for chunk in arrange(chunks[:taken])])
            chunks = chunks[taken:]
        made.wasted += tokens_of(corpus, options, chunks)
    return made


def standard(corpus, options, amount):
    return along_a_path(corpus, options, draw_order(corpus, options.seed), amount)


def untie(corpus, options, amount, piece=1, probability=1.0):
    def arrange(chunks):
        generator = np.random.default_rng([options.seed, 0x756E, key_of(corpus.ids[corpus.document_of[chunks[0]]])])
        if not generator.random() < probability:
            return chunks
        pieces, owners = [], []
        for document in dict.fromkeys(corpus.document_of[chunk] for chunk in chunks):
            own = [chunk for chunk in chunks if corpus.document_of[chunk] == document]
            pieces += [own[start : start + piece] for start in range(0, len(own), piece)]
            owners += [document] * (len(pieces) - len(owners))
        places = generator.permutation(len(pieces)).tolist()
        arranged = [None] * len(pieces)
        for document in set(owners):
            numbers = [number for number, owner in enumerate(owners) if owner == document]
            for number, place in zip(numbers, sorted(places[number] for number in numbers), strict=True):
                arranged[place] = pieces[number]
        return [chunk for part in arranged for chunk in part]

    return along_a_path(corpus, options, draw_order(corpus, options.seed), amount, arrange)


def by_similarity(vectors, document):
    """(document, similarity) of all others that have a vector, the most similar first, equal ones by ordinal."""
    scores = (vectors.astype(np.float64) @ vectors[document].astype(np.float64)).astype(np.float32)
    others = [other for other in range(len(vectors)) if other != document and vectors[other].any()]
    return [(other, scores[other]) for other in sorted(others, key=lambda other: (-scores[other], other))]


def knn(corpus, options, amount, vectors):
    made = Made()
    for first in draw_order(corpus, options.seed):
        if len(made) == amount:
            break
        if vectors[first].any():
            others = [(other, rank, score) for rank, (other, score) in enumerate(by_similarity(vectors, first), start=1)]
            begin_afresh(made, corpus, options, [(first, 0, 1.0), *others])
    if len(made) < amount:
        raise OutOfText(len(made))
    return made


def begin_afresh(made, corpus, options, found, topic=""):
    """A sequence of the first of the documents found; what is left of its last one is dropped. Returns how many it took."""
    placings = [Placing(chunk, rank, score) for document, rank, score in found for chunk in corpus.chunks_of[document]]
    taken = amount_to_fill(corpus, options, [placing.chunk for placing in placings])
    if taken is None:
        raise OutOfText(len(made))
    documents = [corpus.document_of[placing.chunk] for placing in placings]
    rest = [placing.chunk for placing in placings[taken:] if corpus.document_of[placing.chunk] == documents[taken - 1]]
    made.wasted += tokens_of(corpus, options, rest)
    write(made, corpus, options, placings[:taken], topic)
    return 1 + [document for document, _, _ in found].index(documents[taken - 1])


def path_of(corpus, seed, vectors, neighbours, start):
    """In-Context Pretraining's path through all documents."""
    nearest = [
        [other for other, _ in by_similarity(vectors, document)[:neighbours]] if vectors[document].any() else []
        for document in range(len(vectors))
    ]
    edges = {frozenset((document, other)) for document, found in enumerate(nearest) for other in found}
    degree = Counter(document for edge in edges for document in edge)
    starts = draw_order(corpus, seed)
    if start == "min-degree":
        starts = sorted(starts, key=lambda document: degree[document])
    path = []
    while len(path) < len(vectors):
        path.append(next(document for document in starts if document not in path))
        while onwards := [other for other in nearest[path[-1]] if other not in path]:
            path.append(onwards[0])
    return path


def iclm(corpus, options, amount, vectors, neighbours=10, start="min-degree"):
    return along_a_path(corpus, options, path_of(corpus, options.seed, vectors, neighbours, start), amount)


# The stop words that the corpus of the test has.
STOP_WORDS = {"the", "of", "and", "is", "with", "in", "for"}


def rake(text, min_score, max_words):
    """Keyword → score of a text of words of letters, full stops, commas and the stop words above."""
    candidates = []
    for run in re.split(r"[.,;\n]", text.lower()):
        candidate = []
        for word in [*run.split(), "the"]:
            if word in STOP_WORDS or not word[0].isalpha() or len(word) < 2:
                candidates.append(candidate)
                candidate = []
            else:
                candidate.append(word)
    candidates = [candidate for candidate in candidates if 0 < len(candidate) <= max_words]
    frequency, degree = Counter(), Counter()
    for candidate in candidates:
        for word in candidate:
            frequency[word] += 1
            degree[word] += len(candidate)
    scores = {
        " ".join(candidate): sum(Fraction(degree[word], frequency[word]) for word in candidate) for candidate in candidates
    }
    return {keyword: score for keyword, score in scores.items() if score >= Fraction(min_score)}


class Quest:
    """The options of ``quest`` with their defaults, and what follows from them."""

    def __init__(
        self,
        min_score=3.0,
        max_words=3,
        split_ratio=0.2,
        queries=None,
        min_documents=2,
        max_share=None,
        per_document=3,
    ):
        self.min_score, self.max_words, self.split_ratio, self.queries = min_score, max_words, split_ratio, queries
        self.min_documents, self.max_share, self.per_document = min_documents, max_share, per_document

    def keywords(self, corpus, texts):
        """What each document may be found by."""
        if self.queries is not None:
            lines = map(json.loads, Path(self.queries).read_text(encoding="utf-8").splitlines())
            queries = {line["id"]: "\n".join(line["queries"]) for line in lines}
            texts = [queries.get(identity, "") for identity in corpus.ids]
        found = [set(rake(text, self.min_score, self.max_words)) for text in texts]
        holders = Counter(keyword for keywords in found for keyword in keywords)
        share = self.max_share or min(1.0, max(0.02, 100 / len(texts)))
        most = max(self.min_documents, math.floor(share * len(texts)))
        usable = [[keyword for keyword in keywords if self.min_documents <= holders[keyword] <= most] for keywords in found]
        return [
            sorted(keywords, key=lambda word: (-holders[word], key_of(word)))[: self.per_document] for keywords in usable
        ]

    def weights(self, sizes):
        """Keyword → probability, from keyword → (documents, tokens)."""
        counts = sorted(documents for documents, _ in sizes.values())
        rare, together = 0, 0
        while rare < len(counts) and together + counts[rare] <= self.split_ratio * sum(counts):
            together += counts[rare]
            rare += 1
        next_count = counts[min(rare, len(counts) - 1)]
        raw = {keyword: tokens * max(1, Fraction(next_count, documents)) for keyword, (documents, tokens) in sizes.items()}
        return {keyword: float(weight / sum(raw.values())) for keyword, weight in raw.items()}


def drawn_groups(weights, amount, seed):
    """Systematic sampling: a keyword for each sequence, each as often as its weight says, rounded at random."""
    generator = np.random.default_rng([seed, 0x7102])
    offset = generator.random()
    drawn, before = [], 0
    for number, total in enumerate(np.cumsum(list(weights.values())).tolist()):
        upto = amount if number == len(weights) - 1 else min(amount, math.floor(total * amount + offset))
        drawn += [number] * (upto - before)
        before = upto
    names = list(weights)
    return [names[number] for number in generator.permutation(np.array(drawn, dtype=np.int64)).tolist()]


def quest(corpus, options, amount, texts, **settings):
    settings, order = Quest(**settings), draw_order(corpus, options.seed)
    members = {}
    for document, keywords in enumerate(settings.keywords(corpus, texts)):
        if keywords:
            generator = np.random.default_rng([options.seed, key_of(corpus.ids[document]), 0x7101])
            members.setdefault(sorted(keywords)[int(generator.integers(len(keywords)))], []).append(document)

    def chunks_of(documents):
        return [chunk for document in documents for chunk in corpus.chunks_of[document]]

    def characters(documents):
        return sum(corpus.characters[document] for document in documents)

    sample = order[:256]
    needed = characters(sample) / tokens_of(corpus, options, chunks_of(sample)) * options.content
    long_enough = {keyword: members[keyword] for keyword in sorted(members) if characters(members[keyword]) >= needed}
    while True:
        if not long_enough:
            raise OutOfText(0)
        sizes = {keyword: (len(documents), characters(documents)) for keyword, documents in long_enough.items()}
        drawn = drawn_groups(settings.weights(sizes), amount, options.seed)
        chunks = {keyword: chunks_of(long_enough[keyword]) for keyword in drawn}
        # Joining may save a token for each chunk.
        short = [word for word, own in chunks.items() if tokens_of(corpus, options, own) - len(own) < options.content]
        if not short:
            break
        long_enough = {keyword: documents for keyword, documents in long_enough.items() if keyword not in short}
    made = Made()
    for keyword in dict.fromkeys(drawn):
        for number in range(drawn.count(keyword)):
            part, inside = divmod(number, sequences_per_shard(options))
            if inside == 0:
                visit, waiting = part << 20, []
            if amount_to_fill(corpus, options, chunks_of(waiting)) is None:
                generator = np.random.default_rng([options.seed, key_of(keyword), visit, 0x7103])
                waiting = generator.permutation(long_enough[keyword]).tolist()
                visit += 1
            taken = begin_afresh(made, corpus, options, [(document, 0, 0.0) for document in waiting], keyword)
            waiting = waiting[taken:]
    return made
