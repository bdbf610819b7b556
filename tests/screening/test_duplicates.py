"""Copies over a pool, against all pairs compared one by one."""

from __future__ import annotations

import numpy as np
import pytest
from corpora import make_documents, with_copies
from hypothesis import given, settings
from hypothesis import strategies as st

from nextlong.mining.copies import PERMUTATIONS, fingerprints, required_matches
from nextlong.screening import duplicates
from nextlong.screening.duplicates import find_copies
from nextlong.screening.signatures import Signatures, differing_bits, equal_places, sketches


def plain_copies(keys, signatures, max_jaccard, left_out=()):
    """Chunk → the earliest kept chunk it is a copy of, by comparing each with all kept ones."""
    kept, copies = [], {}
    for chunk in (chunk for chunk in range(len(keys)) if chunk not in left_out):
        equal = [one for one in kept if keys[one] == keys[chunk]]
        near = [one for one in kept if (signatures[one] == signatures[chunk]).mean() >= max_jaccard]
        if equal or near:
            copies[chunk] = (equal or near)[0]
        else:
            kept.append(chunk)
    return copies


def found(keys, signatures, max_jaccard, left_out=(), parts=1):
    places = np.array(sorted(left_out), dtype=int)
    flags = np.zeros(len(keys), dtype=bool)
    flags[places] = True
    done = []
    stored = Signatures(np.array_split(signatures, parts))
    copies = find_copies(keys, stored, max_jaccard, flags, done.append)
    assert sum(done) == len(keys)
    assert copies.matches.tolist() == equal_places(signatures[copies.chunks], signatures[copies.kept]).tolist()
    return dict(zip(copies.chunks.tolist(), copies.kept.tolist(), strict=True)), copies


def changed(generator, signature, places):
    """A signature that differs in so many places."""
    result = signature.copy()
    chosen = generator.choice(PERMUTATIONS, places, replace=False)
    result[chosen] += 1
    return result


def families(seed, amount, most_changes):
    """Signatures that are few changes away from another, so that many pairs are close to the border."""
    generator = np.random.default_rng(seed)
    signatures = [generator.integers(0, 1 << 16, PERMUTATIONS).astype(np.uint16)]
    for _ in range(amount - 1):
        if generator.random() < 0.2:
            signatures.append(generator.integers(0, 1 << 16, PERMUTATIONS).astype(np.uint16))
        else:
            start = signatures[generator.integers(len(signatures))]
            signatures.append(changed(generator, start, generator.integers(0, most_changes)))
    every = np.array(signatures)
    return np.unique(every, axis=0, return_inverse=True)[1].reshape(-1).astype(np.uint64), every


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 80),
    st.sampled_from([0.7, 0.8, 0.9, 1.0]),
    st.integers(1, 4),
    st.sets(st.integers(0, 79), max_size=5),
    st.sampled_from([1, 3, 512]),
)
def test_the_same_as_comparing_each_with_all(seed, amount, max_jaccard, parts, left_out, step):
    keys, signatures = families(seed, amount, 50)
    left_out = {chunk for chunk in left_out if chunk < amount}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_STEP", step)
        copies, _ = found(keys, signatures, max_jaccard, left_out, parts)
    assert copies == plain_copies(keys, signatures, max_jaccard, left_out)


@pytest.mark.parametrize("max_jaccard", [0.7, 0.8, 0.9])
def test_the_border_is_found_wherever_signatures_differ(max_jaccard):
    """As many differing places as a copy may have, one in as many bands as there can be; and one more is no copy."""
    generator = np.random.default_rng(0)
    most = PERMUTATIONS - required_matches(max_jaccard)
    width = PERMUTATIONS // (most + 1)
    for number in range(100):
        signature = generator.integers(0, 1 << 16, PERMUTATIONS).astype(np.uint16)
        other = signature.copy()
        other[generator.permutation(most + 1)[:most] * width + generator.integers(width, size=most)] ^= 1
        keys = np.array([1, 2], dtype=np.uint64)
        assert found(keys, np.array([signature, other]), max_jaccard)[0] == {1: 0}, number
        more = changed(generator, signature, most + 1)
        assert found(keys, np.array([signature, more]), max_jaccard)[0] == {}


