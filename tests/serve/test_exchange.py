"""One request and its answer, over memory and over real sockets."""

import json
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import h11
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import chunked
from tests.wire import parsed
from uploadd.errors import BadRequest, NotFound, StoreError, TooLarge, TooSlow
from uploadd.serve import exchange as module
from uploadd.serve import outlet
from uploadd.serve.exchange import Exchange, FileSpan, linger

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def begin(stream: trio.abc.Stream, head: bytes, behind: bytes = b"") -> Exchange:
    """An exchange as the front door begins it."""
    return Exchange(stream, parsed(head), "r-1", behind=behind, now=lambda: 784111777.0)


def put(length: int, *lines: bytes) -> bytes:
    """The head of a PUT with a body of *length* bytes."""
    more = b"".join(line + b"\r\n" for line in lines)
    return b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n" % (length, more)


CHUNKED = b"PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Client:
    """The other end: reads one answer."""

    def __init__(self, stream: trio.abc.Stream, method: bytes = b"GET") -> None:
        self.stream = stream
        self.conn = h11.Connection(h11.CLIENT)
        self.conn.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        self.conn.send(h11.EndOfMessage())

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, fields and body; raises when it is cut short."""
        body = b""
        while True:
            event = self.conn.next_event()
            if event is h11.NEED_DATA:
                self.conn.receive_data(await self.stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return head.status_code, dict(head.headers), body


def memory() -> tuple[trio.StapledStream, trio.StapledStream]:
    """Ours and theirs."""
    return trio.testing.memory_stream_pair()


@asynccontextmanager
async def tcp() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Ours and theirs, over loopback."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0]:
        client = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
        async with client, await listeners[0].accept() as server:
            yield server, client


async def received(exchange: Exchange) -> bytes:
    """The whole body of a request."""
    body = b""
    while data := await exchange.receive_body():
        body += data
    assert await exchange.receive_body() == b""  # and it stays so
    return body


# --- receiving ---


@given(data=st.data(), body=st.binary(max_size=200), parts=st.none() | st.integers(1, 4))
@settings(max_examples=60)
def test_any_split_of_a_request_gives_the_same_body(
    data: st.DataObject, body: bytes, parts: int | None
) -> None:
    """And what follows it stays for the next, byte for byte; some of it came with the head."""
    head, wire = (put(len(body)), body) if parts is None else (CHUNKED, in_chunks(body, parts))
    pieces = data.draw(chunked(wire + GET))
    behind = b"".join(pieces[: data.draw(st.integers(0, len(pieces)))])

    async def main() -> None:
        ours, theirs = memory()
        exchange = begin(ours, head, behind)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                sent = len(behind)
                while pieces and sent:
                    sent -= len(pieces.pop(0))
                for piece in pieces:
                    await theirs.send_all(piece)
                    await trio.lowlevel.checkpoint()
                await theirs.send_eof()

            assert await received(exchange) == body
        await exchange.answer(200, [])
        assert exchange.reusable
        assert exchange.leftover + b"".join([more async for more in ours]) == GET

    trio.run(main)


def in_chunks(body: bytes, parts: int) -> bytes:
    """*body* with the framing of RFC 9112 7.1."""
    step = len(body) // parts + 1
    cut = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in cut) + b"0\r\n\r\n"


async def test_fields_behind_a_body_can_be_read_after_it() -> None:
    """Where a client that computes a digest on its way puts it."""
    ours, _ = memory()
    exchange = begin(ours, CHUNKED, b"1\r\na\r\n0\r\nContent-Digest: x\r\n\r\n")
    assert await received(exchange) == b"a"
    assert list(exchange.trailers) == [(b"content-digest", b"x")]


async def test_a_waiting_client_is_asked_for_its_body_only_when_it_is_wanted() -> None:
    """100 Continue, once, before the first byte."""
    ours, theirs = memory()
    exchange = begin(ours, put(3, b"Expect: 100-continue"))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def client() -> None:
            assert await theirs.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await theirs.send_all(b"ab")
            await trio.testing.wait_all_tasks_blocked()
            await theirs.send_all(b"c")

        assert await received(exchange) == b"abc"
    await exchange.answer(204, [])
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 204 No Content\r\n")
    assert exchange.reusable


async def test_a_waiting_client_whose_body_is_not_wanted_gets_the_answer_alone() -> None:
    """Nobody can tell whether its body comes, so the connection ends."""
    ours, theirs = memory()
    exchange = begin(ours, put(3, b"Expect: 100-continue"))
    await theirs.send_eof()
    await exchange.refuse(TooLarge("no"))
    status, fields, _ = await Client(theirs).answer()
    assert (status, fields[b"connection"]) == (413, b"close")
    assert not exchange.reusable


async def test_a_client_that_does_not_wait_is_not_asked() -> None:
    """Its body has come already."""
    ours, theirs = memory()
    exchange = begin(ours, put(3, b"Expect: 100-continue"), b"abc")
    assert await received(exchange) == b"abc"
    await exchange.answer(200, [])
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("bad", [b"x\r\n", b"-3\r\nabc", b"3\r\nabcd\r\n", b"0x3\r\nabc\r\n"])
async def test_a_malformed_body_is_a_bad_request_and_the_last(bad: bytes) -> None:
    """It can still be answered; after that nobody knows where the next request begins."""
    ours, theirs = memory()
    exchange = begin(ours, CHUNKED, bad)
    with pytest.raises(BadRequest) as caught:
        await received(exchange)
    await theirs.send_eof()
    await exchange.refuse(caught.value)
    status, fields, _ = await Client(theirs).answer()
    assert (status, fields[b"connection"]) == (400, b"close")
    assert not exchange.reusable


@pytest.mark.parametrize("head", [put(3), CHUNKED])
async def test_a_peer_that_goes_in_the_middle_of_its_body_is_gone(head: bytes) -> None:
    """There is nobody left to tell."""
    ours, theirs = memory()
    exchange = begin(ours, head)
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await received(exchange)
    assert not exchange.reusable


async def test_a_body_that_stands_still_for_a_minute_is_too_slow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And one byte a minute is not."""
    ours, theirs = memory()
    exchange = begin(ours, put(10))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def dribble() -> None:
            for _ in range(3):
                await trio.sleep(module.IDLE - 1)
                await theirs.send_all(b"a")

        with pytest.raises(TooSlow):
            await received(exchange)
    assert trio.current_time() == pytest.approx(4 * module.IDLE - 3, abs=1)


