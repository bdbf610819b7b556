"""The method, once more and as plainly as it can be said: brute force, no caches, no batches.

Written from the specification; shares no code with the package. It reads the corpus itself, takes only the vectors from
the pool, and calls only the ``tokenizers`` library. It decides on copies by the true Jaccard similarity, so a corpus must
leave no case between 0.5 and 0.95, where the package's estimate could decide otherwise; that is checked with every case.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
import xxhash

WORD = 2**64


class OutOfText(Exception):
    """The corpus has too few candidates, or too few root documents."""


def splitmix64(state):
    state = (state + 0x9E3779B97F4A7C15) % WORD
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % WORD
    return state ^ (state >> 31)


def key_of(identity):
    return xxhash.xxh3_64_intdigest(identity.encode())


def chunked(text, granularity):
    """Paragraphs in order, a chunk closed when the next would push it over; no paragraph is longer than a chunk here."""
    groups = [[]]
    for paragraph in text.split("\n"):
        if groups[-1] and sum(map(len, groups[-1])) + len(paragraph) > granularity:
            groups.append([])
        groups[-1].append(paragraph)
    chunks = ["\n".join(group) for group in groups]
    assert all(chunk.strip() and len(chunk) <= 2 * granularity for chunk in chunks), "the corpus is not plain enough"
    return chunks


def shingles(text):
    words = text.split()
    return {tuple(words[place : place + 5]) for place in range(max(1, len(words) - 4))}


class Corpus:
    """The chunks of a corpus, their vectors, and their tokens."""

    def __init__(self, path, granularity, vectors, tokenizer):
        documents = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        self.ids = [document["id"] for document in documents]
        self.characters = [len(document["text"]) for document in documents]
        self.texts, self.document_of, self.chunks_of = [], [], []
        for number, document in enumerate(documents):
            chunks = chunked(document["text"], granularity)
            self.chunks_of.append(list(range(len(self.texts), len(self.texts) + len(chunks))))
            self.texts += chunks
            self.document_of += [number] * len(chunks)
        assert len(vectors) == len(self.texts), "the pool has other chunks"
        self.granularity = granularity
        self.vectors = np.asarray(vectors, dtype=np.float64)
        self.tokenizer = tokenizers.Tokenizer.from_file(str(Path(tokenizer) / "tokenizer.json"))
        self.folded = [" ".join(text.split()) for text in self.texts]
        self.shingles = [shingles(text) for text in self.texts]
        self.lengths = {}

    @cached_property
    def scores(self):
        return (self.vectors @ self.vectors.T).astype(np.float32)

    @cached_property
    def terms(self):
        return [terms(text) for text in self.texts]

    @cached_property
    def term_counts(self):
        return [Counter(own) for own in self.terms]

    @cached_property
    def holders(self):
        """Term → the chunks that have it."""
        holders = defaultdict(list)
        for chunk, counts in enumerate(self.term_counts):
            for term in counts:
                holders[term].append(chunk)
        return holders

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def length(self, chunk, separator):
        """The tokens that a chunk adds between two others, its separator included."""
        if (chunk, separator) not in self.lengths:
            around = len(self.encode(f"a{separator}{self.texts[chunk]}{separator}a").ids)
            self.lengths[chunk, separator] = around - len(self.encode(f"a{separator}a").ids)
        return self.lengths[chunk, separator]

    def is_copy(self, one, other, max_jaccard):
        if self.folded[one] == self.folded[other]:
            return True
        if max_jaccard is None:
            return False
        jaccard = len(self.shingles[one] & self.shingles[other]) / len(self.shingles[one] | self.shingles[other])
        assert not 0.5 < jaccard < 0.95, f"chunks {one} and {other} of the corpus have a Jaccard similarity of {jaccard}"
        return jaccard >= max_jaccard


class Options:
    """The options of the method, by their names on the command line."""

    def __init__(self, length, seed=0, mining=None, composition=None):
        self.length, self.seed = length, seed
        mining, composition = mining or {}, composition or {}
        self.negatives, self.retrieval = mining.get("negatives", "top"), mining.get("retrieval", "dense")
        self.range_min, self.range_max = mining.get("range_min", 0), mining.get("range_max") or math.inf
        self.max_score, self.min_score = mining.get("max_score"), mining.get("min_score")
        self.relative_margin = mining.get("relative_margin")
        self.max_reuse = mining.get("max_reuse") or math.inf
        self.max_jaccard = mining.get("max_jaccard", 0.8)
        self.paper = composition.get("mode") == "paper"
        self.position = composition.get("position", "head")
        self.separator = composition.get("separator", "\n\n")
        # The test tokenizer's begin and end tokens.
        self.bos = [0] if composition.get("bos", True) else []
        self.eos = [1] if composition.get("eos", True) else []
        self.content = length - len(self.bos) - len(self.eos)
        self.min_meta_chunks = composition.get("min_meta_chunks", 2)
        self.max_root_fraction = composition.get("max_root_fraction", 0.5)
        self.characters_per_token = composition.get("characters_per_token", 4.0)
        self.oversampling = composition.get("oversampling", 1.5)

    def k(self, corpus, document):
        p = len(corpus.chunks_of[document])
        characters = self.length * self.characters_per_token * self.oversampling
        return math.floor((characters - corpus.characters[document]) / (p * corpus.granularity))


def root_order(corpus, options):
    """Documents that can be a root, in the order of the draw."""
    seed = splitmix64(options.seed)
    for document in sorted(range(len(corpus.ids)), key=lambda number: splitmix64(key_of(corpus.ids[number]) ^ seed)):
        metas = corpus.chunks_of[document]
        if len(metas) < options.min_meta_chunks or not corpus.vectors[metas].any(axis=1).all():
            continue
        if options.paper:
            fits = options.k(corpus, document) >= 1
        else:
            tokens = sum(corpus.length(meta, options.separator) for meta in metas)
            fits = tokens <= int(options.length * options.max_root_fraction)
        if fits:
            yield document


def terms(text):
    """Words in lower case; of words with Chinese characters, these in overlapping pairs."""
    found = []
    for word in re.findall(r"\w+", text.lower()):
        for part in re.findall("[\u4e00-\u9fff]+|[^\u4e00-\u9fff]+", word):
            chinese = len(part) > 1 and "\u4e00" <= part[0] <= "\u9fff"
            found += [part[place : place + 2] for place in range(len(part) - 1)] if chinese else [part]
    return found


def by_vectors(corpus, meta):
    return sorted(range(len(corpus.texts)), key=lambda chunk: (-corpus.scores[meta][chunk], chunk))


def by_words(corpus, meta):
    """Lucene's BM25, k1 = 1.5 and b = 0.75; chunks that share no term are not there.

    What a term gives is rounded to 32 binary places and to float32, and the sum to float32: equal is what is equal then.
    """
    mean = sum(map(len, corpus.terms)) / len(corpus.terms)
    scores = np.zeros(len(corpus.terms))
    for term, times in Counter(corpus.terms[meta]).items():
        holders = corpus.holders[term]
        idf = math.log(1 + (len(corpus.terms) - len(holders) + 0.5) / (len(holders) + 0.5))
        for chunk in holders:
            frequency = corpus.term_counts[chunk][term]
            share = idf * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * len(corpus.terms[chunk]) / mean))
            scores[chunk] += times * float(np.float32(round(share * 2**32) / 2**32))
    rounded = scores.astype(np.float32)
    return sorted((chunk for chunk in range(len(scores)) if rounded[chunk] > 0), key=lambda chunk: (-rounded[chunk], chunk))


def by_words_first(corpus, meta):
    """Behind the chunks that share a word come the others by vectors."""
    return list(dict.fromkeys(by_words(corpus, meta) + by_vectors(corpus, meta)))


def by_both(corpus, meta):
    """Reciprocal rank fusion of the first 1,000 of both, and behind them the others by rank, by vectors first."""
    rankings = by_vectors(corpus, meta), by_words(corpus, meta)
    sums = Counter()
    for ranking in rankings:
        for rank, chunk in enumerate(ranking[:1000], start=1):
            sums[chunk] += 1 / (60 + rank)
    order = sorted(sums, key=lambda chunk: (-sums[chunk], chunk))
    others = [(rank, number, chunk) for number, ranking in enumerate(rankings) for rank, chunk in enumerate(ranking)]
    return list(dict.fromkeys(order + [chunk for _, _, chunk in sorted(others)]))


def candidates(corpus, options, document, position):
    """(chunk, rank, score) of a meta-chunk, best first, the filters that do not depend on the sequence applied."""
    metas = corpus.chunks_of[document]
    meta = metas[position]
    scores = corpus.scores[meta]
    if options.negatives == "self-repeat":
        own = metas[position + 1 :] + metas[:position]
        return [(own[place % len(own)], place + 1, scores[own[place % len(own)]]) for place in range(options.length)]
    everything = range(len(corpus.texts))
    if options.negatives == "random":
        generator = np.random.default_rng([options.seed, key_of(corpus.ids[document]), position])
        order = generator.permutation(len(corpus.texts)).tolist()
    elif options.negatives == "low":
        order = sorted(everything, key=lambda chunk: (scores[chunk], chunk))
    else:
        order = {"dense": by_vectors, "bm25": by_words_first, "hybrid": by_both}[options.retrieval](corpus, meta)
    found, rank = [], 0
    for chunk in order:
        if corpus.document_of[chunk] == document:
            continue
        rank += 1
        score = scores[chunk]
        if (
            options.range_min < rank <= options.range_max
            and corpus.vectors[chunk].any()
            and score_fits(corpus, options, metas, meta, score)
        ):
            found.append((chunk, rank, score))
    return found


def score_fits(corpus, options, metas, meta, score):
    if options.max_score is not None and score > options.max_score:
        return False
    if options.min_score is not None and score < options.min_score:
        return False
    if options.relative_margin is None:
        return True
    best = max(corpus.vectors[other] @ corpus.vectors[meta] for other in metas if other != meta)
    return score <= best * (1 - options.relative_margin)


class Sequence:
    """One sequence while its negatives are chosen."""

    def __init__(self, corpus, options, document, usage):
        self.corpus, self.options, self.usage = corpus, options, usage
        self.metas = corpus.chunks_of[document]
        self.key = key_of(corpus.ids[document])
        self.queues = [candidates(corpus, options, document, position) for position in range(len(self.metas))]
        self.chosen = [[] for _ in self.metas]

    def best(self, group):
        """The group's best acceptable candidate, which stays where it is until it is taken."""
        inside = self.metas + [chunk for negatives in self.chosen for chunk, _, _ in negatives]
        queue = self.queues[group]
        while queue:
            chunk = queue[0][0]
            if self.options.negatives == "self-repeat":
                return queue[0]
            refused = self.usage[chunk] >= self.options.max_reuse or chunk in inside
            if not refused and not any(self.corpus.is_copy(chunk, other, self.options.max_jaccard) for other in inside):
                return queue[0]
            queue.pop(0)
        raise OutOfText

    def take(self, group):
        self.chosen[group].append(self.queues[group].pop(0))

    def fill(self):
        length = lambda chunk: self.corpus.length(chunk, self.options.separator)  # noqa: E731
        p = len(self.metas)
        budget = self.options.content - sum(map(length, self.metas))
        spent = 0
        for group in range(1, p + 1):
            while spent < budget * group // p:
                chunk = self.best(group - 1)[0]
                if group < p and spent + length(chunk) > budget * group // p:
                    break
                self.take(group - 1)
                spent += length(chunk)
        while len(self.tokens_and_ends()[0]) < self.options.content:
            self.best(p - 1)
            self.take(p - 1)

    def fill_with(self, k):
        for group in range(len(self.metas)):
            for _ in range(k):
                self.best(group)
                self.take(group)

    def order(self):
        """(role, group, chunk, rank, score) as they stand in the row."""
        generator = np.random.default_rng([self.options.seed, self.key])
        placed = []
        for group, (meta, negatives) in enumerate(zip(self.metas, self.chosen, strict=True)):
            spans = [("negative", group, chunk, rank, float(score)) for chunk, rank, score in negatives]
            kept_last = [spans.pop()] if group == len(self.metas) - 1 and not self.options.paper else []
            place = {"head": 0, "tail": len(spans), "random": int(generator.integers(len(spans) + 1))}[self.options.position]
            spans.insert(place, ("meta", group, meta, 0, 1.0))
            placed += spans + kept_last
        return placed

    def tokens_and_ends(self):
        """The whole text encoded at once (as if an ``a`` followed), and how many tokens end by the end of each chunk."""
        separator = self.options.separator
        parts = [self.corpus.texts[chunk] + separator for _, _, chunk, _, _ in self.order()]
        encoding = self.corpus.encode("".join(parts) + "a")
        borders = np.cumsum([len(part) for part in parts])
        token_ends = np.maximum.accumulate([end for _, end in encoding.offsets[:-1]])
        return encoding.ids[:-1], [int((token_ends <= border).sum()) for border in borders]

    def row(self):
        """The tokens of the row and its spans, or None if they fall short."""
        content, first = self.options.content, len(self.options.bos)
        tokens, ends = self.tokens_and_ends()
        if len(tokens) < content:
            return None
        spans, start = [], 0
        for (role, group, chunk, rank, score), end in zip(self.order(), ends, strict=True):
            if start < content:
                document = self.corpus.document_of[chunk]
                spans.append(
                    {
                        "role": role,
                        "document": self.corpus.ids[document],
                        "position": chunk - self.corpus.chunks_of[document][0],
                        "chunk": chunk,
                        "group": group,
                        "rank": rank,
                        "score": score,
                        "token_start": first + start,
                        "token_end": first + min(end, content),
                    }
                )
            start = end
        return self.options.bos + tokens[:content] + self.options.eos, spans


def sequences(corpus, options, amount):
    """``amount`` sequences, each as root id, tokens and spans."""
    usage = Counter()
    made = []
    for document in root_order(corpus, options):
        if len(made) == amount:
            break
        sequence = Sequence(corpus, options, document, usage)
        try:
            sequence.fill_with(options.k(corpus, document)) if options.paper else sequence.fill()
        except OutOfText:
            if options.paper:
                continue
            raise
        row = sequence.row()
        if row is None:
            continue
        tokens, spans = row
        usage.update(span["chunk"] for span in spans if span["role"] == "negative")
        made.append({"root": corpus.ids[document], "tokens": tokens, "spans": spans})
    if len(made) < amount:
        raise OutOfText
    return made
