"""``quest``: Quest (Gao et al., ICLR 2025): documents that answer the same query, which is to say share a keyword."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import count, islice
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from nextlong.composition.documents import broken_documents, broken_whole
from nextlong.composition.fill import Stream, chunks_of, placed_documents
from nextlong.composition.keywords import (
    MAX_WORDS,
    MIN_SCORE,
    SPLIT_RATIO,
    KeywordIndex,
    KeywordSettings,
    choose_keyword,
    group_order,
    group_weights,
    inverted_index,
    keyword_ids,
    shuffled_documents,
    usable,
)
from nextlong.composition.method import Draft, Method, Unit
from nextlong.composition.quest_keywords import documents_without_queries, open_keywords, pool_keywords, queries_checksum
from nextlong.composition.roots import draw
from nextlong.config import Part
from nextlong.dataset import layout
from nextlong.dataset.plan import read_units
from nextlong.errors import NextlongError
from nextlong.mining.neighbours import Neighbours
from nextlong.pool.derived import Derived
from nextlong.pool.pool import Ordinals

# So many documents tell how many characters a token has, when keywords with too little text are sorted out.
_SAMPLE = 256
# A keyword that more documents have than this says little; where there are few documents, that would be every keyword.
_MOST_SHARE = 0.02
_MOST_IN_SMALL_POOLS = 100
# So often a unit may shuffle its documents before it would repeat the shuffles of the next unit of its keyword.
_VISITS = 1 << 20


class QuestOptions(Part):
    """Options of ``quest``.

    Attributes:
        min_score: keywords with a lower RAKE score are dropped (the paper's 3.0).
        max_words: longer keywords are dropped.
        split_ratio: the keywords with the fewest documents, which together hold this share of them, are oversampled.
        queries: a JSON Lines file of ``id`` and ``queries``, as a doc2query model predicts them, from which keywords are
            taken; without it they come from the documents themselves.
        min_documents: keywords that fewer documents have are not used.
        max_share: nor are those that a larger share of all documents has; null is 2 %, or 100 documents where that is more.
        per_document: of what is left to a document, so many that most documents share are drawn from; null for all.
    """

    min_score: float = Field(default=MIN_SCORE, ge=0)
    max_words: int = Field(default=MAX_WORDS, gt=0)
    split_ratio: float = Field(default=SPLIT_RATIO, ge=0, le=1)
    queries: str | None = None
    min_documents: int = Field(default=2, gt=0)
    max_share: float | None = Field(default=None, gt=0, le=1)
    per_document: int | None = Field(default=3, gt=0)


class Quest(Method):
    """Each document has one keyword, drawn from its own; a sequence consists of documents of one keyword."""

    NAME = "quest"
    SUMMARY = "documents that share a keyword, rare keywords oversampled"
    Options = QuestOptions
    VERSION = 2

    @cached_property
    def _keywords(self) -> Derived:
        settings = KeywordSettings(min_score=self.options.min_score, max_words=self.options.max_words)
        return pool_keywords(settings, self.options.queries)

    def inputs(self) -> tuple[str, ...]:
        """The file of queries, if there is one."""
        return () if self.options.queries is None else (queries_checksum(self.options.queries),)

    def derived(self) -> Sequence[Derived]:
        """See :class:`~nextlong.composition.method.Method`."""
        return (self._keywords,)

    def units(self, wanted: int) -> Iterator[Unit]:
        """A unit for each keyword that is drawn: all documents that have it, and as many sequences as it is drawn for.

        Where these are more than a shard holds, there are several units, each with shuffles of its own.
        """
        session, pool = self.session, self.session.pool()
        names, keyword_of = keyword_ids(self._chosen())
        groups = inverted_index(keyword_of)
        characters = pool.characters_by_document()
        sizes = np.add.reduceat(characters[groups.documents], groups.starts[:-1]) if len(groups.keywords) else np.empty(0)
        long_enough = sizes >= self._characters_of_a_sequence()
        counts = np.diff(groups.starts)
        while True:
            enough = np.flatnonzero(long_enough)
            weights = group_weights(counts[enough], sizes[enough].astype(np.int64), self.options.split_ratio)
            order = enough[group_order(weights, wanted, session.config.seed)]
            drawn = list(dict.fromkeys(order.tolist()))
            short = [
                group
                for group, tokens in zip(drawn, self._tokens_of(groups, drawn), strict=True)
                if tokens < session.content
            ]
            if not short:
                break
            long_enough[short] = False
        lacking = documents_without_queries(pool, self._keywords)
        self.documents_passed_over["not in the file of queries"] += lacking
        self.documents_passed_over["without a keyword that others have"] += int((keyword_of < 0).sum()) - lacking
        self.documents_passed_over["of a keyword with too little text for a sequence"] += int(counts[~long_enough].sum())
        sequences = Counter(order.tolist())
        for group in drawn:
            for part, first in enumerate(range(0, sequences[group], session.sequences_per_shard)):
                amount = min(session.sequences_per_shard, sequences[group] - first)
                yield Unit(groups.members(group), amount, names[groups.keywords[group]], part)

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """Documents one after the other, a fresh one for each sequence; what is left of the last one is dropped."""
        pool, seed = self.session.pool(), self.session.config.seed
        key = xxhash.xxh3_64_intdigest(unit.topic.encode())
        shuffles = (shuffled_documents(unit.documents, seed, key, visit) for visit in count(unit.part * _VISITS))
        stream = Stream(self, chunks_of(self.session, next(shuffles)))
        for _ in range(unit.sequences):
            first = stream.at
            while (ends := stream.fill()) is None:
                if first == 0:
                    return  # all documents of the keyword together are too short
                stream, first = Stream(self, chunks_of(self.session, next(shuffles))), 0
            chunks = stream.chunks[first : stream.at]
            documents = pool.documents_of(stream.chunks)
            begun = stream.at
            while stream.at < len(stream.chunks) and documents[stream.at] == documents[begun - 1]:
                stream.at += 1
            order = placed_documents(self.session, chunks)
            yield Draft(order, ends, int(documents[first]), unit.topic, stream.chunks[begun : stream.at])

    def shortage(self, wanted: int, made: int, discarded: int) -> NextlongError:
        """See :class:`~nextlong.composition.method.Method`."""
        error = super().shortage(wanted, made, discarded)
        hint = "Or let more keywords count: --option per_document=null, a larger max_share, a lower min_score."
        return NextlongError(error.message, f"{error.hint} {hint}")

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from broken_documents(sequence, may_begin_inside=False)
        yield from broken_whole(self.session, sequence)
        pool, members = self.session.pool(), self._planned.get(sequence["topic"])
        if members is None:
            yield f"no sequence was planned for the keyword {sequence['topic']!r}"
            return
        chunks = np.array([span["chunk"] for span in sequence["spans"]], dtype=np.int64)
        documents = pool.documents_of(chunks)
        strange = documents[~np.isin(documents, members)]
        if len(strange):
            yield f"document {pool.document_ids(strange[:1])[0]!r} does not have the keyword {sequence['topic']!r}"

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        return {"documents that have their sequence's keyword, none twice in a row, whole but the last": "documents"}

    @cached_property
    def _planned(self) -> dict[str, Ordinals]:
        """Keyword → the documents that have it as their one keyword, as the dataset's plan says."""
        return {unit.topic: unit.documents for unit in read_units(self.session.folder / layout.UNITS / "all.arrow")}

    def _chosen(self) -> list[str | None]:
        """Each document's one keyword, by document ordinal."""
        pool, options = self.session.pool(), self.options
        keywords, starts = open_keywords(pool, self._keywords)
        encoded = keywords.dictionary_encode()
        numbers = np.array([xxhash.xxh3_64_intdigest(word.encode()) for word in encoded.dictionary.to_pylist()], np.uint64)
        ids = numbers[encoded.indices.to_numpy()] if len(numbers) else numbers
        share = options.max_share or min(1.0, max(_MOST_SHARE, _MOST_IN_SMALL_POOLS / pool.documents))
        kept = np.flatnonzero(usable(ids, starts, options.min_documents, share, options.per_document))
        names, borders = keywords.take(pa.array(kept)).to_pylist(), np.searchsorted(kept, starts).tolist()
        return [
            choose_keyword(names[borders[document] : borders[document + 1]], self.session.config.seed, int(key))
            for document, key in enumerate(pool.keys)
        ]

    def _tokens_of(self, groups: KeywordIndex, some: list[int]) -> list[int]:
        """The tokens of the documents of some groups, a token less for each chunk: joining may save so many."""
        if not some:
            return []
        chunks = [chunks_of(self.session, groups.members(group)) for group in some]
        borders = np.cumsum([0, *map(len, chunks[:-1])])
        tokens = np.add.reduceat(self.tokens.lengths(np.concatenate(chunks)) - 1, borders)
        return [int(amount) for amount in tokens]

    @cached_property
    def _sample(self) -> Ordinals:
        drawn = islice(draw(self.session.pool().keys, self.session.config.seed), _SAMPLE)
        return np.fromiter(drawn, dtype=np.int64)

    def _characters_of_a_sequence(self) -> float:
        """About how many characters fill a sequence, from a sample of documents."""
        return self._characters_per_token * self.session.content

    @cached_property
    def _characters_per_token(self) -> float:
        pool = self.session.pool()
        tokens = self.tokens.lengths(chunks_of(self.session, self._sample)).sum()
        return sum(pool.characters_of(int(document)) for document in self._sample) / max(1, int(tokens))
