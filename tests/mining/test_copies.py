import os
import random
import subprocess
import sys

import numpy as np
import pytest

from nextlong.mining.copies import (
    PERMUTATIONS,
    Copies,
    estimated_jaccard,
    fold_key,
    fold_keys,
    folded,
    pairs,
    required_matches,
    signatures,
)

FOX = "the quick brown fox jumps over the lazy dog and runs away"


def words(draw, amount):
    return [f"w{draw.randrange(10**6)}" for _ in range(amount)]


def jaccard(first, second):
    def shingles(text):
        parts = text.split()
        return {tuple(parts[place : place + 5]) for place in range(max(len(parts) - 4, 1))}

    return len(shingles(first) & shingles(second)) / len(shingles(first) | shingles(second))


def texts_with_copies(draw, amount):
    """Families of texts: originals, and versions with some words changed or only other white space."""
    texts = []
    while len(texts) < amount:
        original = words(draw, draw.choice([3, 20, 200]))
        for _ in range(draw.randrange(1, 6)):
            changed = list(original)
            for _ in range(draw.choice([0, 0, 1, 4])):
                changed[draw.randrange(len(changed))] = "changed"
            texts.append(draw.choice([" ", "\n", "  \t"]).join(changed))
    return texts[:amount]


def test_copies_up_to_white_space_have_the_same_key_and_others_have_not():
    assert folded("\n a\t\u3000b \r\n") == "a b"
    assert fold_key("\n a\t\u3000b \r\n") == fold_key("a b")
    assert len({fold_key("a b"), fold_key("A b"), fold_key("ab"), fold_key("b a"), fold_key("")}) == 5
    assert fold_keys(["a b", "a  b"]).dtype == np.uint64
    assert fold_keys(["a b", "a  b"]).tolist() == [fold_key("a b")] * 2


def test_keys_and_signatures_are_the_same_on_every_machine():
    assert fold_key(" a\tb \n") == 0x8044F8A624582C4C
    assert signatures(["the quick brown fox jumps over the lazy dog"])[0, :4].tolist() == [
        241938170,
        124396095,
        1010253008,
        1283201857,
    ]


def test_another_process_with_other_hash_seed_makes_the_same_signatures():
    code = f"from nextlong.mining.copies import signatures; print(signatures([{FOX!r}, 'one two']).tobytes().hex())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    assert {run.stdout.decode().strip() for run in runs} == {signatures([FOX, "one two"]).tobytes().hex()}


def test_a_signature_does_not_depend_on_the_other_texts():
    texts = texts_with_copies(random.Random(3), 700)
    assert np.array_equal(signatures(texts)[500:510], signatures(texts[500:510]))
    assert signatures([]).shape == (0, PERMUTATIONS)


@pytest.mark.parametrize("length", [60, 3000])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_estimate_is_unbiased_with_a_binomial_s_spread(length, share):
    draw = random.Random(length)
    trials = 150
    errors = []
    for _ in range(trials):
        first = words(draw, length)
        same = int(length * share)
        one, other = " ".join(first), " ".join(first[:same] + words(draw, length - same))
        true = jaccard(one, other)
        matrix = signatures([one, other])
        errors.append((estimated_jaccard(matrix[0], matrix)[1] - true) / np.sqrt(true * (1 - true) / PERMUTATIONS))
    assert abs(np.mean(errors)) < 4 / np.sqrt(trials)
    assert 0.8 < np.std(errors) < 1.25


def test_short_texts_are_one_shingle():
    matrix = signatures(["one two three", "one  two\nthree", "three two one", "one two three four five", "", " \n"])
    similarity = estimated_jaccard(matrix[0], matrix)
    assert similarity.dtype == np.float32
    assert similarity.tolist() == [1, 1, 0, 0, 0, 0]
    assert estimated_jaccard(matrix[4], matrix).tolist() == [0, 0, 0, 0, 1, 1]


def test_order_case_and_words_matter():
    matrix = signatures([FOX, " ".join(reversed(FOX.split())), FOX.upper(), FOX.replace(" ", "\n")])
    assert estimated_jaccard(matrix[0], matrix).tolist() == [1, 0, 0, 1]


def test_the_threshold_is_compared_exactly():
    assert [required_matches(threshold) for threshold in (0.8, 0.75, 96 / 128, 1.0)] == [103, 96, 96, 128]
    base = signatures([FOX])[0]
    matrix = np.tile(base, (3, 1))
    matrix[1, :32] += 1  # 96 places of 128 are left
    matrix[2, :33] += 1
    keys = np.arange(3, dtype=np.uint64)
    assert [found.tolist() for found in pairs(keys, matrix, 0.75)] == [[1], [0, 2], [1]]


@pytest.mark.parametrize("threshold", [None, 0.01, 0.3, 0.8, 1.0])
def test_pairs_are_those_of_comparing_each_with_each(threshold):
    texts = texts_with_copies(random.Random(5), 300)
    keys, matrix = fold_keys(texts), signatures(texts)
    found = pairs(keys, matrix, threshold)
    assert len(found) == len(texts)
    for row, copies in enumerate(found):
        expected = [
            other
            for other in range(len(texts))
            if other != row
            and (
                keys[other] == keys[row]
                or (threshold is not None and (matrix[other] == matrix[row]).sum() / PERMUTATIONS >= threshold)
            )
        ]
        assert copies.tolist() == expected


def test_the_low_half_of_signatures_finds_the_same_copies():
    texts = texts_with_copies(random.Random(6), 300)
    keys, matrix = fold_keys(texts), signatures(texts)
    half = matrix.astype(np.uint16)
    assert [found.tolist() for found in pairs(keys, half, 0.8)] == [found.tolist() for found in pairs(keys, matrix, 0.8)]
    assert np.allclose(estimated_jaccard(half[0], half), estimated_jaccard(matrix[0], matrix), atol=2 / PERMUTATIONS)


def test_places_equal_only_in_their_last_byte_are_no_matches():
    matrix = np.zeros((2, PERMUTATIONS), dtype=np.uint32)
    matrix[1] = 256
    assert [found.tolist() for found in pairs(np.arange(2, dtype=np.uint64), matrix, 0.5)] == [[], []]


def test_a_thousand_equal_rows():
    keys = np.arange(1000, dtype=np.uint64)
    found = pairs(keys, np.tile(signatures([FOX]), (1000, 1)), 0.8)
    assert all(len(copies) == 999 for copies in found)


def test_copies_of_a_sequence():
    texts = [FOX, "something else that is not about animals", FOX.replace(" ", "\n"), FOX + " now"]
    copies = Copies(fold_keys(texts), signatures(texts), threshold=None)
    assert len(copies) == 4
    assert [copies.of(row).tolist() for row in range(4)] == [[2], [], [0], []]
    near = Copies(fold_keys(texts), signatures(texts), threshold=0.5)
    assert [near.of(row).tolist() for row in range(4)] == [[2, 3], [], [0, 3], [0, 2]]
    assert len(Copies(fold_keys([]), None, None)) == 0
    assert Copies(fold_keys(texts), None, None).of(0).tolist() == [2]


def test_signatures_that_do_not_belong_to_the_keys_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 128\)"):
        pairs(fold_keys(["a", "b"]), signatures(["a"]), 0.8)
    with pytest.raises(ValueError, match="None"):
        pairs(fold_keys(["a", "b"]), None, 0.8)
