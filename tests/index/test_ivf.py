from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_pools import brute_force, clustered, shards

from nextlong.config import IndexConfig
from nextlong.errors import NextlongError
from nextlong.index import build, scan
from nextlong.index.build import build_ivf, default_lists
from nextlong.index.choose import FLAT_UP_TO, choose_kind, open_index
from nextlong.index.flat import FlatIndex
from nextlong.index.ivf import IvfIndex, load_ivf
from nextlong.index.protocol import Index, merged, shard_ranges
from nextlong.index.recall import recall_at_k, without_self


@pytest.fixture(scope="module")
def built(pool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    return folder, build_ivf(pool, folder, seed=3, recall_target=0.9)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def by_the_rules(folder, pool, report, queries, k):
    """The answer as `IvfIndex` describes it, for one query and one shard after the other."""
    vectors = pool.take(np.arange(pool.count))
    centroids = np.load(folder / "centroids.npy") / 2048
    lists = (vectors @ centroids.T).argmax(axis=1)
    ranges = shard_ranges(pool.count, report.shards)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    ordinals = np.full((len(queries), k), -1)
    for row, query in enumerate(queries):
        near = centroids @ query
        ranked = np.argsort(-near, kind="stable")
        held = np.cumsum(np.bincount(lists, minlength=len(centroids))[ranked])
        ranked = ranked[: max(report.probes, int((held < 4 * k).sum()) + 1)]
        candidates = []
        for within in ranges:
            members = [within.start + np.flatnonzero(lists[within] == number) for number in ranked]
            first = int((np.cumsum([len(each) for each in members]) < 4 * k).sum()) + 1
            seen = np.sort(vectors[np.concatenate(members[:first])] @ query)[::-1]
            bar = seen[k - 1] if len(seen) >= k else -np.inf
            candidates += [
                each for place, each in enumerate(members) if place < first or near[ranked[place]] >= bar - report.margin
            ]
        rows = np.sort(np.concatenate(candidates))
        order = np.lexsort((rows, -(vectors[rows] @ query)))[:k]
        scores[row, : len(order)] = (vectors[rows] @ query)[order]
        ordinals[row, : len(order)] = rows[order]
    return scores, ordinals


def test_meets_the_recall_target_on_other_queries(pool, built):
    folder, report = built
    assert report.recall >= 0.9 and 1 <= report.probes < report.lists
    assert (report.count, report.recall_at, report.recall_sample) == (6000, 64, 1000)
    own = np.arange(1, 6000, 11)
    queries = pool.take(own)
    exact, _ = without_self(*FlatIndex(pool).search(queries, 65), own)
    found, ordinals = without_self(*load_ivf(folder, pool, report).search(queries, 65), own)
    assert recall_at_k(found, exact) > 0.87  # another sample of 545 queries: the target less three standard errors
    assert not (ordinals == own[:, None]).any()


def test_a_higher_target_looks_into_more(pool, built, tmp_path):
    _, report = built
    higher = build_ivf(pool, tmp_path / "higher", seed=3, recall_target=0.99)
    assert higher.recall >= 0.99 and higher.probes > report.probes
    all_of_it = build_ivf(pool, tmp_path / "all", seed=3, recall_target=1.0)
    assert all_of_it.recall == 1.0


def test_the_margin_is_the_least_that_reaches_the_target(pool, tmp_path):
    report = build_ivf(pool, tmp_path, seed=3, recall_target=0.99)
    own = np.sort(np.random.default_rng([3, 1]).choice(6000, 1000, replace=False))
    exact, _ = without_self(*FlatIndex(pool).search(pool.take(own), 65), own)
    recalls = []
    for margin in (report.margin, report.margin - 3 / 1024):
        found, _ = without_self(*load_ivf(tmp_path, pool, replace(report, margin=margin)).search(pool.take(own), 65), own)
        recalls.append(recall_at_k(found, exact))
    assert recalls[0] == report.recall >= 0.99 > recalls[1]


@pytest.mark.parametrize("shard_count", [1, 3])
@pytest.mark.parametrize("k", [1, 20, 150])
def test_follows_the_rules(pool, tmp_path, shard_count, k):
    report = build_ivf(pool, tmp_path, seed=3, recall_target=0.85, shards=shard_count)
    queries = np.concatenate([pool.take(np.arange(0, 6000, 100)), -pool.take(np.arange(0, 6000, 600))])
    for changed in (report, replace(report, probes=5, margin=0.1), replace(report, margin=-0.2)):
        found = load_ivf(tmp_path, pool, changed).search(queries, k)
        assert_same(found, by_the_rules(tmp_path, pool, changed, queries, k))


def test_scores_are_exact(pool, built):
    folder, report = built
    queries = pool.take(np.arange(20))
    scores, ordinals = load_ivf(folder, pool, report).search(queries, 30)
    products = np.einsum("qkd,qd->qk", pool.take(ordinals.ravel()).reshape(20, 30, -1), queries, dtype=np.float64)
    np.testing.assert_array_equal(scores, products)
    assert (ordinals[:, 0] <= np.arange(20)).all()  # itself, or the first of its copies


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_building_again_gives_the_same_bytes(pool, built, tmp_path, threads):
    folder, report = built
    again = build_ivf(pool, tmp_path, seed=3, recall_target=0.9, threads=threads)
    assert again == report
    assert contents(tmp_path) == contents(folder)


def test_borders_of_vector_files_do_not_matter(pool, built, tmp_path):
    folder, report = built
    one = shards(tmp_path, pool.take(np.arange(pool.count)).astype(np.float16))
    assert build_ivf(one, tmp_path / "again", seed=3, recall_target=0.9) == report
    assert contents(tmp_path / "again") == contents(folder)


def test_another_seed_gives_another_index(pool, built, tmp_path):
    build_ivf(pool, tmp_path, seed=4, recall_target=0.9)
    assert contents(tmp_path) != contents(built[0])


def test_answer_depends_on_neither_batch_threads_nor_process(pool, built, monkeypatch):
    folder, report = built
    queries = pool.take(np.arange(0, 6000, 5))
    whole = load_ivf(folder, pool, report, threads=1).search(queries, 40)
    index = load_ivf(folder, pool, report, threads=3)
    singles = [index.search(queries[row : row + 1], 40) for row in range(60)]
    sent = pickle.loads(pickle.dumps(index))  # noqa: S301 - its own bytes
    assert len(pickle.dumps(index)) < 1000
    for part in (0, 1):
        np.testing.assert_array_equal(index.search(queries, 40)[part], whole[part])
        np.testing.assert_array_equal(sent.search(queries[5:700], 40)[part], whole[part][5:700])
        np.testing.assert_array_equal(np.concatenate([one[part] for one in singles]), whole[part][:60])


@settings(deadline=None, max_examples=25)
@given(
    segment=st.integers(1, 50),
    scores=st.integers(1, 500),
    bars=st.integers(1, 3000),
    survivors=st.integers(0, 200),
    copies=st.sampled_from([0.0, 0.15, 0.95]),
    k=st.sampled_from([1, 9, 200]),
)
def test_how_the_work_is_cut_does_not_matter(tmp_path_factory, segment, scores, bars, survivors, copies, k):
    """Long lists in parts, products in tiles, batches of bars, and long runs of ties."""
    folder = tmp_path_factory.mktemp("cut")
    vectors = clustered(700, 8, topics=5, copies=copies)
    pool = shards(folder, vectors)
    report = build_ivf(pool, folder / "index", seed=0, recall_target=0.8, lists=9, shards=2)
    index = load_ivf(folder / "index", pool, report, threads=2)
    queries = pool.take(np.arange(0, 700, 10))
    whole = index.search(queries, k)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_SEGMENT", segment), ("_SCORES", scores), ("_BAR_SCORES", bars), ("_SURVIVORS", survivors)):
            patch.setattr(scan, name, value)
        again = load_ivf(folder / "index", pool, report, threads=2)
        assert_same(again.search(queries, k), whole)
    assert_same(whole, by_the_rules(folder / "index", pool, report, queries, k))


@pytest.mark.parametrize("shard_count", [1, 2, 7])
def test_shards_merged_equal_one_search(pool, tmp_path, shard_count):
    report = build_ivf(pool, tmp_path, seed=3, recall_target=0.9, shards=shard_count)
    index = load_ivf(tmp_path, pool, report)
    assert isinstance(index, Index) and index.shards == shard_count
    queries = pool.take(np.arange(0, 6000, 50))
    for k in (1, 64, 900):
        parts = [index.search_shard(shard, queries, k) for shard in range(shard_count)]
        for within, (_, ordinals) in zip(shard_ranges(6000, shard_count), parts, strict=True):
            assert all(ordinal in within for ordinal in ordinals[ordinals >= 0].tolist())
        assert_same(merged(parts[::-1], k), index.search(queries, k))


def test_shards_are_filled_alone_and_in_any_order(pool, tmp_path):
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    report = build_ivf(pool, whole, seed=3, recall_target=0.9, shards=4)
    trained_on = build.train(pool, alone, 3)
    written = [path for number in (2, 0, 3, 1) for path in build.fill(pool, alone, number, 4, threads=1)]
    assert build.calibrate(pool, alone, 4, trained_on, 3, 0.9) == report
    assert contents(alone) == contents(whole)
    assert {path.name for path in written} == contents(alone).keys() - {"centroids.npy"}


@pytest.mark.parametrize("shard_count", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_whole_pool_can_be_reached(pool, tmp_path, sign, shard_count):
    report = build_ivf(pool, tmp_path, seed=3, recall_target=0.5, shards=shard_count)
    queries = sign * pool.take(np.arange(0, 6000, 1500))
    index = load_ivf(tmp_path, pool, replace(report, probes=1, margin=-2.0))
    assert_same(index.search(queries, 6000), FlatIndex(pool).search(queries, 6000))


def test_every_k_is_filled_whatever_the_probes(pool, built):
    index = load_ivf(built[0], pool, replace(built[1], probes=1, margin=-2.0))
    for k in (100, 700, 2000):
        _, ordinals = index.search(pool.take(np.arange(0, 6000, 600)), k)
        assert ordinals.min() >= 0
        assert all(len(set(row)) == k for row in ordinals.tolist())


@pytest.mark.parametrize("count", [1, 2, 5, 39, 100])
@pytest.mark.parametrize("lists", [None, 64])
def test_tiny_pools(tmp_path, count, lists):
    vectors = clustered(count, 8, topics=3)
    pool = shards(tmp_path, vectors)
    report = build_ivf(pool, tmp_path / "index", seed=0, recall_target=0.95, lists=lists)
    assert report.recall >= 0.95 and 1 <= report.probes <= report.lists <= count
    assert report.recall_at == min(64, count - 1)
    scores, ordinals = load_ivf(tmp_path / "index", pool, report).search(vectors.astype(np.float32), count + 2)
    expected = brute_force(vectors, vectors, count)
    np.testing.assert_array_equal(scores[:, :count], expected[0])
    np.testing.assert_array_equal(ordinals[:, :count], expected[1])
    assert (ordinals[:, count:] == -1).all() and np.isneginf(scores[:, count:]).all()


def test_a_pool_of_copies_and_zeros(tmp_path):
    vectors = np.concatenate([np.repeat(clustered(2, 8, copies=0), 300, axis=0), np.zeros((50, 8), np.float16)])
    pool = shards(tmp_path, vectors)
    report = build_ivf(pool, tmp_path / "index", seed=0, recall_target=1.0)
    assert report.recall == 1 and report.lists <= 3
    index = load_ivf(tmp_path / "index", pool, report)
    _, ordinals = index.search(vectors[[0, 300, 620]].astype(np.float32), 650)
    np.testing.assert_array_equal(ordinals[0, :300], np.arange(300))
    np.testing.assert_array_equal(ordinals[2], np.arange(650))  # a zero vector is as near to everything
    assert all(sorted(row) == list(range(650)) for row in ordinals.tolist())


def test_an_empty_pool_cannot_be_indexed(tmp_path):
    with pytest.raises(NextlongError, match="no vectors"):
        build_ivf(shards(tmp_path, np.empty((0, 4), np.float16)), tmp_path, seed=0, recall_target=0.9)


@pytest.mark.parametrize("name", ["centroids.npy", "00000.vectors.npy", "00000.ordinals.npy", "00000.starts.npy"])
def test_damaged_files_are_named(pool, built, tmp_path, name):
    folder, report = built
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data, queries = (folder / name).read_bytes(), pool.take(np.arange(3))
    damaged = {
        "empty": b"",
        "noise": b"nothing of the kind " * 50,
        "cut short": data[: len(data) // 2],
        "cut a little": data[:-1],
        "head overwritten": b"\0" * 64 + data[64:],
    }
    if name.endswith("starts.npy"):
        damaged["lists overlap"] = data[:-16] + b"\xff" * 16
    for content in damaged.values():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NextlongError, match=f"{tmp_path}/{name}") as caught:
            load_ivf(tmp_path, pool, report).search(queries, 5)
        assert "nextlong index" in caught.value.hint
    (tmp_path / name).unlink()
    with pytest.raises(NextlongError, match="missing"):
        load_ivf(tmp_path, pool, report).search(queries, 5)


def test_a_file_that_names_other_chunks_is_an_error(pool, built, tmp_path):
    folder, report = built
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    ordinals = np.load(tmp_path / "00000.ordinals.npy", mmap_mode="r+")
    ordinals[:] = 6000
    with pytest.raises(NextlongError, match=r"ordinals\.npy: it names row 6000 of 6000"):
        load_ivf(tmp_path, pool, report).search(pool.take(np.arange(3)), 5)


def test_an_index_of_other_vectors_is_refused(built, tmp_path):
    folder, report = built
    with pytest.raises(NextlongError, match="made from 6000 vectors of 32 dimensions"):
        load_ivf(folder, shards(tmp_path, clustered(5999)), report)
    with pytest.raises(NextlongError, match=r"00000\.starts\.npy: its lists hold 6000 vectors, the pool's shard has 5999"):
        IvfIndex(folder, shards(tmp_path, clustered(5999)), 1, 4, 0.0)


@pytest.mark.parametrize("name", ["vectors", "ordinals"])
def test_files_of_another_shard_are_refused(pool, built, tmp_path, name):
    folder, report = built
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / f"00000.{name}.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(NextlongError, match=rf"00000\.{name}\.npy: it was made from other vectors"):
        load_ivf(tmp_path, pool, report).search(pool.take(np.arange(3)), 5)


def test_only_the_shard_that_is_searched_is_opened(pool, tmp_path):
    report = build_ivf(pool, tmp_path, seed=0, recall_target=0.5, lists=16, shards=3)
    assert report.shards == 3
    for number in (0, 2):
        (tmp_path / f"{number:05d}.vectors.npy").unlink()
    index, queries = load_ivf(tmp_path, pool, report), pool.take(np.arange(3))
    assert (index.search_shard(1, queries, 5)[1] >= 2000).all()
    with pytest.raises(NextlongError, match=r"00000\.vectors\.npy is missing"):
        index.search_shard(0, queries, 5)


def test_a_place_that_cannot_be_written_is_named(pool, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        build_ivf(pool, tmp_path / "file" / "index", seed=0, recall_target=0.5, lists=4)


def test_open_index_from_a_stored_report(pool, built):
    folder, report = built
    stored = json.loads(json.dumps({"kind": "ivf", **asdict(report)}))
    queries = pool.take(np.arange(10))
    same = load_ivf(folder, pool, report).search(queries, 9)
    assert_same(open_index(stored, folder, pool).search(queries, 9), same)
    flat = open_index({"kind": "flat", "shards": 3}, folder, pool)
    assert isinstance(flat, FlatIndex) and flat.shards == 3
    for damaged in ({"probes": "50"}, {"margin": None}, {"margin": float("nan")}, {"shards": 0}, {"kind": "hnsw"}):
        with pytest.raises(NextlongError, match="damaged"):
            open_index({**stored, **damaged}, folder, pool)


def test_auto_is_exact_for_small_pools():
    assert choose_kind(IndexConfig(), FLAT_UP_TO) == "flat"
    assert choose_kind(IndexConfig(), FLAT_UP_TO + 1) == "ivf"
    assert choose_kind(IndexConfig(kind="ivf"), 10) == "ivf"
    assert choose_kind(IndexConfig(kind="flat"), 10**9) == "flat"


def test_lists_grow_with_the_pool_within_bounds():
    assert [default_lists(count) for count in (1, 79, 4000, 10**6, 10**9)] == [1, 1, 100, 2000, 16384]


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
