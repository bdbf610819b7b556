import numpy as np
import pytest

from nextlong.embedding.vectors import to_unit_float16
from nextlong.errors import NextlongError
from nextlong.records import VECTOR_STEP


def name_of(row: int) -> str:
    return f"chunk {row} of document 'd'"


def test_rows_have_length_one_whatever_their_scale():
    rows = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    rows *= np.array([[1e-30], [1], [1e4], [1e37]], dtype=np.float32)
    unit = to_unit_float16(rows, name_of)
    assert unit.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), 1, atol=2e-3)


def test_direction_is_kept():
    unit = to_unit_float16([[3.0, 4.0]], name_of)
    np.testing.assert_allclose(unit, [[0.6, 0.8]], atol=1e-3)


def test_elements_are_rounded_to_steps_and_neighbours_stay():
    rows = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    unit = to_unit_float16(rows, name_of).astype(np.float32)
    np.testing.assert_array_equal(unit / VECTOR_STEP, np.rint(unit / VECTOR_STEP))
    exact = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.abs(unit - exact).max() <= VECTOR_STEP / 2 + 1e-7
    nearest, expected = (np.argsort(-(side @ side.T), axis=1)[:, :10] for side in (unit, exact))
    assert np.mean([len(np.intersect1d(*pair)) for pair in zip(nearest, expected, strict=True)]) > 9.7
    assert not np.signbit(to_unit_float16([[1.0, -1e-6]], name_of)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_vector_names_its_chunk(value):
    rows = np.ones((3, 4), dtype=np.float32)
    rows[1, 2] = value
    with pytest.raises(NextlongError, match="chunk 1 of document 'd'"):
        to_unit_float16(rows, name_of)


def test_zero_vectors_stay_zero_or_are_refused():
    rows = np.array([[1, 0], [0, 0]], dtype=np.float32)
    assert not to_unit_float16(rows, name_of)[1].any()
    with pytest.raises(NextlongError, match="zero vector for chunk 1"):
        to_unit_float16(rows, name_of, refuse_zero=True)


def test_no_rows():
    assert to_unit_float16(np.zeros((0, 8)), name_of).shape == (0, 8)


def test_a_wrong_shape_is_refused():
    with pytest.raises(NextlongError, match="shape"):
        to_unit_float16(np.ones(5), name_of)
