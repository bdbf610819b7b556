"""Quantiles and histograms of numbers whose distribution is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextlong.inspection.distribution import Bin, of_amounts, of_cosines


def test_amounts_by_hand():
    found = of_amounts(np.array([0, 1, 1, 2, 3, 4, 100]))
    assert (found.count, found.least, found.median, found.most) == (7, 0, 2, 100)
    assert found.mean == 111 / 7
    counts = [(round(each.low, 3), round(each.high, 3), each.count) for each in found.bins if each.count]
    assert counts == [(0, 1, 1), (1, 2, 2), (2, 2.828, 1), (2.828, 4, 1), (4, 5.657, 1), (90.51, 128, 1)]


def test_cosines_by_hand():
    found = of_cosines(np.array([-1.0, 0.0, 0.5, 0.51, 1.0004]))
    assert [each.count for each in found.bins if each.count] == [1, 1, 2, 1]
    assert found.bins[0].low <= -1 < found.bins[0].high
    assert found.bins[-1].low <= 1.0004 < found.bins[-1].high


def test_nothing_has_no_bins():
    assert of_amounts(np.array([])).bins == of_cosines(np.array([])).bins == []
    assert of_amounts(np.array([])).count == 0


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_every_amount_is_in_one_bin(values):
    found = of_amounts(np.array(values))
    for each in found.bins:
        assert each.count == sum(each.low <= value < each.high for value in values)
    assert sum(each.count for each in found.bins) == len(values)
    assert found.bins[0].count
    assert found.bins[-1].count


def test_bins_are_the_same_for_all():
    one, other = of_amounts(np.array([5, 900])), of_amounts(np.array([70, 80_000]))
    edges = {(each.low, each.high) for each in one.bins}
    shared = [each for each in other.bins if each.high <= one.bins[-1].high]
    assert shared
    assert all((each.low, each.high) in edges for each in shared)
    assert isinstance(shared[0], Bin)
