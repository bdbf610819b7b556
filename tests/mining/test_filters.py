from collections import Counter

import numpy as np
import pytest
from corpora import make_documents, write_corpus

import nextlong
from nextlong.config import MiningConfig
from nextlong.mining.candidates import REASONS, look_up
from nextlong.mining.filters import SequenceFilter
from nextlong.mining.neighbours import find_neighbours
from nextlong.mining.together import alone, together


def filter_of(pool, root=None, usage=None, **mining):
    root = int(np.flatnonzero(np.diff(pool.first_chunk) >= 3)[0]) if root is None else root
    config = MiningConfig(**mining)
    (found,) = find_neighbours(pool, [root], pool.chunks, config, seed=0)
    return SequenceFilter(pool, found, config, usage), found


def one_token_each(known, rows, room):
    return np.ones(len(rows), dtype=np.int64)


def drained(candidates, group):
    taken = alone(candidates.take(group, 1 << 40, one_token_each))
    assert taken.exhausted and taken.tokens == len(taken.negatives)
    return list(taken.negatives)


def test_what_is_taken_one_by_one_is_what_is_taken_at_once(family_pool):
    at_once, found = filter_of(family_pool)
    one_by_one, _ = filter_of(family_pool)
    for group in range(len(found.meta_chunks)):
        expected = list(alone(at_once.take(group, 150, one_token_each)).negatives)
        assert len(expected) == 150
        singles = [alone(one_by_one.take(group, 1, one_token_each)) for _ in expected]
        assert [list(taken.negatives) for taken in singles] == [[one] for one in expected]
        assert one_by_one.passed_over == at_once.passed_over


def test_what_was_looked_up_for_many_roots_changes_nothing(family_pool):
    config, roots = MiningConfig(), np.flatnonzero(np.diff(family_pool.first_chunk) >= 2)[:6].tolist()
    found = find_neighbours(family_pool, roots, family_pool.chunks, config, seed=0)
    for most in (1, 20, family_pool.chunks):
        filters = [
            SequenceFilter(family_pool, one, config, looked=looked, likely=3)
            for one, looked in zip(found, look_up(family_pool, found, [most] * len(found), config), strict=True)
        ]
        apart = [SequenceFilter(family_pool, one, config) for one in found]
        for group in range(min(len(one.meta_chunks) for one in found)):
            in_step = together([candidates.take(group, 70, one_token_each) for candidates in filters])
            for taken, candidates in zip(in_step, apart, strict=True):
                assert list(taken.negatives) == list(alone(candidates.take(group, 70, one_token_each)).negatives)
        assert [one.passed_over for one in filters] == [one.passed_over for one in apart]


def test_a_candidate_too_long_is_refused_once_and_looked_at_again(family_pool):
    candidates, _ = filter_of(family_pool)
    lengths = {}

    def growing(known, rows, room):
        chunks = known.chunks[rows]
        for chunk in chunks.tolist():
            lengths.setdefault(chunk, 10 * (len(lengths) + 1))
        return np.array([lengths[chunk] for chunk in chunks.tolist()], dtype=np.int64)

    first = alone(candidates.take(0, 35, growing, overdraw=False))
    assert (len(first.negatives), first.tokens, first.exhausted) == (2, 30, False)
    (refused,) = candidates.refused
    then = alone(candidates.take(0, 5, growing))
    assert [negative.chunk for negative in then.negatives] == [refused]
    assert (then.tokens, then.exhausted) == (30, False)
    assert alone(candidates.take(0, 0, growing)).tokens == 0


def test_every_candidate_is_taken_or_has_a_reason(family_pool):
    candidates, found = filter_of(family_pool, range_min=2, range_max=400, min_score=-0.05, max_score=0.97)
    taken = [drained(candidates, group) for group in range(len(found.meta_chunks))]
    assert sum(map(len, taken)) + candidates.passed_over.total() == len(found.meta_chunks) * family_pool.chunks
    assert set(candidates.passed_over) <= set(REASONS)
    assert candidates.passed_over["own_document"] == len(found.meta_chunks) ** 2
    assert candidates.passed_over["range_min"] == 2 * len(found.meta_chunks)
    for negative in taken[0]:
        assert 2 < negative.rank <= 400 and -0.05 <= negative.score <= 0.97


