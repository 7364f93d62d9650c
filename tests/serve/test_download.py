"""GET and HEAD of a file, from the request to the bytes that arrive."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import HTTP

import h11
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import parsed
from uploadd.errors import NotFound, StoreError
from uploadd.protocol.ranges import select
from uploadd.serve.download import Published, serve_file
from uploadd.serve.exchange import Exchange

CONTENT = bytes(range(100))
FILE = Published(id="abc", name="a.bin", media_type=None, length=100, modified=784111777)


@asynccontextmanager
async def opened(content: bytes, closed: list[int]) -> AsyncIterator[int]:
    """A file with *content*, and notes in *closed* when it is given back."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.fileno()
        os.fstat(file.fileno())
    closed.append(1)


async def ask(
    ours: trio.abc.Stream,
    theirs: trio.abc.Stream,
    *lines: tuple[str, str],
    method: str = "GET",
    file: Published = FILE,
    content: bytes = CONTENT,
) -> tuple[h11.Response, bytes]:
    """One request and the answer to it."""
    client = h11.Connection(h11.CLIENT)
    request = h11.Request(method=method, target="/f/abc", headers=[("Host", "x"), *lines])
    head = parsed(client.send(request) or b"")
    client.send(h11.EndOfMessage())
    closed: list[int] = []
    exchange = Exchange(ours, head, "r-1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_file, exchange, file, opened(content, closed))
        body = b""
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(await theirs.receive_some())
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
    assert exchange.reusable
    assert closed
    return response, body


def parts(response: h11.Response, body: bytes) -> Iterator[tuple[str, bytes]]:
    """(Content-Range, bytes) of a multipart answer, as the standard library reads mail."""
    kind = dict(response.headers)[b"content-type"]
    mail = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + body, policy=HTTP)
    for part in mail.iter_parts():
        yield part["Content-Range"], part.get_payload(decode=True)


@asynccontextmanager
async def tcp() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Ours and theirs, over loopback."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0]:
        client = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
        async with client, await listeners[0].accept() as server:
            yield server, client


@given(
    value=st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 120)).map(lambda r: f"{r[0]}-{r[1]}")
        | st.integers(0, 120).map("{}-".format)
        | st.integers(0, 120).map("-{}".format),
        min_size=1,
        max_size=18,
    ).map(lambda specs: "bytes=" + ",".join(specs))
)
@settings(max_examples=80)
def test_what_arrives_is_what_the_range_selects(value: str) -> None:
    """Whole, one part, several, or none: status, fields and bytes agree with each other."""
    # Letters: a reader of mail does not keep every byte of a part as it is.
    content = (b"abcdefghijklmnopqrstuvwxyz" * 4)[:100]

    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        response, body = await ask(ours, theirs, ("Range", value), content=content)
        fields = dict(response.headers)
        status, spans = select(value, 100)
        assert response.status_code == status
        assert int(fields[b"content-length"]) == len(body)
        if status == 416:
            assert fields[b"content-range"] == b"bytes */100"
        elif len(spans) > 1:
            assert list(parts(response, body)) == [
                (f"bytes {start}-{end - 1}/100", content[start:end]) for start, end in spans
            ]
        else:
            assert body == content[slice(*spans[0])]

    trio.run(main)


async def test_a_file_and_its_ranges_come_by_sendfile_too() -> None:
    """Over TCP, on one connection after another."""
    async with tcp() as (server, client):
        assert (await ask(server, client))[1] == CONTENT
        assert (await ask(server, client, ("Range", "bytes=10-19")))[1] == CONTENT[10:20]
        response, body = await ask(server, client, ("Range", "bytes=97-99,0-1"))
        for piece in (CONTENT[97:], CONTENT[:2]):  # in lines of their own: a boundary is anything
            assert body.count(b"\r\n\r\n" + piece + b"\r\n--") == 1
        assert int(dict(response.headers)[b"content-length"]) == len(body)


async def test_head_says_all_that_get_says_and_sends_nothing() -> None:
    """The same fields but the date."""
    ours, theirs = trio.testing.memory_stream_pair()
    got, _ = await ask(ours, theirs)
    head, body = await ask(ours, theirs, method="HEAD")
    assert body == b""
    assert set(got.headers) - set(head.headers) <= {
        (name, value) for name, value in got.headers if name == b"date"
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("line", "status"),
    [(("If-None-Match", '"abc"'), 304), (("If-Match", '"x"'), 412), (("If-Match", '"abc"'), 200)],
)
async def test_preconditions_hold_for_both_methods(
    method: str, line: tuple[str, str], status: int
) -> None:
    """And the connection goes on after each."""
    ours, theirs = trio.testing.memory_stream_pair()
    response, body = await ask(ours, theirs, line, method=method)
    assert response.status_code == status
    assert bool(body) == (method == "GET" and status != 304)


async def test_an_empty_file_arrives_empty() -> None:
    """Without a span of nothing."""
    ours, theirs = trio.testing.memory_stream_pair()
    response, body = await ask(ours, theirs, file=FILE._replace(length=0), content=b"")
    assert (response.status_code, body) == (200, b"")


def started(stream: trio.abc.Stream, *lines: bytes) -> Exchange:
    """An exchange with a GET in it."""
    raw = b"\r\n".join([b"GET /f/abc HTTP/1.1", b"Host: x", *lines, b"", b""])
    return Exchange(stream, parsed(raw), "r-1")


@pytest.mark.parametrize("line", [b"A: b", b'If-None-Match: "abc"', b'If-Match: "x"'])
async def test_a_file_that_cannot_be_opened_is_missing_whatever_was_asked(line: bytes) -> None:
    """The error comes out before a word is said, so that it can still be told."""

    @asynccontextmanager
    async def gone() -> AsyncIterator[int]:
        raise NotFound("changed outside")
        yield 0

    ours, _ = trio.testing.memory_stream_pair()
    exchange = started(ours, line)
    with pytest.raises(NotFound):
        await serve_file(exchange, FILE, gone())
    assert not exchange.answered


async def test_a_file_that_was_cut_off_ends_the_connection() -> None:
    """Never padded: the client sees fewer bytes than it was promised."""
    ours, theirs = trio.testing.memory_stream_pair()
    exchange = started(ours)
    with pytest.raises(StoreError):
        await serve_file(exchange, FILE, opened(CONTENT[:60], []))
    assert exchange.answered
    assert not exchange.reusable
    await ours.send_eof()
    raw = b"".join([data async for data in theirs])
    assert raw.partition(b"\r\n\r\n")[2] == CONTENT[:60]
