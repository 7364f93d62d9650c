"""Where the body of a request ends, and what an answer is on the wire; h11 is the other reader."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import chunked
from tests.wire import parsed
from uploadd.errors import BadRequest
from uploadd.protocol.framing import Pieces, RequestBody, answer_head, may_follow, waits_for_100

PUT = b"PUT /x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = parsed(PUT + b"Transfer-Encoding: chunked\r\n\r\n")
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
VALUES = st.from_regex(r"(?:[!-~](?:[ -~]{0,20}[!-~])?)?", fullmatch=True)


def long(length: int) -> RequestBody:
    """A body of *length* bytes."""
    return RequestBody(parsed(PUT + b"Content-Length: %d\r\n\r\n" % length))


def drained(body: RequestBody) -> bytes:
    """What is here."""
    found = b""
    while data := body.next():
        found += data
    return found


@given(data=st.data(), content=st.binary(max_size=100), behind=st.binary(max_size=40))
def test_any_split_gives_the_same_body_and_leaves_what_follows(
    data: st.DataObject, content: bytes, behind: bytes
) -> None:
    """Taken out after every piece, or now and then."""
    in_chunks = data.draw(st.booleans())
    framed = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
    wire = framed + b"0\r\n\r\n" if in_chunks else content
    body = RequestBody(CHUNKED) if in_chunks else long(len(content))
    found = b""
    for piece in data.draw(chunked(wire + behind)):
        body.feed(piece)
        if data.draw(st.booleans()):
            found += drained(body)
    found += drained(body)
    assert (found, body.left, body.next()) == (content, 0, b"")
    assert body.leftover == behind


@given(length=st.integers(1, 50), data=st.data())
def test_what_is_left_is_what_nobody_took(length: int, data: st.DataObject) -> None:
    """Whichever way it went."""
    body, here = long(length), data.draw(st.integers(0, length))
    body.feed(bytes(here))
    assert len(drained(body)) == here
    assert body.left == length - here
    elsewhere = data.draw(st.integers(0, length - here))
    body.moved(elsewhere)
    assert body.left == length - here - elsewhere
    with pytest.raises(AssertionError):
        body.moved(body.left + 1)


def test_malformed_chunks_stay_malformed() -> None:
    """Whoever asks again hears the same."""
    body = RequestBody(CHUNKED)
    body.feed(b"3\r\nabcXX0\r\n\r\n")
    for _ in range(2):
        with pytest.raises(BadRequest):
            drained(body)
    assert body.left is None


@pytest.mark.parametrize(
    ("lines", "waits"),
    [
        (b"Content-Length: 3\r\nExpect: 100-Continue\r\n", True),
        (b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", True),
        (b"Content-Length: 0\r\nExpect: 100-continue\r\n", False),
        (b"Content-Length: 3\r\n", False),
        (b"Content-Length: 3\r\nExpect: something\r\n", False),
    ],
)
def test_who_waits_for_100_says_so_and_has_a_body(lines: bytes, waits: bool) -> None:
    assert waits_for_100(parsed(PUT + lines + b"\r\n")) is waits
    assert not waits_for_100(parsed(b"PUT /x HTTP/1.0\r\nContent-Length: 3\r\n\r\n"))


@pytest.mark.parametrize(
    ("raw", "may"),
    [
        (PUT + b"\r\n", True),
        (PUT + b"Connection: keep-alive\r\n\r\n", True),
        (PUT + b"Connection: keep-alive, CLOSE\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_another_request_may_follow_unless_the_client_says_no(raw: bytes, may: bool) -> None:
    assert may_follow(parsed(raw)) is may


@given(
    status=st.sampled_from([200, 201, 204, 404, 460, 507]),
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=8),
)
def test_h11_reads_what_was_said(status: int, fields: list[tuple[str, str]]) -> None:
    framing = {"content-length", "transfer-encoding"}
    fields = [(name, value) for name, value in fields if name.lower() not in framing]
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer_head(status, fields))
    event = client.next_event()
    assert isinstance(event, h11.Response)
    assert event.status_code == status
    said = [(name.lower().encode(), value.encode()) for name, value in fields]
    assert list(event.headers) == said


@pytest.mark.parametrize(
    "bad", ["a\r\nB: c", "a\nb", "a\rb", "a\0b", "\x7f", "ä", "\r\n\r\n<html>"]
)
def test_no_value_becomes_more_than_a_value(bad: str) -> None:
    """T4: also if somebody forgot to look at it before."""
    for field in (("X", bad), (bad, "x")):
        with pytest.raises(ValueError, match="cannot be"):
            answer_head(200, [field])


def test_pieces_are_what_was_declared() -> None:
    """No byte more or fewer."""
    form = Pieces(CHUNKED, [("content-length", "5")])
    assert (form.fields, form.ends_connection) == ([], False)
    assert form.around(3) == (b"", b"")
    with pytest.raises(ValueError, match="fewer"):
        form.end()
    with pytest.raises(ValueError, match="more"):
        form.around(3)
    form.around(2)
    assert form.end() == b""
