"""HTTP dates: epoch seconds ⇄ text, without clock and locale (RFC 9110 section 5.6.7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = 253402300799  # 9999-12-31T23:59:59Z, the last second with a four-digit year

_LONG = "(?:" + "|".join(_DAYS) + ")"
_SHORT = "(?:" + "|".join(day[:3] for day in _DAYS) + ")"
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY = "(?P<day>[0-9]{2})"

_FORMATS: Final = (
    re.compile(rf"{_SHORT}, {_DAY} {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),  # IMF-fixdate
    re.compile(rf"{_LONG}, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),  # RFC 850
    re.compile(rf"{_SHORT} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


@lru_cache(maxsize=16)  # every answer says the same second
def format_date(seconds: int) -> str:
    """The IMF-fixdate of *seconds* since the epoch, held within the years 1970 to 9999."""
    at = _EPOCH + timedelta(seconds=min(max(seconds, 0), _LAST))
    return (
        f"{_DAYS[at.weekday()][:3]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} "
        f"{at.hour:02}:{at.minute:02}:{at.second:02} GMT"
    )


def parse_date(text: str, now: int) -> int | None:
    """Epoch seconds of a date in any of the three formats, None when it is none.

    *now*, in epoch seconds, gives RFC 850's year of two digits its century.  The name of the
    day is not compared with the date.
    """
    match = next((found for form in _FORMATS if (found := form.fullmatch(text))), None)
    if match is None:
        return None
    year, second = int(match["year"]), int(match["second"])
    if len(match["year"]) == 2:
        year = _full_year(year, now)
    month = _MONTHS.index(match["month"]) + 1
    try:
        at = datetime(
            year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), tzinfo=UTC
        )
    except ValueError:
        return None
    if second > 60:  # 60 is a leap second
        return None
    return (at - _EPOCH) // timedelta(seconds=1) + second


def _full_year(year: int, now: int) -> int:
    """More than 50 years ahead means the most recent past year that ends so."""
    this_year = (_EPOCH + timedelta(seconds=now)).year
    year += this_year // 100 * 100
    return year - 100 if year > this_year + 50 else year
