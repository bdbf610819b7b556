import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextlong.embedding.windows import mean_by_text, token_windows, windows


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 50))
def test_windows_fit_and_join_to_the_text(text, size):
    parts = windows(text, size)
    assert "".join(parts) == text
    assert all(len(part) <= size for part in parts)
    assert all(parts) or text == ""


def test_windows_are_about_equally_long():
    # Cut greedily this would be 1000, 1000 and 48 characters, and the rest would weigh a third.
    lengths = [len(part) for part in windows("word " * 409 + "end", 1000)]
    assert len(lengths) == 3
    assert max(lengths) - min(lengths) < 20


def test_windows_cut_at_white_space():
    parts = windows("alpha beta gamma delta epsilon zeta", 12)
    assert [word for part in parts for word in part.split()] == ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]


@given(st.text(alphabet="a漢 ", max_size=200), st.integers(1, 20))
def test_token_windows_fit_the_budget(text, budget):
    def count(part: str) -> int:
        return sum(3 if character == "漢" else 1 for character in part)

    parts = token_windows(text, budget, count)
    assert "".join(parts) == text
    # A single character of more tokens than the budget cannot be cut any further.
    assert all(count(part) <= budget or len(part) == 1 for part in parts)


def test_mean_gives_every_window_the_same_weight():
    vectors = np.array([[10, 0], [0, 0.1], [0, 2]], dtype=np.float32)
    np.testing.assert_allclose(mean_by_text(vectors, [2, 1]), [[0.5, 0.5], [0, 1]], rtol=1e-6)


@pytest.mark.parametrize("rows", [0, 2])
def test_mean_of_zero_vectors_is_zero(rows):
    assert not mean_by_text(np.zeros((rows, 3), np.float32), [1] * rows).any()
