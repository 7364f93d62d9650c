"""What a session hears of its peer, over memory and over sockets, by a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, open_stream_to_socket_listener, wait_all_tasks_blocked

from tests.strategies import chunked
from tests.wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame
from uploadd.budget import Budget
from uploadd.protocol.framereader import FrameReader, Heard
from uploadd.protocol.frames import Close, Judge, Ping, Refusal
from uploadd.serve.gate import READ, Closed, Gate

GOODBYE = frame(CLOSE, b"\x03\xe8")
MAX_BINARY = 1 << 20
TOTAL = 1 << 20


class Gated:
    """A gate, the peer at its other end, and what was heard and refused."""

    def __init__(
        self,
        streams: tuple[trio.abc.Stream, trio.abc.HalfCloseableStream] | None = None,
        max_binary: int = MAX_BINARY,
    ) -> None:
        ours, self.peer = streams or memory_stream_pair()
        self.budget = Budget(TOTAL)
        self.share = self.budget.share()
        reader = FrameReader(Judge(max_binary=max_binary))
        self.gate = Gate(ours, reader, self.share, message_seconds=30)
        self.heard: list[Heard] = []
        self.refusals: list[Refusal] = []
        self.ended = trio.Event()

    async def feed(self, data: bytes, *pieces: bytes) -> None:
        """Let the peer say *data*, each piece in a segment of its own."""
        for piece in (data, *pieces):
            await self.peer.send_all(piece)
            await wait_all_tasks_blocked()

    async def rest(self) -> None:
        """Hear all until the end, as a session would."""
        try:
            while True:
                self.heard.append(await self.gate.next())
        except Closed as closed:
            if closed.refusal is not None:
                self.refusals.append(closed.refusal)
                with suppress(Closed):
                    await self.gate.drop()
        self.ended.set()

    async def hears(self, pieces: list[bytes]) -> list[Heard]:
        """All that is heard of *pieces*, behind which the peer ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.rest)
            for piece in pieces:
                await self.peer.send_all(piece)
                await trio.lowlevel.checkpoint()
            await self.peer.send_eof()
        return self.heard


async def over_sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of one connection."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await open_stream_to_socket_listener(listener)
        ours = await listener.accept()
    assert isinstance(theirs, trio.SocketStream)
    return ours, theirs


@pytest.fixture(params=["memory", "socket"])
async def gated(request: pytest.FixtureRequest) -> AsyncIterator[Gated]:
    """A gate on either kind of stream."""
    streams = await over_sockets() if request.param == "socket" else None
    gated = Gated(streams)
    yield gated
    await trio.aclose_forcefully(gated.gate.stream)
    await trio.aclose_forcefully(gated.peer)


# --- what is heard --------------------------------------------------------------------------------

messages = st.lists(
    st.one_of(
        st.binary(max_size=200).map(lambda data: (frame(BINARY, data), data)),
        st.text(max_size=50).map(lambda said: (frame(TEXT, said.encode()), said)),
        st.binary(max_size=20).map(lambda data: (frame(PING, data), Ping(data))),
        st.lists(st.binary(max_size=9), min_size=2, max_size=9).map(
            lambda parts: (
                b"".join(
                    frame(CONTINUATION if at else BINARY, part, fin=at == len(parts) - 1)
                    for at, part in enumerate(parts)
                ),
                b"".join(parts),
            )
        ),
    ),
    max_size=20,
)


@given(st.data(), messages)
async def test_what_is_legal_is_heard(
    data: st.DataObject, said: list[tuple[bytes, str | bytes | Ping]]
) -> None:
    """In any segments, up to the end of the stream."""
    gated = Gated()
    raw = b"".join(frames for frames, _ in said)
    assert await gated.hears(data.draw(chunked(raw))) == [message for _, message in said]
    assert gated.refusals == []
    assert gated.share.held == 0


@pytest.mark.parametrize("size", [1, 16 * 1024, 64 * 1024, 300_000, MAX_BINARY])
async def test_large_messages_are_heard_whole(gated: Gated, size: int) -> None:
    """Whether they fit into a read or not, and several of them at once."""
    sizes = [size, 0, size, READ, size]
    said = [bytes([at + 1]) * count for at, count in enumerate(sizes)]
    raw = b"".join(frame(BINARY, data) for data in said)
    assert await gated.hears([raw, GOODBYE]) == [*said, Close(1000)]
    assert gated.share.held == 0


