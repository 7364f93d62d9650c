"""A WebSocket as four methods, over memory and over sockets; a library is the peer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from tests import wire
from tests.serve.test_gate import over_sockets
from uploadd.budget import Budget
from uploadd.protocol.framereader import FrameReader
from uploadd.protocol.frames import Judge
from uploadd.serve.gate import Closed, Gate
from uploadd.serve.messages import PONGS, Messages, accepted

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Peer:
    """The other end, which speaks through the library."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.library = Connection(ConnectionType.CLIENT)
        self.unread: list[Event] = []

    async def say(self, *events: Event) -> None:
        """Say *events* in one go."""
        await self.stream.send_all(b"".join(self.library.send(event) for event in events))

    async def hear(self) -> Event:
        """The next event."""
        while not self.unread:
            data = await self.stream.receive_some(1 << 16)
            assert data, "it ended"
            self.library.receive_data(bytes(data))
            self.unread += self.library.events()
        return self.unread.pop(0)

    async def ended(self) -> bool:
        """Whether nothing more comes."""
        return not self.unread and not await self.stream.receive_some(9)


async def pair(kind: str) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Two ends of a stream; one in lockstep takes nothing that nobody reads."""
    if kind == "socket":
        return await over_sockets()
    return lockstep_stream_pair() if kind == "lockstep" else memory_stream_pair()


@asynccontextmanager
async def opened(kind: str = "socket") -> AsyncIterator[tuple[Messages, Peer]]:
    """A WebSocket behind its handshake; when the block ends, it does."""
    ours, theirs = await pair(kind)
    gate = Gate(ours, FrameReader(Judge()), Budget(1 << 20).share(), message_seconds=30)
    async with trio.open_nursery() as nursery:
        try:
            nursery.start_soon(theirs.receive_some, len(ANSWER))
            async with accepted(gate, ANSWER, seconds=5) as messages:
                await wait_all_tasks_blocked()
                yield messages, Peer(theirs)
        finally:
            await trio.aclose_forcefully(ours)
            await trio.aclose_forcefully(theirs)


KINDS = pytest.mark.parametrize("kind", ["memory", "socket"])


@KINDS
async def test_messages_go_both_ways(kind: str) -> None:
    """Of both kinds, several in one go, and in order."""
    async with opened(kind) as (messages, peer):
        await peer.say(TextMessage("Grüße"), BytesMessage(b"\x00\xff"), TextMessage(""))
        assert [await messages.receive() for _ in range(3)] == ["Grüße", b"\x00\xff", ""]
        await messages.send("Grüße", b"\x00\xff")
        await messages.send("")
        heard = [await peer.hear() for _ in range(3)]
        assert heard == [TextMessage("Grüße"), BytesMessage(b"\x00\xff"), TextMessage("")]


@KINDS
async def test_a_ping_is_answered_while_a_message_is_waited_for(kind: str) -> None:
    """Each with its own payload; the messages around it come."""
    async with opened(kind) as (messages, peer):
        pings = [Ping(bytes([number])) for number in range(20)]
        await peer.say(TextMessage("a"), *pings, Pong(b"nobody asked"), TextMessage("b"))
        assert [await messages.receive() for _ in range(2)] == ["a", "b"]
        assert [await peer.hear() for _ in pings] == [Pong(ping.payload) for ping in pings]


async def test_answers_that_nobody_reads_are_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever asks and does not read costs little; what it says meanwhile is heard."""
    async with opened("lockstep") as (messages, peer), trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(peer.say, *[Ping(bytes(125))] * 80, TextMessage(str(number)))
            assert await messages.receive() == str(number)
            await trio.sleep(10)  # more of them are a flood
        nursery.start_soon(messages.send, "on")
        assert [await peer.hear() for _ in range(PONGS)] == [Pong(bytes(125))] * PONGS
        assert await peer.hear() == TextMessage("on")


async def test_a_sign_of_life_is_asked_for_once() -> None:
    """Until the peer has said something, whatever it is."""
    async with opened() as (messages, peer):
        for said in (Pong(b""), TextMessage("a")):
            for _ in range(3):
                messages.ping()
                await wait_all_tasks_blocked()
            assert await peer.hear() == Ping(b"")
            await peer.say(said, TextMessage("b"))
            while await messages.receive() != "b":
                pass
        messages.ping()
        assert await peer.hear() == Ping(b"")


