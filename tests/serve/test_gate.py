"""What passes between a socket and the WebSocket library, over memory and a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests import wire
from tests.strategies import chunked
from tests.wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame
from uploadd.budget import Budget
from uploadd.protocol.frames import FrameGate, Refusal
from uploadd.serve.gate import GatedStream

REPLAY = b"GET /-/ws HTTP/1.1\r\n\r\n"
GOODBYE = frame(CLOSE, b"\x03\xe8")
MAX_BINARY = 64 * 1024
TOTAL = 1 << 20


class Gated:
    """A gated stream, the peer at its other end, and what was refused."""

    def __init__(self, budget: Budget | None = None, replay: bytes = b"") -> None:
        ours, self.peer = memory_stream_pair()
        self.budget = budget or Budget(TOTAL)
        self.share = self.budget.share()
        gate = FrameGate(max_binary=MAX_BINARY)
        self.stream = GatedStream(ours, replay, gate, self.share, message_seconds=30)
        self.refusals: list[Refusal] = []
        self.stream.on_refusal = self.refusals.append

    async def feed(self, data: bytes, *pieces: bytes) -> None:
        """Let the peer say *data*, each piece in a segment of its own."""
        for piece in (data, *pieces):
            await self.peer.send_all(piece)
            await wait_all_tasks_blocked()

    async def rest(self) -> bytes:
        """All that passes until the end, as the library would read it."""
        out = b""
        while data := await self.stream.receive_some(4096):
            out += bytes(data)
        return out

    async def passes(self, pieces: Sequence[bytes]) -> bytes:
        """All that passes of *pieces*, behind which the peer ends."""
        passed = b""

        async def read() -> None:
            nonlocal passed
            passed = await self.rest()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for piece in pieces:
                await self.peer.send_all(piece)
                await trio.lowlevel.checkpoint()
            await self.peer.send_eof()
        return passed


# --- what passes ----------------------------------------------------------------------------------

messages = st.lists(
    st.one_of(
        st.binary(max_size=200).map(lambda data: frame(BINARY, data)),
        st.text(max_size=50).map(lambda said: frame(TEXT, said.encode())),
        st.binary(max_size=20).map(lambda data: frame(PING, data)),
        st.lists(st.binary(max_size=9), min_size=2, max_size=9).map(
            lambda parts: b"".join(
                frame(CONTINUATION if at else BINARY, part, fin=at == len(parts) - 1)
                for at, part in enumerate(parts)
            )
        ),
    ),
    max_size=20,
).map(b"".join)


@given(st.data(), messages)
async def test_what_is_legal_passes_verbatim_behind_the_handshake(
    data: st.DataObject, legal: bytes
) -> None:
    """In any segments; the handshake comes first, whole, and the end of the stream last."""
    gated = Gated(replay=REPLAY)
    assert await gated.stream.receive_some(9) == REPLAY
    assert await gated.passes(data.draw(chunked(legal))) == legal
    assert gated.refusals == []
    assert gated.share.held == 0


async def test_one_read_hands_over_at_most_128_frames() -> None:
    """A thousand in one segment take eight turns, and other tasks run in between."""
    gated = Gated()
    turns: list[int] = []
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await trio.lowlevel.checkpoint()

    await gated.feed(frame(BINARY, b"x") * 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        while sum(turns) < 1000:
            data = await gated.stream.receive_some(1 << 18)
            turns.append(len(list(wire.frames(bytes(data)))))
        nursery.cancel_scope.cancel()
    assert turns == [128] * 7 + [104]
    assert ticks >= len(turns)


async def test_larger_messages_can_be_allowed_later() -> None:
    """Never smaller ones: what was told may be on its way."""
    gated = Gated()
    gated.stream.set_max_binary(MAX_BINARY + 1)
    gated.stream.set_max_binary(1)
    large = frame(BINARY, bytes(MAX_BINARY + 1))
    assert await gated.passes([large]) == large
    assert gated.refusals == []


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
}


@pytest.mark.parametrize("what", ILLEGAL)
async def test_a_refusal_is_told_once_and_what_came_before_has_passed(what: str) -> None:
    """The code says why; nothing that comes behind passes, whatever it is."""
    illegal, code = ILLEGAL[what]
    gated = Gated()
    good = frame(BINARY, b"good")
    passed = await gated.passes([good + illegal, illegal * 2, good, frame(PING, b"x"), GOODBYE])
    assert [refusal.code for refusal in gated.refusals] == [code]
    assert passed.startswith(good)
    assert passed.endswith(GOODBYE)
    kept = passed[len(good) : -len(GOODBYE)]
    assert illegal.startswith(kept)  # the legal beginning of it
    assert kept != illegal


@given(st.data())
async def test_behind_a_refusal_only_the_peers_close_passes(data: st.DataObject) -> None:
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
    assert await gated.passes(data.draw(chunked(sent))) == GOODBYE
    assert len(gated.refusals) == 1


async def test_once_we_close_only_the_peers_close_passes() -> None:
    """And that is no refusal: a ping that crosses our Close is the peer's good right."""
    gated = Gated()
    gated.stream.closing()
    assert await gated.passes([frame(PING, b"x") + frame(BINARY, b"x"), GOODBYE]) == GOODBYE
    assert gated.refusals == []


async def test_a_frame_begun_before_we_close_passes_to_its_end() -> None:
    """The library has its first half already."""
    gated = Gated()
    whole = frame(BINARY, b"0123456789")
    await gated.feed(whole[:9])
    assert await gated.stream.receive_some(99) == whole[:9]
    gated.stream.closing()
    assert await gated.passes([whole[9:] + frame(PING), GOODBYE]) == whole[9:] + GOODBYE


