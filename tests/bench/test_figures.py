"""What is computed from measured values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Shares, Spread, advantages, bound, percentile, spread

values = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=50)


@given(values)
def test_a_spread_holds_its_values(found: list[float]) -> None:
    """Least ≤ median ≤ most, and least and most are among them."""
    told = spread(found)
    assert told.low <= told.median <= told.high
    assert {told.low, told.high} <= set(found)


def test_the_median_is_the_middle_one() -> None:
    """An outlier of a noisy machine moves the range and not the figure."""
    assert spread([5.0, 900.0, 4.0]) == Spread(5.0, 4.0, 900.0)


@given(values, st.floats(0, 1))
def test_a_percentile_is_a_value_that_the_share_does_not_exceed(
    found: list[float], share: float
) -> None:
    """By nearest rank: never something that was not measured."""
    told = percentile(found, share)
    assert told in found
    assert sum(value <= told for value in found) >= share * len(found) - 1e-9
    below = [value for value in found if value < told]
    assert len(below) <= share * len(found)


def test_percentiles_by_hand() -> None:
    """Of 1 … 100 the median is 50 and p99 is 99."""
    hundred = [float(n) for n in range(100, 0, -1)]
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]


def test_ratios_are_of_pairs_not_of_medians() -> None:
    """A machine that gets slower all the time does so to both of a round."""
    ours, theirs = [100.0, 50.0, 20.0], [50.0, 25.0, 10.0]
    assert advantages(ours, theirs, "more") == [2, 2, 2]
    assert advantages(theirs, ours, "less") == [2, 2, 2]


def test_rounds_that_only_one_has_do_not_count() -> None:
    """Nor does one in which nothing was measured."""
    assert advantages([4.0, 6.0, 1.0], [2.0], "more") == [2]
    assert advantages([0.0, 6.0], [2.0, 2.0], "less") == [1 / 3]


@pytest.mark.parametrize(
    ("generator", "server", "found"),
    [
        (0.95, Shares(0.2, 0.2, 0.6), "generator"),
        (0.95, None, "generator"),
        (0.3, None, ""),
        (0.3, Shares(0.95, 1.6, 0.95), "machine"),
        (0.3, Shares(0.95, 1.1, 0.7), "server"),
        (0.3, Shares(0.5, 1.0, 0.65), "server"),
        (0.1, Shares(0.2, 0.3, 0.2), "waiting"),
        (0.1, Shares(0.8, 0.8, 0.45), "waiting"),
        (0.85, Shares(0.8, 0.8, 0.8), "each other"),
    ],
)
def test_what_bounds_a_figure(generator: float, server: Shares | None, found: str) -> None:
    """A generator that is busy comes first: then the figure says nothing about the server."""
    assert bound(generator=generator, server=server) == found
