"""What we send is what the library of a client reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from tests.strategies import chunked
from uploadd.protocol import framewriter


def read(pieces: list[bytes]) -> list[Event]:
    """What the library makes of *pieces*, its bytes as bytes."""
    client, found = Connection(ConnectionType.CLIENT), list[Event]()
    for piece in pieces:
        client.receive_data(piece)
        found += client.events()
    return found


def whole(events: list[Event]) -> list[str | bytes]:
    """The messages among *events*: the library tells the parts of one as they come."""
    said: list[str | bytes] = []
    parts: list[str | bytes] = []
    for event in events:
        assert isinstance(event, TextMessage | BytesMessage)
        parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
        if event.message_finished:
            said.append("".join(parts) if isinstance(event, TextMessage) else b"".join(parts))  # type: ignore[arg-type]
            parts = []
    return said


@given(st.data(), st.lists(st.text() | st.binary(max_size=300)))
def test_messages_are_read_as_they_were_said(data: st.DataObject, said: list[str | bytes]) -> None:
    """Joined, in order, however the network cuts them."""
    assert whole(read(data.draw(chunked(framewriter.messages(said))))) == said


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20])
def test_every_form_of_length(size: int) -> None:
    """At its edges; a frame is not masked and needs as few bytes as can be."""
    raw = framewriter.messages([b"x" * size])
    assert whole(read([raw])) == [b"x" * size]
    assert len(raw) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


@given(st.sampled_from([1000, 1002, 1009, 1012, 4400]), st.text())
def test_a_close_says_why(code: int, reason: str) -> None:
    """As much of it as a control frame may have, and no half of a character."""
    [event] = read([framewriter.close(code, reason)])
    assert isinstance(event, CloseConnection)
    assert event.code == code
    told = event.reason or ""
    assert reason.startswith(told)
    assert told == reason or len((told + reason[len(told)]).encode()) > 123


def test_a_close_may_say_nothing() -> None:
    """The answer to one that said nothing."""
    [event] = read([framewriter.close(None)])
    assert isinstance(event, CloseConnection)
    assert (event.code, event.reason) == (1005, "")


@given(st.binary(max_size=125))
def test_pings_and_pongs(payload: bytes) -> None:
    """A Pong says what the Ping said."""
    assert read([framewriter.pong(payload)]) == [Pong(payload)]
    assert read([framewriter.ping()]) == [Ping(b"")]
