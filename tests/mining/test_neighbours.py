import numpy as np
import pytest

from nextlong.config import MiningConfig
from nextlong.mining.neighbours import find_neighbours

KINDS = ["top", "low", "random", "self-repeat"]


def roots_of(pool):
    return np.flatnonzero(np.diff(pool.first_chunk) >= 3)[:8].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_deeper_search_finds_the_same_first(family_pool, kind):
    roots = roots_of(family_pool)
    shallow = find_neighbours(family_pool, roots, 20, MiningConfig(negatives=kind), seed=3)
    deep = find_neighbours(family_pool, roots, 90, MiningConfig(negatives=kind), seed=3)
    for one, other in zip(shallow, deep, strict=True):
        assert (one.depth, other.depth) == (20, 90)
        for group in range(len(one.meta_chunks)):
            assert one.chunks[group].tolist() == other.chunks[group][:20].tolist()
            assert one.scores[group].tolist() == other.scores[group][:20].tolist()
            assert len(other.chunks[group]) == 90


@pytest.mark.parametrize("kind", KINDS)
def test_a_root_gets_the_same_whatever_is_searched_with_it(family_pool, kind):
    roots = roots_of(family_pool)
    together = find_neighbours(family_pool, roots, 30, MiningConfig(negatives=kind), seed=1)
    for root, expected in zip(roots[::-1], together[::-1], strict=True):
        (alone,) = find_neighbours(family_pool, [root], 30, MiningConfig(negatives=kind), seed=1)
        assert alone.root == expected.root == root
        assert [row.tolist() for row in alone.chunks] == [row.tolist() for row in expected.chunks]
        assert [row.tolist() for row in alone.scores] == [row.tolist() for row in expected.scores]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_cosine_similarities(family_pool, kind):
    for found in find_neighbours(family_pool, roots_of(family_pool), 25, MiningConfig(negatives=kind), seed=0):
        for meta, chunks, scores in zip(found.meta_chunks, found.chunks, found.scores, strict=True):
            vectors = family_pool.vectors.take(np.concatenate([[meta], chunks])).astype(np.float64)
            np.testing.assert_array_equal(scores, (vectors[1:] @ vectors[0]).astype(np.float32))
            assert scores.dtype == np.float32 and (np.abs(scores) < 1.01).all()


def test_low_is_top_from_the_other_end(family_pool):
    roots = roots_of(family_pool)
    top = find_neighbours(family_pool, roots, family_pool.chunks, MiningConfig(negatives="top"), seed=0)
    low = find_neighbours(family_pool, roots, family_pool.chunks, MiningConfig(negatives="low"), seed=0)
    for one, other in zip(top, low, strict=True):
        for group, scores in enumerate(one.scores):
            assert (np.diff(scores) <= 0).all()
            assert other.scores[group].tolist() == scores[::-1].tolist()
            assert sorted(other.chunks[group].tolist()) == list(range(family_pool.chunks))
            # Equal scores are in the order of ordinals from both ends.
            for chunks, same in (
                (one.chunks[group], np.diff(scores) == 0),
                (other.chunks[group], np.diff(other.scores[group]) == 0),
            ):
                assert (np.diff(chunks)[same] > 0).all()


def test_random_depends_on_seed_document_and_position(family_pool):
    root = roots_of(family_pool)[0]
    (found,) = find_neighbours(family_pool, [root], family_pool.chunks, MiningConfig(negatives="random"), seed=0)
    (other,) = find_neighbours(family_pool, [root], family_pool.chunks, MiningConfig(negatives="random"), seed=1)
    assert sorted(found.chunks[0].tolist()) == list(range(family_pool.chunks))
    assert found.chunks[0].tolist() != found.chunks[1].tolist()
    assert found.chunks[0].tolist() != other.chunks[0].tolist()


def test_self_repeat_goes_round_the_document(family_pool):
    root = roots_of(family_pool)[0]
    (found,) = find_neighbours(family_pool, [root], 7, MiningConfig(negatives="self-repeat"), seed=0)
    own = found.meta_chunks.tolist()
    assert len(own) >= 3
    for position, chunks in enumerate(found.chunks):
        others = own[position + 1 :] + own[:position]
        assert chunks.tolist() == (others * 7)[:7]
