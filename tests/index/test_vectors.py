from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_pools import clustered, shards

from nextlong.errors import NextlongError
from nextlong.index.vectors import VectorShards


def test_take_finds_rows_over_all_shards(tmp_path):
    vectors = clustered(50, 8)
    pool = shards(tmp_path, vectors, [7, 0, 30, 13])
    ordinals = np.array([49, 0, 7, 6, 6, 36, 37, 0])
    taken = pool.take(ordinals)
    assert (pool.count, pool.dimensions, taken.dtype) == (50, 8, np.float32)
    np.testing.assert_array_equal(taken, vectors[ordinals])
    assert pool.take(np.array([], dtype=np.int64)).shape == (0, 8)


@given(rows=st.integers(1, 60), sizes=st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_blocks_give_every_row_once_in_order(tmp_path_factory, rows, sizes):
    vectors = clustered(sum(sizes), 4) if sum(sizes) else np.empty((0, 4), np.float16)
    pool = shards(tmp_path_factory.mktemp("blocks"), vectors, sizes)
    blocks = list(pool.blocks(rows))
    assert [first for first, _ in blocks] == list(range(0, sum(sizes), rows))
    assert all(len(block) == rows for _, block in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 4)), *(block for _, block in blocks)]), vectors)


@pytest.mark.parametrize("ordinal", [-1, 10])
def test_take_refuses_ordinals_outside(tmp_path, ordinal):
    with pytest.raises(IndexError, match=r"\[0, 10\)"):
        shards(tmp_path, clustered(10, 4), [5, 5]).take(np.array([0, ordinal]))


def test_pickling_sends_paths_not_vectors(tmp_path):
    vectors = clustered(5000, 64)
    sent = pickle.dumps(shards(tmp_path, vectors))
    assert len(sent) < 1000
    received = pickle.loads(sent)  # noqa: S301 - its own bytes
    np.testing.assert_array_equal(received.take(np.arange(5000)), vectors)


@pytest.mark.parametrize("element", [np.nan, np.inf, -np.inf, 1.5, -30000])
def test_an_element_that_is_no_number_up_to_one_is_named(tmp_path, element):
    vectors = clustered(20, 4)
    vectors[13, 2] = element
    pool = shards(tmp_path, vectors, [10, 10])
    with pytest.raises(NextlongError, match=r"row 3 \(from 0\) of .*00001\.npy"):
        list(pool.blocks(6))


def test_vectors_of_another_version_are_refused(tmp_path):
    np.save(tmp_path / "old.npy", np.full((10, 4), 0.3, np.float16))
    with pytest.raises(NextlongError, match=r"old\.npy were made by a version"):
        VectorShards([tmp_path / "old.npy"])


def test_shards_of_known_sizes_are_opened_when_used(tmp_path):
    vectors = clustered(50, 4)
    whole = shards(tmp_path, vectors, [20, 1, 9, 20])
    sizes = [20, 1, 9, 20]
    later = VectorShards(whole.paths, sizes)
    whole.paths[3].unlink()
    np.save(whole.paths[1], clustered(2, 4))
    np.save(whole.paths[2], clustered(9, 8))
    assert (later.count, later.dimensions) == (50, 4)
    np.testing.assert_array_equal(later.take(np.arange(19)), vectors[:19])
    assert [first for first, _ in later.blocks(8, range(3, 20))] == [3, 11, 19]
    for ordinal, message in ((20, "has 2 vectors, not 1"), (22, "have 8 dimensions"), (49, "00003.npy are missing")):
        with pytest.raises(NextlongError, match=message):
            later.take(np.array([ordinal]))
        with pytest.raises(NextlongError, match=message):
            list(pickle.loads(pickle.dumps(later)).blocks(10, range(ordinal, ordinal + 1)))  # noqa: S301 - its own bytes


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_blocks_of_a_part(pool, rows):
    vectors = pool.take(np.arange(pool.count))
    for within in (range(0, 0), range(5, 5), range(990, 1010), range(1000, 1001), range(0, 6000), range(5999, 6000)):
        blocks = list(pool.blocks(rows, within))
        assert [first for first, _ in blocks] == list(range(within.start, within.stop, rows))
        found = np.concatenate([np.empty((0, 32), np.float32), *(block for _, block in blocks)])
        np.testing.assert_array_equal(found, vectors[within.start : within.stop])


def test_bad_shards_are_named(tmp_path):
    good, wide, single, flat = (tmp_path / f"{name}.npy" for name in ("good", "wide", "single", "flat"))
    np.save(good, clustered(10, 4))
    np.save(wide, clustered(10, 8))
    np.save(single, clustered(10, 4).astype(np.float32))
    np.save(flat, np.zeros(10, np.float16))
    short = tmp_path / "short.npy"
    short.write_bytes(good.read_bytes()[:-8])
    noise = tmp_path / "noise.npy"
    noise.write_bytes(b"nothing of the kind")
    for paths in ([good, wide], [single], [flat], [short], [noise], [tmp_path / "missing.npy"]):
        with pytest.raises(NextlongError, match=str(paths[-1])) as caught:
            VectorShards(paths)
        assert "nextlong index" in caught.value.hint
