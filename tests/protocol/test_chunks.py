"""Bodies in chunks: what we take h11 reads as we do, and what is ambiguous is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import chunked
from uploadd.errors import BadRequest
from uploadd.protocol.chunks import FREE, MAX_LINE, PER_BYTE, Chunks
from uploadd.protocol.heads import MAX_FIELDS, MAX_HEAD

HEAD = b"PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = st.sampled_from(
    [
        *[b"0", b"1", b"3", b"a", b"F", b"00", b"\r\n", b"\r", b"\n", b";", b";a=b", b' ;a="b"'],
        *[b"x", b"abc", b"\r\n\r\n", b"0\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n", b"A: b", b" ", b"\t"],
        *[b"1\r\nx\r\n", b":", b"\0", b"\xff", b"-", b"+", b"0x", b"_"],
    ]
)


def read(chunks: Chunks) -> tuple[bytes, bool]:
    """All that is here, and whether that is the end."""
    found = b""
    while data := chunks.next():
        found += data
    return found, data == b""


def as_h11(raw: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Body, trailers and what follows, as h11 reads them."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(HEAD + raw)
    body = b""
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        body += event.data if isinstance(event, h11.Data) else b""
        assert event is not h11.NEED_DATA
    return body, list(event.headers), reader.trailing_data[0]


@given(st.lists(PIECES, max_size=12), st.data())
def test_what_is_taken_is_what_h11_takes(pieces: list[bytes], data: st.DataObject) -> None:
    """However it is cut; and the same is refused."""
    raw = b"".join(pieces)
    outcomes = []
    for cut in ([raw], data.draw(chunked(raw))):
        chunks, found, ended = Chunks(), b"", False
        try:
            for piece in cut:
                chunks.feed(piece)
                if not ended:
                    more, ended = read(chunks)
                    found += more
        except BadRequest:
            outcomes.append(None)
            continue
        outcomes.append((found, ended))
        if ended:
            assert (found, chunks.trailers, chunks.leftover) == as_h11(raw)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "raw",
    [
        *[b"3\nabc\r\n0\r\n\r\n", b"3;a\rb\r\nabc\r\n", b"3;\0\r\nabc\r\n", b"3;\xff\r\nabc\r\n"],
        *[b"3\r\nabcd\r\n", b"3\r\nabc\n0\r\n\r\n", b"\r\n3\r\nabc", b";a\r\n", b"0x3\r\nabc"],
        *[b"-3\r\n", b"+3\r\n", b"3_0\r\n", b" 3\r\n", b"11111111111111111\r\n", b"g\r\n"],
        *[
            b"0\r\nA: b\n\r\n",
            b"0\r\n A: b\r\n\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\nno colon\r\n\r\n",
        ],
        *[b"0\r\n\n", b"0\r\nA: b\rC: d\r\n\r\n"],
    ],
)
def test_what_is_lax_is_refused_and_stays_so(raw: bytes) -> None:
    """By whoever asks again, too."""
    chunks = Chunks()
    chunks.feed(raw)
    for _ in range(2):
        with pytest.raises(BadRequest):
            read(chunks)


def test_every_bound_is_where_it_is_said_to_be() -> None:
    """Of a line, of the fields behind the body, and of framing for each byte."""

    def taken(raw: bytes) -> bool:
        chunks = Chunks()
        chunks.feed(raw)
        try:
            read(chunks)
        except BadRequest:
            return False
        return True

    assert taken(b"3;" + b"x" * (MAX_LINE - 4) + b"\r\n")
    assert not taken(b"3;" + b"x" * (MAX_LINE - 3) + b"\r\n")
    assert not taken(b"3;" + b"x" * MAX_LINE)
    assert taken(b"0\r\n" + b"A:\r\n" * MAX_FIELDS)
    assert not taken(b"0\r\n" + b"A:\r\n" * (MAX_FIELDS + 1))
    assert taken(b"0\r\n" + b"A:" + b"x" * (MAX_HEAD - 5) + b"\r\n")
    assert not taken(b"0\r\n" + b"A:" + b"x" * (MAX_HEAD - 4) + b"\r\n")
    assert not taken(b"0\r\n" + b"A:" + b"x" * MAX_HEAD)
    assert taken(b"1\r\nx\r\n" * 200_000)
    line = b"1;" + b"e" * 1020 + b"\r\n"
    count = FREE // (len(line) - PER_BYTE)
    assert taken((line + b"x\r\n") * count)
    assert not taken((line + b"x\r\n") * (count + 3))
