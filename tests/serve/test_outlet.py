"""Sending bytes and spans of files, to peers that take them, slowly, or not at all."""

import itertools
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from uploadd.errors import StoreError
from uploadd.serve import outlet as module
from uploadd.serve.outlet import AT_HAND, FileSpan, SocketOutlet, StreamOutlet, outlet

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(scope="module")
def file() -> Iterator[int]:
    """A file of one MiB."""
    with tempfile.TemporaryFile() as opened:
        opened.write(CONTENT)
        opened.flush()
        yield opened.fileno()


Pair = Callable[[], tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]]


def socket_pair(buffer: int = 16 * 1024) -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a unix socket that hold *buffer* bytes."""
    left, right = socket.socketpair()
    for end in (left, right):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    return tuple(trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (left, right))


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Two ends of a TCP connection over loopback."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0]:
        address = listeners[0].socket.getsockname()
        client = await trio.open_tcp_stream(*address[:2])
        async with client, await listeners[0].accept() as server:
            yield server, client


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the end."""
    return b"".join([data async for data in stream])


spans = st.builds(
    lambda start, count: FileSpan(-1, start, min(count, len(CONTENT) - start)),
    st.integers(0, len(CONTENT)),
    st.integers(0, len(CONTENT)),
)


@pytest.mark.parametrize("make", [socket_pair, trio.testing.memory_stream_pair])
@given(pieces=st.lists(st.binary(max_size=100_000) | spans, max_size=5))
@settings(max_examples=40)
def test_what_goes_out_is_what_was_asked_for(
    make: Pair, file: int, pieces: list[bytes | FileSpan]
) -> None:
    """Bytes and spans in any order, by sendfile over a socket and by pread over anything else."""
    wanted = b"".join(
        piece if isinstance(piece, bytes) else CONTENT[piece.offset :][: piece.count]
        for piece in pieces
    )

    async def main() -> None:
        ours, theirs = make()
        out = outlet(ours, None)
        assert isinstance(out, SocketOutlet if make is socket_pair else StreamOutlet)
        got = b""

        async def read() -> None:
            nonlocal got
            got = await everything(theirs)

        async with theirs, trio.open_nursery() as nursery:
            nursery.start_soon(read)
            async with ours:
                for piece in pieces:
                    if isinstance(piece, bytes):
                        await out.send(piece)
                    else:
                        await out.send_span(FileSpan(file, piece.offset, piece.count))
        assert got == wanted

    trio.run(main)


async def test_a_large_file_goes_over_tcp_whole() -> None:
    """Many turns, many times a full socket."""
    with tempfile.TemporaryFile() as big:
        big.write(CONTENT * 40)
        big.flush()
        async with tcp_pair() as (server, client), trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                await outlet(server, None).send_span(FileSpan(big.fileno(), 5, 39 * len(CONTENT)))
                await server.send_eof()

            assert await everything(client) == (CONTENT * 40)[5:][: 39 * len(CONTENT)]


@pytest.mark.parametrize(("others", "most"), [(0, 1 << 15), (1, 1 << 18)])
async def test_steps_are_larger_while_others_are_served(
    file: int, monkeypatch: pytest.MonkeyPatch, others: int, most: int
) -> None:
    """Who is alone has all of the processor's cache; together they have Python's lock to share."""
    ours, theirs = socket_pair()
    threads, asked, sendfile = trio.CapacityLimiter(4), set(), os.sendfile

    def counted(socket: int, fd: int, offset: int, count: int) -> int:
        asked.add(count)
        return sendfile(socket, fd, offset, count)

    monkeypatch.setattr(module.os, "sendfile", counted)
    async with ours, theirs, trio.open_nursery() as nursery:
        for other in range(others):
            await threads.acquire_on_behalf_of(other)

        @nursery.start_soon
        async def send() -> None:
            await outlet(ours, threads).send_span(FileSpan(file, 0, len(CONTENT)))
            await ours.send_eof()

        assert await everything(theirs) == CONTENT
    assert max(asked) == most


