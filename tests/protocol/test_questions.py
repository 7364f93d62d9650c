"""What is asked of the API, read off a query and a head."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import BadRequest, NotFound
from uploadd.protocol import questions, sse
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.questions import Listing, Query, Waiting, Watching, query_of
from uploadd.protocol.seen import Seen

IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def made(method: str, *fields: tuple[str, str]) -> Head:
    """A head as the gate gives it."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    gate = HeadGate()
    gate.feed(f"{method} / HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    found = gate.next()
    assert found is not None
    return found


@given(st.floats(0, 1e12), IDS)
def test_a_cursor_is_read_as_it_was_made(created: float, id: str) -> None:
    """And it can stand in a query as it is."""
    text = questions.cursor(created, id)
    assert questions.read_cursor(text) == (created, id)
    assert query_of(f"cursor={text}") == {"cursor": [text]}


@given(st.text())
def test_any_other_text_is_no_cursor_or_one(text: str) -> None:
    """Nothing else is raised."""
    try:
        created, id = questions.read_cursor(text)
    except NotFound:
        return
    assert isinstance(created, float)
    assert isinstance(id, str)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_any_query_can_be_read_or_is_refused(text: str) -> None:
    """Every question, of any query."""
    head = made("GET")
    try:
        query = query_of(text)
    except BadRequest:
        return
    for ask in (
        questions.waiting,
        questions.listing,
        questions.unread,
        lambda query: questions.watching(head, query, 3),
        lambda query: questions.client_id(head, query),
    ):
        with suppress(BadRequest, NotFound):
            ask(query)


def test_what_is_not_said_has_a_default() -> None:
    """Everybody's that are not gone, on pages of fifty; an answer at once."""
    assert questions.waiting({}) == Waiting(0.0, None)
    assert questions.listing({}) == Listing()
    assert Listing().states == {Seen(word) for word in ["queued", "receiving", "storing"]} | {
        Seen.VERIFYING,
        Seen.PUBLISHED,
    }
    assert questions.unread({}) is False


def test_what_is_said_counts() -> None:
    """Each parameter."""
    assert questions.waiting(query_of("wait=1.5&after=7")) == Waiting(1.5, 7)
    asked = questions.listing(query_of("of=mine&state=queued,failed&state=expired&name=A&limit=3"))
    assert asked == Listing(True, frozenset({Seen.QUEUED, Seen.FAILED, Seen.EXPIRED}), "A", 3)


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (questions.waiting, "wait="),
        (questions.waiting, "after="),
        (questions.listing, "limit="),
        (questions.listing, "state="),
        (questions.unread, "unread="),
        (lambda query: questions.watching(made("GET"), query, 3), "upload=a&last_event_id="),
        (lambda query: questions.watching(made("GET"), query, 3), "upload="),
        (lambda query: questions.client_id(made("GET"), query), "client_id="),
    ],
)
def test_what_is_said_and_empty_is_a_mistake(ask: Callable[[Query], object], text: str) -> None:
    """It is not the same as what was not said."""
    with pytest.raises(BadRequest):
        ask(query_of(text))


def test_an_empty_field_is_as_none() -> None:
    """Some programs send one where they have nothing to say; browsers send none."""
    head = made("GET", ("Last-Event-ID", ""))
    assert not questions.watching(head, query_of("upload=a"), 3).last


@pytest.mark.parametrize("many", [3, 4])
def test_a_stream_is_about_so_many_uploads(many: int) -> None:
    """With commas, again and again, or both."""
    head = made("GET", ("Last-Event-ID", "a-1"))
    query = query_of("upload=a,b&" + "&".join(f"upload={n}" for n in range(many - 2)))
    if many == 3:
        assert questions.watching(head, query, 3) == Watching(("a", "b", "0"), "a-1")
    else:
        with pytest.raises(BadRequest):
            questions.watching(head, query, 3)


def test_a_client_names_itself_by_field_or_by_query() -> None:
    """The field counts where both are there; twice is a mistake."""
    field = made("GET", ("X-Client-Id", "field"))
    assert questions.client_id(field, {"client_id": ["query"]}) == "field"
    assert questions.client_id(made("GET"), {"client_id": ["query"]}) == "query"
    assert questions.client_id(made("GET"), {}) is None
    with pytest.raises(BadRequest):
        questions.client_id(made("GET", ("X-Client-Id", "a"), ("X-Client-Id", "b")), {})


# --- events -----------------------------------------------------------------------------------


@given(st.integers(0, 1 << 60), st.text("0123456789abcdef", min_size=1))
def test_the_id_of_an_event_is_read_as_it_was_told(number: int, epoch: str) -> None:
    """And only in the same life of the daemon."""
    assert sse.since(sse.event_id(epoch, number), epoch) == number
    assert sse.since(sse.event_id(epoch, number), epoch + "x") is None


@given(st.none() | st.text())
def test_any_other_id_is_none_of_ours(text: str | None) -> None:
    """Then everything is told."""
    found = sse.since(text, "aa")
    assert found is None or str(text).startswith("aa-")


def test_an_event_is_lines_of_text() -> None:
    """Of its kind, its data and perhaps its id, and an empty one."""
    assert sse.event("progress", '{"a":1}') == b'event: progress\ndata: {"a":1}\n\n'
    assert sse.event("gone", "{}", "a-1") == b"event: gone\ndata: {}\nid: a-1\n\n"