# --- a body for the kernel ---


@pytest.mark.parametrize(
    ("behind", "first", "owed", "leftover"),
    [
        (b"", b"", 5, b""),
        (b"abc", b"abc", 2, b""),
        (b"abcde", b"abcde", 0, b""),
        (b"abcdeGET", b"abcde", 0, b"GET"),
    ],
)
async def test_a_body_can_be_taken_over(
    behind: bytes, first: bytes, owed: int, leftover: bytes
) -> None:
    """Once the last byte is said to have moved, the connection goes on."""
    ours, _ = memory()
    exchange = begin(ours, put(5), behind)
    assert await exchange.hand_over_body() == (first, owed)
    if owed:
        exchange.body_moved(owed - 1)
        exchange.body_moved(1)
    await exchange.answer(201, [])
    assert exchange.reusable
    assert exchange.leftover == leftover


async def test_a_body_that_was_taken_over_can_still_be_received() -> None:
    """When the kernel path gives up on it: the rest and no byte more."""
    ours, theirs = memory()
    exchange = begin(ours, put(5, b"Expect: 100-continue"))
    await exchange.hand_over_body()
    assert await theirs.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await theirs.send_all(b"cdeGET")
    exchange.body_moved(2)
    assert await received(exchange) == b"cde"
    await exchange.answer(201, [])
    assert exchange.reusable
    assert await ours.receive_some() == b"GET"


async def test_a_body_left_on_the_socket_ends_the_connection() -> None:
    """Taken over in the middle: what was not moved is not the next request."""
    ours, theirs = memory()
    exchange = begin(ours, put(1_000_000))
    await exchange.hand_over_body()
    exchange.body_moved(10)
    await theirs.send_eof()
    await exchange.answer(409, [])
    assert not exchange.reusable
    assert (await Client(theirs).answer())[1][b"connection"] == b"close"


@pytest.mark.parametrize("head", [CHUNKED, GET])
async def test_only_a_body_of_declared_length_can_be_taken(head: bytes) -> None:
    """The kernel does not read chunk headers."""
    ours, _ = memory()
    with pytest.raises(RuntimeError):
        await begin(ours, head).hand_over_body()


# --- answering ---


async def test_an_answer_says_how_long_it_is_who_gave_it_and_when() -> None:
    """And leaves the connection to the next request."""
    ours, theirs = memory()
    exchange = begin(ours, GET)
    assert not exchange.answered
    await exchange.answer(200, [("Content-Type", "text/plain")], b"hello")
    assert await Client(theirs).answer() == (
        200,
        {
            b"content-type": b"text/plain",
            b"content-length": b"5",
            b"server": b"uploadd",
            b"date": b"Sun, 06 Nov 1994 08:49:37 GMT",
        },
        b"hello",
    )
    assert exchange.answered
    assert exchange.reusable