async def test_a_turn_ends_though_the_peer_always_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is slower than the peer never fills the socket; and a thread that sends hears
    nothing of a cancellation until its turn is over.
    """
    ours, theirs = socket_pair()
    now, full = itertools.count(), [True]

    def sendfile(socket: int, fd: int, offset: int, count: int) -> int:
        if full and full.pop():
            raise BlockingIOError
        return count

    async with ours, theirs:
        with suppress(BlockingIOError):
            while True:  # nobody reads: there is no room, and the turn is one for who is waited for
                os.write(ours.socket.fileno(), bytes(1024))
        monkeypatch.setattr(module.os, "sendfile", sendfile)
        monkeypatch.setattr(module.time, "monotonic", lambda: next(now) / 1000)
        whole = FileSpan(-1, 0, 1 << 34)
        assert 0 < module._Turn(ours.socket, *module._ALONE).take(whole) < 1 << 24
        assert not full


@pytest.mark.parametrize("make", [socket_pair, trio.testing.memory_stream_pair])
async def test_a_file_that_is_shorter_than_promised_is_an_error(make: Pair, file: int) -> None:
    """What there is goes out; nothing is made up for the rest."""
    ours, theirs = make()
    received = b""
    async with theirs, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            nonlocal received
            received = await everything(theirs)

        async with ours:
            with pytest.raises(StoreError, match="ends at 1048576"):
                await outlet(ours, None).send_span(FileSpan(file, len(CONTENT) - 10, 11))
    assert received == CONTENT[-10:]


@pytest.mark.parametrize("make", [socket_pair, trio.testing.memory_stream_pair])
async def test_a_file_that_cannot_be_read_is_our_fault_not_the_peers(
    make: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A directory stands in for a disk that fails: the kernel refuses both."""
    fd = os.open(tmp_path_factory.mktemp("d"), os.O_RDONLY)
    ours, theirs = make()
    try:
        async with ours, theirs:
            with pytest.raises(StoreError, match="cannot be read"):
                await outlet(ours, None).send_span(FileSpan(fd, 0, 10))
    finally:
        os.close(fd)


async def test_a_peer_that_is_gone_is_a_broken_stream(file: int) -> None:
    """Whichever of the two ways finds out."""
    for piece in (FileSpan(file, 0, len(CONTENT)), CONTENT):
        ours, theirs = socket_pair()
        await theirs.aclose()
        out = outlet(ours, None)
        async with ours:
            with pytest.raises(trio.BrokenResourceError):
                await (out.send(piece) if isinstance(piece, bytes) else out.send_span(piece))


@pytest.mark.parametrize("make", [socket_pair, trio.testing.lockstep_stream_pair])
@pytest.mark.parametrize("as_file", [True, False])
async def test_a_peer_that_takes_no_byte_for_a_minute_is_dropped(
    make: Pair, as_file: bool, file: int, autojump_clock: trio.testing.MockClock
) -> None:
    """By either way of sending."""
    ours, theirs = make()
    out = outlet(ours, None)
    async with ours, theirs:
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError, match="took no byte for 60 s"):
            await (out.send_span(FileSpan(file, 0, len(CONTENT))) if as_file else out.send(CONTENT))
        assert trio.current_time() - begun == pytest.approx(module.STALL, abs=1)


async def test_a_peer_that_takes_a_little_every_minute_is_kept(
    file: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Also when for minutes it makes too little room for the kernel to call the socket writable."""
    ours, theirs = socket_pair(buffer=256 * 1024)
    sip = 70_000  # more than the kernel puts in one buffer, less than the room it waits for
    async with theirs, trio.open_nursery() as nursery:
        got = bytearray()

        @nursery.start_soon
        async def take() -> None:
            while data := await theirs.receive_some(sip):
                got.extend(data)
                await trio.sleep(module.STALL * 0.9)

        async with ours:
            await outlet(ours, None).send_span(FileSpan(file, 0, len(CONTENT)))
    assert got == CONTENT


async def test_files_wait_for_a_thread_of_their_own_limiter(file: int) -> None:
    """A limiter with all tokens taken holds a file back; a small answer not, nor a few bytes that
    are in memory.
    """
    limiter = trio.CapacityLimiter(1)
    async with tcp_pair() as (server, client):
        out = outlet(server, limiter)
        async with trio.open_nursery() as nursery:
            await limiter.acquire_on_behalf_of("a slow disk")
            nursery.start_soon(out.send_span, FileSpan(file, 0, AT_HAND + 1))
            await trio.testing.wait_all_tasks_blocked()
            assert limiter.statistics().tasks_waiting == 1
            await out.send(b"head")
            await out.send_span(FileSpan(file, 3, 3))
            assert await client.receive_some(100) == b"head" + CONTENT[3:6]
            limiter.release_on_behalf_of("a slow disk")
            got = b""
            while len(got) <= AT_HAND:
                got += await client.receive_some()
        assert got == CONTENT[: AT_HAND + 1]
