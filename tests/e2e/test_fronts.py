"""Behind nginx, Caddy and HAProxy as their samples have them: every way in, and a restart."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import trio

from tests.e2e.daemon import Daemon
from tests.e2e.fronts import CONF, NAME, Caddy, Front, Haproxy, Nginx
from tests.e2e.test_kernel_path import Answer
from uploadd.client import open_client

SAMPLE = (CONF / "nginx.conf").read_text()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """One that knows its name."""
    with Daemon(
        tmp_path / "store", "--set", f"server.names={NAME}", "--set", "access.anonymous=yes"
    ) as daemon:
        daemon.start()
        yield daemon


@pytest.fixture(params=["nginx", "caddy", "haproxy"])
def front(request: pytest.FixtureRequest, tmp_path: Path, daemon: Daemon) -> Iterator[Front]:
    """One of them in front of it."""
    fronts = {"caddy": Caddy, "haproxy": Haproxy}
    made: Front = (
        Nginx(tmp_path, SAMPLE) if request.param == "nginx" else fronts[request.param](tmp_path)
    )
    made.start(daemon.address[1])
    yield made
    made.stop()


def ask(front: Front, said: bytes) -> Answer:
    """The answer to one request."""
    with socket.create_connection(("127.0.0.1", front.port)) as sock:
        sock.settimeout(60)
        sock.sendall(said)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536) or b"\r\n\r\n"
        return Answer(head.partition(b"\r\n\r\n")[0].decode())


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    """A request to the name that people use."""
    lines = [line, f"Host: {NAME}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def test_every_way_leads_through(front: Front, daemon: Daemon) -> None:
    """A session, a raw PUT larger than nginx allows by default, tus, and a download."""
    data = os.urandom(3_000_000)
    async with open_client(f"http://localhost:{front.port}") as client:
        stored = await client.upload(pieces(data), name="ws.bin", length=len(data))
    assert (daemon.folder / "ws.bin").read_bytes() == data
    answer = await run(front, request("PUT /put.bin HTTP/1.1", body=data))
    assert answer.status == 201
    assert (daemon.folder / "put.bin").read_bytes() == data
    spoken = "Tus-Resumable: 1.0.0"
    answer = await run(front, request("POST /files/ HTTP/1.1", spoken, "Upload-Length: 9"))
    target = answer.fields["location"]
    assert target.startswith("/files/"), "relative, so that no proxy can make it wrong"
    fields = (spoken, "Content-Type: application/offset+octet-stream", "Upload-Offset: 0")
    answer = await run(front, request(f"PATCH {target} HTTP/1.1", *fields, body=b"123456789"))
    assert (answer.status, answer.offset) == (204, 9)
    path = stored.url.partition(f":{front.port}")[2]
    answer = await run(front, request(f"HEAD {path} HTTP/1.1", "Range: bytes=0-9"))
    assert answer.fields["content-length"] in ("10", str(len(data)))


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """*data* in pieces."""
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


async def run(front: Front, said: bytes) -> Answer:
    """`ask` in a thread."""
    return await trio.to_thread.run_sync(ask, front, said)


async def test_a_body_comes_through_as_it_is_sent(front: Front, daemon: Daemon) -> None:
    """Also one whose length nobody knows: what has come is stored, and can be resumed."""
    spoken = ("Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream")
    for framing in ("Content-Length: 400000", "Transfer-Encoding: chunked"):
        created = request("POST /files/ HTTP/1.1", spoken[0], "Upload-Length: 400000")
        target = (await run(front, created)).fields["location"]
        lines = (f"PATCH {target} HTTP/1.1", f"Host: {NAME}", *spoken, "Upload-Offset: 0", framing)
        stream = await trio.open_tcp_stream("127.0.0.1", front.port)
        async with stream:
            await stream.send_all("\r\n".join([*lines, "", ""]).encode())
            size = b"30d40\r\n" if framing.endswith("chunked") else b""
            await stream.send_all(size + bytes(200_000))
            url = f"{daemon.url}/api/upload/{target.rsplit('/', 1)[1]}/status"

            def stored(url: str = url) -> bool:
                with urlopen(url) as answer:
                    return json.load(answer)["offset"] == 200_000

            assert await trio.to_thread.run_sync(daemon.settles, stored)


async def test_what_a_client_says_of_its_address_does_not_come_through(front: Front) -> None:
    """Limits of an address go by what the proxy has seen."""
    forged = request("GET / HTTP/1.1", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https")
    front.stop()
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await trio.to_thread.run_sync(front.start, listener.socket.getsockname()[1])
    async with listener, await trio.open_tcp_stream("127.0.0.1", front.port) as client:
        await client.send_all(forged)
        async with await listener.accept() as behind:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await behind.receive_some()
    lines = {line.lower() for line in head.decode().split("\r\n")}
    assert [line for line in sorted(lines) if line.startswith("x-forwarded-for:")] == [
        "x-forwarded-for: 127.0.0.1"
    ]
    assert "x-forwarded-proto: http" in lines
    assert f"host: {NAME}" in lines


async def test_events_come_through_at_once(front: Front, daemon: Daemon) -> None:
    """A stream that is never full is not kept back."""
    answer = await run(
        front, request("POST /files/ HTTP/1.1", "Tus-Resumable: 1.0.0", "Upload-Length: 9")
    )
    id = answer.fields["location"].rsplit("/", 1)[1]
    async with await trio.open_tcp_stream("127.0.0.1", front.port) as stream:
        await stream.send_all(request(f"GET /api/events?upload={id} HTTP/1.1"))
        heard = b""
        while id.encode() not in heard:
            heard += await stream.receive_some()
        assert b"text/event-stream" in heard


async def test_while_the_daemon_is_away_nobody_is_told_to_begin_again(
    front: Front, daemon: Daemon
) -> None:
    """A 5xx on HEAD would let some clients do so: they wait, or are asked to come back."""
    spoken = "Tus-Resumable: 1.0.0"
    answer = await run(front, request("POST /files/ HTTP/1.1", spoken, "Upload-Length: 9"))
    target = answer.fields["location"]
    port = daemon.address[1]
    daemon.kill()
    if isinstance(front, Nginx):  # the others let who comes wait
        assert (await run(front, request(f"HEAD {target} HTTP/1.1", spoken))).status == 423
        assert (await run(front, request("POST /files/ HTTP/1.1", spoken))).status == 503
    daemon.args = (*daemon.args, "--port", str(port))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, daemon.start)
        while (
            answer := await run(front, request(f"HEAD {target} HTTP/1.1", spoken))
        ).status == 423:
            pass
    assert (answer.status, answer.offset) == (200, 0)


async def test_a_proxy_that_strips_upgrade_is_told_so(tmp_path: Path, daemon: Daemon) -> None:
    """With the lines that its configuration lacks."""
    lines = SAMPLE.splitlines()
    kept = [line for line in lines if "$http_upgrade;" not in line]
    nginx = Nginx(tmp_path, "\n".join(line for line in kept if "Connection $conn" not in line))
    nginx.start(daemon.address[1])
    try:
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        fields = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
        answer = await run(nginx, request("GET /-/ws HTTP/1.1", *fields))
        assert answer.status == 426
    finally:
        nginx.stop()
