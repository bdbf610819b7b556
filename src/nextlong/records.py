"""The only types that cross stages: rows of a corpus, and the Arrow schemas of what is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Elements of the vectors on disk are multiples of this, stored as float16. Vectors have length one, so every inner product
# of two, and every part of its sum, is a whole number of 2^-22 below 4: 24 bits, which float32 holds. So a score is exact,
# the same bits in any order of summation, on any processor. It costs 2e-4 of a cosine.
VECTOR_STEP = 2.0**-11

# What a chunk is in a sequence.
Role = Literal["meta", "negative", "document"]

# Where each chunk of a sequence ends in its joined tokens, int32.
Ends = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as a corpus reader yields it.

    Attributes:
        row: its position in the source, 1-based: the line of a JSON Lines file, the row of a table.
        text: the whole text, valid Unicode, with at least one character that is not white space.
        id: the id that the corpus gives, or None when the corpus has none (one is then derived from the text).
    """

    row: int
    text: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that cannot become a document, with the reason in words for people.

    Attributes:
        row: 1-based position in the source; 0 when the source as a whole is meant.
        reason: what is wrong, without the source's name and without text of the document.
    """

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A chunk in its place in a sequence.

    Attributes:
        chunk: chunk ordinal.
        role: ``meta`` for a chunk of the root document, ``negative`` for one that was mined for it, ``document`` where a
            method puts whole documents together.
        group: of a negative, the number of the meta-chunk it belongs to; of a document, its number in the sequence. 0-based.
        rank: among the neighbours of what it was found for, 1-based; 0 for no rank.
        score: cosine similarity to what it was found for; 1.0 for a meta-chunk, 0.0 where nothing was compared.
    """

    chunk: int
    role: Role
    group: int
    rank: int = 0
    score: float = 0.0


ROLES: tuple[Role, ...] = ("meta", "negative", "document")


@dataclass(frozen=True, eq=False)
class Order(Sequence[Placed]):
    """Chunks in their places in a sequence, as columns of :class:`Placed`.

    Attributes:
        chunks: int64.
        roles: place in :data:`ROLES`, uint8.
        groups, ranks: int32.
        scores: float32.
    """

    chunks: npt.NDArray[np.int64]
    roles: npt.NDArray[np.uint8]
    groups: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    @staticmethod
    def blank(count: int, role: Role) -> Order:
        """So many places of one role, to be filled: all zero."""
        return Order(
            np.zeros(count, dtype=np.int64),
            np.full(count, ROLES.index(role), dtype=np.uint8),
            np.zeros(count, dtype=np.int32),
            np.zeros(count, dtype=np.int32),
            np.zeros(count, dtype=np.float32),
        )

    @staticmethod
    def of(places: Sequence[Placed]) -> Order:
        """Places as columns."""
        if isinstance(places, Order):
            return places
        order = Order.blank(len(places), "meta")
        order.chunks[:] = [place.chunk for place in places]
        order.roles[:] = [ROLES.index(place.role) for place in places]
        order.groups[:] = [place.group for place in places]
        order.ranks[:] = [place.rank for place in places]
        order.scores[:] = [place.score for place in places]
        return order

    @staticmethod
    def joined(orders: Sequence[Order]) -> Order:
        """One behind the other."""
        every = [Order.blank(0, "meta"), *orders]
        return Order(
            np.concatenate([one.chunks for one in every]),
            np.concatenate([one.roles for one in every]),
            np.concatenate([one.groups for one in every]),
            np.concatenate([one.ranks for one in every]),
            np.concatenate([one.scores for one in every]),
        )

    def __len__(self) -> int:
        return len(self.chunks)

    @overload
    def __getitem__(self, place: int) -> Placed: ...
    @overload
    def __getitem__(self, place: slice) -> Order: ...
    def __getitem__(self, place: int | slice) -> Placed | Order:
        if isinstance(place, slice):
            return Order(*(getattr(self, field.name)[place] for field in fields(self)))
        chunk, role, group, rank, score = (getattr(self, field.name)[place].item() for field in fields(self))
        return Placed(chunk, ROLES[role], group, rank, score)


DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("id_given", pa.bool_(), nullable=False),  # False: derived from the text
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # 1-based
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("chunks", pa.int32(), nullable=False),
    ]
)

CHUNK_SCHEMA = pa.schema(
    [
        pa.field("document", pa.int32(), nullable=False),  # row in the documents shard of the same name
        pa.field("position", pa.int32(), nullable=False),  # 0-based, in document order
        pa.field("start", pa.int64(), nullable=False),  # character offset in the document's text
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("glue", pa.string(), nullable=False),  # what stood between this chunk and the next: "\n" or ""
    ]
)

# What a task of the screening found: chunks of one shard that are copies of others, in order.
COPY_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # of the chunk, in the shard as it was read
        pa.field("kept_shard", pa.string(), nullable=False),  # where the chunk is that it is a copy of
        pa.field("kept_row", pa.int64(), nullable=False),
        pa.field("matches", pa.int64(), nullable=False),  # equal places of the two signatures
        pa.field("repeated", pa.bool_(), nullable=False),  # an earlier chunk has the same words
    ]
)

# Texts of evaluation data, by number.
EVALUATION_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # 1-based
        pa.field("name", pa.string(), nullable=False),  # the field, as `question.text[3]`; empty for a file of text
    ]
)

