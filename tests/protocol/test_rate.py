"""The rate of an upload: what a bar says beside it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.rate import SILENCE, STILL, Rate

STEPS = st.lists(st.tuples(st.floats(0.01, 5.0), st.integers(1, 1 << 30)), min_size=1, max_size=30)


@given(STEPS)
def test_it_lies_between_the_slowest_and_the_fastest_step(steps: list[tuple[float, int]]) -> None:
    """An average: never more than there was, never less."""
    rate, now, total = Rate(0.0, 0), 0.0, 0
    for seconds, count in steps:
        now, total = now + seconds, total + count
        rate.moved(now, total)
    rates = [count / seconds for seconds, count in steps]
    assert min(rates) * 0.999 <= rate.at(now) <= max(rates) * 1.001


@given(st.floats(0.05, 3.0), st.integers(1, 1 << 30), st.integers(1, 50))
def test_what_is_steady_is_told_exactly_from_the_first_step(
    seconds: float, count: int, steps: int
) -> None:
    """Nobody waits for a bar to find its speed."""
    rate = Rate(100.0, 7)
    for step in range(1, steps + 1):
        rate.moved(100.0 + step * seconds, 7 + step * count)
    assert math.isclose(rate.at(100.0 + steps * seconds), count / seconds, rel_tol=1e-6)


@given(STEPS, st.lists(st.floats(0, 2 * STILL), min_size=2, max_size=9))
def test_in_silence_it_falls_to_nothing(
    steps: list[tuple[float, int]], silences: list[float]
) -> None:
    """Never up, and to zero in a few seconds; not between two batches."""
    rate, now, total = Rate(0.0, 0), 0.0, 0
    for seconds, count in steps:
        now, total = now + seconds, total + count
        rate.moved(now, total)
    told = [rate.at(now + silence) for silence in sorted(silences)]
    assert told == sorted(told, reverse=True)
    assert math.isclose(rate.at(now + SILENCE), rate.at(now))
    assert rate.at(now + STILL * 1.01) == 0


def test_a_move_without_bytes_or_without_time_changes_nothing() -> None:
    """A change of state is no sample; and nobody divides by zero."""
    rate = Rate(5.0, 10)
    rate.moved(5.0, 20)
    rate.moved(6.0, 10)
    assert rate.at(6.0) == 0
    rate.moved(7.0, 30)
    assert math.isclose(rate.at(7.0), 10)
    rate.moved(7.1, 30)
    assert math.isclose(rate.at(7.1), 10)
