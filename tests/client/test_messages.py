"""The WebSocket below the client, against the library at the other end and against worse peers."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
import trio.testing
import trio_websocket
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest
from wsproto import WSConnection
from wsproto.connection import Connection, ConnectionType
from wsproto.events import AcceptConnection, BytesMessage

from uploadd.client import NotAuthorised, Rejected, ServerUnavailable, UploadFailed, messages
from uploadd.client.address import Address, parse
from uploadd.client.errors import WrongAddress
from uploadd.client.messages import Closed, Messages, frame, open_messages
from uploadd.client.nursery import open_plain_nursery

Handler: TypeAlias = Callable[[WebSocketRequest], Awaitable[None]]


@asynccontextmanager
async def library(handler: Handler) -> AsyncIterator[Address]:
    """A server of the library, on a port of its own."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: trio_websocket.serve_websocket(
                handler, "127.0.0.1", 0, None, task_status=task_status, max_message_size=1 << 24
            )
        )
        yield parse(f"http://127.0.0.1:{server.port}")
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def raw(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[Address]:
    """A server of bytes."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield parse(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.cancel_scope.cancel()


async def echo(request: WebSocketRequest) -> None:
    """Whatever comes goes back."""
    websocket = await request.accept(subprotocol="uploadd.v1")
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except ConnectionClosed:
        pass


@given(st.binary(max_size=300) | st.integers(0, 1 << 17).map(bytes))
def test_a_frame_is_what_rfc_6455_says(payload: bytes) -> None:
    """A peer that reads it sees one message, whole."""
    peer = Connection(ConnectionType.SERVER)
    peer.receive_data(frame(payload))
    events = list(peer.events())
    assert all(isinstance(event, BytesMessage) for event in events)
    assert b"".join(bytes(event.data) for event in events) == payload  # type: ignore[attr-defined]  # they are messages
    assert events[-1].message_finished  # type: ignore[attr-defined]  # they are messages


def test_no_two_frames_have_the_same_mask() -> None:
    """Section 5.3: derived from a strong source of entropy."""
    assert len({frame(bytes(8)) for _ in range(100)}) == 100


async def test_messages_go_both_ways() -> None:
    """Text and bytes, of all sizes, in order."""
    async with library(echo) as address, trio.open_nursery() as nursery:
        link = await open_messages(nursery, address)
        for message in ("a", b"b", "ä" * 1000, b"", b"c" * 125, b"d" * 126, b"e" * (1 << 16)):
            await link.send(message)
            assert await link.receive() == message
        await link.ping()
        await link.close()
        with pytest.raises(Closed):
            await link.send(b"too late")


async def test_the_handshake_says_who_we_are() -> None:
    """The token is a header, the path lies below the URL, the subprotocol is ours."""
    seen: list[WebSocketRequest] = []

    async def handler(request: WebSocketRequest) -> None:
        seen.append(request)
        await echo(request)

    async with library(handler) as address, trio.open_nursery() as nursery:
        for base, token in ((address, None), (address._replace(path="/below/"), "s3cret")):
            await (await open_messages(nursery, base, token)).close()
    first, second = seen
    assert (first.path, second.path) == ("/-/ws", "/below/-/ws")
    assert first.proposed_subprotocols == ("uploadd.v1",)
    assert b"authorization" not in dict(first.headers)
    assert dict(second.headers)[b"authorization"] == b"Bearer s3cret"


@pytest.mark.parametrize(
    ("status", "problem", "expected", "code"),
    [
        (401, {"detail": "no token"}, NotAuthorised, "token"),
        (403, {"code": "origin-not-allowed", "detail": "no"}, Rejected, "origin-not-allowed"),
        (404, None, Rejected, "not-uploadd"),
        (200, None, Rejected, "not-uploadd"),
        (503, {"code": "draining", "detail": "no"}, ServerUnavailable, "unreachable"),
        (502, None, ServerUnavailable, "unreachable"),
    ],
)
async def test_a_refused_handshake_says_why(
    status: int, problem: dict[str, str] | None, expected: type[UploadFailed], code: str
) -> None:
    """By its status and its problem document; a page of HTML is no server of ours."""
    body = json.dumps(problem | {"hint": "do it"}).encode() if problem else b"<h1>Hello</h1>"

    async def handler(request: WebSocketRequest) -> None:
        await request.reject(status, body=body)

    async with library(handler) as address, trio.open_nursery() as nursery:
        with pytest.raises(expected) as caught:
            await open_messages(nursery, address)
    assert caught.value.code == code
    assert caught.value.retryable == (expected is ServerUnavailable)
    if problem and status < 500:
        assert caught.value.hint == "do it"


async def test_a_server_that_chooses_no_subprotocol_is_another_one() -> None:
    """It would not understand a word."""

    async def handler(request: WebSocketRequest) -> None:
        await request.accept()
        await trio.sleep_forever()

    async with library(handler) as address, trio.open_nursery() as nursery:
        with pytest.raises(Rejected, match=r"uploadd\.v1"):
            await open_messages(nursery, address)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 101", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"]
)
async def test_whoever_hangs_up_during_the_handshake_is_not_waited_for(answer: bytes) -> None:
    """Far less than the ten seconds that a slow one has."""

    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(answer)
        await stream.send_eof()
        await stream.receive_some(1000)

    async with raw(handler) as address, trio.open_nursery() as nursery:
        with trio.fail_after(5), pytest.raises((ServerUnavailable, Rejected)):
            await open_messages(nursery, address)


async def test_whoever_says_nothing_is_not_waited_for_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten seconds, here a little less."""
    monkeypatch.setattr(messages, "CONNECT_SECONDS", 0.05)

    async def handler(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with raw(handler) as address, trio.open_nursery() as nursery:
        with pytest.raises(ServerUnavailable, match="no answer"):
            await open_messages(nursery, address)


async def test_nobody_there_is_told_in_the_words_of_the_system() -> None:
    """A closed port, a name that does not exist."""
    async with raw(trio.aclose_forcefully) as address:
        pass
    async with trio.open_nursery() as nursery:
        with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:\d+: connection refused$"):
            await open_messages(nursery, address)
        with pytest.raises(ServerUnavailable, match=r"nobody\.invalid: "):
            await open_messages(nursery, address._replace(host="nobody.invalid", port=80))


async def test_the_goodbye_of_the_server_is_heard() -> None:
    """Its code and its reason, after all that it said before."""

    async def handler(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="uploadd.v1")
        await websocket.send_message("last words")
        await websocket.aclose(1012, "restarting")

    async with library(handler) as address, trio.open_nursery() as nursery:
        link = await open_messages(nursery, address)
        assert await link.receive() == "last words"
        with pytest.raises(Closed) as caught:
            await link.receive()
        assert (caught.value.code, caught.value.reason) == (1012, "restarting")
        await link.close()


async def test_a_cancelled_client_still_says_goodbye() -> None:
    """The server need not wait for a timeout to see that we are gone."""
    codes: list[int] = []

    async def handler(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="uploadd.v1")
        try:
            await websocket.get_message()
        except ConnectionClosed as error:
            codes.append(error.reason.code if error.reason else 0)

    async with library(handler) as address:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            link = await open_messages(nursery, address)
            nursery.cancel_scope.cancel()
            await link.close(1000)
        assert trio.current_time() - began < messages.CLOSE_SECONDS
    assert codes == [1000]


async def test_a_cancelled_client_ends_though_nobody_takes_what_the_server_says() -> None:
    """Also one that has cut a message, and so says no goodbye: its reader waits for somebody who is
    gone.
    """

    async def handler(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="uploadd.v1")
        with suppress(ConnectionClosed):
            for number in range(9):
                await websocket.send_message(f"{number}")
            await websocket.get_message()

    async with library(handler) as address:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                link = await open_messages(nursery, address)
                assert isinstance(link, messages.WebSocket)
                await trio.testing.wait_all_tasks_blocked(0.05)
                link._going = 1
                nursery.cancel_scope.cancel()
                await link.close()


async def test_a_server_that_does_not_answer_the_goodbye_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two seconds, here a little less."""
    monkeypatch.setattr(messages, "CLOSE_SECONDS", 0.05)

    async def handler(request: WebSocketRequest) -> None:
        await request.accept(subprotocol="uploadd.v1")
        await trio.sleep_forever()

    async with library(handler) as address, trio.open_nursery() as nursery:
        link = await open_messages(nursery, address)
        await link.send(b"x" * 10)  # the library there waits for somebody to take it
        await link.send(b"y" * 10)
        await link.send(b"z" * 10)
        with trio.fail_after(5):
            await link.close()


async def test_after_half_a_message_nothing_follows() -> None:
    """A cancelled send cuts its frame; whatever came behind it would be read as part of it."""
    received = bytearray()
    may_read = trio.Event()
    ended = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        peer = WSConnection(ConnectionType.SERVER)
        peer.receive_data(await stream.receive_some(10_000))
        await stream.send_all(peer.send(AcceptConnection(subprotocol="uploadd.v1")))
        await may_read.wait()
        try:
            while data := await stream.receive_some(1 << 20):
                received.extend(data)
        except trio.BrokenResourceError:
            pass
        ended.set()

    async def cancel_when_stuck(scope: trio.CancelScope) -> None:
        await trio.testing.wait_all_tasks_blocked(0.05)
        scope.cancel()

    size = 64 << 20
    async with raw(handler) as address, trio.open_nursery() as nursery:
        link = await open_messages(nursery, address)
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_stuck, scope)
            await link.send(bytes(size))
        assert scope.cancelled_caught
        began = trio.current_time()
        await link.close()
        assert trio.current_time() - began < messages.CLOSE_SECONDS
        may_read.set()
        await ended.wait()
    assert 0 < len(received) < size
    assert received[:2] == b"\x82\xff"


async def test_pongs_do_not_fall_into_frames() -> None:
    """The library answers pings while our frames are on their way: each is whole."""
    sizes: list[int] = []

    async def handler(request: WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol="uploadd.v1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping, websocket)
            while len(sizes) < 40:
                sizes.append(len(await websocket.get_message()))
            nursery.cancel_scope.cancel()
        await websocket.send_message("enough")

    async def ping(websocket: WebSocketConnection) -> None:
        while True:
            await websocket.ping()

    async with library(handler) as address, trio.open_nursery() as nursery:
        link: Messages = await open_messages(nursery, address)
        for number in range(40):
            await link.send(bytes(1_000_000 + number))
        assert await link.receive() == "enough"
        await link.close()
    assert sizes == [1_000_000 + number for number in range(40)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody signed but itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test"
        f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}"
    )
    subprocess.run(words.split(), check=True, capture_output=True)
    return cert, key


async def test_tls_is_spoken_with_whom_we_believe(certificate: tuple[Path, Path]) -> None:
    """And with nobody else; a server without TLS is no server of https."""
    cert, key = certificate
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=str(cert))
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: trio_websocket.serve_websocket(
                echo, "127.0.0.1", 0, ours, task_status=task_status
            )
        )
        address = parse(f"https://127.0.0.1:{server.port}")
        link = await open_messages(nursery, address, context=trusting)
        await link.send(b"x" * 100_000)
        assert await link.receive() == b"x" * 100_000
        await link.close()
        with pytest.raises(Rejected, match="certificate") as caught:
            await open_messages(nursery, address)
        assert caught.value.code == "tls"
        nursery.cancel_scope.cancel()
    async with library(echo) as plain, trio.open_nursery() as nursery:
        with pytest.raises(ServerUnavailable, match="TLS"):
            await open_messages(nursery, plain._replace(secure=True))


async def connect(url: str) -> None:
    """Try to open a conversation."""
    async with open_plain_nursery() as nursery:
        await open_messages(nursery, parse(url))


@pytest.mark.parametrize("answer", [b"", b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/1.1 400 Bad\r\n"])
async def test_a_server_that_speaks_tls_only_is_named_so(
    certificate: tuple[Path, Path], answer: bytes
) -> None:
    """Whether it says nothing to plain HTTP, sends an alert, or says so in HTTP as nginx does."""
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(*certificate)
    body = b"The plain HTTP request was sent to HTTPS port"
    if answer.startswith(b"HTTP"):
        answer += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    async def serve(stream: trio.SocketStream) -> None:
        first = await stream.socket.recv(1, socket.MSG_PEEK)
        if first == b"\x16":
            secure = trio.SSLStream(stream, ours, server_side=True)
            with suppress(trio.BrokenResourceError):
                await secure.do_handshake()
        elif first:
            await stream.receive_some(10_000)
            await stream.send_all(answer)
            await stream.send_eof()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with pytest.raises(WrongAddress, match="TLS only") as caught:
            await connect(f"http://127.0.0.1:{port}")
        assert caught.value.hint == f"try https://127.0.0.1:{port}/"
        nursery.cancel_scope.cancel()


async def test_a_server_without_tls_is_named_so() -> None:
    """Nothing of what OpenSSL says about it is of use to anybody."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(10_000)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with pytest.raises(WrongAddress) as caught:
            await connect(f"https://127.0.0.1:{port}/up")
        assert caught.value.message == f"the server at 127.0.0.1:{port} does not speak TLS"
        assert caught.value.hint == f"try http://127.0.0.1:{port}/up"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64])
async def test_a_host_that_is_not_there_is_a_mistake_of_typing(host: str) -> None:
    """Which the error repeats."""
    with pytest.raises(WrongAddress, match=host[:20]):
        await connect(f"http://{host}")
