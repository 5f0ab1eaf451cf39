"""Samples of tiles: drawn by name, so the same on every worker."""

from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.sampling import in_sample

KEYS = [f"a.tif:{1024 * col},{1024 * row}" for col in range(50) for row in range(40)]
RATES = st.floats(0, 1)


def drawn(rate: float, purpose: str = "controls") -> set[str]:
    return {key for key in KEYS if in_sample(key, rate=rate, purpose=purpose)}


@given(st.text(), RATES, RATES)
def test_a_greater_rate_keeps_what_a_smaller_one_drew(key, one, other):
    small, great = sorted((one, other))
    if in_sample(key, rate=small, purpose="p"):
        assert in_sample(key, rate=great, purpose="p")


@given(st.text())
def test_all_are_drawn_at_rate_one_and_none_at_zero(key):
    assert in_sample(key, rate=1, purpose="p")
    assert not in_sample(key, rate=0, purpose="p")


def test_about_the_wanted_share_is_drawn():
    for rate in (0.05, 0.3, 0.9):
        deviation = (len(KEYS) * rate * (1 - rate)) ** 0.5
        assert abs(len(drawn(rate)) - len(KEYS) * rate) < 4 * deviation


def test_purposes_are_drawn_independently():
    both = drawn(0.5) & drawn(0.5, "skip")
    assert abs(len(both) - len(KEYS) / 4) < 4 * (len(KEYS) * 3 / 16) ** 0.5


def test_a_share_that_was_drawn_once_is_drawn_in_every_version():
    assert sorted(drawn(0.002)) == ["a.tif:28672,19456"]
