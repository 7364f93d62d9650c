"""The front door: connections from their first byte to their last, over memory and a virtual clock.

What needs a file or a thread runs over real sockets, at the end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests import wire
from tests.caller import Caller
from tests.serve.desk import PATIENCE, Desk, open_desk, virtual
from tests.strategies import chunked
from tests.wire import frame, handshake, head
from uploadd.assembling import Assembling
from uploadd.protocol.origins import Origin
from uploadd.serve.advice import MOST
from uploadd.serve.connection import FrontDoor
from uploadd.serve.receiving import Receiving
from uploadd.serve.rules import Rules

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LOCAL = b"localhost"


def get(target: bytes = b"/", *lines: bytes, method: bytes = b"GET") -> bytes:
    """A request to a name that is ours."""
    return head(*lines, method=method, target=target, host=LOCAL)


class House:
    """A front door, and callers at it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.assembling = Assembling(desk.uploads)
        desk.nursery.start_soon(self.assembling.run)
        self.door = FrontDoor(desk.uploads, self.assembling, desk.budget, desk.rules, version="1")
        self._callers: list[Caller] = []
        self._served = 0
        self._silence = trio.Event()

    def call(self) -> Caller:
        """Open a connection."""
        ours, theirs = memory_stream_pair()
        self._callers.append(Caller(theirs, PATIENCE))
        self.desk.nursery.start_soon(self.serve, ours)
        return self._callers[-1]

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve one connection."""
        self._served += 1
        await self.door.serve(stream)
        self._served -= 1
        self._silence.set()

    async def silence(self) -> None:
        """Wait until every connection has ended."""
        with trio.fail_after(PATIENCE):
            while self._served:
                self._silence = trio.Event()
                await self._silence.wait()

    async def hang_up(self) -> None:
        """Let every caller go."""
        for caller in self._callers:
            await caller.stream.aclose()
        await self.silence()


@asynccontextmanager
async def open_house(*, failures: int = 0, **limits: Any) -> AsyncIterator[House]:
    """A house in which, when the block has ended, *failures* were ours."""
    async with open_desk(**limits) as desk:
        house = House(desk)
        yield house
        await house.hang_up()
        assert house.door.failures == failures
        assert house.door.sessions == set()


# --- heads ----------------------------------------------------------------------------------------


@virtual
async def test_a_head_that_does_not_end_is_answered_and_closed() -> None:
    """After 15 s from its first byte, however busily it dribbles."""
    async with open_house() as house:
        for pause in (1, 1000):
            caller = house.call()
            await trio.sleep(30)  # saying nothing is another matter
            start = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def dribble(caller: Caller = caller, pause: int = pause) -> None:
                    for byte in get(b"/", b"X: " + bytes(100 * b"x")):
                        await caller.say(bytes([byte]))
                        await trio.sleep(pause)

                nursery.start_soon(dribble)
                answer = await caller.answer()
                assert trio.current_time() - start == pytest.approx(15)
                nursery.cancel_scope.cancel()
            assert (answer.status, answer.code, answer.closes) == (408, "too-slow", True)
            assert await caller.ended()


@virtual
async def test_a_connection_on_which_nothing_is_said_ends_in_silence() -> None:
    """After a minute: at first, and after an answer."""
    async with open_house() as house:
        caller = house.call()
        start = trio.current_time()
        assert await caller.ended()
        assert trio.current_time() - start == pytest.approx(60)
        caller = house.call()
        await trio.sleep(50)
        assert (await caller.ask(get())).status == 200
        start = trio.current_time()
        await trio.sleep(50)
        assert (await caller.ask(get())).status == 200
        assert await caller.ended()
        assert trio.current_time() - start == pytest.approx(110)


@virtual
async def test_a_peer_that_goes_is_the_weather() -> None:
    """At once, in the middle of a head, with the answer unread, or out of a session."""
    async with open_house() as house:
        start = trio.current_time()
        for said in (b"", b"GET / HT", get(), handshake(), handshake() + b"x"):
            caller = house.call()
            await caller.say(said)
            await caller.stream.aclose()
        caller = house.call()
        await caller.upgraded()
        await caller.say(wire.text({"type": "hello"}))
        await caller.message()
        await caller.stream.aclose()
        await house.silence()
        assert trio.current_time() == start


PIPELINED = [get(b"/-/info"), get(b"/nowhere"), get(b"/", method=b"HEAD"), get(b"/-/info")]


@given(st.data())
@settings(max_examples=20)
@virtual
async def test_requests_in_a_row_are_answered_in_their_order(data: st.DataObject) -> None:
    """In any segments, and on one connection; a request's body belongs to it alone."""
    body = get(b"/", b"Content-Length: 40", method=b"PATCH") + get(b"/-/nothing").ljust(40)[:40]
    requests = [*PIPELINED, body, get()]
    async with open_house() as house:
        caller = house.call()
        for piece in data.draw(chunked(b"".join(requests))):
            await caller.say(piece)
        methods = ["GET", "GET", "HEAD", "GET", "PATCH", "GET"]
        answers = [await caller.answer(method) for method in methods]
        assert [answer.status for answer in answers] == [200, 404, 200, 200, 405, 200]


