"""Every fuzz target on what was found before, on its seeds, and a little at random; `make fuzz` looks longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from targets import TARGETS

FOUND = Path(__file__).parent / "found"

# Enough to find what breaks at every second damage; rarer things are for `make fuzz`.
EXAMPLES = 40
# These verify a whole folder each time.
SLOW = {"forged_pool": 8, "forged_screened_pool": 12, "forged_dataset": 5, "forged_export": 5}


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_stays_mended(path):
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_what_it_begins_with(name):
    seeds = TARGETS[name].seeds()
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)


@st.composite
def damaged(draw, seeds):
    """A seed with a stretch replaced, removed, repeated or cut off; or any bytes."""
    content = draw(st.sampled_from(seeds))
    start, end = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
    new = draw(st.one_of(st.binary(max_size=20), st.sampled_from(SPECIAL)))
    short = min(end, start + 8)
    return draw(
        st.sampled_from(
            [
                content[:start],
                content[:start] + content[end:],
                content[:start] + new + content[start + len(new) :],
                content[:start] + new + content[start:],
                content[:end] + content[start:],
                content[:start] + bytes(byte ^ 0xFF for byte in content[start:short]) + content[short:],
                new,
            ]
        )
    )


# Numbers at the ends of their types, and text that means something.
SPECIAL = (
    *(b"\xff" * 4, b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"\xff\xff\xff\x7f", b"\x80", b"\xed\xa0\x80"),
    *(b"../", b"/", b"\x00", b"-1", b"1e999", b"NaN", b'"\\ud800"', b"null", b"[" * 20, b"{}", b"&a [*a]", b"\x1b[31m"),
)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_survives_damage(name):
    seeds = TARGETS[name].seeds()

    @settings(
        max_examples=SLOW.get(name, EXAMPLES),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # what is found is kept as it is; making it smaller takes minutes
        report_multiple_bugs=False,
    )
    @given(damaged(seeds))
    def survive(content):
        TARGETS[name].run(content)

    survive()
