import os
import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from nextlong.execution.arrow import utf8
from nextlong.mining import copies
from nextlong.mining.copies import (
    PERMUTATIONS,
    estimated_jaccard,
    fingerprints,
    fingerprints_of_utf8,
    fold_key,
    fold_keys,
    folded,
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


def test_words_are_what_split_gives(monkeypatch):
    """All white space of Unicode, controls, half surrogates, long words; in blocks of any size."""
    spaces = [chr(code) for code in range(0x3100) if chr(code).isspace()]
    parts = ["a", "bc", "x" * 8, "y" * 63, "z" * 64, "z" * 65, "w" * 300, "é", "中文", "\ud800", "\x00", "\u200b", *spaces]
    draw = random.Random(8)
    texts = ["".join(draw.choice(parts) for _ in range(draw.randrange(40))) for _ in range(600)] + ["", " ", "\x1c"]
    plain = [" ".join(text.split()) for text in texts]
    keys, matrix = fingerprints(texts)
    for block in (1, 7, 1 << 17):
        monkeypatch.setattr(copies, "_BLOCK_BYTES", block)
        assert np.array_equal(fold_keys(plain), keys) and np.array_equal(signatures(plain), matrix)
    assert len(set(keys.tolist())) == len(set(plain))


def test_words_that_differ_in_one_byte_differ():
    words = [("a" * size)[:place] + "b" + "a" * (size - place - 1) for size in range(1, 70) for place in range(size)]
    assert len(set(fold_keys([*words, *("a" * size for size in range(70))]).tolist())) == len(words) + 70


def test_keys_and_signatures_are_the_same_on_every_machine():
    assert fold_key(" a\tb \n") == 0xCAD3452B483D26D5
    assert signatures(["the quick brown fox jumps over the lazy dog"])[0, :4].tolist() == [
        3916489108,
        3935310114,
        3935310114,
        2640261311,
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


def test_every_place_holds_a_number_of_the_texts_own():
    """A place without a shingle of its own borrows from one that has some; in two texts alike from the same one."""
    matrix = signatures(["a b c d e f g", "a b c d e f g h", "g f e d c b a"])
    numbers = [set(row.tolist()) for row in matrix]
    assert [len(each) for each in numbers] == [3, 4, 3]
    assert numbers[0] < numbers[1] and not numbers[0] & numbers[2]


def test_fingerprints_are_keys_and_signatures():
    texts = [*texts_with_copies(random.Random(5), 300), "", " \u3000\n", "\ud800 lone"]
    keys, matrix = fingerprints(texts)
    assert np.array_equal(keys, fold_keys(texts))
    assert np.array_equal(matrix, signatures(texts))


def test_order_case_and_words_matter():
    matrix = signatures([FOX, " ".join(reversed(FOX.split())), FOX.upper(), FOX.replace(" ", "\n")])
    assert estimated_jaccard(matrix[0], matrix).tolist() == [1, 0, 0, 1]


def test_the_threshold_is_compared_exactly():
    assert [required_matches(threshold) for threshold in (0.8, 0.75, 96 / 128, 1.0)] == [103, 96, 96, 128]


def test_the_low_half_of_signatures_finds_the_same_copies():
    texts = texts_with_copies(random.Random(6), 300)
    matrix = signatures(texts)
    half = matrix.astype(np.uint16)
    for row in range(0, 300, 10):
        whole, low = estimated_jaccard(matrix[row], matrix), estimated_jaccard(half[row], half)
        assert ((whole >= 0.8) == (low >= 0.8)).all()
        assert np.allclose(whole, low, atol=2 / PERMUTATIONS)


def test_texts_that_are_utf8_in_a_column_have_the_fingerprints_of_the_texts():
    texts = [*texts_with_copies(random.Random(7), 50), "", "é\u2028中文\x85end", "no space", "x" * 300, "\u3000", ""]
    column = pa.array(["before", *texts, "after"], pa.large_string()).slice(1, len(texts))
    for one, other in zip(fingerprints_of_utf8(utf8(column)), fingerprints(texts), strict=True):
        assert np.array_equal(one, other)
    assert utf8(pa.array(["", ""], pa.large_string())) == [b"", b""]


def test_a_text_of_more_words_than_powers_are_kept_has_the_key_of_its_words(monkeypatch):
    texts = ["a b c", " ".join(words(random.Random(9), 3000))]
    expected = fold_keys(texts)
    monkeypatch.setattr(copies, "_KEPT_POWERS", 1000)
    assert np.array_equal(fold_keys(texts), expected)
