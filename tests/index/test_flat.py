from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_pools import brute_force, clustered, shards

from nextlong.embedding.vectors import to_unit_float16
from nextlong.errors import UsageError
from nextlong.index import protocol
from nextlong.index.flat import FlatIndex
from nextlong.index.protocol import Index, merged, shard_ranges, shards_for
from nextlong.records import VECTOR_STEP


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("k", [1, 7, 64, 4500])
@pytest.mark.parametrize("sign", [1, -1])
def test_equals_brute_force(pool, k, sign):
    vectors = pool.take(np.arange(pool.count))
    queries = sign * vectors[::100]
    assert_same(FlatIndex(pool).search(queries, k), brute_force(vectors, queries, k))


@settings(deadline=None, max_examples=40)
@given(
    distinct=st.integers(1, 30),
    count=st.integers(1, 9000),
    k=st.integers(1, 400),
    threads=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_ties_go_to_the_lower_ordinal(tmp_path_factory, distinct, count, k, threads, seed):
    """Few distinct vectors, many copies: nearly every comparison is a tie, also across the blocks of the stream."""
    vectors = clustered(distinct, 8, seed=seed)[np.random.default_rng(seed).integers(0, distinct, count)]
    pool = shards(tmp_path_factory.mktemp("ties"), vectors)
    queries = vectors[:5].astype(np.float32)
    scores, ordinals = FlatIndex(pool, threads).search(queries, k)
    expected = brute_force(vectors, queries, k)
    assert_same((scores[:, :count], ordinals[:, :count]), expected)
    assert (ordinals[:, count:] == -1).all() and np.isneginf(scores[:, count:]).all()


def test_scores_that_differ_by_the_least_possible(tmp_path):
    rng = np.random.default_rng(0)
    vectors = np.repeat(clustered(1, 256), 9000, axis=0)
    vectors[np.arange(9000), rng.integers(0, 256, 9000)] += np.float16(VECTOR_STEP)
    queries = vectors[:20].astype(np.float32)
    expected = brute_force(vectors, queries, 200)
    assert len(np.unique(expected[0])) > 10
    assert np.diff(np.unique(expected[0])).min() <= 4 * VECTOR_STEP**2
    assert_same(FlatIndex(shards(tmp_path, vectors)).search(queries, 200), expected)


@settings(deadline=None, max_examples=60)
@given(dimensions=st.integers(1, 5000), seed=st.integers(0, 1000), scale=st.sampled_from([0.0, 0.5, 3.0]))
def test_products_of_vectors_are_exact_in_float32_in_any_order(dimensions, seed, scale):
    """What the whole package rests on, for flat and for peaked vectors, and for equal ones, whose product is largest."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((30, dimensions)) * np.exp(scale * rng.standard_normal(dimensions))
    vectors = to_unit_float16(raw, str).astype(np.float32)
    exact = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    order = rng.permutation(dimensions)
    for found in (
        vectors @ vectors.T,
        vectors[:, order] @ vectors[:, order].T,
        np.add.accumulate(vectors[:, None, order] * vectors[None, :, order], axis=2, dtype=np.float32)[:, :, -1],
    ):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, exact)


def test_answer_depends_on_neither_batch_nor_threads(pool):
    queries = pool.take(np.arange(0, 6000, 7))
    whole = FlatIndex(pool, threads=1).search(queries, 50)
    assert_same(FlatIndex(pool, threads=3).search(queries, 50), whole)
    cuts = [0, 1, 2, 30, 500, len(queries)]
    parts = [FlatIndex(pool).search(queries[low:high], 50) for low, high in pairwise(cuts)]
    assert_same((np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])), whole)


def test_empty_pool_and_no_queries(pool, tmp_path):
    empty = FlatIndex(shards(tmp_path, np.empty((0, 4), np.float16)))
    scores, ordinals = empty.search(np.eye(2, 4, dtype=np.float32), 3)
    assert (ordinals == -1).all() and np.isneginf(scores).all()
    scores, ordinals = FlatIndex(pool).search(np.empty((0, 32), np.float32), 3)
    assert scores.shape == ordinals.shape == (0, 3)
    assert isinstance(empty, Index)


@pytest.mark.parametrize("shards", [1, 2, 5, 6000])
@pytest.mark.parametrize("k", [1, 64, 900, 7000])
def test_shards_merged_equal_one_search(pool, shards, k):
    queries = pool.take(np.arange(0, 6000, 1500 if shards == 6000 else 100))
    index = FlatIndex(pool, shards=shards)
    assert index.shards == shards
    whole = FlatIndex(pool, shards=1).search(queries, k)
    assert_same(index.search(queries, k), whole)
    if shards == 6000:
        return
    parts = [index.search_shard(shard, queries, k) for shard in range(shards)]
    assert all(scores.shape == ordinals.shape == (len(queries), k) for scores, ordinals in parts)
    assert_same(merged(parts[::-1], k), whole)  # in any order
    found = np.sort(np.concatenate([np.unique(ordinals[ordinals >= 0]) for _, ordinals in parts]))
    assert len(np.unique(found)) == len(found)  # no chunk is in two shards
    if k >= 6000:
        assert found.tolist() == list(range(6000))


def test_a_shard_holds_no_more_than_it_may(monkeypatch):
    monkeypatch.setattr(protocol, "SHARD_VECTORS", 7)
    for count in (0, 1, 7, 8, 50):
        ranges = shard_ranges(count, shards_for(count))
        assert [ordinal for each in ranges for ordinal in each] == list(range(count))
        assert max(map(len, ranges)) <= 7
        assert count == 0 or min(map(len, ranges)) > 0


def test_merging_pads_and_breaks_ties_by_ordinal():
    one = np.array([[0.5, 0.25, -np.inf]], np.float32), np.array([[4, 1, -1]])
    other = np.array([[0.5, 0.25]], np.float32), np.array([[2, 3]])
    scores, ordinals = merged(iter([one, other]), 6)
    assert ordinals.tolist() == [[2, 4, 1, 3, -1, -1]]
    assert scores.tolist() == [[0.5, 0.5, 0.25, 0.25, -np.inf, -np.inf]]
    assert (scores.dtype, ordinals.dtype) == (np.float32, np.int64)
    assert merged([one, other], 1)[1].tolist() == [[2]]
    assert merged([one], 2)[1].tolist() == [[4, 1]]
    assert merged([one], 5)[1].tolist() == [[4, 1, -1, -1, -1]]


def test_refuses_senseless_queries(pool):
    with pytest.raises(UsageError, match="31"):
        FlatIndex(pool).search(np.ones((2, 31), np.float32), 3)
    with pytest.raises(UsageError, match="0 nearest"):
        FlatIndex(pool).search(np.eye(2, 32, dtype=np.float32), 0)
    for wrong in (np.full((2, 32), 0.3, np.float32), np.full((2, 32), np.nan, np.float32), np.ones((2, 32), np.float32)):
        with pytest.raises(UsageError, match="no vectors of a pool"):
            FlatIndex(pool).search(wrong, 3)
