"""How old things are, whatever the wall clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.ages import MOST_OFF, Reading, shifted, step

YEAR = 365.25 * 86_400
seconds = st.floats(0, 30 * 86_400)
steps = st.one_of(st.floats(-50 * YEAR, -3600), st.just(0.0), st.floats(86_400, 50 * YEAR))


@given(passed=seconds, by=steps)
def test_a_step_is_seen_while_the_machine_runs(passed: float, by: float) -> None:
    """However long ago the last look was; and slewing is none."""
    before = Reading(1e9, 500.0, "boot")
    found = step(before, Reading(1e9 + passed + by, 500 + passed, "boot"))
    assert abs(found - by) < 1 or (abs(by) < 0.01 * passed + 5 and found == 0)


@given(passed=seconds)
def test_a_clock_that_is_slewed_has_not_stepped(passed: float) -> None:
    """Half a percent is more than any daemon of time does."""
    before = Reading(1e9, 0.0, "boot")
    assert step(before, Reading(1e9 + passed * 1.005, passed, "boot")) == 0


@given(by=steps)
def test_after_another_boot_at_most_a_day_has_passed(by: float) -> None:
    """Nobody knows for how long it was off, and back it has never gone."""
    found = step(Reading(1e9, 9e5, "a"), Reading(1e9 + by, 3.0, "b"))
    assert -1e-3 <= by - found <= MOST_OFF + 1e-3


@given(ages=st.lists(seconds, min_size=1), clock=st.lists(st.tuples(seconds, steps), max_size=8))
def test_nothing_gets_older_than_it_is(ages: list[float], clock: list[tuple[float, float]]) -> None:
    """Whatever the clock has done, and each time it was looked at."""
    wall, counted = 1e9, 1e6
    born = [counted - age for age in ages]
    stamps = [wall - age for age in ages]
    before = Reading(wall, counted, "boot")
    for passed, by in clock:
        wall, counted = wall + passed + by, counted + passed
        now = Reading(wall, counted, "boot")
        found = step(before, now)
        stamps = [shifted(stamp, found, wall) for stamp in stamps]
        before = now
        allowed = 6 + 0.011 * counted  # what is too little to be a step
        assert all(
            wall - stamp <= counted - start + allowed
            for stamp, start in zip(stamps, born, strict=True)
        )
        assert all(stamp <= wall for stamp in stamps)


@given(by=st.floats(86_400, 50 * YEAR), age=st.floats(6, 3600))
def test_what_was_stamped_after_a_step_is_left_alone(by: float, age: float) -> None:
    """It knows the new time already."""
    assert shifted(5e9, by, 5e9 + 3) == 5e9
    assert shifted(5e9 - by - age, by, 5e9) == 5e9 - by - age + by
