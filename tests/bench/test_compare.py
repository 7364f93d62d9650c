"""What got slower since the accepted run, and what only the machine did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare import changes, told
from tests.bench.results import result, row

RAN = ("large_tus",)


def lines(now: list, then: list, ran: tuple[str, ...] = RAN) -> list[str]:
    """What is said about two runs of these rows."""
    return told(result(*now), result(*then), ran)


def test_a_row_that_got_slower_is_named() -> None:
    """With how much, and both figures."""
    [line] = lines([row("uploadd", 70, 80, 90)], [row("uploadd", 100, 110, 90)])
    assert line.startswith(
        "slower by 20%: large_tus | tus PATCH | tmpfs | uploadd: 80 MB/s, was 100"
    )


def test_noise_is_tolerated() -> None:
    """Up to 15 %, and that is said with the number of rows that were looked at."""
    found = lines([row("uploadd", 86)], [row("uploadd", 100)])
    assert found == ["of 1 rows none got slower by more than 15%"]
    assert len(lines([row("uploadd", 84)], [row("uploadd", 100)])) == 1


def test_where_less_is_better_more_is_slower() -> None:
    """Latency and memory."""
    [line] = lines([row("uploadd", 30, better="less")], [row("uploadd", 20, better="less")])
    assert line.startswith("worse by 33%")
    assert (
        "none got slower"
        in lines([row("uploadd", 20, better="less")], [row("uploadd", 30, better="less")]).pop()
    )


def test_what_the_machine_did_to_others_is_taken_out() -> None:
    """If nginx beside it is at 0.5 as well, nothing of ours got slower."""
    then = [row("uploadd", 100), row("nginx", 60), row("node", 40)]
    assert "none" in lines([row("uploadd", 50), row("nginx", 30), row("node", 20)], then).pop()
    [line] = lines([row("uploadd", 80), row("nginx", 60), row("node", 40)], then)
    assert "slower by 20%" in line
    [line] = lines([row("uploadd", 100), row("nginx", 120), row("node", 80)], then)
    assert "slower by 50%" in line
    assert "beside it others are at 2.00" in line


def test_others_of_other_tables_say_nothing() -> None:
    """Drift is that of the same group: another place is another machine."""
    then = [row("uploadd", 100), row("nginx", 60, place="disk")]
    now = [row("uploadd", 100), row("nginx", 600, place="disk")]
    assert "none" in lines(now, then).pop()


def test_ranges_that_overlap_are_a_doubt() -> None:
    """The median moved, but single rounds were as before."""
    [line] = lines([row("uploadd", 70, 75, 100)], [row("uploadd", 95, 100, 105)])
    assert line.endswith("the ranges overlap")
    [line] = lines([row("uploadd", 70, 75, 80)], [row("uploadd", 95, 100, 105)])
    assert "overlap" not in line


def test_a_row_that_is_missing_now_is_named() -> None:
    """A server that fails is not a server that did not get slower."""
    found = lines([row("uploadd", note="failed")], [row("uploadd", 100)])
    assert found[0].startswith("not measured now: large_tus")
    assert lines([], [row("uploadd", 100)], ran=("downloads",)) == [
        "of 0 rows none got slower by more than 15%"
    ]


def test_another_machine_is_said_first() -> None:
    """Its figures are compared all the same; a reader knows what that is worth."""
    then = result(row("uploadd", 100))
    now = result(row("uploadd", 100), machine={"processor": "another", "processors": "64"})
    assert told(now, then, RAN)[0].startswith("the accepted run is of another machine")


def test_a_figure_of_nothing_divides_by_nothing() -> None:
    """Zero bytes sent twice, then and now."""
    assert "none" in lines([row("uploadd", 0.0)], [row("uploadd", 3.0)]).pop()


@given(st.floats(1, 1e6), st.floats(0.1, 10), st.sampled_from(["more", "less"]))
def test_the_same_change_of_everybody_is_no_change(value: float, drift: float, better: str) -> None:
    """Whatever the figures are and whichever way is better."""
    then = result(row("uploadd", value, better=better), row("nginx", 2 * value, better=better))
    now = result(
        row("uploadd", value * drift, better=better),
        row("nginx", 2 * value * drift, better=better),
    )
    [change] = changes(now, then)
    assert change.speed == pytest.approx(1)
    assert not change.slower
