"""How many negatives each meta-chunk gets, and where they stand (paper §3.2).

``l_i = [m_i, n_i1 … n_ik]``, ``t = [l_1 … l_p]``. In token-exact mode the tokens that the meta-chunks leave are shared
evenly: after group i of p, at most ``i / p`` of them are spent, so that every group is even to within a chunk, and the
last group fills the sequence to the token. In paper mode each meta-chunk takes k negatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from nextlong.mining.filters import Negative, SequenceFilter
from nextlong.records import Placed


class OutOfCandidates(Exception):
    """A group needs more negatives than were found at this depth.

    Attributes:
        tokens: how many tokens the sequence still lacks.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(tokens)
        self.tokens = tokens


def choose_to_fill(
    candidates: SequenceFilter, meta_lengths: Sequence[int], length_of: Callable[[int], int], content: int
) -> list[list[Negative]]:
    """Token-exact mode: negatives for each group, best first, that fill ``content`` tokens or a little more.

    The surplus belongs to the last negative of the last group, which is cut.

    Args:
        candidates: the sequence's filter.
        meta_lengths: tokens of each meta-chunk.
        length_of: tokens of a chunk.
        content: tokens of the sequence without its begin and end tokens.

    Raises:
        OutOfCandidates: some group ran out.
    """
    groups = len(meta_lengths)
    budget = content - sum(meta_lengths)
    chosen: list[list[Negative]] = [[] for _ in range(groups)]
    spent = 0
    for group in range(groups):
        last = group == groups - 1
        share = budget * (group + 1) // groups
        while spent < share:
            negative = candidates.next(group)
            if negative is None:
                raise OutOfCandidates(budget - spent)
            length = length_of(negative.chunk)
            if spent + length > share and not last:
                break  # what is left goes to the next group: an early overdraft could push out the last meta-chunk
            candidates.take(group, negative)
            chosen[group].append(negative)
            spent += length
    return chosen


def add_to_last(candidates: SequenceFilter, chosen: list[list[Negative]], lacking: int) -> None:
    """One more negative for the last group, where joining saved tokens that the lengths had counted.

    Raises:
        OutOfCandidates: there is none.
    """
    group = len(chosen) - 1
    negative = candidates.next(group)
    if negative is None:
        raise OutOfCandidates(lacking)
    candidates.take(group, negative)
    chosen[group].append(negative)


def paper_k(
    length: int, characters: int, meta_chunks: int, granularity: int, characters_per_token: float, oversampling: float
) -> int:
    """The paper's negatives per meta-chunk: ``k = (T·E·w - S) / (p·s)``, rounded down; below 1 the document is no root."""
    return int((length * characters_per_token * oversampling - characters) // (meta_chunks * granularity))


def choose_k(candidates: SequenceFilter, meta_chunks: int, k: int, fewer: bool = False) -> list[list[Negative]]:
    """Paper mode: k negatives for each group, best first.

    Args:
        candidates: the sequence's filter.
        meta_chunks: how many groups there are.
        k: negatives for each.
        fewer: take what there is where there are not k; the text may be long enough even so.

    Raises:
        OutOfCandidates: some group ran out.
    """
    chosen: list[list[Negative]] = []
    for group in range(meta_chunks):
        chosen.append([])
        while len(chosen[group]) < k:
            negative = candidates.next(group)
            if negative is None and fewer:
                break
            if negative is None:
                raise OutOfCandidates(0)
            candidates.take(group, negative)
            chosen[group].append(negative)
    return chosen


def arranged(
    meta_chunks: Sequence[int],
    chosen: Sequence[Sequence[Negative]],
    position: Literal["head", "tail", "random"],
    key: Sequence[int],
    cut_last: bool,
) -> list[Placed]:
    """The chunks in the order of the sequence.

    Args:
        meta_chunks: chunk ordinals.
        chosen: the negatives of each.
        position: where a meta-chunk stands among its negatives.
        key: what makes ``random`` random: the seed and the root document's key.
        cut_last: the sequence's last negative will be cut, so it stands at the very end wherever the meta-chunk does.
    """
    generator = np.random.default_rng(list(key))
    order: list[Placed] = []
    for group, (meta, negatives) in enumerate(zip(meta_chunks, chosen, strict=True)):
        whole = len(negatives) - (1 if cut_last and group == len(chosen) - 1 else 0)
        place = {"head": 0, "tail": whole, "random": int(generator.integers(whole + 1))}[position]
        placed = [Placed(negative.chunk, "negative", group, negative.rank, negative.score) for negative in negatives]
        order += [*placed[:place], Placed(int(meta), "meta", group, 0, 1.0), *placed[place:]]
    return order
