"""What ``nextlong`` promises of every sequence, proven from the canonical table, the vectors and the fingerprints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.composition.session import Session
from nextlong.index.protocol import SCORE_TOLERANCE
from nextlong.mining.copies import estimated_jaccard

# A chunk that was too long to be taken may have so many more tokens a byte than the densest chunk in the row.
_DENSER = 2.0


@dataclass(frozen=True)
class _Row:
    sequence: dict[str, Any]

    def column(self, name: str) -> npt.NDArray[Any]:
        return np.array([span[name] for span in self.sequence["spans"]])


def broken_promises(session: Session, sequence: dict[str, Any]) -> Iterator[str]:
    """What in a row of the canonical table is not as the method makes it, in words."""
    row = _Row(sequence)
    yield from _score_failures(session, row)
    yield from _order_failures(session, row)
    if session.config.composition.mode == "token-exact":
        yield from _budget_failures(session, row)
    if session.config.mining.negatives != "self-repeat":
        yield from _negative_failures(session, row)


def _score_failures(session: Session, row: _Row) -> Iterator[str]:
    pool, chunks = session.pool(), row.column("chunk")
    metas = {int(span["group"]): span["chunk"] for span in row.sequence["spans"] if span["role"] == "meta"}
    # In paper mode truncation may have cut off a meta-chunk that stands behind its negatives.
    spans = enumerate(row.sequence["spans"])
    negatives = [place for place, span in spans if span["role"] == "negative" and span["group"] in metas]
    if not negatives:
        return
    own = np.array([metas[row.sequence["spans"][place]["group"]] for place in negatives])
    found = pool.vectors.take(chunks[negatives]).astype(np.float64), pool.vectors.take(own).astype(np.float64)
    scores = np.einsum("nd,nd->n", *found)
    wrong = np.flatnonzero(np.abs(scores - row.column("score")[negatives]) > SCORE_TOLERANCE)
    if len(wrong):
        place = negatives[int(wrong[0])]
        yield f"span {place} has score {row.column('score')[place]:.4f}, and its vectors give {scores[wrong[0]]:.4f}"


def _order_failures(session: Session, row: _Row) -> Iterator[str]:
    pool, composition = session.pool(), session.config.composition
    roles, groups, chunks = row.column("role"), row.column("group"), row.column("chunk")
    metas = chunks[roles == "meta"]
    if not len(metas) and composition.mode == "paper" and composition.position != "head":
        return  # truncation has cut the first meta-chunk off, which stands behind its negatives
    root = int(pool.documents_of(metas[:1])[0]) if len(metas) else -1
    if root < 0 or pool.document_ids(np.array([root]))[0] != row.sequence["root"]:
        yield f"its first meta-chunk is not of the root document {row.sequence['root']!r}"
        return
    expected = pool.chunks_of(root)
    if composition.mode == "paper":
        expected = expected[: len(metas)]  # truncation may have cut the rest off
    if not np.array_equal(metas, expected):
        yield f"its meta-chunks are {metas.tolist()}, not all of the root document's in order, {expected.tolist()}"
        return
    if (np.diff(groups) < 0).any() or not np.array_equal(groups[roles == "meta"], np.arange(len(metas))):
        yield "its groups are not in order, each with one meta-chunk"
        return
    mining = session.config.mining
    by_similarity = mining.negatives == "top" and mining.retrieval == "dense" and mining.scorer is None
    last_is_cut = composition.mode == "token-exact"
    for group in range(len(metas)):
        in_group = roles[groups == group]
        place = int(np.flatnonzero(in_group == "meta")[0])
        whole = len(in_group) - 1 - (last_is_cut and group == len(metas) - 1)
        wanted = {"head": 0, "tail": whole}.get(composition.position, place)
        if composition.mode == "token-exact" and place != wanted:
            yield f"the meta-chunk of group {group} is chunk {place} of the group, not {wanted}"
        ranks = row.column("rank")[(groups == group) & (roles == "negative")]
        if (np.diff(ranks) <= 0).any():
            yield f"the negatives of group {group} are not in the order of their ranks"
        scores = row.column("score")[(groups == group) & (roles == "negative")]
        if by_similarity and (np.diff(scores) > 0).any():
            yield f"the negatives of group {group} are not in descending similarity"
    if composition.mode == "token-exact" and roles[-1] != "negative":
        yield "its last span, which is cut, is no negative"


def _budget_failures(session: Session, row: _Row) -> Iterator[str]:
    roles, groups = row.column("role"), row.column("group")
    tokens = row.column("token_end") - row.column("token_start")
    count = int(groups.max()) + 1
    spent = np.cumsum([tokens[(groups == group) & (roles == "negative")].sum() for group in range(count)])
    budget = int(tokens[roles == "negative"].sum())
    # The chunk that did not fit any more is not in the row, so a chunk is bounded by the largest the pool may have.
    longest = max(int(tokens.max()), _longest_candidate(session, row))
    for group in range(count):
        share = budget * (group + 1) / count
        if abs(spent[group] - share) > longest:
            yield (
                f"after group {group} its negatives have {spent[group]:,} tokens; an even share is {share:,.0f}, "
                f"give or take a chunk of {longest:,}"
            )
            return


def _longest_candidate(session: Session, row: _Row) -> int:
    """The most tokens that a chunk of the pool can be expected to have: its largest chunk, as dense as the row's densest."""
    pool = session.pool()
    chunks = row.column("chunk")[:-1]
    if not len(chunks):
        return session.config.length
    tokens = (row.column("token_end") - row.column("token_start"))[:-1]
    density = float((tokens / np.maximum(1, pool.bytes_of(chunks))).max())
    largest = int(pool.description["counts"]["largest_chunk"])
    return math.ceil(largest * density * _DENSER)


def _negative_failures(session: Session, row: _Row) -> Iterator[str]:
    pool, mining = session.pool(), session.config.mining
    roles, chunks = row.column("role"), row.column("chunk")
    negatives = chunks[roles == "negative"]
    if len(np.unique(negatives)) != len(negatives):
        values, counts = np.unique(negatives, return_counts=True)
        yield f"chunk {values[counts > 1][0]} is a negative twice"
    root = pool.documents_of(chunks[roles == "meta"][:1])
    own = negatives[np.isin(pool.documents_of(negatives), root)]
    if len(own):
        yield f"chunk {own[0]} of the root document is a negative"
        return
    # Two meta-chunks of a document may be alike; a negative may be like nothing else in the sequence.
    order = np.concatenate([chunks[roles == "meta"], negatives])
    first = len(order) - len(negatives)
    keys, signatures = pool.fold_keys(order), pool.signatures(order)
    for place in range(first, len(order)):
        if (keys[:place] == keys[place]).any():
            yield f"negative {order[place]} is a copy of chunk {order[int(np.flatnonzero(keys[:place] == keys[place])[0])]}"
            return
        if mining.max_jaccard is None:
            continue
        alike = estimated_jaccard(signatures[place], signatures[:place])
        if len(alike) and alike.max() >= mining.max_jaccard:
            yield f"negative {order[place]} has Jaccard similarity {alike.max():.2f} with chunk {order[int(alike.argmax())]}"
            return
