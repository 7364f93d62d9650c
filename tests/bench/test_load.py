"""The load generator understands its servers: frames, answers, and who does what."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.answers import Answers, Refused, location
from bench.load.requests import wrk_told
from bench.load.workers import PROCESSORS, spread_over
from bench.load.ws import BINARY, KEY, TEXT, Frames, chunk_header, frame_header, masked, word


def frame(first: int, payload: bytes) -> bytes:
    """As a server sends it: without a mask."""
    size = len(payload)
    if size < 126:
        return struct.pack(">BB", first, size) + payload
    if size < 65536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload


payloads = st.lists(st.sampled_from([0, 1, 125, 126, 65535, 65536]).map(bytes), max_size=4)


@given(payloads, st.lists(st.integers(1, 70000), max_size=8))
def test_frames_are_cut_out_of_any_split(sent: list[bytes], cuts: list[int]) -> None:
    """Text and binary; pings are nobody's message."""
    data = b"".join(frame(0x89, b"ping") + frame(TEXT, payload) for payload in sent)
    frames, found = Frames(), []
    for cut in cuts:
        found += frames.receive(data[:cut])
        data = data[cut:]
    found += frames.receive(data)
    assert found == sent


def test_a_close_is_an_error_with_what_the_server_said() -> None:
    """It ends the row, and the note says why."""
    with pytest.raises(ConnectionError, match="too big"):
        Frames().receive(frame(0x88, b"\x03\xf1too big"))


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 1 << 20])
def test_our_frames_are_masked_with_a_key_that_nobody_can_leave_out(size: int) -> None:
    """With zeros some servers do, and would be measured without what they do for browsers."""
    header = frame_header(BINARY, size)
    assert header[1] & 0x80
    assert all(header[-4:])
    assert len(header) == {0: 6, 125: 6, 126: 8, 65535: 8}.get(size, 14)


@given(st.binary(max_size=256))
def test_words_are_what_they_were_once_unmasked(said: bytes) -> None:
    """Octet i of the payload with octet i modulo 4 of the key (RFC 6455 5.3)."""
    frame = word(said)
    assert frame.endswith(masked(said))
    assert bytes(b ^ KEY[i % 4] for i, b in enumerate(masked(said))) == said


def test_a_chunk_says_where_it_belongs() -> None:
    """Frame header, then the sixteen bytes of docs/protocol.md; the key goes on behind them."""
    said = chunk_header(7, 65536, 5, flags=6)
    told = bytes(b ^ KEY[i % 4] for i, b in enumerate(said[-16:]))
    assert told.hex(" ") == "01 06 00 00 00 00 00 07 00 00 00 00 00 01 00 00"
    assert said[1] & 127 == 21


ANSWERS = {
    b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n": 0,
    b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n": 0,
    b"HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello": 5,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n": 5,
}


@given(st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=4), st.data())
def test_answers_end_where_they_end(said: list[bytes], data: st.DataObject) -> None:
    """One after the other on one connection, however each of them is split."""
    answers = Answers()
    for one in said:
        cuts = data.draw(st.sets(st.integers(1, len(one) - 1), max_size=4).map(sorted))
        edges = [0, *cuts, len(one)]
        pieces = [one[a:b] for a, b in pairwise(edges)]
        ended = [answers.receive(memoryview(piece)) for piece in pieces]
        assert ended == [False] * (len(pieces) - 1) + [True]


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b""]
)
def test_what_is_no_success_is_refused(said: bytes) -> None:
    """Also nothing at all: a server that closed."""
    with pytest.raises(Refused):
        Answers().receive(memoryview(said))


@pytest.mark.parametrize("where", [b"/files/x", b"http://127.0.0.1:8080/files/x"])
def test_a_location_is_a_path(where: bytes) -> None:
    """Absolute or not."""
    assert location(b"HTTP/1.1 201 Created\r\nlocation: %b\r\n" % where) == "/files/x"


WRK = """\
Running 1s test @ http://127.0.0.1:80/x
  1 threads and 32 connections
    Latency     1.00ms    1.00ms  10.00ms   90.00%
  12000 requests in 1.10s, 117.19MB read
Requests/sec:  10909.09
"""


def test_wrk_is_read_and_errors_do_not_count() -> None:
    """Requests that succeeded, and bytes."""
    assert wrk_told(WRK) == (12000, round(117.19 * (1 << 20)))
    assert wrk_told(WRK + "  Non-2xx or 3xx responses: 11000\n")[0] == 1000
    with pytest.raises(ValueError, match="unable"):
        wrk_told("unable to connect")


@given(st.integers(1, 5000))
def test_connections_are_shared_out_evenly(connections: int) -> None:
    """To no more processes than there are processors, and none without work."""
    shares = spread_over(connections)
    assert sum(shares) == connections
    assert len(shares) == min(connections, PROCESSORS)
    assert max(shares) - min(shares) <= 1
