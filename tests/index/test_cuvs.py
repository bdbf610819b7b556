from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from index_pools import brute_force, clustered, shards

from nextlong.config import IndexConfig
from nextlong.errors import NextlongError, UsageError
from nextlong.index.build import require_equal
from nextlong.index.choose import choose_kind, open_index
from nextlong.index.cuvs import checked_scores, nearest_on_gpu
from nextlong.index.flat import FlatIndex

INSTALLED = importlib.util.find_spec("cuvs") is not None


def nearest_in_reverse(queries, block, k):
    """Right, with ties in the most unhelpful order: what any library for a GPU may give."""
    products = queries @ block[::-1].T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return checked_scores(queries, block, np.take_along_axis(products, order, axis=1), len(block) - 1 - order)


def searched_by(nearest, pool, queries, k, **options):
    index = FlatIndex(pool, on_gpu=True, **options)
    index._nearest = nearest
    return index.search(queries, k)


@pytest.mark.parametrize("k", [1, 40, 200])
@pytest.mark.parametrize("distinct", [3, 60, 5000])
def test_whatever_the_order_of_ties(tmp_path, k, distinct):
    vectors = clustered(distinct, 8)[np.random.default_rng(0).integers(0, distinct, 5000)]
    pool, queries = shards(tmp_path, vectors), vectors[:9].astype(np.float32)
    found = searched_by(nearest_in_reverse, pool, queries, k, shards=2)
    for one, expected in zip(found, brute_force(vectors, queries, k), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_scores_that_are_not_exact_are_refused():
    block = clustered(50, 16).astype(np.float32)
    products = block[:3] @ block.T
    rows = np.broadcast_to(np.arange(50), products.shape)
    checked_scores(block[:3], block, products, rows)
    for wrong in (products + np.float32(2.0**-23), products.astype(np.float16).astype(np.float32)):
        with pytest.raises(NextlongError, match="not exact"):
            checked_scores(block[:3], block, wrong, rows)
    with pytest.raises(NextlongError, match="not exact"):
        checked_scores(block[:3], block, products, rows - 1)


def test_an_index_that_finds_others_is_refused(pool):
    require_equal(FlatIndex(pool, shards=2), pool, 0)

    def nearly(queries, block, k):
        scores, rows = nearest_in_reverse(queries, block, k + 1)
        return scores[:, 1:], rows[:, 1:]  # the best is missing

    index = FlatIndex(pool, on_gpu=True)
    index._nearest = nearly
    with pytest.raises(NextlongError, match="other neighbours than exact search for 1,000 of 1,000"):
        require_equal(index, pool, 0)


def test_is_chosen_by_name_only():
    assert choose_kind(IndexConfig(kind="cuvs"), 10) == "cuvs"
    assert choose_kind(IndexConfig(), 10**9) == "ivf"


@pytest.mark.skipif(INSTALLED, reason="cuVS is installed")
def test_without_the_package_the_command_to_install_it_is_named(pool, tmp_path):
    with pytest.raises(UsageError, match="not installed") as caught:
        open_index({"kind": "cuvs", "shards": 1}, tmp_path, pool)
    assert "pip install cuvs-cu12" in caught.value.hint
    with pytest.raises(UsageError, match="not installed"):
        nearest_on_gpu(pool.take(np.arange(2)), pool.take(np.arange(9)), 3)


@pytest.mark.skipif(not INSTALLED, reason="cuVS is not installed")
def test_the_gpu_equals_exact_search(pool):
    require_equal(FlatIndex(pool, on_gpu=True), pool, 0)