async def test_head_is_told_the_length_of_a_body_that_does_not_come() -> None:
    """The same fields as for GET."""
    for give in (
        lambda exchange: exchange.answer(200, [], b"hello"),
        lambda exchange: exchange.stream_answer(200, [("Content-Length", "5")], [b"hello"]),
    ):
        ours, theirs = memory()
        exchange = begin(ours, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        await give(exchange)
        await ours.send_eof()
        raw = b"".join([data async for data in theirs])
        assert b"content-length: 5\r\n" in raw.lower()
        assert raw.endswith(b"\r\n\r\n")
        assert exchange.reusable


@pytest.mark.parametrize(
    ("head", "fields"), [(b"Content-Length: 0\r\n", [("ETag", '"x"')]), (b"", [])]
)
@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_body_ends_with_its_head(
    status: int, head: bytes, fields: Iterable[tuple[str, str]]
) -> None:
    """And carries no length that somebody could wait for."""
    ours, theirs = memory()
    exchange = begin(ours, b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
    await exchange.answer(status, fields)
    raw = await theirs.receive_some()
    assert b"content-length" not in raw.lower()
    assert exchange.reusable


async def test_a_stream_of_unknown_length_comes_in_chunks() -> None:
    """From a list or from a generator; nothing is sent for an empty piece."""

    async def later() -> AsyncIterator[bytes]:
        for piece in (b"a", b"", b"bc"):
            await trio.lowlevel.checkpoint()
            yield piece

    for pieces in ([b"a", b"", b"bc"], later()):
        ours, theirs = memory()
        exchange = begin(ours, GET)
        await exchange.stream_answer(200, [], pieces)
        _, fields, body = await Client(theirs).answer()
        assert (fields[b"transfer-encoding"], body) == (b"chunked", b"abc")
        assert exchange.reusable


async def test_an_old_client_gets_a_stream_that_ends_with_the_connection() -> None:
    """HTTP/1.0 knows neither chunks nor interim answers."""
    ours, theirs = memory()
    exchange = begin(ours, b"GET / HTTP/1.0\r\n\r\n")
    await exchange.inform(103)
    await exchange.stream_answer(200, [], [b"abc"])
    await ours.send_eof()
    raw = b"".join([data async for data in theirs])
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"\r\n\r\nabc")
    assert not exchange.reusable


async def test_interim_answers_come_before_the_final_one() -> None:
    """104 of the IETF draft, with fields, while the body arrives."""
    ours, theirs = memory()
    exchange = begin(ours, put(1))
    await exchange.inform(104, [("Upload-Offset", "5")])
    assert await theirs.receive_some() == (
        b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 5\r\n\r\n"
    )
    assert not exchange.answered
    await theirs.send_all(b"a")
    assert await received(exchange) == b"a"
    await exchange.answer(201, [])
    assert exchange.reusable


@pytest.mark.parametrize("framing", [[("Content-Length", "11")], []])
async def test_a_span_of_a_file_is_a_piece_like_another(framing: list[tuple[str, str]]) -> None:
    """By sendfile over TCP and by pread over memory, with a length and in chunks."""
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        pieces = [b"<", FileSpan(file.fileno(), 2, 4), b"|", FileSpan(file.fileno(), 6, 4), b">"]
        ours, theirs = memory()
        await begin(ours, GET).stream_answer(200, framing, pieces)
        assert (await Client(theirs).answer())[2] == b"<2345|6789>"
        async with tcp() as (server, client):
            exchange = begin(server, GET)
            await exchange.stream_answer(200, framing, pieces)
            assert (await Client(client).answer())[2] == b"<2345|6789>"
            assert exchange.reusable


async def test_a_file_that_is_too_short_ends_the_connection_unpadded() -> None:
    """The client sees that bytes are missing."""
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.flush()
        async with tcp() as (server, client):
            exchange = begin(server, GET)
            with pytest.raises(StoreError):
                await exchange.stream_answer(
                    200, [("Content-Length", "20")], [FileSpan(file.fileno(), 0, 20)]
                )
            assert exchange.answered
            assert not exchange.reusable
            await server.aclose()
            with pytest.raises(h11.RemoteProtocolError, match="closed"):
                await Client(client).answer()


async def test_a_cancelled_answer_leaves_a_connection_that_is_finished() -> None:
    """Half a message went out: nothing may follow it, not even an error."""
    left, right = socket.socketpair()
    with right:
        ours = trio.SocketStream(trio.socket.from_stdlib_socket(left))
        async with ours:
            exchange = begin(ours, GET)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(exchange.answer, 200, [], bytes(10_000_000))
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            assert exchange.answered
            assert not exchange.reusable


async def test_after_half_an_interim_answer_nothing_more_is_said() -> None:
    """A takeover that cancels in the middle of 100 Continue must not write into it."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    exchange = begin(ours, put(1, b"Expect: 100-continue"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.receive_body)
        assert await theirs.receive_some(5) == b"HTTP/"
        nursery.cancel_scope.cancel()
    assert exchange.answered
    with pytest.raises(trio.BrokenResourceError):
        await exchange.refuse(NotFound("no"))


async def test_a_refusal_is_a_problem_document() -> None:
    """With the request's id, and what else the conversation has to say."""
    ours, theirs = memory()
    exchange = begin(ours, GET)
    await exchange.refuse(NotFound("no such upload", hint="look"), [("Retry-After", "1")])
    status, fields, body = await Client(theirs).answer()
    assert status == 404
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"retry-after"] == b"1"
    assert json.loads(body)["request_id"] == "r-1"
    assert exchange.reusable


