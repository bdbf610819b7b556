"""The paper's k by hand, and where meta-chunks stand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextlong.composition.negatives import OutOfCandidates, arranged, choose_k, choose_to_fill, paper_k
from nextlong.mining.filters import Negatives, Taken
from nextlong.mining.together import alone


@pytest.mark.parametrize(
    ("length", "characters", "meta_chunks", "granularity", "k"),
    [
        # A typical sequence of the paper: (131072 x 6 - 6144) / (3 x 2048) = 780288 / 6144.
        (131072, 6144, 3, 2048, 127),
        # (65536 x 6 - 10000) / (5 x 2048) = 383216 / 10240 = 37.4.
        (65536, 10000, 5, 2048, 37),
        # (1024 x 6 - 4096) / (2 x 1024) = 2048 / 2048.
        (1024, 4096, 2, 1024, 1),
        # One character more leaves less than one.
        (1024, 4097, 2, 1024, 0),
        # A document longer than the sequence: (6144 - 10000) / 2048 = -1.9, rounded down.
        (1024, 10000, 1, 2048, -2),
    ],
)
def test_the_papers_k(length, characters, meta_chunks, granularity, k):
    assert paper_k(length, characters, meta_chunks, granularity, characters_per_token=4.0, oversampling=1.5) == k


def test_k_takes_the_users_constants():
    # (1000 x 3 x 2 - 1000) / (2 x 500) = 5.
    assert paper_k(1000, 1000, 2, 500, characters_per_token=3.0, oversampling=2.0) == 5


def negatives(*chunks):
    ranks = np.arange(1, len(chunks) + 1)
    return Negatives(np.array(chunks, dtype=np.int64), ranks, (1.0 - ranks / 16).astype(np.float32))


def order_of(position, cut_last, key=(0, 1)):
    placed = arranged(np.array([100, 200]), [negatives(1, 2, 3), negatives(4, 5)], position, key, cut_last)
    assert [(place.chunk, place.role) for place in placed if place.chunk >= 100] == [(100, "meta"), (200, "meta")]
    assert [place.chunk for place in placed if place.role == "negative"] == [1, 2, 3, 4, 5]
    assert [place.group for place in placed] == [0, 0, 0, 0, 1, 1, 1]
    assert [place.rank for place in placed if place.group == 0 and place.role == "negative"] == [1, 2, 3]
    assert {(place.rank, place.score) for place in placed if place.role == "meta"} == {(0, 1.0)}
    return [place.chunk for place in placed]


def test_positions():
    assert order_of("head", cut_last=True) == [100, 1, 2, 3, 200, 4, 5]
    assert order_of("head", cut_last=False) == [100, 1, 2, 3, 200, 4, 5]
    assert order_of("tail", cut_last=False) == [1, 2, 3, 100, 4, 5, 200]
    assert order_of("tail", cut_last=True) == [1, 2, 3, 100, 4, 200, 5]


@pytest.mark.parametrize("cut_last", [True, False])
def test_random_positions_are_uniform_and_repeatable(cut_last):
    orders = [order_of("random", cut_last, key=(7, number)) for number in range(600)]
    assert orders == [order_of("random", cut_last, key=(7, number)) for number in range(600)]
    first = np.bincount([order.index(100) for order in orders])
    last = np.bincount([order.index(200) - 4 for order in orders])
    assert len(first) == 4 and first.min() > 100
    assert len(last) == (2 if cut_last else 3) and last.min() > 150


class Queues:
    """Candidates in a row, as a filter that refuses nothing gives them: one by one, as the rule is written."""

    def __init__(self, *queues):
        self.queues = [list(queue) for queue in queues]

    def take(self, group, room, lengths, overdraw=True):
        yield from ()  # it has no questions
        taken, tokens = [], 0
        while tokens < room and self.queues[group]:
            length = int(lengths(None, np.array([self.queues[group][0].chunk]), room - tokens)[0])
            if tokens + length > room and not overdraw:
                return Taken(self.joined(taken), tokens, False)
            taken.append(self.queues[group].pop(0))
            tokens += length
        return Taken(self.joined(taken), tokens, tokens < room)

    def joined(self, taken):
        columns = zip(*((one.chunk, one.rank, one.score) for one in taken), strict=True) if taken else ([], [], [])
        kinds = (np.int64, np.int64, np.float32)
        return Negatives(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


def all_of(length):
    return lambda known, chunks, room: np.full(len(chunks), length, dtype=np.int64)


def test_the_budget_is_shared_evenly():
    # 100 tokens of content, 10 of the document's: 45 and 45. The fifth chunk of ten is the first group's first too many.
    queues = Queues(negatives(*range(10)), negatives(*range(10, 20)))
    chosen = alone(choose_to_fill(queues, [4, 6], all_of(10), 100))
    assert [[negative.chunk for negative in group] for group in chosen] == [[0, 1, 2, 3], [10, 11, 12, 13, 14]]


def test_a_share_that_fits_exactly_is_used_up():
    chosen = alone(choose_to_fill(Queues(negatives(0, 1, 2, 3), negatives(4, 5, 6)), [5, 5], all_of(15), 100))
    assert [len(group) for group in chosen] == [3, 3]


def test_a_chunk_larger_than_its_share_is_left_to_the_last_group():
    chosen = alone(choose_to_fill(Queues(negatives(0), negatives(1), negatives(2)), [1, 1, 1], all_of(500), 100))
    assert [[negative.chunk for negative in group] for group in chosen] == [[], [], [2]]


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=6),
    st.lists(st.integers(1, 60), min_size=1, max_size=80),
    st.integers(200, 2000),
)
def test_every_group_is_even_to_within_a_chunk(metas, lengths, content):
    queues = Queues(*[negatives(*range(len(lengths))) for _ in metas])
    budget = content - sum(metas)
    try:
        chosen = alone(choose_to_fill(queues, metas, lambda known, chunks, room: np.array(lengths)[chunks], content))
    except OutOfCandidates as error:
        taken = [len(lengths) - len(queue) for queue in queues.queues]
        assert error.tokens == budget - sum(sum(lengths[:amount]) for amount in taken) > 0
        assert 0 in map(len, queues.queues)
        return
    spent = np.cumsum([sum(lengths[negative.chunk] for negative in group) for group in chosen])
    for group, total in enumerate(spent[:-1].tolist(), start=1):
        assert budget * group / len(metas) - 1 - max(lengths) < total <= budget * group / len(metas)
    assert budget <= spent[-1] < budget + lengths[chosen[-1].chunks[-1]]


def test_paper_mode_takes_k_for_each_or_fails():
    chosen = alone(choose_k(Queues(negatives(1, 2, 3), negatives(4, 5)), 2, 2))
    assert [[negative.chunk for negative in group] for group in chosen] == [[1, 2], [4, 5]]
    with pytest.raises(OutOfCandidates):
        alone(choose_k(Queues(negatives(1, 2, 3), negatives(4, 5)), 2, 3))
