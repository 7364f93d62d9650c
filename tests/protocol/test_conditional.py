"""Preconditions, as a table of what is asked and what comes of it."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.conditional import Outcome, entity_tag, evaluate
from uploadd.protocol.dates import format_date

GO, WHOLE, HELD, FAILED = (
    Outcome.PROCEED,
    Outcome.IGNORE_RANGE,
    Outcome.NOT_MODIFIED,
    Outcome.FAILED,
)
MODIFIED = 784111777
BEFORE, THEN, AFTER = (format_date(MODIFIED + delta) for delta in (-1, 0, 1))
ETAG = entity_tag("abc")


def outcome(*lines: tuple[str, str]) -> Outcome:
    """What a request with *lines* comes to."""
    received = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines]
    return evaluate(received, etag=ETAG, modified=MODIFIED, now=1_700_000_000)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("If-Match", '"abc"', GO),
        ("If-Match", "*", GO),
        ("If-Match", '"x", "abc"', GO),
        ("If-Match", '"x,", ,\t"abc" ,', GO),
        ("If-Match", '"x"', FAILED),
        ("If-Match", 'W/"abc"', FAILED),  # strong comparison
        ("If-Match", '"ABC"', FAILED),
        ("If-Match", "abc", FAILED),
        ("If-Match", "", FAILED),
        ("If-Match", 'garbage, "abc"', FAILED),
        ("If-Match", '"x""abc"', FAILED),
        ("If-None-Match", '"abc"', HELD),
        ("If-None-Match", "*", HELD),
        ("If-None-Match", 'W/"abc"', HELD),  # weak comparison
        ("If-None-Match", '"x", W/"y", "abc"', HELD),
        ("If-None-Match", '"x"', GO),
        ("If-None-Match", 'w/"abc"', GO),
        ("If-None-Match", "abc", GO),
        ("If-None-Match", "", GO),
        ("If-Modified-Since", BEFORE, GO),
        ("If-Modified-Since", THEN, HELD),
        ("If-Modified-Since", AFTER, HELD),
        ("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT", HELD),
        ("If-Modified-Since", "yesterday", GO),
        ("If-Unmodified-Since", BEFORE, FAILED),
        ("If-Unmodified-Since", THEN, GO),
        ("If-Unmodified-Since", AFTER, GO),
        ("If-Unmodified-Since", "yesterday", GO),
        ("If-Range", '"abc"', GO),
        ("If-Range", THEN, GO),
        ("If-Range", "Sun Nov  6 08:49:37 1994", GO),
        ("If-Range", BEFORE, WHOLE),
        ("If-Range", AFTER, WHOLE),  # exactly that date, not an earlier one
        ("If-Range", 'W/"abc"', WHOLE),
        ("If-Range", '"x"', WHOLE),
        ("If-Range", "*", WHOLE),
        ("If-Range", '"abc", "x"', WHOLE),
        ("If-Range", "", WHOLE),
    ],
)
def test_one_precondition_alone(name: str, value: str, expected: Outcome) -> None:
    """RFC 9110 13.1."""
    assert outcome((name, value)) is expected


def test_no_precondition_means_go_on() -> None:
    """The ordinary request."""
    assert outcome() is GO


TRUE = {
    "If-Match": ETAG,
    "If-Unmodified-Since": THEN,
    "If-None-Match": '"x"',
    "If-Modified-Since": BEFORE,
    "If-Range": ETAG,
}
FALSE = {
    "If-Match": '"x"',
    "If-Unmodified-Since": BEFORE,
    "If-None-Match": ETAG,
    "If-Modified-Since": THEN,
    "If-Range": '"x"',
}


def by_the_book(state: dict[str, bool]) -> Outcome:
    """RFC 9110 13.2.2 word for word; *state* has the fields that are there, and if they hold."""
    if "If-Match" in state:
        if not state["If-Match"]:
            return FAILED
    elif not state.get("If-Unmodified-Since", True):
        return FAILED
    if "If-None-Match" in state:
        if not state["If-None-Match"]:
            return HELD
    elif not state.get("If-Modified-Since", True):
        return HELD
    return GO if state.get("If-Range", True) else WHOLE


@pytest.mark.parametrize("states", list(itertools.product([None, True, False], repeat=5)))
def test_every_combination_follows_the_order_of_the_rfc(states: tuple[bool | None, ...]) -> None:
    """All 243: each of the five absent, holding, or not."""
    state = {name: held for name, held in zip(TRUE, states, strict=True) if held is not None}
    lines = [(name, (TRUE if held else FALSE)[name]) for name, held in state.items()]
    assert outcome(*lines) is by_the_book(state)


def test_a_list_may_have_several_lines() -> None:
    """And a date may not: two of them are none."""
    assert outcome(("If-None-Match", '"x"'), ("If-None-Match", ETAG)) is HELD
    assert outcome(("If-Match", '"x"'), ("If-Match", ETAG)) is GO
    assert outcome(("If-Modified-Since", THEN), ("If-Modified-Since", THEN)) is GO
    assert outcome(("If-Unmodified-Since", BEFORE), ("If-Unmodified-Since", BEFORE)) is GO
    assert outcome(("If-Range", ETAG), ("If-Range", ETAG)) is WHOLE


@given(
    st.sampled_from([*TRUE]),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=40),
)
def test_any_value_comes_to_something(name: str, value: str) -> None:
    """Nothing that a peer sends raises."""
    assert outcome((name, value)) in Outcome


@pytest.mark.parametrize("part", ["W/", '"', '"",', " ", ",", '"a" '])
def test_a_hostile_list_costs_no_more_than_reading_it(part: str) -> None:
    """Linear in the header."""
    begun = time.process_time()
    outcome(("If-None-Match", part * 100_000))
    assert time.process_time() - begun < 1