@virtual
async def test_behind_a_malformed_head_nothing_is_served() -> None:
    """What came before it is; what follows is never looked at."""
    async with open_house() as house:
        caller = house.call()
        await caller.say(get() + b"GET /  HTTP/1.1\r\n\r\n" + get(b"/-/info"))
        assert (await caller.answer()).status == 200
        answer = await caller.answer()
        assert (answer.status, answer.closes) == (400, True)
        assert await caller.ended()


MALFORMED = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501),
    "HTTP/1.9": (b"GET / HTTP/1.9\r\nHost: localhost\r\n\r\n", 501),
    "a method": (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (get(b"/", b"Host: localhost"), 400),
    "a bare LF": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "a folded field": (get(b"/", b"A: b", b" c"), 400),
    "two lengths": (get(b"/", b"Content-Length: 1", b"Content-Length: 1"), 400),
    "length and coding": (get(b"/", b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
    "a signed length": (get(b"/", b"Content-Length: +1"), 400),
    "a coding": (get(b"/", b"Transfer-Encoding: gzip"), 501),
    "not ASCII": (get(b"/", b"A: \xff\xfe"), 400),
    "not ASCII in Host": (head(host=b"\xff\xfe"), 400),
    "not ASCII in a subprotocol": (handshake(b"Sec-WebSocket-Protocol: \xff"), 400),
    "a NUL": (get(b"/", b"A: \x00"), 400),
    "101 fields": (get(b"/", *[b"A: b"] * 101), 431),
    "17 KiB": (get(b"/", b"A: " + b"b" * 17 * 1024), 431),
    "a long target": (get(b"/" + b"a" * 17 * 1024), 431),
    "an empty line too many": (b"\r\n\r\n\r\n" + get(), 400),
}


@pytest.mark.parametrize("what", MALFORMED)
@virtual
async def test_a_malformed_head_is_answered_and_closed(what: str) -> None:
    """With a problem document; what follows is dropped."""
    said, status = MALFORMED[what]
    async with open_house() as house:
        caller = house.call()
        answer = await caller.ask(said + get())
        assert (answer.status, answer.closes) == (status, True)
        assert answer.fields["content-type"] == "application/problem+json"
        assert await caller.ended()


# --- every route ----------------------------------------------------------------------------------

ID = b"A" * 24
ROUTES = [
    (b"GET", b"/", 200, None),
    (b"HEAD", b"/", 200, None),
    (b"OPTIONS", b"/", 204, "GET, HEAD, POST, PUT, OPTIONS"),
    (b"PATCH", b"/", 405, "GET, HEAD, POST, PUT, OPTIONS"),
    (b"GET", b"/-/info", 200, None),
    (b"HEAD", b"/-/info", 200, None),
    (b"OPTIONS", b"/-/info", 204, "GET, HEAD, OPTIONS"),
    (b"PUT", b"/-/info", 405, "GET, HEAD, OPTIONS"),
    (b"GET", b"/-/ws", 426, None),
    (b"OPTIONS", b"/-/ws", 204, "GET, OPTIONS"),
    (b"POST", b"/-/ws", 405, "GET, OPTIONS"),
    (b"GET", b"/f/" + ID, 404, None),
    (b"HEAD", b"/f/" + ID + b"/name.txt", 404, None),
    (b"OPTIONS", b"/f/" + ID, 204, "GET, HEAD, OPTIONS"),
    (b"DELETE", b"/f/" + ID, 405, "GET, HEAD, OPTIONS"),
    (b"OPTIONS", b"*", 204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"GET", b"/nowhere", 404, None),
    (b"GET", b"/f/../../etc/passwd", 404, None),
    (b"GET", b"/%2e%2e/etc/passwd", 404, None),
    (b"GET", b"http://localhost/", 200, None),
    (b"GET", b"http://elsewhere/", 421, None),
]


@virtual
async def test_every_route_on_one_connection() -> None:
    """Status, Allow, a body where there should be one, and the next request is served."""
    async with open_house() as house:
        for method, target, status, allow in ROUTES:
            caller = house.call()
            answer = await caller.ask(get(target, method=method), method.decode())
            assert answer.status == status, (method, target)
            assert answer.fields.get("allow") == allow, (method, target)
            assert not answer.closes
            assert "date" in answer.fields
            if method == b"HEAD" or status == 204:
                assert answer.body == b""
            else:
                assert len(answer.body) == int(answer.fields["content-length"])
            assert (await caller.ask(get())).status == 200


@virtual
async def test_info_tells_limits_and_protocols() -> None:
    """In JSON, and as the welcome of a session has them."""
    async with open_house(max_length=10**12, max_refs=7) as house:
        answer = await house.call().ask(get(b"/-/info"))
        told = json.loads(answer.body)
        assert told["limits"] == {
            "max_chunk": 1 << 20,
            "max_length": 10**12,
            "initial": 1 << 20,
            "max_refs": 7,
            "max_watched": 1000,
        }
        assert told["protocols"]["uploadd.v1"]["path"] == "/-/ws"


@virtual
async def test_a_wish_to_close_is_granted() -> None:
    """Of HTTP/1.1 and of HTTP/1.0."""
    async with open_house() as house:
        old = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
        for request in (get(b"/", b"Connection: close"), old):
            caller = house.call()
            assert (await caller.ask(request)).status == 200
            assert await caller.ended()


@virtual
async def test_who_still_sends_hears_the_error_and_then_the_connection_ends() -> None:
    """A large body to a path that does not take one; nothing in it is a request."""
    async with open_house() as house:
        caller = house.call()
        await caller.say(get(b"/nowhere", b"Content-Length: 10000000", method=b"POST"))
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for _ in range(100):
                    await caller.say(get(b"/-/info").ljust(100_000))

            nursery.start_soon(send)
            answer = await caller.answer("POST")
        assert (answer.status, answer.closes) == (404, True)
        assert await caller.ended()


@virtual
async def test_a_small_body_is_read_and_the_connection_goes_on() -> None:
    """Also a chunked one; what is in it is no request."""
    async with open_house() as house:
        caller = house.call()
        inner = get(b"/-/info")
        for line, body in (
            (b"Content-Length: %d" % len(inner), inner),
            (b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)),
        ):
            answer = await caller.ask(get(b"/", line, method=b"PATCH") + body, "PATCH")
            assert (answer.status, answer.closes) == (405, False)
            assert (await caller.ask(get(b"/nowhere"))).status == 404


# --- who asks -------------------------------------------------------------------------------------


@virtual
async def test_only_our_own_names_are_answered() -> None:
    """DNS rebinding has no name of ours; the port does not matter."""
    async with open_house(names=("files.example",)) as house:
        for host, status in (
            (b"localhost", 200),
            (b"LOCALHOST:8080", 200),
            (b"127.0.0.1:1", 200),
            (b"[::1]:8080", 200),
            (b"files.example", 200),
            (b"evil.example", 421),
            (b"localhost.evil.example", 421),
            (b"127.0.0.2", 421),
        ):
            caller = house.call()
            assert (await caller.ask(head(host=host))).status == status, host
            answer = await house.call().ask(handshake(host=host)) if status == 421 else None
            assert answer is None or answer.code == "host-not-allowed"


FOREIGN = [
    ((b"Origin: http://evil.example",), 403),
    ((b"Origin: null",), 403),
    ((b"Origin: http://localhost.evil.example",), 403),
    ((b"Origin: http://localhost:9",), 403),
    ((b"Origin: http://localhost", b"Origin: http://localhost"), 403),
    ((b"Sec-Fetch-Site: cross-site",), 403),
    ((b"Origin: https://app.example", b"Sec-Fetch-Site: cross-site"), 0),
    ((b"Origin: http://localhost",), 0),
    ((), 0),
]
APP = Origin("https", "app.example", 443)


@pytest.mark.parametrize(("lines", "status"), FOREIGN)
@virtual
async def test_a_foreign_page_changes_nothing(lines: Sequence[bytes], status: int) -> None:
    """Neither by a request with another method nor by a session; looking is free."""
    async with open_house(origins=(APP,)) as house:
        answer = await house.call().ask(get(b"/", *lines, method=b"PATCH"), "PATCH")
        assert answer.status == (status or 405)
        assert (await house.call().ask(get(b"/", *lines))).status == 200
        caller = house.call()
        if status:  # a browser never shows its page the status of a refused handshake
            await caller.upgraded(handshake(*lines))
            told = await caller.message()
            assert (told["type"], told["code"], told["final"]) == (
                "error",
                "origin-not-allowed",
                True,
            )
            assert await caller.close_code() == 4403
            assert not house.door.sessions
        else:
            await caller.upgraded(handshake(*lines))


def advised(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the operator was told."""
    return [record.getMessage() for record in caplog.records if record.name == "uploadd.advice"]


@virtual
async def test_what_only_the_operator_can_mend_is_logged_once_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refused origin, an unknown name, a lost Upgrade: each with what to write, and no tokens."""
    async with open_house(origins=(APP,), names=("files.example",)) as house:
        stripped = get(b"/-/ws", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
        foreign = get(b"/", b"Origin: https://new.example:8443", method=b"PATCH")
        for _ in range(3):
            assert (await house.call().ask(stripped)).status == 426
            assert (await house.call().ask(foreign, "PATCH")).status == 403
            assert (await house.call().ask(head(host=b"Other.example:80"))).status == 421
            await house.call().upgraded(handshake(b"Origin: https://new.example:8443"))
        told = advised(caplog)
        first, *rest = told
        assert first.startswith('WebSocket requests from a proxy on this computer arrive without "')
        assert (
            "\n→ nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; " in first
        )
        allowed = '["https://app.example", "https://new.example:8443"]'
        names = '["files.example", "other.example"]'
        then = "   then: systemctl reload uploadd"
        origin = "refused origin https://new.example:8443 (allowed: https://app.example)"
        host = "refused Host other.example (known: files.example)"
        assert rest == [
            f"{origin}\n→ [server] origins = {allowed}{then}",
            f"{host}\n→ [server] names = {names}{then}",
        ]
        await trio.sleep(3601)
        await house.call().ask(stripped)
        assert advised(caplog) == [*told, told[0]]


@virtual
async def test_advice_is_bounded_and_says_nothing_that_cannot_be_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who is refused chooses what is said: at most a hundred things an hour, on one line each."""
    async with open_house() as house:
        for origin in (b"null", b"x" * 300, b"http://a\tb", b"https://" + b"a" * 300):
            await house.call().ask(get(b"/", b"Origin: " + origin, method=b"PATCH"), "PATCH")
        await house.call().ask(get(b"/", b"Sec-Fetch-Site: cross-site", method=b"PATCH"), "PATCH")
        assert advised(caplog) == []
        for number in range(MOST + 9):
            await house.call().ask(head(host=b"h%d.example" % number))
        assert len(advised(caplog)) == MOST
        assert all(text.count("\n") == 1 for text in advised(caplog))


@virtual
async def test_new_rules_count_from_the_next_conversation_on() -> None:
    """A name, a limit, a timeout; who converses already keeps what they were told."""
    async with open_house() as house:
        before = house.call()
        told = await before.hello()
        assert told["limits"]["max_length"] is None
        assert (await house.call().ask(head(host=b"new.example"))).status == 421
        new = Rules(names=("new.example",), max_length=1000, max_refs=7)
        house.door.adopt(new)
        assert house.door.rules is new
        assert (await house.call().ask(head(host=b"new.example"))).status == 200
        after = house.call()
        limits = (await after.hello())["limits"]
        assert (limits["max_length"], limits["max_refs"]) == (1000, 7)
        assert len(house.door.sessions) == 2
        house.door.adopt(Rules(max_sessions=2))
        refused = await house.call().ask(handshake())
        assert (refused.status, refused.code) == (429, "too-many")


# --- sessions -------------------------------------------------------------------------------------


@virtual
async def test_the_id_of_a_session_is_nothing_to_be_counted_up_to() -> None:
    """Whoever knows it may show things there (X-Socket-Id)."""
    async with open_house() as house:
        one, two = [(await house.call().hello())["session"] for _ in range(2)]
        assert one[-16:] != two[-16:]
        assert min(len(one), len(two)) > len("0123abcd-1-") + 15


@virtual
async def test_a_handshake_opens_a_session() -> None:
    """Without extensions, whatever was offered; then hello and welcome."""
    async with open_house() as house:
        caller = house.call()
        offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        fields = await caller.upgraded(handshake(offer))
        accept = base64.b64encode(hashlib.sha1(wire.KEY + GUID).digest()).decode()
        assert fields["sec-websocket-accept"] == accept
        assert fields["sec-websocket-protocol"] == "uploadd.v1"
        assert "sec-websocket-extensions" not in fields
        await caller.say(wire.text({"type": "hello"}))
        assert (await caller.message())["type"] == "welcome"
        assert len(house.door.sessions) == 1
        await caller.say(frame(wire.PING, b"there?"))
        assert await caller.frame() == wire.Frame(wire.PONG, b"there?")
        start = trio.current_time()
        await caller.say(frame(wire.CLOSE, b"\x03\xe8"))
        assert await caller.close_code() == 1000
        assert await caller.ended()
        await house.silence()
        assert trio.current_time() == start


@virtual
async def test_a_token_among_the_subprotocols_is_never_echoed() -> None:
    """Nor is it the answer."""
    async with open_house() as house:
        line = b"Sec-WebSocket-Protocol: uploadd.token.c2VjcmV0"
        fields = await house.call().upgraded(handshake(line))
        assert fields["sec-websocket-protocol"] == "uploadd.v1"
        assert "c2VjcmV0" not in str(fields)


NOT_QUITE = {
    "no key": (handshake(without=b"Sec-WebSocket-Key"), 426),
    "no version": (handshake(without=b"Sec-WebSocket-Version"), 426),
    "another version": (
        handshake(b"Sec-WebSocket-Version: 777", without=b"Sec-WebSocket-Version"),
        426,
    ),
    "no subprotocol": (handshake(without=b"Sec-WebSocket-Protocol"), 426),
    "no Connection": (handshake(without=b"Connection"), 426),
    "POST": (handshake().replace(b"GET", b"POST", 1), 426),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 426),
    "a body": (handshake(b"Content-Length: 5") + b"hello", 426),
    "a chunked body": (handshake(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 426),
    "a frame behind it": (handshake() + wire.text({"type": "hello"}), 426),
    "a request behind it": (handshake() + get(b"/-/info"), 426),
    "h2c": (handshake(b"Upgrade: h2c", without=b"Upgrade"), 426),
}


@pytest.mark.parametrize("what", NOT_QUITE)
@virtual
async def test_a_handshake_that_is_none_gets_its_answer_and_nothing_behind_it_does(
    what: str,
) -> None:
    """A proxy may believe in a tunnel: what follows is dropped and the connection closed."""
    request, status = NOT_QUITE[what]
    async with open_house() as house:
        caller = house.call()
        answer = await caller.ask(request + get(b"/-/info"))
        assert answer.status == status
        if status == 426:
            assert answer.code == "upgrade-required"
            assert answer.fields["upgrade"] == "websocket"
            assert answer.fields["sec-websocket-version"] == "13"
        assert await caller.ended()
        assert house.door.sessions == set()


@virtual
async def test_who_asks_for_another_protocol_gets_its_answer_and_no_second_one() -> None:
    """Both sides of a proxy must agree on where the conversation ended."""
    async with open_house() as house:
        caller = house.call()
        lines = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x")
        assert (await caller.ask(get(b"/", *lines) + get())).status == 200
        assert await caller.ended()


@virtual
async def test_sessions_live_at_one_path() -> None:
    """And the methods of that path are told to others."""
    async with open_house() as house:
        for target, status in ((b"/", 404), (b"/-/ws/", 404), (b"/-/ws?a=b", 101)):
            caller = house.call()
            if status == 101:
                await caller.upgraded(handshake(target=target))
            else:
                assert (await caller.ask(handshake(target=target))).status == status
                assert await caller.ended()


@virtual
async def test_a_proxy_that_strips_upgrade_is_named() -> None:
    """And the lines that help nginx stand in the body."""
    async with open_house() as house:
        caller = house.call()
        answer = await caller.ask(handshake(without=b"Upgrade"))
        assert (answer.status, answer.code) == (426, "ws-upgrade-stripped")
        assert "proxy_set_header Upgrade $http_upgrade" in json.loads(answer.body)["hint"]
        assert answer.fields["upgrade"] == "websocket"
        assert await caller.ended()


@virtual
async def test_sessions_are_counted() -> None:
    """One too many is refused, and one that ended makes room."""
    async with open_house(max_sessions=2) as house:
        callers = [house.call() for _ in range(2)]
        for caller in callers:
            await caller.upgraded()
        await wait_all_tasks_blocked()
        answer = await house.call().ask(handshake())
        assert (answer.status, answer.code) == (429, "too-many")
        await callers[0].stream.aclose()
        await wait_all_tasks_blocked()
        await house.call().upgraded()


@pytest.mark.parametrize("sends", [True, False])
@virtual
async def test_sessions_that_send_share_the_memory_fairly(sends: bool) -> None:
    """Who comes after 128 is told of smaller chunks than the first one was; who only watches
    takes nothing from anybody.
    """
    async with open_house() as house:
        sizes = []
        for _ in range(129):
            caller = house.call()
            await caller.upgraded()
            await caller.say(wire.text({"type": "hello"}))
            sizes.append((await caller.message())["limits"]["max_chunk"])
            if sends:
                await caller.say(wire.text({"type": "begin", "ref": 1}))
                assert (await caller.message())["type"] == "ready"
        assert (sizes[0], sizes[-1]) == (1 << 20, 512 << 10 if sends else 1 << 20)
        assert sizes == sorted(sizes, reverse=True)


OFFENCES = {
    "an oversize message": (frame(wire.TEXT, bytes(9000)), 1009),
    "two of them in one segment": (frame(wire.TEXT, bytes(9000)) * 2, 1009),
    "an oversize chunk": (frame(wire.BINARY, bytes((1 << 20) + 21)), 1009),
    "pings behind it": (frame(wire.TEXT, bytes(9000)) + frame(wire.PING, b"x") * 99, 1009),
    "pings before it": (frame(wire.PING, b"x") * 99 + frame(wire.TEXT, bytes(9000)), 1009),
    "a flood of pings": (frame(wire.PING, b"x") * 300, 1008),
    "an unmasked frame": (frame(wire.TEXT, b"{}", masked=False), 1002),
    "a compressed frame": (frame(wire.TEXT, b"{}", first=0x40), 1002),
    "fragments without end": (frame(wire.BINARY, fin=False) + frame(0, fin=False) * 999, 1008),
    "no JSON": (wire.text("no JSON") + frame(wire.PING, b"x") * 99, 4400),
    "no JSON, and much behind it": ((wire.text("no JSON") + frame(wire.PING)) * 99, 4400),
    "text that is not UTF-8": (frame(wire.TEXT, b'{"type":"\xff"}'), 1007),
    "half a character": (frame(wire.TEXT, b"\xc3"), 1007),
    "brackets": (wire.text("[" * 8000), 4400),
    "no chunk": (frame(wire.BINARY, b"x") + frame(wire.PING, b"x") * 99, 1002),
    "no hello": (wire.text({"type": "drained"}), 4400),
}


@pytest.mark.parametrize("what", OFFENCES)
@virtual
async def test_an_offence_is_answered_by_its_close_code(what: str) -> None:
    """Whatever else is in the same segment, and whatever follows; it is no failure of ours."""
    offence, code = OFFENCES[what]
    async with open_house() as house:
        for hello in (b"", wire.text({"type": "hello"})):
            if not hello or what != "no hello":
                caller = house.call()
                await caller.upgraded()
                await caller.say(hello + offence)
                with suppress(trio.BrokenResourceError):
                    await caller.say(frame(wire.PING, b"x") * 10 + wire.text("{}"))
                assert await caller.close_code() == code
                with suppress(trio.BrokenResourceError):
                    await caller.say(frame(wire.PING, b"x"))
                    await caller.say(frame(wire.CLOSE, b"\x03\xe8") + frame(wire.PING, b"x"))
                assert await caller.ended()


@virtual
async def test_a_peer_that_does_not_answer_our_close_is_left() -> None:
    """After two seconds, though it goes on talking."""
    async with open_house() as house:
        caller = house.call()
        await caller.upgraded()
        await caller.say(frame(wire.TEXT, bytes(9000)))
        assert await caller.close_code() == 1009
        start = trio.current_time()
        assert await caller.ended()
        assert trio.current_time() - start == pytest.approx(2)


@virtual
async def test_an_outstanding_ping_keeps_no_session_open() -> None:
    """The peer goes, or a drain comes, while a pong is awaited that never comes."""
    async with open_house() as house:
        for way in ("goes", "drained"):
            caller = house.call()
            await caller.upgraded()
            await caller.say(wire.text({"type": "hello"}))
            await caller.message()
            [session] = house.door.sessions
            session.look_after(trio.current_time() + 30)
            assert (await caller.frame()).opcode == wire.PING
            if way == "goes":
                await caller.stream.aclose()
            else:
                session.drain(1, 5)
                assert await caller.close_code() == 1012
            await trio.sleep(3)
            assert house.door.sessions == set()


@virtual
async def test_a_session_that_still_writes_when_its_peer_has_gone_may_be_pinged() -> None:
    """It looks quiet from outside, and nobody is there to hear the ping."""
    async with open_house() as house:
        caller = house.call()
        await caller.upgraded()
        await caller.say(wire.text({"type": "hello"}) + wire.text({"type": "begin", "ref": 1}))
        assert (await caller.message())["type"] == "welcome"
        id = (await caller.message())["upload"]
        stuck = house.desk.store.stick(id)
        await caller.say(frame(wire.BINARY, wire.chunk(1, 0, b"abc")))
        await wait_all_tasks_blocked()
        await caller.stream.aclose()
        await wait_all_tasks_blocked()
        [session] = house.door.sessions
        session.look_after(trio.current_time() + 30)
        await wait_all_tasks_blocked()
        stuck.set()
        await house.silence()
        assert await (await house.desk.greeted()).back(1, id) == 3


@virtual
async def test_pings_go_on_as_long_as_they_are_answered() -> None:
    """And a silent peer hears why it is left."""
    async with open_house() as house:
        caller = house.call()
        await caller.upgraded()
        await caller.say(wire.text({"type": "hello"}))
        await caller.message()
        [session] = house.door.sessions
        for _ in range(3):
            await trio.sleep(30)
            session.look_after(trio.current_time())
            ping = await caller.frame()
            assert ping.opcode == wire.PING
            await caller.say(frame(wire.PONG, ping.payload))
            await wait_all_tasks_blocked()
        await trio.sleep(61)
        session.look_after(trio.current_time())
        assert await caller.close_code() == 4408


# --- stopping -------------------------------------------------------------------------------------


@virtual
async def test_draining_ends_what_is_idle_and_answers_what_has_begun() -> None:
    """An answer is the last on its connection; sessions are asked to come back."""
    async with open_house() as house:
        idle, begun, asking, fresh = (house.call() for _ in range(4))
        assert (await idle.ask(get())).status == 200
        await begun.say(get()[:9])
        await asking.say(handshake()[:9])
        session = house.call()
        await session.upgraded()
        await session.say(wire.text({"type": "hello"}))
        await session.message()
        await wait_all_tasks_blocked()
        house.door.drain(1, 5)
        assert await idle.ended()
        assert await fresh.ended()
        assert (await begun.ask(get()[9:])).status == 200
        assert await begun.ended()
        answer = await asking.ask(handshake()[9:])
        assert (answer.status, answer.code) == (503, "draining")
        assert (await session.message())["type"] == "drain"
        assert await session.close_code() == 1012


@virtual
async def test_a_session_that_opens_while_we_drain_is_sent_away() -> None:
    """Its handshake was answered a moment before."""
    async with open_house() as house:
        for steps in range(30):
            house.door._draining = house.door._sockets.draining = False
            caller = house.call()
            await caller.say(handshake())
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            house.door.drain(1, 5)
            with trio.fail_after(4):
                while await caller.stream.receive_some(999):
                    pass


# --- our own failures -----------------------------------------------------------------------------


@virtual
async def test_a_failure_of_ours_ends_one_connection_and_is_counted() -> None:
    """In an exchange and in a session; the others never notice."""
    async with open_house(failures=2) as house:
        logging.disable(logging.CRITICAL)  # it is logged, with its traceback
        try:
            other = house.call()
            assert (await other.ask(get())).status == 200

            async def broken(id: str) -> None:
                raise RuntimeError("a bug")

            house.desk.uploads.find = broken  # type: ignore[assignment,method-assign]  # a bug of ours
            caller = house.call()
            answer = await caller.ask(get(b"/f/" + ID))
            assert (answer.status, answer.code, answer.closes) == (500, "internal", True)
            assert await caller.ended()
            caller = house.call()
            await caller.upgraded()
            await caller.say(wire.text({"type": "hello"}))
            await caller.say(wire.text({"type": "begin", "ref": 1, "upload": "x"}))
            while await caller.stream.receive_some(999):
                pass
            assert (await other.ask(get())).status == 200
        finally:
            logging.disable(logging.NOTSET)


@virtual
async def test_a_failure_of_ours_while_being_told_ends_the_session_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The group commit tells everybody; the neighbour in its batch becomes durable."""
    async with open_house(failures=1) as house:
        logging.disable(logging.CRITICAL)
        try:
            told = Receiving._on_move

            def on_move(self: Receiving) -> None:
                if self.begin.name == "bad":
                    raise RuntimeError("a bug")
                told(self)

            monkeypatch.setattr(Receiving, "_on_move", on_move)
            bad, good = house.call(), house.call()
            for caller, name in ((bad, "bad"), (good, "good")):
                await caller.hello()
                await caller.say(wire.text({"type": "begin", "ref": 1, "name": name}))
            assert await bad.close_code() == 1011
            assert (await good.message())["type"] == "ready"
            await good.say(wire.text({"type": "finish", "ref": 1}))
            assert (await good.message())["type"] == "done"
        finally:
            logging.disable(logging.NOTSET)


# --- downloads: over real sockets -----------------------------------------------------------------


@asynccontextmanager
async def open_street(house: House) -> AsyncIterator[Caller]:
    """A connection over loopback."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0] as listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        async with client:
            house.desk.nursery.start_soon(house.serve, await listener.accept())
            yield Caller(client)


async def test_a_published_file_is_served_and_an_unfinished_one_is_not() -> None:
    """GET, HEAD, a range; 404 before it is published, and when it was cancelled."""
    async with open_house() as house, open_street(house) as caller:
        peer = await house.desk.greeted()
        id = await peer.up(name="a.txt", length=10)
        path = f"/f/{id}/a.txt".encode()
        answer = await caller.ask(get(path))
        assert (answer.status, answer.code) == (404, "not-found")
        await peer.chunk(1, 0, b"0123456789", last=True)
        assert (await peer.hear_of("done"))["url"].encode() == path
        answer = await caller.ask(get(path))
        assert (answer.status, answer.body) == (200, b"0123456789")
        answer = await caller.ask(get(path, method=b"HEAD"), "HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.fields["content-length"] == "10"
        answer = await caller.ask(get(f"/f/{id}".encode(), b"Range: bytes=2-4"))
        assert (answer.status, answer.body) == (206, b"234")
        other = await peer.up(name="b")
        await peer.say(type="cancel", ref=1)
        await peer.hear_of("gone")
        answer = await caller.ask(get(f"/f/{other}".encode()))
        assert (answer.status, answer.code) == (404, "not-found")


async def test_a_file_that_was_changed_outside_is_not_served() -> None:
    """It is not what somebody uploaded."""
    async with open_house() as house, open_street(house) as caller:
        peer = await house.desk.greeted()
        id = await peer.up(name="a.txt", length=1)
        await peer.chunk(1, 0, b"x", last=True)
        await peer.hear_of("done")
        del house.desk.store._files["a.txt"]
        answer = await caller.ask(get(f"/f/{id}".encode()))
        assert (answer.status, answer.closes) == (404, False)


async def test_a_real_socket_that_is_reset_is_the_weather() -> None:
    """In the middle of a frame."""
    async with open_house() as house:
        async with open_street(house) as caller:
            await caller.upgraded()
            await caller.say(wire.text({"type": "hello"}))
            await caller.message()
            await caller.say(wire.text({"type": "begin", "ref": 1})[:9])
            assert isinstance(caller.stream, trio.SocketStream)
            at_once = struct.pack("ii", 1, 0)
            caller.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, at_once)
        await house.silence()
