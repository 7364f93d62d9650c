"""Dates of HTTP."""

from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.dates import format_date, parse_date

NOW = 1_700_000_000  # November 2023
LAST = 253402300799
seconds = st.integers(0, LAST)


@given(seconds)
def test_what_is_formatted_is_parsed_again(at: int) -> None:
    """Formatting loses nothing between 1970 and 9999."""
    assert parse_date(format_date(at), NOW) == at


@given(seconds)
def test_a_date_reads_as_others_write_and_read_it(at: int) -> None:
    """The standard library agrees on the text and on its meaning."""
    assert format_date(at) == formatdate(at, usegmt=True)
    assert parsedate_to_datetime(format_date(at)).timestamp() == at


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_formats_name_the_same_second(text: str) -> None:
    """The example of RFC 9110 5.6.7."""
    assert parse_date(text, NOW) == 784111777


@pytest.mark.parametrize(
    ("year", "means"), [("23", 2023), ("73", 2073), ("74", 1974), ("99", 1999), ("00", 2000)]
)
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(year: str, means: int) -> None:
    """RFC 9110 5.6.7."""
    long = f"Monday, 01-Jan-{year} 00:00:00 GMT"
    assert parse_date(long, NOW) == parse_date(f"Mon, 01 Jan {means} 00:00:00 GMT", NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "sun, 06 nov 1994 08:49:37 gmt",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
    ],
)
def test_what_is_not_a_date_is_none(text: str) -> None:
    """No guessing: a recipient ignores what it cannot read."""
    assert parse_date(text, NOW) is None


def test_a_leap_second_is_a_second() -> None:
    """60 is legal in the last minute that has it."""
    assert parse_date("Sat, 31 Dec 2016 23:59:60 GMT", NOW) == 1483228800


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_none(text: str) -> None:
    """Nothing that a peer sends raises."""
    assert parse_date(text, NOW) is None or "GMT" in text or text[0] in "MTWFS"


@pytest.mark.parametrize(("given_", "held"), [(-1, 0), (LAST + 1, LAST), (10**30, LAST)])
def test_a_time_beyond_four_digits_is_held_within(given_: int, held: int) -> None:
    """A file system may say anything about a file."""
    assert format_date(given_) == format_date(held)