def test_what_one_group_took_the_others_do_not_get(family_pool):
    candidates, found = filter_of(family_pool)
    taken = {negative.chunk for negative in drained(candidates, 0)}
    assert len(taken) > 300
    assert drained(candidates, 1) == []
    assert candidates.passed_over["used"] >= len(taken)
    assert not taken & set(found.meta_chunks.tolist())


def test_copies_are_dropped_and_near_copies_unless_asked_for(family_pool):
    strict = {negative.chunk for negative in drained(filter_of(family_pool)[0], 0)}
    lax = {negative.chunk for negative in drained(filter_of(family_pool, max_jaccard=None)[0], 0)}
    assert strict < lax
    folded = [" ".join(text.split()) for text in family_pool.texts(sorted(lax))]
    assert len(set(folded)) == len(folded)


def test_max_reuse_looks_at_the_usage_of_the_dataset(family_pool):
    free = drained(filter_of(family_pool)[0], 0)
    usage = Counter({free[0].chunk: 2, free[1].chunk: 1})
    candidates, _ = filter_of(family_pool, usage=usage, max_reuse=2)
    rest = {negative.chunk for negative in drained(candidates, 0)}
    assert free[0].chunk not in rest and free[1].chunk in rest
    assert candidates.passed_over["max_reuse"] == 1


def test_relative_margin_is_relative_to_the_root_document(family_pool):
    candidates, found = filter_of(family_pool, relative_margin=0.25)
    vectors = family_pool.vectors.take(found.meta_chunks).astype(np.float64)
    bar = 0.75 * max(vectors[0] @ other for other in vectors[1:])
    scores = [negative.score for negative in drained(candidates, 0)]
    assert scores and max(scores) <= bar
    assert candidates.passed_over["relative_margin"] > 0


def test_orthogonal_chunks_have_a_vector(tmp_path):
    """A similarity of exactly zero is what zero vectors have, but not only they."""
    pool = nextlong.build_pool(
        write_corpus(tmp_path / "corpus.jsonl", make_documents(8, paragraphs=(3, 3))),
        tmp_path / "pool",
        workers=1,
        chunking={"granularity": 100},
        encoder={"name": "lsa"},
    )
    vectors = np.zeros((pool.chunks, 4), dtype=np.float16)
    vectors[np.arange(pool.chunks), pool.documents_of(np.arange(pool.chunks)) % 4] = 1
    vectors[-1] = 0
    (path,) = (pool.folder / "vectors").iterdir()
    np.save(path, vectors)  # as an encoder with few dimensions could make them
    candidates, found = filter_of(nextlong.Pool(pool.folder), root=0)
    taken = {negative.chunk for negative in drained(candidates, 0)}
    assert taken == set(range(pool.chunks - 1)) - set(found.meta_chunks.tolist())
    assert candidates.passed_over["no_vector"] == 1


@pytest.mark.parametrize("amount", [1, 40])
def test_ranks_count_neighbours_outside_the_root(tmp_path, amount):
    pool = nextlong.build_pool(
        write_corpus(tmp_path / "corpus.jsonl", make_documents(amount + 1, 3, paragraphs=(3, 6))),
        tmp_path / "pool",
        workers=1,
        chunking={"granularity": 150},
        encoder={"name": "lsa"},
    )
    candidates, found = filter_of(pool, root=0, max_jaccard=None)
    taken = drained(candidates, 1)
    outside = [chunk for chunk in found.chunks[1].tolist() if chunk not in found.meta_chunks]
    assert [(negative.chunk, negative.rank) for negative in taken] == [(c, n) for n, c in enumerate(outside, start=1)]


def test_ranges_include_their_ends(tmp_path):
    pool = nextlong.build_pool(
        write_corpus(tmp_path / "corpus.jsonl", make_documents(10, paragraphs=(3, 6))),
        tmp_path / "pool",
        workers=1,
        chunking={"granularity": 150},
        encoder={"name": "lsa"},
    )
    candidates, _ = filter_of(pool, root=0, range_min=2, range_max=6)
    taken = drained(candidates, 0)
    assert [negative.rank for negative in taken] == [3, 4, 5, 6]
    scores = [negative.score for negative in taken]
    candidates, _ = filter_of(pool, root=0, max_score=scores[1], min_score=scores[2])
    assert [negative.rank for negative in drained(candidates, 0)] == [4, 5]