async def test_two_sessions_that_read_in_turn_hear_what_was_said_to_each(
    nursery: trio.Nursery,
) -> None:
    """They read to the same place, but nothing of it is left there when the other one reads."""
    both = [Gated(await over_sockets()), Gated(await over_sockets())]
    for one in both:
        nursery.start_soon(one.rest)
    said = [frame(BINARY, bytes([mark]) * 100_000) + frame(TEXT, b"abc") * 300 for mark in (1, 2)]
    for place in range(0, len(said[0]), 30_000):
        for one, raw in zip(both, said, strict=True):
            await one.peer.send_all(raw[place : place + 30_000])
    for one in both:
        await one.peer.send_all(GOODBYE)
        await one.ended.wait()
    for mark, one in enumerate(both):
        assert one.heard == [bytes([mark + 1]) * 100_000, *["abc"] * 300, Close(1000)]
        await trio.aclose_forcefully(one.gate.stream)
        await trio.aclose_forcefully(one.peer)


async def test_others_run_at_least_every_128_frames(gated: Gated) -> None:
    """However many come in one segment, and however eagerly they are taken."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await trio.lowlevel.checkpoint()

    await gated.peer.send_all(frame(BINARY, b"x") * 1000)
    await wait_all_tasks_blocked()
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        for _ in range(1000):
            assert await gated.gate.next() == b"x"
            seen.append(ticks)
        nursery.cancel_scope.cancel()
    assert max(seen.count(tick) for tick in set(seen)) <= 2 * 128  # trio shuffles who is next


async def test_larger_messages_can_be_allowed_later() -> None:
    """Never smaller ones: what was told may be on its way."""
    gated = Gated()
    gated.gate.set_max_binary(MAX_BINARY + 1)
    gated.gate.set_max_binary(1)
    assert await gated.hears([frame(BINARY, bytes(MAX_BINARY + 1))]) == [bytes(MAX_BINARY + 1)]
    assert gated.refusals == []


async def test_who_waits_may_be_cancelled_and_loses_nothing(gated: Gated) -> None:
    """At every step of it, in the middle of a message and when one is there."""
    raw = frame(BINARY, bytes(range(200))) + frame(TEXT, b"abc")
    for at in range(len(raw)):
        with trio.move_on_after(0) as patience:
            gated.heard.append(await gated.gate.next())
        assert patience.cancelled_caught
        await gated.feed(raw[at : at + 1])
    gated.heard += [await gated.gate.next() for _ in range(2)]
    assert gated.heard == [bytes(range(200)), "abc"]


async def test_the_end_is_the_end(gated: Gated) -> None:
    """Of a peer that just leaves, in the middle of a message, or by a reset."""
    await gated.feed(frame(BINARY, b"whole") + frame(BINARY, b"half")[:-1])
    assert await gated.gate.next() == b"whole"
    await trio.aclose_forcefully(gated.peer)
    for _ in range(2):
        with pytest.raises(Closed) as caught:
            await gated.gate.next()
        assert caught.value.refusal is None


# --- what is refused ------------------------------------------------------------------------------

ILLEGAL = {
    "an oversize chunk": (frame(BINARY, bytes(MAX_BINARY + 1)), 1009),
    "an oversize text": (frame(TEXT, bytes(8193)), 1009),
    "an unmasked frame": (frame(TEXT, b"x", masked=False), 1002),
    "a reserved bit": (frame(TEXT, b"x", first=0x40), 1002),
    "a fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "nothing to continue": (frame(CONTINUATION, b"x"), 1002),
    "empty fragments": (frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * 64, 1008),
    "a flood of pings": (frame(PING) * 101, 1008),
    "a text that is none": (frame(TEXT, b"\xff"), 1007),
}


@pytest.mark.parametrize("what", ILLEGAL)
async def test_a_refusal_is_told_once_all_before_it_was_heard(gated: Gated, what: str) -> None:
    """The code says why; of what comes behind nothing is heard, and all of it is read."""
    illegal, code = ILLEGAL[what]
    good = frame(BINARY, b"good")
    heard = await gated.hears([good + illegal, illegal * 2, good, frame(PING, b"x"), GOODBYE])
    assert [refusal.code for refusal in gated.refusals] == [code]
    assert heard == [b"good"] + [Ping(b"")] * (100 if "flood" in what else 0)
    assert gated.gate.peer_closed


@given(st.data())
async def test_behind_a_refusal_all_is_dropped_up_to_the_peers_close(data: st.DataObject) -> None:
    """In any segments, among any frames."""
    others = st.lists(
        st.builds(
            frame,
            st.sampled_from([TEXT, BINARY, CONTINUATION, PING]),
            st.binary(max_size=300),
            fin=st.booleans(),
            masked=st.booleans(),
        ),
        max_size=20,
    ).map(b"".join)
    gated = Gated()
    sent = frame(TEXT, b"x", masked=False) + data.draw(others) + GOODBYE + data.draw(others)
    assert await gated.hears(data.draw(chunked(sent))) == []
    assert len(gated.refusals) == 1
    assert gated.gate.peer_closed


async def test_once_we_close_only_the_peers_close_counts(gated: Gated) -> None:
    """And that is no refusal: a ping that crosses our Close is the peer's good right."""
    await gated.peer.send_all(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(BINARY, bytes(99))[:50])
    assert await gated.gate.next() == "a"
    gated.gate.closing()
    await gated.peer.send_all(bytes(55) + frame(PING, b"x") + frame(BINARY, b"x") + GOODBYE)
    with trio.fail_after(10):
        await gated.gate.drop()
    assert gated.gate.peer_closed
    assert gated.share.held == 0
    with pytest.raises(Closed) as caught:
        await gated.gate.next()
    assert caught.value.refusal is None


