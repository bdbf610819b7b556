"""Which sequences stand in which row."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import nextlong
from nextlong.config import load_recipe
from nextlong.exporting.order import drawn, interleaved, least_weight, mixed, sequences_in_a_row, whole_weights

RECIPES = Path(__file__).parent.parent.parent / "recipes"


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_every_beginning_has_the_weights_to_within_less_than_a_row(weights):
    total = sum(weights)
    counts = [0] * len(weights)
    for row, part in enumerate(islice(interleaved(weights), 3 * total), start=1):
        counts[part] += 1
        assert all(abs(Fraction(row * weight, total) - count) < 1 for weight, count in zip(weights, counts, strict=True))
    assert counts == [3 * weight for weight in weights]


def test_one_to_two():
    assert list(islice(interleaved([1, 2]), 9)) == [1, 0, 1] * 3


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_a_mix_ends_where_a_part_is_used_up_and_is_a_beginning_of_any_longer_one(weights, data):
    rows_of = [data.draw(st.integers(1, 30)) for _ in weights]
    rows = mixed(weights, rows_of, None)
    counts = [rows.count(part) for part in range(len(weights))]
    assert all(count <= most for count, most in zip(counts, rows_of, strict=True))
    following = next(islice(interleaved(weights), len(rows), None))
    assert counts[following] == rows_of[following]
    wanted = data.draw(st.integers(0, len(rows)))
    assert mixed(weights, rows_of, wanted) == rows[:wanted]


@pytest.mark.parametrize(
    ("weights", "whole"), [([1, 2], [1, 2]), ([0.5, 1], [1, 2]), ([0.1, 0.2], [1, 2]), ([4, 6], [2, 3]), ([1.5], [1])]
)
def test_weights_are_proportions(weights, whole):
    assert whole_weights(weights) == whole


@given(st.lists(st.integers(1, 50), min_size=2, max_size=4), st.data())
def test_the_least_weight_is_enough_and_a_little_less_is_not(weights, data):
    part = data.draw(st.integers(0, len(weights) - 1))
    rows_of = [data.draw(st.integers(5, 60)) for _ in weights]
    wanted = data.draw(st.none() | st.integers(len(weights), 60))
    weights[part] = data.draw(st.sampled_from([1e-300, 1e-9, 1e-3]))
    assume(part not in mixed(whole_weights(weights), rows_of, wanted))
    least = least_weight(weights, part, rows_of, wanted)
    assert least is not None

    def stands(weight):
        tried = [weight if number == part else other for number, other in enumerate(weights)]
        return part in mixed(whole_weights(tried), rows_of, wanted)

    assert stands(least) and not stands(least * 0.89)


def test_the_draw_depends_on_seed_part_and_id_alone():
    ids = [f"nextlong-{number:08d}" for number in range(500)]
    order = [ids[place] for place in drawn(7, "data", ids)]
    assert sorted(order) == ids and order != ids
    fewer = ids[::3]
    assert [fewer[place] for place in drawn(7, "data", fewer)] == [one for one in order if one in set(fewer)]
    for other in (drawn(8, "data", ids), drawn(7, "other", ids)):
        assert not np.array_equal(other, drawn(7, "data", ids))
        assert np.count_nonzero(other == drawn(7, "data", ids)) < 20  # not in step


@pytest.mark.parametrize(("row", "count"), [(512, 1), (1024, 2), (4096, 8)])
def test_rows_are_multiples_of_sequences(row, count):
    assert sequences_in_a_row(512, row, "data") == count


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (513, ("rows of T+1 would drift by one a sample", "Megatron reads one token of the next row itself")),
        (1025, ("rows of T+1 would drift",)),
        (256, ("cutting them would drop meta-chunks", "nextlong synthesize POOL --out FOLDER --length 256")),
        (1000, ("the last sequence of a row would be cut and every later one shift", "512 or 1,024")),
    ],
)
def test_other_lengths_are_refused_with_the_reason(row, words):
    with pytest.raises(nextlong.UsageError) as error:
        sequences_in_a_row(512, row, "data")
    for word in ("the sequences of data, which have 512 tokens", *words):
        assert word in str(error.value)


def test_the_recipe_of_the_512k_mix_is_what_its_parts_can_give():
    """500 steps of 16 rows of 512K, of the sequences that the recipes of the parts make."""
    mix = load_recipe(RECIPES / "mix-512k.yaml").mix
    parts = {part.dataset: part.weight for part in mix.parts}
    assert parts == {"data-512k": 1, "data-64k": 2} and mix.length is not None
    rows_of = []
    for name, each in (("paper-512k", 1), ("paper-64k", 8)):
        dataset = load_recipe(RECIPES / f"{name}.yaml").dataset
        assert dataset.length * each == mix.length
        rows_of.append(-(-(dataset.tokens or 0) // dataset.length) // each)
    rows = mixed(whole_weights(list(parts.values())), rows_of, None)
    assert len(rows) == 500 * 16 == -(-(mix.tokens or 0) // mix.length)
