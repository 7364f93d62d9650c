"""Counting costs nothing and loses nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uploadd import errors
from uploadd.protocol.upload import Published, State, Upload
from uploadd.tally import REASONS, RESULTS, SECONDS, Histogram, Tally, Way


@given(st.lists(st.floats(0, 100)))
def test_every_value_is_in_the_first_bucket_that_takes_it(values: list[float]) -> None:
    """As Prometheus counts: at most the bound."""
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)
    for index, bound in enumerate(SECONDS):
        assert sum(histogram.counts[: index + 1]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)


def test_an_end_is_counted_by_the_wire_that_came_last() -> None:
    """Also when nobody holds it any more; what was deleted had ended before."""
    tally, upload = Tally(), Upload("id", length=5)
    tally.claimed(upload, Way("tus", "a-1"))
    tally.claimed(upload, Way("ws", "a-2"))
    for state in State:
        upload.state = state
        tally.ended(upload, 1.0)
    assert set(tally.finished) == {("ws", result) for result in RESULTS.values()}
    assert sum(tally.finished.values()) == len(RESULTS)
    assert sum(tally.upload_bytes.counts) == 1


def test_a_file_whose_time_is_over_had_ended_well() -> None:
    """It is not counted again, as something that went wrong."""
    tally, upload = Tally(), Upload("id", length=5)
    upload.state, upload.published = State.PUBLISHED, Published("x", 1)
    tally.ended(upload, 1.0)
    upload.state = State.EXPIRED
    tally.ended(upload, 1.0)
    assert dict(tally.finished) == {("none", "ok"): 1}


def test_what_is_refused_has_a_reason_that_operators_know() -> None:
    """A mistake of a peer's is not counted: it would drown what operators can mend."""
    tally = Tally()
    for kind in REASONS:
        tally.refused(kind("no"))
    tally.refused(errors.BadRequest("no"))
    assert sum(tally.rejected.values()) == len(REASONS)
    assert set(tally.rejected) == {
        *("auth", "quota", "size", "type", "origin", "rate", "draining", "disk")
    }
