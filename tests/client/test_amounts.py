"""Rates, times and dates as people type them."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from uploadd.client import amounts

KIB = 1024


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500", 500),
        ("500b", 500),
        ("5K", 5 * KIB),
        ("5m", 5 * KIB**2),
        ("1.5G", 1.5 * KIB**3),
        ("1T", KIB**4),
    ],
)
def test_a_rate_is_written_as_for_curl(text: str, value: float) -> None:
    """K is 1024, in letters of any case."""
    assert amounts.rate(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("5s", 5), ("2m", 120), ("1.5h", 5400), ("2d", 172800)]
)
def test_a_time_has_a_unit(text: str, value: float) -> None:
    """Or is in seconds."""
    assert amounts.seconds(text) == value


@pytest.mark.parametrize("text", ["", "0", "0.0K", "-5", "5X", "fast", "5 M", "nan", "inf", "1e9"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    """Nothing at all would never be through."""
    with pytest.raises(ValueError, match="5M"):
        amounts.rate(text)


def test_a_moment_is_a_file_a_time_ago_or_a_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And can be said again later, when it is not so long ago any more."""
    monkeypatch.chdir(tmp_path)
    Path("stamp").touch()
    os.utime("stamp", (1000, 1000))
    assert amounts.moment("stamp") == (1000.0, "stamp")
    then, text = amounts.moment("2d")
    assert then == pytest.approx(time.time() - 2 * 86400, abs=60)
    assert amounts.moment(text) == (pytest.approx(then, abs=1e-3), text)
    assert amounts.moment("2026-11-20T09:30+00:00")[0] == 1795167000.0
    midnight = datetime(2026, 11, 20)  # noqa: DTZ001  # of here, as who types a day means it
    assert amounts.moment("2026-11-20")[0] == midnight.timestamp()
    for wrong in ("whenever", "7", "2026-13-01", "a\0b"):
        with pytest.raises(ValueError, match="2d"):
            amounts.moment(wrong)
