"""It stops in time whatever its peers do, and what was acknowledged is there when it starts."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.fronts import free_port
from tests.wire import frame, handshake, head, text

LENGTH = 8_000_000
TUS = (b"Tus-Resumable: 1.0.0", b"Content-Type: application/offset+octet-stream")


def begun(daemon: Daemon) -> str:
    """The path of a new upload."""
    fields = {"Tus-Resumable": "1.0.0", "Upload-Length": str(LENGTH)}
    with urlopen(Request(f"{daemon.url}/files/", b"", fields)) as answer:
        return str(answer.headers["Location"])


def offset(daemon: Daemon, path: str) -> int:
    """Where it goes on."""
    head = Request(daemon.url + path, method="HEAD", headers={"Tus-Resumable": "1.0.0"})
    with urlopen(head) as answer:
        return int(answer.headers["Upload-Offset"])


def status(daemon: Daemon, path: str) -> bytes:
    """What those are told who watch."""
    with urlopen(f"{daemon.url}/api/upload/{path.rsplit('/', 1)[1]}/status") as answer:
        found: bytes = answer.read()
        return found


def rude(stored: bytes, path: bytes) -> Iterator[bytes]:
    """What each of them says before it says nothing more and hears nothing."""
    host, length = b"localhost", b"Content-Length: %d" % LENGTH
    yield b""
    yield b"GET / HTTP/1.1\r\nHo"
    yield head(host=host, target=b"/-/info")  # and stays
    yield head(length, method=b"PUT", target=b"/stalled.bin", host=host) + bytes(100_000)
    yield head(*TUS, length, b"Upload-Offset: 0", method=b"PATCH", target=path, host=host) + bytes(
        100_000
    )
    chunked = b"Transfer-Encoding: chunked"
    yield head(chunked, method=b"PUT", target=b"/chunked.bin", host=host) + b"ffff\r\nhalf"
    boundary = b"Content-Type: multipart/form-data; boundary=x"
    yield head(boundary, length, method=b"POST", host=host) + b"--x\r\nContent-Disp"
    yield head(host=host, target=stored)  # of which nothing is read
    yield head(host=host, target=b"/api/events?watch=all")
    watched = b"/api/upload/" + path.rsplit(b"/", 1)[1] + b"/status?wait=30"
    yield head(host=host, target=watched)
    yield handshake()
    hello = text({"type": "hello"})
    yield handshake() + hello
    yield handshake() + hello + text({"type": "begin", "ref": 1})
    yield handshake() + hello + frame(2, bytes(3), fin=False)
    yield handshake() + hello + text({"type": "watch", "uploads": "all"})


@pytest.mark.parametrize("twice", [False, True])
def test_it_ends_whatever_its_peers_do(tmp_path: Path, twice: bool) -> None:
    """By `timeouts.stop`, or by a second signal; exit code 0, and nothing was wrong."""
    patience = "1 h" if twice else "1 s"
    with ExitStack() as peers, Daemon(tmp_path, "--set", f"timeouts.stop={patience}") as daemon:
        daemon.start()
        request = Request(f"{daemon.url}/stored.bin", bytes(64 << 20), method="PUT")
        with urlopen(request) as answer:
            stored = answer.read().decode().strip().removeprefix(daemon.url)
        path = begun(daemon)
        for said in rude(stored.encode(), path.encode()):
            peer = peers.enter_context(socket.create_connection(daemon.address, timeout=60))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.sendall(said)
        assert daemon.settles(lambda: b'"offset":100000' in status(daemon, path))
        daemon.signal(signal.SIGTERM)
        if twice:
            assert daemon.settles(lambda: "stopping; " in daemon.log)
            daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert "Traceback" not in daemon.log
        daemon.start()
        assert offset(daemon, path) == 100_000
        assert daemon.terminate() == 0


class Unread(NamedTuple):
    """The end of a pipe that is full, and that nobody reads while a program stands still."""

    writes: int
    reads: int
    full: bytes

    def holds(self) -> bytes:
        """What is in it now."""
        os.set_blocking(self.reads, False)
        return os.read(self.reads, 1 << 20)


@pytest.fixture
def unread() -> Iterator[Unread]:
    """One that is full before the daemon starts."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writes, False)
    held = 0
    with suppress(BlockingIOError):
        while True:
            held += os.write(writes, bytes(512))
    os.set_blocking(writes, True)
    yield Unread(writes, reads, bytes(held))
    os.close(writes)
    os.close(reads)


@contextmanager
def running(unread: Unread, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Python with these *words* in *folder*, and its log goes nowhere."""
    with subprocess.Popen([sys.executable, *words], cwd=folder, stderr=unread.writes) as process:
        try:
            yield process
        finally:
            process.kill()


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as peer:
        peer.settimeout(60)
        return peer.connect_ex(("127.0.0.1", port)) == 0


def test_nobody_waits_for_whoever_reads_the_log(tmp_path: Path, unread: Unread) -> None:
    """It starts, serves and ends as ever; not a line was taken."""
    port = free_port()
    words = ("-m", "uploadd", "serve", str(tmp_path), "--port", str(port))
    with running(unread, tmp_path, *words) as process:
        assert Daemon.settles(lambda: listens(port))
        request = Request(f"http://127.0.0.1:{port}/stored.bin", b"x", method="PUT")
        with urlopen(request, timeout=60) as answer:
            assert answer.status == 201
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert (tmp_path / "stored.bin").read_bytes() == b"x"
    assert unread.holds() == unread.full


WAITS = """
import sys
from pathlib import Path
from uploadd import cli, lines

class Writer(lines.Writer):
    def stop_within(self, seconds):
        Path("waits").touch()
        return super().stop_within(float(sys.argv.pop()))

lines.Writer = Writer
sys.exit(cli.main(sys.argv[1:-1]))
"""
"""The daemon with a last wait of so many seconds, which can be seen."""


@pytest.mark.parametrize("interrupted", [False, True])
def test_it_ends_with_its_own_code_though_nobody_hears_why(
    tmp_path: Path, unread: Unread, interrupted: bool
) -> None:
    """The port is taken.  Ctrl-C in the last wait makes it shorter, and nothing else."""
    seconds = "3600" if interrupted else "0.1"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ("-c", WAITS, "serve", "store", "--port", port, seconds)
        with running(unread, tmp_path, *words) as process:
            if interrupted:
                assert Daemon.settles((tmp_path / "waits").exists)
                process.send_signal(signal.SIGINT)
            assert process.wait(60) == os.EX_UNAVAILABLE
    assert unread.holds() == unread.full
