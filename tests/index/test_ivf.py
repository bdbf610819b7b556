from __future__ import annotations

import json
import pickle
from dataclasses import asdict

import numpy as np
import pytest
from index_pools import brute_force, clustered, shards

from nextlong.config import IndexConfig
from nextlong.errors import NextlongError
from nextlong.index.choose import FLAT_UP_TO, choose_kind, open_index
from nextlong.index.flat import FlatIndex
from nextlong.index.ivf import IvfReport, build_ivf, default_lists, load_ivf
from nextlong.index.recall import recall_at_k, without_self


@pytest.fixture(scope="module")
def built(pool, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "ivf.faiss"
    return path, build_ivf(pool, path, seed=3, recall_target=0.9)


def test_meets_the_recall_target_on_other_queries(pool, built):
    path, report = built
    assert report.recall >= 0.9 and 1 <= report.probes < report.lists
    assert (report.count, report.recall_at, report.recall_sample) == (6000, 64, 1000)
    own = np.arange(1, 6000, 11)
    queries = pool.take(own)
    exact, _ = without_self(*FlatIndex(pool).search(queries, 65), own)
    found, ordinals = without_self(*load_ivf(path, pool, report.probes).search(queries, 65), own)
    assert recall_at_k(found, exact) > 0.87  # another sample of 545 queries: the target less three standard errors
    assert not (ordinals == own[:, None]).any()


def test_a_higher_target_takes_more_probes(pool, built, tmp_path):
    _, report = built
    higher = build_ivf(pool, tmp_path / "i", seed=3, recall_target=0.99)
    assert higher.recall >= 0.99 and higher.probes > report.probes


def test_scores_are_exact(pool, built):
    path, report = built
    queries = pool.take(np.arange(20))
    scores, ordinals = load_ivf(path, pool, report.probes).search(queries, 30)
    expected, _ = brute_force(pool.take(np.arange(pool.count)), queries, pool.count)
    products = np.einsum("qkd,qd->qk", pool.take(ordinals.ravel()).reshape(20, 30, -1), queries, dtype=np.float64)
    np.testing.assert_array_equal(scores, products.astype(np.float32))
    assert all(np.isin(found, row).all() for found, row in zip(scores, expected, strict=True))
    assert (ordinals[:, 0] <= np.arange(20)).all()  # itself, or the first of its copies


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_building_again_gives_the_same_bytes(pool, built, tmp_path, threads):
    path, report = built
    again = build_ivf(pool, tmp_path / "again", seed=3, recall_target=0.9, threads=threads)
    assert again == report
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_shard_borders_do_not_matter(pool, built, tmp_path):
    path, report = built
    one = shards(tmp_path, pool.take(np.arange(pool.count)).astype(np.float16))
    assert build_ivf(one, tmp_path / "again", seed=3, recall_target=0.9) == report
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_another_seed_gives_another_index(pool, built, tmp_path):
    build_ivf(pool, tmp_path / "other", seed=4, recall_target=0.9)
    assert (tmp_path / "other").read_bytes() != built[0].read_bytes()


def test_answer_depends_on_neither_batch_threads_nor_process(pool, built):
    path, report = built
    queries = pool.take(np.arange(0, 6000, 5))
    whole = load_ivf(path, pool, report.probes, threads=1).search(queries, 40)
    index = load_ivf(path, pool, report.probes, threads=3)
    singles = [index.search(queries[row : row + 1], 40) for row in range(60)]
    sent = pickle.loads(pickle.dumps(index))  # noqa: S301 - its own bytes
    for part in (0, 1):
        np.testing.assert_array_equal(index.search(queries, 40)[part], whole[part])
        np.testing.assert_array_equal(sent.search(queries[5:700], 40)[part], whole[part][5:700])
        np.testing.assert_array_equal(np.concatenate([one[part] for one in singles]), whole[part][:60])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_whole_pool_can_be_reached(pool, built, sign):
    queries = sign * pool.take(np.arange(0, 6000, 1500))
    index = load_ivf(built[0], pool, probes=1)
    for part, exact in zip(index.search(queries, 6000), FlatIndex(pool).search(queries, 6000), strict=True):
        np.testing.assert_array_equal(part, exact)


def test_every_k_is_filled_whatever_the_probes(pool, built):
    index = load_ivf(built[0], pool, probes=1)
    for k in (100, 700, 2000):
        _, ordinals = index.search(pool.take(np.arange(0, 6000, 600)), k)
        assert ordinals.min() >= 0
        assert all(len(set(row)) == k for row in ordinals.tolist())


@pytest.mark.parametrize("count", [1, 2, 5, 39, 100])
@pytest.mark.parametrize("lists", [None, 64])
def test_tiny_pools(tmp_path, count, lists):
    vectors = clustered(count, 8, topics=3)
    pool = shards(tmp_path, vectors)
    report = build_ivf(pool, tmp_path / "i", seed=0, recall_target=0.95, lists=lists)
    assert report.recall >= 0.95 and 1 <= report.probes <= report.lists <= count
    assert report.recall_at == min(64, count - 1)
    scores, ordinals = load_ivf(tmp_path / "i", pool, report.probes).search(vectors.astype(np.float32), count + 2)
    expected = brute_force(vectors, vectors, count)
    np.testing.assert_array_equal(scores[:, :count], expected[0])
    np.testing.assert_array_equal(ordinals[:, :count], expected[1])
    assert (ordinals[:, count:] == -1).all() and np.isneginf(scores[:, count:]).all()


def test_a_pool_of_copies_and_zeros(tmp_path):
    vectors = np.concatenate([np.repeat(clustered(2, 8, copies=0), 300, axis=0), np.zeros((50, 8), np.float16)])
    pool = shards(tmp_path, vectors)
    report = build_ivf(pool, tmp_path / "i", seed=0, recall_target=1.0)
    assert report.recall == 1 and report.lists <= 3
    _, ordinals = load_ivf(tmp_path / "i", pool, report.probes).search(vectors[[0]].astype(np.float32), 650)
    np.testing.assert_array_equal(ordinals[0, :300], np.arange(300))
    assert sorted(ordinals[0]) == list(range(650))


def test_an_empty_pool_cannot_be_indexed(tmp_path):
    with pytest.raises(NextlongError, match="no vectors"):
        build_ivf(shards(tmp_path, np.empty((0, 4), np.float16)), tmp_path / "i", seed=0, recall_target=0.9)


def test_damaged_files_are_named(pool, built, tmp_path):
    path, report = built
    data = path.read_bytes()
    damaged = {
        "empty": b"",
        "noise": b"nothing of the kind " * 50,
        "cut short": data[: len(data) // 2],
        "cut a little": data[:-1],
        "middle missing": data[:5000] + data[9000:],
        "head overwritten": b"\0" * 64 + data[64:],
    }
    for name, content in damaged.items():
        bad = tmp_path / name
        bad.write_bytes(content)
        with pytest.raises(NextlongError, match=f"{tmp_path}/{name}") as caught:
            load_ivf(bad, pool, report.probes)
        assert "nextlong index" in caught.value.hint
    with pytest.raises(NextlongError, match="missing"):
        load_ivf(tmp_path / "missing", pool, report.probes)


def test_an_index_of_other_vectors_is_refused(built, tmp_path):
    with pytest.raises(NextlongError, match="made from 6000 vectors of 32 dimensions"):
        load_ivf(built[0], shards(tmp_path, clustered(5999)), 4)


def test_a_place_that_cannot_be_written_is_named(pool, tmp_path):
    with pytest.raises(NextlongError, match="no such folder"):
        build_ivf(pool, tmp_path / "no such folder" / "i", seed=0, recall_target=0.5, lists=4)


def test_open_index_from_a_stored_report(pool, built):
    path, report = built
    stored = IvfReport(**json.loads(json.dumps(asdict(report))))
    assert stored == report
    queries = pool.take(np.arange(10))
    same = load_ivf(path, pool, report.probes).search(queries, 9)
    np.testing.assert_array_equal(open_index("ivf", path, pool, stored).search(queries, 9)[1], same[1])
    assert isinstance(open_index("flat", None, pool), FlatIndex)
    with pytest.raises(NextlongError, match="no report"):
        open_index("ivf", path, pool)


def test_auto_is_exact_for_small_pools():
    assert choose_kind(IndexConfig(), FLAT_UP_TO) == "flat"
    assert choose_kind(IndexConfig(), FLAT_UP_TO + 1) == "ivf"
    assert choose_kind(IndexConfig(kind="ivf"), 10) == "ivf"
    assert choose_kind(IndexConfig(kind="flat"), 10**9) == "flat"


def test_lists_grow_with_the_pool_within_bounds():
    assert [default_lists(count) for count in (1, 79, 4000, 10**6, 10**9)] == [1, 1, 100, 4000, 16384]


def test_recall_counts_ties_and_misses():
    exact = np.array([[0.9, 0.8, 0.8], [0.5, 0.4, -np.inf]], np.float32)
    assert recall_at_k(exact, exact) == 1
    assert recall_at_k(np.array([[0.8, 0.8, 0.7], [0.5, -np.inf, -np.inf]], np.float32), exact) == pytest.approx(3 / 5)
    assert recall_at_k(np.full((2, 3), -np.inf, np.float32), exact) == 0
    with pytest.raises(ValueError, match="shape"):
        recall_at_k(exact[:1], exact)


def test_without_self_drops_one_of_each_row():
    scores = np.array([[1.0, 0.9, 0.8], [1.0, 1.0, 1.0]], np.float32)
    kept, ordinals = without_self(scores, np.array([[4, 7, 2], [0, 1, 2]]), np.array([4, 9]))
    assert ordinals.tolist() == [[7, 2], [0, 1]]
    np.testing.assert_array_equal(kept, np.array([[0.9, 0.8], [1.0, 1.0]], np.float32))
