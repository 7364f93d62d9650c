"""How sizes, times and counts are said to people."""

from __future__ import annotations

import pytest

from uploadd.protocol import saying


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (12.4 * 2**30, "12.4 GiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_sizes_are_told_in_binary_units(count: float, text: str) -> None:
    """With one digit behind the point."""
    assert saying.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (9.94, "9.9s"), (41.2, "41s"), (131, "2m 11s"), (3600, "1h 00m")],
)
def test_times_are_told_as_people_say_them(seconds: float, text: str) -> None:
    """Two units at most."""
    assert saying.duration(seconds) == text


def test_two_sizes_never_read_the_same() -> None:
    """Too large by one byte is told to the byte."""
    assert saying.compared(12 << 30, 10 << 30) == ("12.0 GiB", "10.0 GiB")
    assert saying.compared((10 << 30) + 1, 10 << 30) == ("10737418241 bytes", "10737418240 bytes")


def test_what_waits_for_no_time_happens_now() -> None:
    """Nobody waits for 0.0 s."""
    assert [saying.delay(wait) for wait in (0.0, 0.09, 0.1, 7.0)] == [
        *("now", "now"),
        *("in 0.1 s", "in 7.0 s"),
    ]
