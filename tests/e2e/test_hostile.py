"""The daemon under attack, and a good session beside it that never has to wait for good.

Every attack goes on until the good session has had ten chunks acknowledged one by one, and at
least once to its end.  Then the daemon is as it was: alive, its log without a traceback, its
descriptors back, its memory within bounds.
"""

from __future__ import annotations

import base64
import hashlib
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import trio

from tests import wire
from tests.caller import Caller
from tests.e2e.daemon import Daemon
from tests.wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame, handshake, head

SETTINGS: Final = [
    *("--set", "timeouts.head=2 s", "--set", "timeouts.hello=2 s"),
    *("--set", "timeouts.message=2 s", "--set", "timeouts.send=2 s"),
    *("--set", "limits.memory=32 MiB"),
]
MOST_MEMORY: Final = 80 << 20
"""Bytes that the daemon may have grown by after all attacks: its budget, half as much for uploads
that are under way, what it reads into, and what is remembered of those that have ended.
"""
FEW_FILES: Final = ("prlimit", "--nofile=1024")
"""As many descriptors as a shell gives."""
STEP: Final = 16 * 1024
STEPS: Final = 10
SEED: Final = 20261120
GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

Attack = Callable[["Ground"], Awaitable[None]]
ATTACKS: list[Attack] = []


def attack(what: Attack) -> Attack:
    """Have *what* tried on the daemon."""
    ATTACKS.append(what)
    return what


class Ground:
    """Where it happens: connections to the daemon, which end with the attack."""

    def __init__(self, address: tuple[str, int], rng: random.Random) -> None:
        self.address, self.rng = address, rng

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Caller]:
        """One connection."""
        async with await trio.open_tcp_stream(*self.address) as stream:
            yield Caller(stream)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Caller]:
        """One session, behind welcome."""
        async with self.connect() as caller:
            assert (await caller.hello())["type"] == "welcome"
            yield caller

    async def told(self, said: bytes, code: int) -> None:
        """Say *said* in a session, and be told *code* in its Close."""
        async with self.session() as caller, trio.open_nursery() as nursery:

            async def speak() -> None:
                with suppress(*GONE):
                    await caller.say(said)

            nursery.start_soon(speak)
            assert await caller.close_code() == code

    async def refused(self, request: bytes, *statuses: int) -> None:
        """Ask for something, and be refused it; the connection ends."""
        async with self.connect() as caller:
            assert (await caller.ask(request)).status in statuses, request
            with suppress(*GONE):
                assert await caller.ended()


async def drop(caller: Caller) -> None:
    """End a connection by a reset."""
    assert isinstance(caller.stream, trio.SocketStream)
    at_once = struct.pack("ii", 1, 0)
    caller.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, at_once)
    await caller.stream.aclose()


async def swallow(caller: Caller) -> None:
    """Read until the connection ends, and look at nothing."""
    with suppress(*GONE):
        while await caller.stream.receive_some(1 << 16):
            pass


# --- attacks on the handshake ---------------------------------------------------------------------