def test_what_is_dropped_makes_no_other_chunk_a_copy():
    generator = np.random.default_rng(0)
    first = generator.integers(0, 1 << 16, PERMUTATIONS).astype(np.uint16)
    second, third = first.copy(), first.copy()
    second[:20] += 1  # a copy of the first
    third[:40] += 1  # a copy of the second, and not of the first
    keys = np.array([1, 2, 3, 2], dtype=np.uint64)
    copies, details = found(keys, np.array([first, second, third, second]), 0.8)
    # The last has the words of the second, which was dropped for the first.
    assert copies == {1: 0, 3: 0}
    assert details.repeated.tolist() == [False, True] and details.matches.tolist() == [108, 108]


def test_texts_of_known_similarity():
    """Shingles that two texts share, of all that either has: 0.96 and 0.5."""
    words = [f"word{number}" for number in range(204)]
    texts = [
        " ".join(words),
        "\n ".join(words),
        " ".join([*words[:200], *("other" * 4)]),
        " ".join([*words[:137], *(f"new{number}" for number in range(67))]),
    ]
    keys, signatures = fingerprints(texts)
    copies, details = found(keys, signatures.astype(np.uint16), 0.8)
    assert copies == {1: 0, 2: 0} and details.repeated.tolist() == [True, False]
    assert details.matches[1] >= required_matches(0.8)


def test_a_corpus_with_copies_of_every_kind():
    documents = with_copies(make_documents(120, seed=5))
    keys, signatures = fingerprints([document["text"] for document in documents])
    signatures = signatures.astype(np.uint16)
    copies, _ = found(keys, signatures, 0.8, parts=7)
    assert copies == plain_copies(keys, signatures, 0.8)
    assert len(copies) > 10


def test_a_template_is_not_compared_each_with_each(monkeypatch):
    """Chunks that share a band and are no copies: compared with the first of these only. Copies are found all the same."""
    generator = np.random.default_rng(0)
    signatures = generator.integers(0, 1 << 16, (600, PERMUTATIONS)).astype(np.uint16)
    signatures[:, :4] = 7
    signatures[599] = changed(generator, signatures[500], 20)
    signatures[599, :4] = 7
    monkeypatch.setattr(duplicates, "MOST_IN_A_BUCKET", 50)
    compared = []

    def counting(one, other):
        compared.append(len(one))
        return differing_bits(one, other)

    monkeypatch.setattr(duplicates, "differing_bits", counting)
    copies, _ = found(np.arange(600, dtype=np.uint64), signatures, 0.8)
    assert copies == {599: 500}
    # Those of a step, each with each, and those of the second step with 50.
    assert sum(compared) < 512 * 511 / 2 + 88 * 87 / 2 + 88 * 51 + 600


def test_sketches_differ_in_no_more_bits_than_signatures_in_places():
    _, signatures = families(1, 200, 60)
    stored = Signatures([signatures])
    bits = sketches(stored, np.arange(200))
    ones, others = np.triu_indices(200, 1)
    differing = differing_bits(bits[ones], bits[others])
    assert (differing <= PERMUTATIONS - equal_places(signatures[ones], signatures[others])).all()
    plain = [(int(a) ^ int(b)).bit_count() for a, b in zip(bits[ones[:50], 0], bits[others[:50], 0], strict=True)]
    rest = [(int(a) ^ int(b)).bit_count() for a, b in zip(bits[ones[:50], 1], bits[others[:50], 1], strict=True)]
    assert differing[:50].tolist() == [a + b for a, b in zip(plain, rest, strict=True)]