async def test_a_refusal_of_head_has_no_body() -> None:
    """Whose client would take it for the next answer."""
    ours, theirs = memory()
    exchange = begin(ours, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    await exchange.refuse(NotFound("no"))
    raw = await theirs.receive_some()
    assert raw.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in raw
    assert exchange.reusable


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"],
)
async def test_a_client_that_wants_no_more_gets_no_more(head: bytes) -> None:
    """Its connection is closed at once: nothing of the request is missing."""
    ours, theirs = memory()
    exchange = begin(ours, head)
    await exchange.answer(200, [], b"x")
    assert (await Client(theirs).answer())[1][b"connection"] == b"close"
    assert not exchange.reusable


# --- answering while the request still arrives ---


async def test_a_client_that_is_still_sending_sees_an_early_answer() -> None:
    """Over real TCP, one that sends all before it reads: a bare close would have reset it."""
    body = bytes(outlet.LINGER_BYTES // 2)
    async with tcp() as (server, client):
        exchange = begin(server, put(len(body)))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def refuse() -> None:
                async with server:
                    await exchange.refuse(TooLarge("over the limit"))

            await client.send_all(body)
            status, fields, problem = await Client(client, b"PUT").answer()
            assert (status, fields[b"connection"]) == (413, b"close")
            assert json.loads(problem)["code"] == "too-large"
            assert await client.receive_some() == b""
            await client.aclose()
        assert not exchange.reusable


async def test_a_client_whose_body_never_ends_is_held_back_and_sees_the_answer() -> None:
    """Beyond the bound TCP stops it instead of a reset, and it looks what is the matter."""
    async with tcp() as (server, client):
        exchange = begin(server, put(10**15))
        sent = 0
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                nonlocal sent
                while True:
                    await client.send_all(bytes(100_000))
                    sent += 100_000

            nursery.start_soon(exchange.refuse, TooLarge("over the limit"))
            await trio.testing.wait_all_tasks_blocked(cushion=0.1)
            assert sent > outlet.LINGER_BYTES
            assert (await Client(client, b"PUT").answer())[0] == 413
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("length", "kept"), [(module.DRAIN_BYTES, True), (10**6, False)])
async def test_a_small_rest_of_a_body_is_read_and_a_large_one_is_not(
    length: int, kept: bool
) -> None:
    """Reading 64 KiB is cheaper than a new connection."""
    ours, theirs = memory()
    exchange = begin(ours, put(length), b"")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def client() -> None:
            _, fields, _ = await Client(theirs, b"PUT").answer()
            assert (b"connection" in fields) is not kept
            await theirs.send_all(bytes(length) + GET)
            await theirs.send_eof()

        await exchange.refuse(NotFound("no"))
    assert exchange.reusable is kept
    if kept:
        rest = exchange.leftover + b"".join([data async for data in ours])
        assert rest == GET


async def test_a_small_rest_that_does_not_come_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After the time that any goodbye may take."""
    ours, _ = memory()
    exchange = begin(ours, put(10))
    await exchange.refuse(NotFound("no"))
    assert trio.current_time() == pytest.approx(outlet.LINGER_SECONDS)
    assert not exchange.reusable


async def test_a_goodbye_ends_when_the_peer_closes() -> None:
    """At once, and it has seen our end first."""
    ours, theirs = memory()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger, ours)
        assert await theirs.receive_some() == b""
        await theirs.send_all(b"more")
        await theirs.send_eof()


async def test_a_goodbye_reads_no_more_than_its_bound_and_lasts_no_longer_than_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whatever a peer sends that never ends."""
    ours, theirs = memory()
    sent = outlet.LINGER_BYTES + 10_000_000
    await theirs.send_all(bytes(sent))
    await linger(ours)
    assert trio.current_time() == pytest.approx(outlet.LINGER_SECONDS)
    await theirs.send_eof()
    left = sum([len(data) async for data in ours])
    assert left == pytest.approx(10_000_000, abs=200_000)


async def test_a_goodbye_to_a_peer_that_is_gone_is_quiet() -> None:
    """A reset is one way to leave."""
    left, right = socket.socketpair()
    ours = trio.SocketStream(trio.socket.from_stdlib_socket(left))
    async with ours:
        await ours.send_all(b"unread")
        right.close()  # with bytes unread: a reset
        await linger(ours)