async def test_all_is_heard_when_the_library_asks_for_more(nursery: trio.Nursery) -> None:
    """What it was given and has not done with is not heard yet."""
    gated = Gated()
    heard = trio.Event()

    async def watch() -> None:
        await gated.stream.all_heard()
        heard.set()

    await gated.feed(frame(PING, b"x"))
    assert await gated.stream.receive_some(99)
    nursery.start_soon(watch)
    await wait_all_tasks_blocked()
    assert not heard.is_set()
    nursery.start_soon(gated.stream.receive_some, 99)
    await wait_all_tasks_blocked()
    assert heard.is_set()


# --- memory ---------------------------------------------------------------------------------------


async def test_the_bytes_of_an_open_message_are_charged_until_it_ends(
    nursery: trio.Nursery,
) -> None:
    """And so is what the library has just been given."""
    gated = Gated()
    nursery.start_soon(gated.rest)
    await gated.feed(frame(BINARY, bytes(1000), fin=False))
    assert gated.share.held == 1000
    await gated.feed(frame(CONTINUATION, bytes(500))[:106])
    assert gated.share.held == 1000 + 100 - 2  # a header of 8 bytes
    await gated.feed(bytes(402))
    assert gated.share.held == 0


async def test_while_the_budget_is_full_nothing_is_read(nursery: trio.Nursery) -> None:
    """What the peer says waits in the network, and goes on where it stopped."""
    gated = Gated()
    gated.share.take(TOTAL)
    passed: list[bytes] = []

    async def read() -> None:
        passed.append(await gated.stream.receive_some(99))

    nursery.start_soon(read)
    await gated.feed(frame(BINARY, b"patience"))
    assert gated.stream.holding_back
    assert passed == []
    gated.share.give_back(TOTAL)
    await wait_all_tasks_blocked()
    assert not gated.stream.holding_back
    assert passed == [frame(BINARY, b"patience")]


# --- time -----------------------------------------------------------------------------------------


def at(seconds: float, start: float) -> bool:
    return abs(trio.current_time() - start - seconds) < 1e-6


async def test_a_message_must_end_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """However busily it dribbles; the reason goes into our Close, and only that of the peer in."""
    gated = Gated()
    start, refused = trio.current_time(), trio.Event()
    gated.stream.on_refusal = lambda refusal: (gated.refusals.append(refusal), refused.set())[0]

    async def dribble() -> None:
        for byte in frame(BINARY, bytes(100)):
            await gated.peer.send_all(bytes([byte]))
            await trio.sleep(5)

    passed = b""

    async def read() -> None:
        nonlocal passed
        passed = await gated.rest()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        async with trio.open_nursery() as dribbling:
            dribbling.start_soon(dribble)
            await refused.wait()
            dribbling.cancel_scope.cancel()
        # its six bytes of header were whole after 25 s, and then the message began
        assert at(25 + 30, start)
        await gated.peer.send_all(bytes(106 - 11) + frame(PING, b"ping") + GOODBYE)
        await gated.peer.send_eof()
    assert gated.refusals == [Refusal(1008, "a message must end within 30 s")]
    assert passed == frame(BINARY, bytes(100)) + GOODBYE


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
    assert gated.refusals == []


class Held:
    """A reader that opens a message, is held back, and what it passed."""

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
        assert self.gated.stream.holding_back
        await trio.sleep(seconds)
        self.gated.share.give_back(TOTAL)
        self.glutton.give_back(TOTAL)
        await wait_all_tasks_blocked()
        assert not self.gated.stream.holding_back
        assert self.gated.stream.heard == trio.current_time()


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
    await gated.stream.send_all(b"x")
    assert gated.stream.heard == trio.current_time() - 10
    await gated.feed(frame(BINARY, b"x")[:1])
    assert gated.stream.heard == trio.current_time()


# --- the other direction --------------------------------------------------------------------------


async def test_what_we_send_goes_out_as_it_is(nursery: trio.Nursery) -> None:
    """The gate looks in one direction."""
    gated = Gated()
    await gated.stream.wait_send_all_might_not_block()
    nursery.start_soon(gated.stream.send_all, b"anything")
    assert await gated.peer.receive_some() == b"anything"
    gated.stream.closing()
    await gated.stream.aclose()
    assert await gated.peer.receive_some() == b""


async def test_a_library_that_just_hangs_up_is_helped_to_a_word() -> None:
    """It does so over text that is not UTF-8, and the peer would never learn whose fault it was."""
    gated = Gated()
    await gated.stream.aclose()
    [told] = wire.frames(await gated.peer.receive_some())
    assert told == wire.Frame(CLOSE, (1007).to_bytes(2, "big"))
    assert await gated.peer.receive_some() == b""


async def test_who_has_said_close_already_is_told_nothing_more() -> None:
    """Neither by a refusal nor by the peer's own Close is there anything left to say."""
    for said in (GOODBYE, frame(TEXT, b"x", masked=False)):
        gated = Gated()
        await gated.passes([said])
        await gated.stream.aclose()
        assert await gated.peer.receive_some() == b""


async def test_a_refusal_before_anybody_listened_is_told_when_somebody_does() -> None:
    """The peer may break the rules right behind the handshake."""
    gated = Gated()
    gated.stream.on_refusal = lambda refusal: None
    await gated.passes([frame(TEXT, b"x", masked=False)])
    gated.stream.on_refusal = gated.refusals.append
    assert [refusal.code for refusal in gated.refusals] == [1002]
