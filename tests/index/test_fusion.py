from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextlong.index.fusion import RANK_CONSTANT, WINDOW, fused, search_depth


def brute_force(dense: list[int], lexical: list[int], window: int) -> list[int]:
    """The definition, chunk by chunk."""
    scores: dict[int, float] = {}
    for ranking in (dense, lexical):
        for rank, ordinal in enumerate(ranking[:window], start=1):
            scores[ordinal] = scores.get(ordinal, 0.0) + 1 / (60 + rank)
    result = sorted(scores, key=lambda ordinal: (-scores[ordinal], ordinal))
    for rank in range(window, max(len(dense), len(lexical))):
        for ranking in (dense, lexical):
            if rank < len(ranking) and ranking[rank] not in result:
                result.append(ranking[rank])
    return result


@st.composite
def rankings(draw):
    """Two orders of one pool: all of it by vectors, a part of it by words."""
    chunks = draw(st.integers(1, 60))
    dense, lexical = (draw(st.permutations(range(chunks))) for _ in range(2))
    return np.array(dense, dtype=np.int64), np.array(lexical[: draw(st.integers(0, chunks))], dtype=np.int64)


@settings(deadline=None)
@given(rankings(), st.integers(1, 70))
def test_equals_brute_force(pair, window):
    found = fused(*pair, window)
    assert found.dtype == np.int64
    assert found.tolist() == brute_force(pair[0].tolist(), pair[1].tolist(), window)


@settings(deadline=None)
@given(rankings(), st.integers(1, 20), st.integers(0, 60), st.integers(0, 60))
def test_a_deeper_fusion_begins_with_the_shallower(pair, window, more, still_more):
    dense, lexical = pair
    depth = window + more
    shallow = fused(dense[:depth], lexical[:depth], window)
    deep = fused(dense[: depth + still_more], lexical[: depth + still_more], window)
    assert deep[: len(shallow)].tolist() == shallow.tolist()
    assert len(shallow) >= min(depth, len(dense))


@settings(deadline=None)
@given(rankings(), st.integers(1, 20))
def test_everything_once(pair, window):
    found = fused(*pair, window)
    assert sorted(found.tolist()) == sorted(set(np.concatenate(pair).tolist()))


def test_ranks_count_from_one_and_equal_scores_go_to_the_lower_ordinal():
    assert RANK_CONSTANT == 60
    # 7 is second and first, 3 first only, 9 second only, 5 and 4 third.
    assert fused(np.array([3, 7, 5]), np.array([7, 9, 4])).tolist() == [7, 3, 9, 4, 5]
    assert fused(np.array([8, 2]), np.array([2, 8])).tolist() == [2, 8]


def test_behind_the_window_ranks_alternate_dense_first():
    assert fused(np.array([0, 1, 2, 3, 4]), np.array([0, 5, 1, 6]), window=1).tolist() == [0, 1, 5, 2, 3, 6, 4]


def test_empty_rows_of_an_index_are_left_out():
    dense, none = np.array([2, 0, 1]), np.full(4, -1)
    assert fused(dense, none).tolist() == [2, 0, 1]
    assert fused(none, np.array([1, -1, -1])).tolist() == [1]
    found = fused(none, none)
    assert found.dtype == np.int64 and not len(found)


@pytest.mark.parametrize(("k", "chunks", "depth"), [(1, 10**6, WINDOW), (5000, 10**6, 5000), (5000, 800, 800), (9, 9, 9)])
def test_search_depth(k, chunks, depth):
    assert search_depth(k, chunks) == depth
