"""Behind nginx as its sample configuration has it: every way in, and a restart of the daemon."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from tests.e2e.daemon import Daemon
from tests.e2e.test_kernel_path import Answer
from uploadd.client import open_client

SAMPLE = Path(__file__).parents[2] / "conf/nginx.conf"
NAME = "files.example.com"


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Nginx:
    """nginx in front of *daemon*; `point_to` it again after a restart on another port."""

    def __init__(
        self, folder: Path, sample: str, *, tls: bool = False, log: str = "access_log off;"
    ) -> None:
        self.port = free_port()
        self._log = log
        self._folder, self._sample = folder, sample
        self._listen = f"127.0.0.1:{self.port}{' ssl' if tls else ''}"
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        self._command = [binary, "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, backend: int | Path) -> None:
        """Run it with *backend* behind it, a port of this host or a unix socket."""
        behind = f"unix:{backend}" if isinstance(backend, Path) else f"127.0.0.1:{backend}"
        text = self._sample.replace("listen 80;", f"listen {self._listen};")
        text = text.replace("127.0.0.1:8080", behind)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{kind}_temp_path {self._folder}/{kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        (self._folder / "nginx.conf").write_text(
            f"{user} daemon off; pid {self._folder}/pid; worker_processes 1;\n"
            f"events {{}}\nhttp {{ {self._log} {paths}\n{text}\n}}\n"
        )
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                assert self._process.poll() is None, "nginx did not start"
                continue
            return

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """One that knows its name."""
    with Daemon(tmp_path / "store", "--set", f"server.names={NAME}") as daemon:
        daemon.start()
        yield daemon


@pytest.fixture
def nginx(tmp_path: Path, daemon: Daemon) -> Iterator[Nginx]:
    """nginx in front of it."""
    nginx = Nginx(tmp_path, SAMPLE.read_text())
    nginx.start(daemon.address[1])
    yield nginx
    nginx.stop()


def ask(nginx: Nginx, said: bytes) -> Answer:
    """The answer to one request."""
    with socket.create_connection(("127.0.0.1", nginx.port)) as sock:
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


async def test_every_way_leads_through(nginx: Nginx, daemon: Daemon) -> None:
    """A session, a raw PUT larger than nginx allows by default, tus, and a download."""
    data = os.urandom(3_000_000)
    async with open_client(f"http://localhost:{nginx.port}") as client:
        stored = await client.upload(pieces(data), name="ws.bin", length=len(data))
    assert (daemon.folder / "ws.bin").read_bytes() == data
    answer = await run(nginx, request("PUT /put.bin HTTP/1.1", body=data))
    assert answer.status == 201
    assert (daemon.folder / "put.bin").read_bytes() == data
    spoken = "Tus-Resumable: 1.0.0"
    answer = await run(nginx, request("POST /files/ HTTP/1.1", spoken, "Upload-Length: 9"))
    target = answer.fields["location"]
    assert target.startswith("/files/"), "relative, so that no proxy can make it wrong"
    fields = (spoken, "Content-Type: application/offset+octet-stream", "Upload-Offset: 0")
    answer = await run(nginx, request(f"PATCH {target} HTTP/1.1", *fields, body=b"123456789"))
    assert (answer.status, answer.offset) == (204, 9)
    path = stored.url.partition(f":{nginx.port}")[2]
    answer = await run(nginx, request(f"HEAD {path} HTTP/1.1", "Range: bytes=0-9"))
    assert answer.fields["content-length"] in ("10", str(len(data)))


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """*data* in pieces."""
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


async def run(nginx: Nginx, said: bytes) -> Answer:
    """`ask` in a thread."""
    return await trio.to_thread.run_sync(ask, nginx, said)


async def test_while_the_daemon_restarts_clients_are_told_to_come_back(
    nginx: Nginx, daemon: Daemon
) -> None:
    """A 5xx on HEAD would let some of them begin again."""
    spoken = "Tus-Resumable: 1.0.0"
    answer = await run(nginx, request("POST /files/ HTTP/1.1", spoken, "Upload-Length: 9"))
    target = answer.fields["location"]
    daemon.kill()
    assert (await run(nginx, request(f"HEAD {target} HTTP/1.1", spoken))).status == 423
    assert (await run(nginx, request("POST /files/ HTTP/1.1", spoken))).status == 503
    daemon.start()
    nginx.stop()
    nginx.start(daemon.address[1])
    assert (await run(nginx, request(f"HEAD {target} HTTP/1.1", spoken))).offset == 0


async def test_a_proxy_that_strips_upgrade_is_told_so(tmp_path: Path, daemon: Daemon) -> None:
    """With the lines that its configuration lacks."""
    lines = SAMPLE.read_text().splitlines()
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