@KINDS
@pytest.mark.parametrize("code", [None, 1000, 4400])
async def test_the_peers_close_is_answered_at_once(kind: str, code: int | None) -> None:
    """With its own code, before anything else happens; then nothing is said any more."""
    async with opened(kind) as (messages, peer):
        await peer.say(TextMessage("last"))
        await peer.stream.send_all(wire.frame(wire.CLOSE, code.to_bytes(2, "big") if code else b""))
        assert await messages.receive() == "last"
        for _ in range(2):
            with pytest.raises(Closed) as caught:
                await messages.receive()
            assert caught.value.refusal is None
        close = await peer.hear()
        assert isinstance(close, CloseConnection)
        assert close.code == (code or 1005)
        with pytest.raises(Closed):
            await messages.send("too late")
        messages.ping()
        await messages.close(1000, "")
        await trio.aclose_forcefully(messages._gate.stream)
        assert await peer.ended()


@KINDS
async def test_close_is_said_and_waited_for(kind: str) -> None:
    """What the peer still says is dropped, and none of its pings answered."""
    async with opened(kind) as (messages, peer), trio.open_nursery() as nursery:
        await messages.send("before")
        nursery.start_soon(messages.close, 1009, "x" * 200)
        assert await peer.hear() == TextMessage("before")
        assert await peer.hear() == CloseConnection(1009, "x" * 123)
        said = wire.frame(wire.PING, b"x") * 300 + wire.frame(wire.BINARY, bytes(50_000))
        await peer.stream.send_all(said)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await peer.stream.send_all(wire.frame(wire.CLOSE))
    assert peer.unread == []


async def test_close_waits_two_seconds_and_no_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """For the answer, and for a peer that takes nothing; also when all is cancelled."""
    async with opened("memory") as (messages, peer):
        began = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            await messages.close(1000, "")
        assert trio.current_time() - began == pytest.approx(2)
        assert isinstance(await peer.hear(), CloseConnection)


@KINDS
async def test_a_refusal_is_raised_behind_what_came_before_it(kind: str) -> None:
    """Then Close can be said with its code."""
    async with opened(kind) as (messages, peer), trio.open_nursery() as nursery:
        await peer.say(TextMessage("good"))
        await peer.stream.send_all(wire.frame(wire.TEXT, b"\xff") + wire.frame(wire.PING))
        assert await messages.receive() == "good"
        with pytest.raises(Closed) as caught:
            await messages.receive()
        assert caught.value.refusal is not None
        nursery.start_soon(messages.close, *caught.value.refusal)
        close = await peer.hear()
        assert isinstance(close, CloseConnection)
        assert close.code == 1007
        await peer.say(close.response())


async def test_a_send_that_was_cancelled_is_gone_on_with() -> None:
    """Over a socket nothing is cut: what waits goes out first, and the goodbye behind it."""
    said = [json.dumps({"number": number, "long": "x" * 100_000}) for number in range(100)]
    async with opened() as (messages, peer), trio.open_nursery() as nursery:
        with trio.move_on_after(0.1) as patience:
            await messages.send(*said)
        assert patience.cancelled_caught
        nursery.start_soon(messages.send, "next")
        for expected in (*said, "next"):
            text = ""
            while text != expected:
                event = await peer.hear()
                assert isinstance(event, TextMessage)
                text += event.data
        nursery.start_soon(messages.close, 1012, "restarting")
        assert await peer.hear() == CloseConnection(1012, "restarting")
        await peer.say(CloseConnection(1012))


async def test_a_send_that_was_cut_off_is_the_last(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where nobody knows how much of it is out, half a frame stays the end."""
    async with opened("lockstep") as (messages, _):
        with trio.move_on_after(1):
            await messages.send("nobody reads")
        with pytest.raises(Closed):
            await messages.send("more")
        began = trio.current_time()
        await messages.close(1000, "")
        assert trio.current_time() == began


@KINDS
async def test_who_is_gone_is_told_nothing(kind: str) -> None:
    """Neither side of it is an error of ours."""
    async with opened(kind) as (messages, peer):
        await trio.aclose_forcefully(peer.stream)
        with pytest.raises(Closed):
            await messages.receive()
        with pytest.raises(Closed):
            await messages.send("x" * 100_000)
        messages.ping()
        await messages.close(1000, "")


async def test_a_handshake_that_nobody_takes_ends_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As a connection that was lost."""
    ours, _theirs = lockstep_stream_pair()
    gate = Gate(ours, FrameReader(Judge()), Budget(1 << 20).share(), message_seconds=30)
    began = trio.current_time()
    with pytest.RaisesGroup(trio.BrokenResourceError):
        async with accepted(gate, ANSWER, seconds=5):
            raise AssertionError("it was not accepted")
    assert trio.current_time() - began == pytest.approx(5)
