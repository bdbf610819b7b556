"""The contract of scorers, and the order that their numbers give; without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextlong.errors import NextlongError, UsageError
from nextlong.mining.scoring import known_scorers, load_scorer, rerank

_REPOSITORY = Path(__file__).parents[2]
_READERS = Path(os.environ.get("NEXTLONG_READERS", _REPOSITORY / ".readers"))


def as_gains(*values):
    return np.array(values, dtype=np.float32)


def order_of(gains, keep):
    return rerank(np.linspace(1, 0, len(gains), dtype=np.float32), gains, keep).tolist()


@pytest.mark.parametrize(("keep", "expected"), [("all", [3, 1, 4, 0, 5, 2]), ("helps", [3, 1, 4]), ("hurts", [2])])
def test_rerank_orders_by_gain_and_keeps_what_is_asked_for(keep, expected):
    assert order_of(as_gains(0.0, 0.25, -0.5, 0.75, 0.25, -0.0), keep) == expected


def test_hurts_puts_the_most_harmful_first():
    assert order_of(as_gains(-0.1, -0.3, 0.2, -0.2, -0.3), "hurts") == [1, 4, 3, 0]


def test_the_least_similar_first_is_a_retrieval_order_too():
    ascending = as_gains(0.1, 0.2, 0.3)
    assert rerank(ascending, as_gains(0.5, 0.5, 0.5)).tolist() == [0, 1, 2]


def test_rerank_of_nothing_is_nothing():
    for keep in ("all", "helps", "hurts"):
        order = rerank(as_gains(), as_gains(), keep)
        assert order.dtype == np.int64 and order.shape == (0,)


@given(
    st.lists(st.sampled_from([-1.5, -1e-30, 0.0, 1e-30, 0.5, 2.0]), max_size=30),
    st.sampled_from(["all", "helps", "hurts"]),
)
def test_rerank_keeps_the_right_ones_once_each_in_stable_order(values, keep):
    order = order_of(as_gains(*values), keep)
    kept = {"all": lambda _: True, "helps": lambda gain: gain > 0, "hurts": lambda gain: gain < 0}[keep]
    assert sorted(order) == [place for place, gain in enumerate(values) if kept(gain)]
    sign = 1 if keep == "hurts" else -1
    keys = [(sign * values[place], place) for place in order]
    assert keys == sorted(keys)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rerank_refuses_what_is_no_number(bad):
    with pytest.raises(NextlongError, match="place 1"):
        rerank(as_gains(1, 2), as_gains(0, bad))


def test_rerank_refuses_gains_of_other_candidates():
    with pytest.raises(NextlongError, match="one number per candidate"):
        rerank(as_gains(1, 2, 3), as_gains(1, 2))


def test_rerank_refuses_an_unknown_choice():
    with pytest.raises(UsageError, match="helps"):
        rerank(as_gains(1), as_gains(1), "best")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("causal_lm:x", r"Did you mean `causal-lm`\? Known scorers: causal-lm:FOLDER"),
        ("reward:x", "Known scorers: causal-lm:FOLDER"),
        ("", "Known scorers: causal-lm:FOLDER"),
        ("causal-lm", "causal-lm:FOLDER"),
        ("causal-lm:", "causal-lm:FOLDER"),
    ],
)
def test_unknown_names_list_the_known_ones(name, says):
    with pytest.raises(UsageError, match=says):
        load_scorer(name)


def test_every_listed_name_is_known():
    for name in known_scorers():
        with pytest.raises(NextlongError) as caught:  # FOLDER is no model
            load_scorer(name)
        assert "Unknown scorer" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"batchsize": 2}, "Did you mean `batch_size`"),
        ({"batch_size": 0}, "batch_size"),
        ({"window": 2}, "window"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_loaded(settings, says):
    with pytest.raises(UsageError, match=says):
        load_scorer("causal-lm:no/such/folder", **settings)


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_names_the_extra(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NextlongError, match=r"nextlong\[train\]"):
        load_scorer(f"causal-lm:{tmp_path}")


@pytest.mark.readers
def test_the_causal_language_model_in_an_environment_with_torch():
    """The tests that need torch, with its packages, and with this environment's for those that it lacks."""
    python = _READERS / "torch" / "bin" / "python"
    if not python.exists():
        pytest.skip("there is no environment with torch: make it with `make readers`")
    version = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    if version.stdout.split() != [str(part) for part in sys.version_info[:2]]:
        pytest.skip("the environment with torch has another Python, and cannot borrow this one's packages")
    lacking = [str(_REPOSITORY / "src"), *(path for path in sys.path if path.endswith("site-packages"))]
    code = f"import sys; sys.path += {lacking}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    names = ("mining/test_causal_lm.py", "mining/test_scored_mining.py", "quality/test_gain_of_models.py")
    tests = [Path(__file__).parent.parent / name for name in names]
    done = subprocess.run(
        [python, "-c", code, "-q", "-p", "no:cacheprovider", "--noconftest", "--rootdir", _REPOSITORY, *tests],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=_REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