@attack
async def malformed_handshakes(ground: Ground) -> None:
    """Each is answered and the connection closed, whatever lies behind it."""
    behind = wire.text({"type": "hello"}) + head(target=b"/-/info", host=b"localhost")
    for name in (b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Connection", b"Upgrade"):
        await ground.refused(handshake(without=name), 426)
        await ground.refused(handshake(without=name) + behind, 426)
    for request in (
        handshake(b"Content-Length: 5") + b"hello",
        handshake(b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        handshake(b"Sec-WebSocket-Version: 777", without=b"Sec-WebSocket-Version"),
        handshake(b"Upgrade: h2c", without=b"Upgrade"),
        handshake(b"Sec-WebSocket-Protocol: ,,uploadd.v1,uploadd.v1"),
        handshake().replace(b"GET", b"POST", 1),
        handshake() + behind,
    ):
        await ground.refused(request, 426)
    await ground.refused(handshake(host=b"evil.example"), 421)
    await ground.refused(handshake(host=b"xn--\x80"), 400)
    async with ground.connect() as caller:  # a page sees no status, so it is told after 101
        await caller.upgraded(handshake(b"Origin: http://evil.example"))
        assert await caller.close_code() == 4403
    await ground.refused(handshake(b"A: b\r\n c"), 400)
    await ground.refused(handshake().replace(b"\r\n", b"\n"), 400)
    await ground.refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)


@attack
async def bytes_that_are_not_ascii(ground: Ground) -> None:
    """In the name and in the value of any field, and in the request line."""
    names = (b"Host", b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version")
    more = (b"Origin", b"Sec-WebSocket-Extensions", b"Cookie", b"Authorization", b"X-\xff")
    for name in (*names, *more, b"Sec-WebSocket-Protocol"):
        host = b"" if name == b"Host" else b"localhost"
        await ground.refused(handshake(name + b": \xff\xfe", without=name, host=host), 400)
    await ground.refused(handshake(target=b"/-/ws\xff"), 400)


@attack
async def heads_that_dribble(ground: Ground) -> None:
    """Fifty at a time; each is told that it was too slow."""

    async def dribble() -> None:
        async with ground.connect() as caller, trio.open_nursery() as nursery:

            async def speak() -> None:
                with suppress(*GONE):
                    for byte in handshake():
                        await caller.say(bytes([byte]))
                        await trio.sleep(0.05)

            nursery.start_soon(speak)
            assert (await caller.answer()).status == 408
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(dribble)


@attack
async def noise_for_a_head(ground: Ground) -> None:
    """Random bytes, with line ends among them; some kind of no."""
    for _ in range(20):
        noise = ground.rng.randbytes(ground.rng.randrange(1, 20_000))
        async with ground.connect() as caller:
            with suppress(*GONE):
                await caller.say(noise.replace(b"\x00", b"\r\n") + b"\r\n\r\n" * 3)
                assert (await caller.answer()).status in (400, 431, 501)


@attack
async def connections_without_a_word(ground: Ground) -> None:
    """Three hundred at a time, and sessions without hello."""

    async def mute() -> None:
        async with ground.connect() as caller:
            await caller.upgraded()
            assert await caller.close_code() == 4408

    async with trio.open_nursery() as nursery, trio.open_nursery() as silent:
        for _ in range(250):
            silent.start_soon(hold, ground)
        for _ in range(50):
            nursery.start_soon(mute)
        await trio.sleep(1)
        silent.cancel_scope.cancel()


async def hold(ground: Ground) -> None:
    async with ground.connect():
        await trio.sleep_forever()


@attack
async def more_connections_than_there_may_be(ground: Ground) -> None:
    """Two thousand, and each beyond the limit is closed at once."""
    full = trio.Event()

    async def come(first: bool) -> None:
        async with ground.connect() as caller:
            with suppress(*GONE):
                await caller.stream.receive_some(1)  # it ends, unless it is one of few
            full.set()
            if first:
                await trio.sleep_forever()

    async def go_on(count: int) -> None:
        for _ in range(count):
            await come(first=False)

    async with trio.open_nursery() as holding:
        for _ in range(FLOODED):
            holding.start_soon(come, True)
        await full.wait()
        async with trio.open_nursery() as flood:
            for _ in range(10):
                flood.start_soon(go_on, 150)
        holding.cancel_scope.cancel()


FLOODED: Final = 400
"""More than a daemon with so few descriptors lets in."""


# --- attacks with frames --------------------------------------------------------------------------


@attack
async def empty_fragments_without_end(ground: Ground) -> None:
    """A message that never gets anywhere."""
    for begun, more, count in ((BINARY, b"", 100_000), (TEXT, b"x", 8000)):
        fragments = frame(CONTINUATION, more, fin=False) * count
        await ground.told(frame(begun, more, fin=False) + fragments, 1008)


@attack
async def floods_of_control_frames(ground: Ground) -> None:
    """Pings and pongs, with payload and without."""
    for one in (frame(PING), frame(PING, b"x" * 125), frame(wire.PONG, b"x")):
        await ground.told(one * 20_000, 1008)


@attack
async def messages_over_their_limit(ground: Ground) -> None:
    """Followed by all kinds of frames, and by one more of the same in the same segment."""
    large, huge = frame(TEXT, bytes(9000)), frame(BINARY, bytes((1 << 20) + 21))
    for offence in (large, huge):
        await ground.told(offence * 2, 1009)
        await ground.told(offence + frame(PING, b"x") * 5000, 1009)
        await ground.told(frame(PING, b"x") * 90 + offence + frame(PING, b"x") * 5000, 1009)
        await ground.told(offence + wire.text({"type": "begin", "ref": 1}) * 5000, 1009)
    await ground.told(b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4), 1009)


@attack
async def frames_that_are_none(ground: Ground) -> None:
    """Reserved bits, reserved opcodes, no mask, control frames in pieces."""
    for offence in (
        frame(TEXT, b"{}", masked=False),
        *(frame(TEXT, b"{}", first=bit) for bit in (0x10, 0x20, 0x40)),
        *(frame(opcode, b"x") for opcode in (3, 7, 11, 15)),
        frame(PING, b"x", fin=False),
        frame(PING, bytes(126)),
        frame(CONTINUATION, b"x"),
        frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"),
    ):
        await ground.told(offence + frame(PING, b"x") * 50, 1002)


@attack
async def talk_behind_our_close(ground: Ground) -> None:
    """Pings, messages and a second offence; then it ends all the same."""
    for offence in (wire.text("no JSON"), frame(TEXT, bytes(9000))):
        async with ground.session() as caller:
            await caller.say(offence)
            await caller.close_code()
            with suppress(*GONE):
                for _ in range(100):
                    await caller.say(frame(PING, b"x") + wire.text("{}") + offence)
                await caller.say(frame(CLOSE, b"\x03\xe8") + frame(PING, b"x") * 100)
            await swallow(caller)


@attack
async def half_frames_and_resets(ground: Ground) -> None:
    """The connection is gone in the middle of whatever was going on."""
    whole = (
        wire.text({"type": "hello"})
        + wire.text({"type": "begin", "ref": 1, "length": 100_000})
        + frame(BINARY, wire.chunk(1, 0, bytes(50_000)))
        + frame(BINARY, wire.chunk(1, 50_000, bytes(50_000), last=True))
        + frame(PING, b"x") * 50
    )
    for _ in range(40):
        async with ground.connect() as caller:
            cut = ground.rng.randrange(len(whole) + len(handshake()))
            await caller.say(handshake()[: cut + 1])
            if cut >= len(handshake()):
                if ground.rng.random() < 0.8:
                    with suppress(*GONE):
                        await caller.stream.receive_some(9)
                await caller.say(whole[: cut - len(handshake())])
            await drop(caller)


@attack
async def messages_that_do_not_end(ground: Ground) -> None:
    """Half a chunk, and then a byte now and then."""
    async with ground.session() as caller, trio.open_nursery() as nursery:
        await caller.say(frame(BINARY, wire.chunk(1, 0, bytes(9000)))[:5000])

        async def dribble() -> None:
            with suppress(*GONE):
                for _ in range(1000):
                    await caller.say(b"\x00")
                    await trio.sleep(0.05)

        nursery.start_soon(dribble)
        assert await caller.close_code() == 1008
        nursery.cancel_scope.cancel()


@attack
async def noise_for_frames(ground: Ground) -> None:
    """Random bytes behind a good handshake; as text, as chunks, and as they are."""
    for number in range(30):
        noise = ground.rng.randbytes(ground.rng.randrange(1, 8000))
        said = (noise, frame(TEXT, noise), frame(BINARY, noise))[number % 3]
        async with ground.session() as caller:
            with suppress(*GONE):
                await caller.say(said + frame(CLOSE, b"\x03\xe8"))
                await caller.stream.send_eof()
            await swallow(caller)


# --- attacks with messages ------------------------------------------------------------------------


@attack
async def texts_that_are_no_messages(ground: Ground) -> None:
    """Of every kind of wrong; the deepest that fits, and one that does not."""
    for said in (
        "",
        "no JSON",
        "null",
        "[]",
        '{"type": 5}',
        '{"type": "begin"}',
        '{"type": "begin", "ref": -1}',
        '{"type": "begin", "ref": 1e400}',
        '{"type": "begin", "ref": 1, "length": 99999999999999999999}',
        '{"type": "begin", "ref": 1, "length": NaN}',
        '{"type": "begin", "ref": 2147483648}',
        '{"type": "begin", "ref": 1, "name": "\\ud800"}',
        "[" * 8000,
        '{"a":' * 1600,
        '{"type":"begin","ref":1,"metadata":' + "[" * 8000,
    ):
        await ground.told(wire.text(said) + frame(PING, b"x") * 50, 4400)
    await ground.told(frame(TEXT, b'{"type":"\xff"}') + frame(PING, b"x") * 50, 1007)
    await ground.told(wire.text("[" * 100_000), 1009)


@attack
async def chunks_that_are_none(ground: Ground) -> None:
    """Too short, of another kind, with flags and bits that mean nothing."""
    good = wire.chunk(1, 0, b"x")
    for said in (b"", b"\x01", good[:15], b"\x02" + good[1:], good[:1] + b"\x08" + good[2:]):
        await ground.told(frame(BINARY, said) + frame(PING, b"x") * 50, 1002)
    for said in (wire.chunk(1, 0, b""), wire.chunk(1 << 31, 0, b"x"), wire.chunk(1, 1 << 63, b"x")):
        await ground.told(frame(BINARY, said), 4400)


@attack
async def credit_that_is_ignored(ground: Ground) -> None:
    """Sixty-four mebibytes, as fast as they go, and on: the upload is refused, not the session."""
    async with ground.session() as caller, trio.open_nursery() as nursery:
        nursery.start_soon(flood_chunks, caller)
        while (told := await caller.message())["type"] != "error":
            assert told["type"] in ("ready", "ack")
        assert (told["code"], told["final"]) == ("credit-exceeded", True)
        while (told := await caller.message())["ref"] != 2:
            assert told["ref"] == 1
        assert told["type"] == "ready"


async def flood_chunks(caller: Caller) -> None:
    await caller.say(wire.text({"type": "begin", "ref": 1, "name": "flood"}))
    for number in range(1024):
        await caller.say(frame(BINARY, wire.chunk(1, number << 16, bytes(1 << 16))))
    await caller.say(frame(BINARY, wire.chunk(1, 1 << 40, b"far beyond")) * 100)
    await caller.say(wire.text({"type": "begin", "ref": 2, "name": "after"}))


@attack
async def a_hundred_thousand_begins(ground: Ground) -> None:
    """In one session, as fast as they go; all but 256 are too many."""
    async with ground.session() as caller, trio.open_nursery() as nursery:
        nursery.start_soon(swallow, caller)
        with suppress(*GONE):
            for start in range(0, BEGINS, 1000):
                refs = range(start, start + 1000)
                await caller.say(b"".join(wire.text({"type": "begin", "ref": n}) for n in refs))
        nursery.cancel_scope.cancel()


BEGINS: Final = 100_000


async def grow(ground: Ground, sessions: int) -> None:
    """200 uploads in each session, none of which is ever finished; every one is taken."""

    async def session() -> None:
        async with ground.session() as caller:
            refs = range(200)
            await caller.say(b"".join(wire.text({"type": "begin", "ref": n}) for n in refs))
            for step in range(2):
                chunks = (wire.chunk(n, step * 100, bytes(100), flush=True) for n in refs)
                await caller.say(b"".join(frame(BINARY, chunk) for chunk in chunks))
            durable: set[int] = set()
            while len(durable) < len(refs):
                told = await caller.message()
                assert told["type"] in ("ready", "ack"), told
                if told["offset"] == 200:
                    durable.add(told["ref"])

    async with trio.open_nursery() as nursery:
        for _ in range(sessions):
            nursery.start_soon(session)


@attack
async def more_uploads_than_files_may_be_open(ground: Ground) -> None:
    """All of them grow."""
    await grow(ground, 6)


@attack
async def checksums_that_are_held_back(ground: Ground) -> None:
    """Meanwhile more uploads grow than files may be open; then they come, right or wrong."""
    body, version = bytes(50), b"Tus-Resumable: 1.0.0"
    right = base64.b64encode(hashlib.sha1(body).digest())
    wrong = base64.b64encode(bytes(20))
    async with ground.connect() as first, ground.connect() as second:
        for caller in (first, second):
            lines = (version, b"Upload-Length: 100", b"Content-Length: 0")
            said = head(*lines, method=b"POST", target=b"/files/", host=b"localhost")
            target = (await caller.ask(said, "POST")).fields["location"].encode()
            lines = (version, b"Content-Type: application/offset+octet-stream", b"Upload-Offset: 0")
            lines += (b"Trailer: Upload-Checksum", b"Transfer-Encoding: chunked")
            said = head(*lines, method=b"PATCH", target=target, host=b"localhost")
            await caller.say(said + b"%x\r\n%b\r\n" % (len(body), body))
        await grow(ground, 3)
        for caller, checksum, status in ((first, right, 204), (second, wrong, 460)):
            behind = b"0\r\nUpload-Checksum: sha1 %b\r\n\r\n" % checksum
            assert (await caller.ask(behind, "PATCH")).status == status


@attack
async def begins_and_cancels(ground: Ground) -> None:
    """Of uploads that are new, unknown, under way, and of one key."""
    key = "k" * 22
    async with ground.session() as caller, trio.open_nursery() as nursery:
        nursery.start_soon(swallow, caller)
        for ref in range(1000):
            kinds = ({}, {"upload": "nowhere"}, {"key": key}, {"key": key, "name": "other"})
            members = ground.rng.choice(kinds)
            said = wire.text({"type": "begin", "ref": ref, **members})
            said += frame(BINARY, wire.chunk(ref, 0, b"", last=True)) * ground.rng.randrange(2)
            said += wire.text({"type": "cancel", "ref": ref})
            await caller.say(said)
        nursery.cancel_scope.cancel()


@attack
async def peers_that_never_read(ground: Ground) -> None:
    """They ask and ask and take no answer: they are left, and cost what the kernel holds."""

    async def ask(said: bytes, opening: bytes) -> None:
        sock = trio.socket.socket()
        sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await sock.connect(ground.address)
        async with trio.SocketStream(sock) as stream:
            with suppress(*GONE), trio.move_on_after(30) as patience:
                await stream.send_all(opening)
                await trio.sleep(0.2)
                while True:
                    await stream.send_all(said)
            assert not patience.cancelled_caught, "it was never left"

    hello = handshake()
    async with trio.open_nursery() as nursery:
        errors = wire.text({"type": "no such thing" * 3}) * 1000
        nursery.start_soon(ask, wire.text({"type": "hello"}) + errors, hello)
        refs = b"".join(wire.text({"type": "begin", "ref": ref}) for ref in range(1000))
        nursery.start_soon(ask, wire.text({"type": "hello"}) + refs, hello)
        nursery.start_soon(ask, frame(PING, bytes(125)) * 20, hello)


@attack
async def requests_whose_answers_nobody_reads(ground: Ground) -> None:
    """A row of them; who does not take the first answers does not get the others."""
    async with ground.connect() as caller:
        info = head(target=b"/-/info", host=b"localhost")
        with suppress(*GONE), trio.move_on_after(1):
            for _ in range(100):
                await caller.say(info * 1000)
        await drop(caller)


# --- and who goes on beside it --------------------------------------------------------------------


class Good:
    """A good session: stop and wait, a chunk at a time."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.content = b""
        self.url = b""

    async def begin(self) -> None:
        """Open the session and begin."""
        await self.caller.hello()
        await self.caller.say(wire.text({"type": "begin", "ref": 1, "name": "good"}))
        ready = await self.caller.message()
        self.url = ready["url"].encode()

    async def step(self) -> None:
        """One chunk, until it is durable."""
        at, data = len(self.content), random.randbytes(STEP)
        self.content += data
        await self.caller.say(frame(BINARY, wire.chunk(1, at, data, flush=True)))
        while (told := await self.caller.message())["offset"] < len(self.content):
            assert told["type"] == "ack"

    async def finish(self) -> None:
        """Complete it."""
        await self.caller.say(wire.text({"type": "finish", "ref": 1}))
        while (told := await self.caller.message())["type"] != "done":
            assert told["type"] == "ack"
        assert told["length"] == len(self.content)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all attacks: they add up."""
    with Daemon(tmp_path_factory.mktemp("hostile"), *SETTINGS, under=FEW_FILES) as daemon:
        daemon.start()
        yield daemon


@pytest.fixture(scope="module")
def memory_at_first(daemon: Daemon) -> int:
    """What it has before anybody came."""
    return daemon.rss()


@pytest.mark.parametrize("what", ATTACKS, ids=lambda what: what.__name__)
async def test_a_good_session_beside_an_attack(
    what: Attack, daemon: Daemon, memory_at_first: int
) -> None:
    """Gets its acks during it and after it, and nothing is left of the attack."""
    descriptors = daemon.fds()

    def alone() -> bool:
        return daemon.fds() <= descriptors

    ground = Ground(daemon.address, random.Random(SEED))
    rounds = 0
    once = trio.Event()

    async def attack_on() -> None:
        nonlocal rounds
        while True:
            await what(ground)
            rounds += 1
            once.set()

    with trio.fail_after(120):
        async with ground.connect() as caller:
            good = Good(caller)
            await good.begin()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attack_on)
                while len(good.content) < STEPS * STEP or not once.is_set():
                    await good.step()
                nursery.cancel_scope.cancel()
            for _ in range(3):
                await good.step()
            await good.finish()
            await caller.say(frame(CLOSE, b"\x03\xe8"))
            await swallow(caller)
        assert daemon.settles(alone), f"{daemon.fds()} descriptors, {descriptors} before"
        async with ground.connect() as caller:
            answer = await caller.ask(head(target=good.url, host=b"localhost"))
            assert answer.body == good.content
    assert daemon.settles(alone), f"{daemon.fds()} descriptors, {descriptors} before"
    assert daemon.alive
    assert "Traceback" not in daemon.log, daemon.log
    assert daemon.rss() - memory_at_first < MOST_MEMORY


def test_it_still_stops_in_peace(daemon: Daemon) -> None:
    """After all that: by SIGTERM, with exit code 0, and the log knows of no error."""
    assert daemon.terminate() == 0
    assert " ERROR " not in daemon.log
    assert Path(daemon.folder, "good").exists()