# --- memory ---------------------------------------------------------------------------------------


async def test_the_bytes_of_an_open_message_are_charged_until_it_ends(
    gated: Gated, nursery: trio.Nursery
) -> None:
    """As they come."""
    nursery.start_soon(gated.rest)
    await gated.feed(frame(BINARY, bytes(1000), fin=False))
    assert gated.share.held == 1000
    await gated.feed(frame(CONTINUATION, bytes(500))[:106])
    assert gated.share.held == 1000 + 100 - 2  # a header of 8 bytes
    await gated.feed(bytes(402))
    assert gated.share.held == 0


async def test_while_the_budget_is_full_nothing_is_read(
    gated: Gated, nursery: trio.Nursery
) -> None:
    """What the peer says waits in the network, and goes on where it stopped."""
    gated.share.take(TOTAL)
    nursery.start_soon(gated.rest)
    await gated.feed(frame(BINARY, b"patience"))
    assert gated.gate.holding_back
    assert gated.heard == []
    gated.share.give_back(TOTAL)
    await wait_all_tasks_blocked()
    assert not gated.gate.holding_back
    assert gated.heard == [b"patience"]


async def test_others_run_after_every_two_reads_of_one_who_never_pauses() -> None:
    """However little there is in a read: what waits in the socket is endless."""
    gated, ticks = Gated(await over_sockets()), 0
    size = gated.share.max_chunk  # bytes of one read

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await trio.lowlevel.checkpoint()

    async def pour() -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await gated.peer.send_all(frame(BINARY, bytes(size // 2 - 8)) * 8)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pour)
        await wait_all_tasks_blocked()  # as much as the connection holds
        nursery.start_soon(tick)
        seen = []
        for _ in range(64):
            await gated.gate.next()
            seen.append(ticks)
        nursery.cancel_scope.cancel()
    assert max(seen.count(tick) for tick in set(seen)) <= 8
    await trio.aclose_forcefully(gated.gate.stream)
    await trio.aclose_forcefully(gated.peer)


# --- time -----------------------------------------------------------------------------------------


def at(seconds: float, start: float) -> bool:
    return abs(trio.current_time() - start - seconds) < 1e-6


async def test_a_message_must_end_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """However busily it dribbles; the reason goes into our Close, and the rest is dropped."""
    gated = Gated()
    start = trio.current_time()

    async def dribble() -> None:
        for byte in frame(BINARY, bytes(100)):
            await gated.peer.send_all(bytes([byte]))
            await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        with pytest.raises(Closed) as caught:
            await gated.gate.next()
        # its six bytes of header were whole after 25 s, and then the message began
        assert at(25 + 30, start)
        assert caught.value.refusal == Refusal(1008, "a message must end within 30 s")
        nursery.cancel_scope.cancel()
    await gated.peer.send_all(bytes(106 - 11) + frame(PING, b"ping") + GOODBYE)
    await gated.gate.drop()
    assert gated.gate.peer_closed


async def test_half_a_message_over_a_socket_must_end_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also where nothing more comes at all."""
    gated = Gated(await over_sockets())
    await gated.peer.send_all(frame(BINARY, bytes(100))[:50])
    start = trio.current_time()
    with pytest.raises(Closed) as caught:
        await gated.gate.next()
    assert at(30, start)
    assert caught.value.refusal == Refusal(1008, "a message must end within 30 s")
    await trio.aclose_forcefully(gated.gate.stream)
    await trio.aclose_forcefully(gated.peer)


async def test_a_message_that_is_late_is_late_however_fast_its_end_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its bytes are there when we look, and the time is over."""
    gated = Gated(await over_sockets())
    await gated.peer.send_all(frame(BINARY, bytes(100))[:50])
    with trio.move_on_after(1):
        await gated.gate.next()
    await trio.sleep(30)
    await gated.peer.send_all(bytes(56))
    with pytest.raises(Closed) as caught:
        await gated.gate.next()
    assert caught.value.refusal == Refusal(1008, "a message must end within 30 s")
    await trio.aclose_forcefully(gated.gate.stream)
    await trio.aclose_forcefully(gated.peer)


async def test_every_message_has_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    """Slow ones in a row are no offence, nor is silence between them."""
    gated = Gated()
    half = frame(BINARY, b"half", fin=False), frame(CONTINUATION, b"half")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gated.rest)
        for _ in range(5):
            await gated.peer.send_all(half[0])
            await trio.sleep(29)
            await gated.peer.send_all(half[1])
            await trio.sleep(1000)
        await gated.peer.send_eof()
    assert gated.heard == [b"halfhalf"] * 5
    assert gated.refusals == []


class Held:
    """A reader that opens a message, is held back, and what it heard."""

    def __init__(self) -> None:
        self.gated = Gated()
        self.glutton = self.gated.budget.share()

    async def hold_back(self, seconds: float) -> None:
        """Do not let it read for a while; it looks when the next bytes come."""
        self.glutton.take(TOTAL)
        # Above its share, it reads once more: what it waits for already.
        self.gated.share.take(TOTAL)
        await self.gated.peer.send_all(frame(CONTINUATION, b"more", fin=False))
        await wait_all_tasks_blocked()
        assert self.gated.gate.holding_back
        await trio.sleep(seconds)
        self.gated.share.give_back(TOTAL)
        self.glutton.give_back(TOTAL)
        await wait_all_tasks_blocked()
        assert not self.gated.gate.holding_back
        assert self.gated.gate.heard == trio.current_time()


async def test_the_clock_of_a_message_stands_still_while_we_do_not_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """20 s of its own, 1 000 of ours, and 9 more: that is in time; another 2 are not."""
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held.gated.rest)
        await held.gated.peer.send_all(frame(BINARY, b"begun", fin=False))
        await trio.sleep(20)
        await held.hold_back(1000)
        await trio.sleep(9)
        assert held.gated.refusals == []
        await trio.sleep(2)
        assert [refusal.code for refusal in held.gated.refusals] == [1008]
        nursery.cancel_scope.cancel()


async def test_the_next_message_does_not_inherit_the_time_for_which_one_was_held_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also when one segment ends the one and begins the other."""
    held = Held()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held.gated.rest)
        await held.gated.peer.send_all(frame(BINARY, b"begun", fin=False))
        await held.hold_back(1000)
        await held.gated.peer.send_all(frame(CONTINUATION) + frame(BINARY, b"next", fin=False))
        await trio.sleep(29)
        assert held.gated.refusals == []
        await trio.sleep(2)
        assert [refusal.code for refusal in held.gated.refusals] == [1008]
        nursery.cancel_scope.cancel()


async def test_any_byte_of_the_peer_is_a_sign_of_life(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Half a header is enough; what we send is none."""
    gated = Gated()
    nursery.start_soon(gated.rest)
    await trio.sleep(10)
    await gated.gate.stream.send_all(b"x")
    assert gated.gate.heard == trio.current_time() - 10
    await gated.feed(frame(BINARY, b"x")[:1])
    assert gated.gate.heard == trio.current_time()
