"""What watching costs: 50 uploads, and 1 000 sessions that watch them or not.

    python bench/watching.py [--seconds 4] [--rounds 3] [--watchers 1000] [--senders 50]

Needs nothing but this file and uploadd; everything runs on this machine, so the watchers' own work
counts, too.  Bytes are counted as the daemon acknowledges them, on a file system in memory, where
nothing but the processor bounds them.  Each round measures all four cases, so that they meet the
same weather: nobody there; watchers that watch nothing; each watches one upload; each watches all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNK = 256 * 1024
HANDSHAKE = (
    b"GET /-/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: uploadd.v1\r\n\r\n"
)
LIMIT = re.compile(rb'"type":"ack",[^}]*"offset":(\d+),"limit":(\d+)')
CASES = ("nobody", "idle", "one", "all")
PAYLOAD = os.urandom(CHUNK)


def frame(first: int, payload: bytes, more: int = 0) -> bytes:
    """The head of a frame masked by zeros, and *payload*; *more* bytes will follow it."""
    size = len(payload) + more
    if size < 126:
        head = struct.pack(">BB4x", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack(">BBH4x", first, 0xFE, size)
    else:
        head = struct.pack(">BBQ4x", first, 0xFF, size)
    return head + payload


def session(port: int, *said: object) -> socket.socket:
    """A session that has said these messages."""
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    texts = b"".join(frame(0x81, json.dumps(message).encode()) for message in said)
    made.sendall(HANDSHAKE)
    head = b""
    while b"\r\n\r\n" not in head:
        head += made.recv(65536)
    assert b" 101 " in head, head
    made.sendall(texts)
    return made


class Sender:
    """One upload that has no end."""

    def __init__(self, port: int, number: int) -> None:
        begin = {"type": "begin", "ref": 1, "name": f"{number}.bin"}
        self.socket = session(port, {"type": "hello"}, begin)
        text = b""
        while not (ready := re.search(rb'"type":"ready".*"limit":(\d+)', text)):
            text += self.socket.recv(65536)
        self.upload = re.search(rb'"upload":"([^"]+)"', text)[1].decode()  # type: ignore[index]
        self.limit, self.sent, self.durable = int(ready[1]), 0, 0
        self.left: list[memoryview] = []
        self.socket.setblocking(False)

    def hear(self) -> None:
        """Read the newest ack."""
        with suppress(BlockingIOError):
            text = self.socket.recv(1 << 20)
            if not text:
                raise ConnectionError("the daemon closed")
            if told := LIMIT.findall(text):
                self.durable, self.limit = int(told[-1][0]), int(told[-1][1])

    @property
    def may_send(self) -> bool:
        """Whether there is credit."""
        return bool(self.left) or self.sent + CHUNK <= self.limit

    def send(self) -> None:
        """Send what goes without waiting."""
        if not self.left:
            header = struct.pack(">BBHIQ", 1, 0, 0, 1, self.sent)
            self.left = [memoryview(frame(0x82, header, CHUNK)), memoryview(PAYLOAD)]
            self.sent += CHUNK
        with suppress(BlockingIOError):
            count = self.socket.sendmsg(self.left)
            while self.left and count >= len(self.left[0]):
                count -= len(self.left.pop(0))
            if count:
                self.left[0] = self.left[0][count:]


def pump(senders: list[Sender], seconds: float) -> None:
    """Send as fast as it goes for so long."""
    chosen = selectors.DefaultSelector()
    for sender in senders:
        chosen.register(sender.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, sender)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for key, events in chosen.select(0.1):
            sender = key.data
            if events & selectors.EVENT_READ:
                sender.hear()
            if events & selectors.EVENT_WRITE and sender.may_send:
                sender.send()
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if sender.may_send else 0)
            if wanted != key.events:
                chosen.modify(sender.socket, wanted, sender)
    chosen.close()


def watch(port: int, count: int, case: str, uploads: list[str]) -> None:
    """In a process of its own: sessions that read and throw away, until it is killed."""
    chosen = selectors.DefaultSelector()
    for number in range(count):
        said: list[object] = [{"type": "hello"}]
        if case == "one":
            said.append({"type": "watch", "uploads": [uploads[number % len(uploads)]]})
        elif case == "all":
            said.append({"type": "watch", "uploads": "all"})
        made = session(port, *said)
        made.setblocking(False)
        chosen.register(made, selectors.EVENT_READ, made)
    heard = 0

    def tell(*_: object) -> None:
        print(heard, flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, tell)
    print("ready", flush=True)
    while True:
        for key, _ in chosen.select():
            with suppress(BlockingIOError):
                heard += key.data.recv(1 << 20).count(b'"type":"progress"')


@contextmanager
def daemon() -> Iterator[tuple[int, int]]:
    """The daemon on a folder in memory: its port and pid."""
    shm = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="uploadd-watching-", dir=shm if shm.is_dir() else None)
    settings = ("log.level=warning", "limits.max_sessions=5000")
    command = [sys.executable, "-m", "uploadd", "serve", folder, "--port", "0"]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if match := re.search(r"at http://127\.0\.0\.1:(\d+)", line):
                yield int(match[1]), process.pid
                break
        else:
            raise RuntimeError("uploadd did not start")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        shutil.rmtree(folder)


def processor(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(case: str, options: argparse.Namespace) -> tuple[float, float, float]:
    """Bytes a second, processor seconds for each GiB, messages a second to the watchers."""
    with daemon() as (port, pid):
        senders = [Sender(port, number) for number in range(options.senders)]
        watchers = None
        if case != "nobody":
            told = json.dumps([sender.upload for sender in senders])
            command = [sys.executable, __file__, "--watch", case, str(port), str(options.watchers)]
            watchers = subprocess.Popen(
                [*command, told], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
            )
            assert watchers.stdout is not None
            assert watchers.stdout.readline() == "ready\n"
        pump(senders, 1)  # until everything runs
        before, used, began = sum(s.durable for s in senders), processor(pid), time.monotonic()
        pump(senders, options.seconds)
        seconds = time.monotonic() - began
        count = sum(sender.durable for sender in senders) - before
        cost = (processor(pid) - used) / (count / (1 << 30))
        heard = 0
        if watchers is not None:
            watchers.terminate()
            assert watchers.stdout is not None
            heard = int(watchers.stdout.readline())
            watchers.wait()
            watchers.stdout.close()
        for sender in senders:
            sender.socket.close()
    return count / seconds, cost, heard / (seconds + 1)


def main() -> int:
    """See the module."""
    if sys.argv[1:2] == ["--watch"]:
        case, port, count, uploads = sys.argv[2:]
        watch(int(port), int(count), case, json.loads(uploads))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--senders", type=int, default=50)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {case: [] for case in CASES}
    for _ in range(options.rounds):
        for case in CASES:
            found[case].append(measured(case, options))
    base = statistics.median(one[0] for one in found["nobody"])
    print(
        f"{options.senders} uploads, {options.watchers} watchers, {options.rounds} rounds; medians"
    )
    for case in CASES:
        speed, cost, heard = (
            statistics.median(column) for column in zip(*found[case], strict=True)
        )
        print(
            f"{case:8} {speed / 1e6:8.0f} MB/s  {100 * speed / base - 100:+6.1f} %  "
            f"{cost:6.2f} s of processor a GiB  {heard:8.0f} progress/s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