# Runs of words of evaluation data in one shard as it was read, in order.
MATCH_SCHEMA = pa.schema(
    [
        pa.field("document", pa.int64(), nullable=False),  # its row in the shard
        pa.field("first", pa.int64(), nullable=False),  # the rows of the chunks in which it begins and ends
        pa.field("last", pa.int64(), nullable=False),
        pa.field(
            "at", pa.int64(), nullable=False
        ),  # with which of the words that begin in the first chunk it begins, 0-based
        pa.field("words", pa.int64(), nullable=False),  # how many words it has
        pa.field("run", pa.int64(), nullable=False),  # its number in the table of runs
        pa.field("text", pa.int64(), nullable=False),  # the first evaluation text that has it
    ]
)

# One row for each chunk that the screening found, in the order of the corpus; and for what was dropped with its document.
SCREENED_SCHEMA = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),  # id of the chunk's document, as the corpus or its text gives it
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # of the document in the source, 1-based
        pa.field("position", pa.int32(), nullable=False),  # of the chunk in the document as it was read, 0-based
        pa.field("reason", pa.string(), nullable=False),  # one of SCREENING_REASONS
        pa.field("dropped", pa.bool_(), nullable=False),  # False: only reported
        # Where the same is: the chunk that was kept, or a text of the evaluation data.
        pa.field("other_source", pa.string(), nullable=False),
        pa.field("other_row", pa.int64(), nullable=False),
        pa.field("other_name", pa.string(), nullable=False),  # the kept chunk's document, or the field of the text
        pa.field("other_position", pa.int32(), nullable=False),  # of the kept chunk in its document; -1 in evaluation data
        pa.field("similarity", pa.float32(), nullable=False),  # estimated Jaccard similarity to the kept chunk; else 0
        pa.field("ngrams", pa.int32(), nullable=False),  # how many n-grams of evaluation data touch the chunk
        pa.field("words", pa.string(), nullable=False),  # of the first of these
    ]
)

# "copy": an earlier chunk has the same words; "evaluation": shares words with evaluation data; "document": another chunk of
# its document does, and whole documents are dropped.
SCREENING_REASONS = ("copy", "near-copy", "evaluation", "document")

# One row per unit of work of a method, in the order of the sequences.
UNIT_SCHEMA = pa.schema(
    [
        pa.field("documents", pa.large_list(pa.int64()), nullable=False),  # document ordinals, in order
        pa.field("sequences", pa.int32(), nullable=False),  # how many sequences they give
        pa.field("topic", pa.string(), nullable=False),  # what they have in common, where the method says
        pa.field("part", pa.int32(), nullable=False),  # which of the units with the same documents this is, 0-based
    ]
)

# One row per meta-chunk of a root document: its nearest chunks of the pool, best first, before any filter. Where a method
# compares documents, a document stands as its first chunk.
NEIGHBOUR_SCHEMA = pa.schema(
    [
        pa.field("root", pa.int64(), nullable=False),  # document ordinal in the pool
        pa.field("meta_chunk", pa.int64(), nullable=False),  # chunk ordinal in the pool
        pa.field("chunks", pa.large_list(pa.int64()), nullable=False),
        pa.field("scores", pa.large_list(pa.float32()), nullable=False),  # cosine similarity to the meta-chunk
    ]
)

# What a task of the search grid finds in one shard of an index, before the shards are merged: for each query as many rows as
# were asked for, best first; -1 and -inf where the shard holds no more.
FOUND_SCHEMA = pa.schema(
    [
        pa.field("ordinal", pa.int64(), nullable=False),  # of a vector: of a chunk or of a document
        pa.field("score", pa.float32(), nullable=False),
    ]
)

SPAN_TYPE = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),  # meta, negative or document
        pa.field("document", pa.string(), nullable=False),  # document id
        pa.field("position", pa.int32(), nullable=False),  # of the chunk in its document, 0-based
        pa.field("chunk", pa.int64(), nullable=False),  # chunk ordinal in the pool
        pa.field("group", pa.int32(), nullable=False),  # which meta-chunk it belongs to; which document it is; 0-based
        pa.field("rank", pa.int32(), nullable=False),  # among that meta-chunk's neighbours, 1-based; 0 for no rank
        pa.field("score", pa.float32(), nullable=False),  # cosine similarity to what it was found for; 1 for a meta-chunk
        pa.field("token_start", pa.int32(), nullable=False),
        pa.field("token_end", pa.int32(), nullable=False),  # exclusive; the separator after a chunk counts to the chunk
    ]
)

SEQUENCE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("length", pa.int32(), nullable=False),  # target length T in tokens
        pa.field("root", pa.string(), nullable=False),  # document id of the root document; without one, of the first
        pa.field("topic", pa.string(), nullable=False),  # what its documents have in common: quest's keyword; else empty
        pa.field("spans", pa.list_(SPAN_TYPE), nullable=False),
    ]
)

# What a format writes, without the tokens: one row of a shard, which holds one sequence, or several that were packed.
ROW_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),  # the method, or the part of a mix
        # Where each sequence begins and ends (exclusive), begin and end tokens included; attention stays within.
        pa.field("indices", pa.list_(pa.list_(pa.uint32(), 2)), nullable=False),
        pa.field("sequences", pa.list_(pa.string()), nullable=False),  # their ids
        pa.field("spans", pa.list_(SPAN_TYPE), nullable=False),  # of all of them, in tokens of the row
    ]
)
