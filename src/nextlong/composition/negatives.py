"""How many negatives each meta-chunk gets, and where they stand (paper §3.2).

``l_i = [m_i, n_i1 … n_ik]``, ``t = [l_1 … l_p]``. In token-exact mode the tokens that the meta-chunks leave are shared
evenly: after group i of p, at most ``i / p`` of them are spent, so that every group is even to within a chunk, and the
last group fills the sequence to the token. In paper mode each meta-chunk takes k negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nextlong.mining.filters import Lengths, Negatives, SequenceFilter
from nextlong.mining.fingerprints import Fingerprints, Rows
from nextlong.mining.together import Work
from nextlong.pool.pool import Ordinals
from nextlong.records import ROLES, Order


class OutOfCandidates(Exception):
    """A group needs more negatives than were found at this depth.

    Attributes:
        tokens: how many tokens the sequence still lacks.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.tokens = tokens


def choose_to_fill(
    candidates: SequenceFilter, meta_lengths: Sequence[int], lengths: Lengths, content: int
) -> Work[list[Negatives]]:
    """Token-exact mode: negatives for each group, best first, that fill ``content`` tokens or a little more.

    The surplus belongs to the last negative of the last group, which is cut.

    Args:
        candidates: the sequence's filter.
        meta_lengths: tokens of each meta-chunk.
        lengths: tokens of candidates.
        content: tokens of the sequence without its begin and end tokens.

    Raises:
        OutOfCandidates: some group ran out.
    """
    groups = len(meta_lengths)
    budget = content - sum(meta_lengths)
    chosen: list[Negatives] = []
    spent = 0
    for group in range(groups):
        share = budget * (group + 1) // groups
        # What is left of a share goes to the next group: an early overdraft could push out the last meta-chunk.
        taken = yield from candidates.take(group, share - spent, lengths, overdraw=group == groups - 1)
        chosen.append(taken.negatives)
        spent += taken.tokens
        if taken.exhausted:
            raise OutOfCandidates(budget - spent)
    return chosen


def add_to_last(candidates: SequenceFilter, chosen: list[Negatives], lacking: int) -> Work[None]:
    """One more negative for the last group, where joining saved tokens that the lengths had counted.

    Raises:
        OutOfCandidates: there is none.
    """
    taken = yield from candidates.take(len(chosen) - 1, 1, _counted)
    if taken.exhausted:
        raise OutOfCandidates(lacking)
    chosen[-1] += taken.negatives


def _counted(known: Fingerprints, rows: Rows, room: int) -> Ordinals:
    """Lengths with which ``room`` is a number of chunks."""
    return np.ones(len(rows), dtype=np.int64)


def paper_k(
    length: int, characters: int, meta_chunks: int, granularity: int, characters_per_token: float, oversampling: float
) -> int:
    """The paper's negatives per meta-chunk: ``k = (T·E·w - S) / (p·s)``, rounded down; below 1 the document is no root."""
    return int((length * characters_per_token * oversampling - characters) // (meta_chunks * granularity))


def choose_k(candidates: SequenceFilter, meta_chunks: int, k: int, fewer: bool = False) -> Work[list[Negatives]]:
    """Paper mode: k negatives for each group, best first.

    Args:
        candidates: the sequence's filter.
        meta_chunks: how many groups there are.
        k: negatives for each.
        fewer: take what there is where there are not k; the text may be long enough even so.

    Raises:
        OutOfCandidates: some group ran out.
    """
    chosen: list[Negatives] = []
    for group in range(meta_chunks):
        taken = yield from candidates.take(group, k, _counted)
        chosen.append(taken.negatives)
        if taken.exhausted and not fewer:
            raise OutOfCandidates(0)
    return chosen


def arranged(
    meta_chunks: Ordinals,
    chosen: Sequence[Negatives],
    position: Literal["head", "tail", "random"],
    key: Sequence[int],
    cut_last: bool,
) -> Order:
    """The chunks in the order of the sequence.

    Args:
        meta_chunks: chunk ordinals.
        chosen: the negatives of each.
        position: where a meta-chunk stands among its negatives.
        key: what makes ``random`` random: the seed and the root document's key.
        cut_last: the sequence's last negative will be cut, so it stands at the very end wherever the meta-chunk does.
    """
    counts = np.array([len(negatives) for negatives in chosen], dtype=np.int64)
    whole = counts.copy()
    whole[-1] -= cut_last
    before = np.zeros_like(counts) if position == "head" else whole
    if position == "random":
        generator = np.random.default_rng(list(key))
        before = np.array([int(generator.integers(most + 1)) for most in whole.tolist()], dtype=np.int64)
    metas = np.cumsum(counts + 1) - (counts + 1) + before
    is_negative = np.ones(int(counts.sum()) + len(counts), dtype=bool)
    is_negative[metas] = False
    order = Order.blank(len(is_negative), "negative")
    order.roles[metas], order.chunks[metas], order.scores[metas] = ROLES.index("meta"), meta_chunks, 1.0
    order.groups[:] = np.repeat(np.arange(len(counts)), counts + 1)
    order.chunks[is_negative] = np.concatenate([negatives.chunks for negatives in chosen])
    order.ranks[is_negative] = np.concatenate([negatives.ranks for negatives in chosen])
    order.scores[is_negative] = np.concatenate([negatives.scores for negatives in chosen])
    return order
