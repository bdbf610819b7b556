"""Copies among many chunks at once, against comparing every pair in full, one after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextlong.mining.copies import PERMUTATIONS, required_matches
from nextlong.mining.fingerprints import Fingerprints, differing_bits, sketches


class Stored:
    """Fingerprints as a pool gives them."""

    def __init__(self, signatures):
        self.all = signatures

    def signatures(self, chunks):
        return self.all[chunks]

    def fold_keys(self, chunks):
        return np.array([hash(row.tobytes()) & 0xFFFFFFFF for row in self.all[chunks]], dtype=np.uint64)


def families(seed, amount, most_changed):
    """Signatures in families; the members of one differ from its founder in up to so many places."""
    generator = np.random.default_rng(seed)
    founders = generator.integers(0, 1 << 16, (max(1, amount // 12), PERMUTATIONS), dtype=np.uint16)
    signatures = founders[generator.integers(0, len(founders), amount)]
    for row in signatures:
        places = generator.permutation(PERMUTATIONS)[: generator.integers(0, most_changed + 1)]
        row[places] = generator.integers(0, 1 << 16, len(places), dtype=np.uint16)
    return signatures


def one_by_one(signatures, rows, others, max_jaccard):
    """The rule as it is written: a chunk is a copy of another one, or of one before it that is none."""
    present, result = [signatures[row] for row in others], []
    for row in rows:
        required = PERMUTATIONS if max_jaccard is None else required_matches(max_jaccard)
        result.append(any(int((signatures[row] == one).sum()) >= required for one in present))
        if not result[-1]:
            present.append(signatures[row])
    return result


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1 << 30),
    st.integers(1, 160),
    st.sampled_from([0, 5, 25, 30, 60, 128]),
    st.sampled_from([None, 0.3, 0.6, 0.8, 1.0]),
    st.integers(0, 40),
)
def test_copies_are_those_that_the_rule_gives(seed, amount, most_changed, max_jaccard, others):
    signatures = families(seed, amount, most_changed)
    order = np.random.default_rng(seed).permutation(amount)
    rows, present = order[others:], order[:others]
    known = Fingerprints(Stored(signatures), np.arange(amount), max_jaccard)
    expected = one_by_one(signatures, rows, present, max_jaccard)
    # Several that are asked together do not see each other.
    half = len(rows) // 2
    asked = [(rows, present), (rows[:half], present), (rows[:0], present), (rows[half:], present[:0])]
    answers = [flags.tolist() for flags in known.copies(asked)]
    assert answers == [expected, expected[:half], [], one_by_one(signatures, rows[half:], present[:0], max_jaccard)]


@pytest.mark.parametrize("max_jaccard", [0.8, None])
def test_a_crowd_of_copies_leaves_the_first(max_jaccard):
    signatures = np.repeat(families(1, 1, 0), 400, axis=0)
    known = Fingerprints(Stored(signatures), np.arange(400), max_jaccard)
    rows = np.arange(400)[::-1]
    assert known.copies([(rows, rows[:0])])[0].tolist() == [False] + [True] * 399
    assert known.copies([(rows[1:], rows[:1])])[0].all()


def test_sketches_differ_in_no_more_bits_than_signatures_in_places():
    signatures = families(2, 60, 128)
    bits = differing_bits(sketches(signatures), sketches(signatures))
    low = (signatures & 1).astype(bool)
    assert (bits == (low[:, None] != low).sum(axis=2)).all()
    assert (bits <= (signatures[:, None] != signatures).sum(axis=2)).all()
