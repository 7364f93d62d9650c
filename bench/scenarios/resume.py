"""Resume after a cut: the bytes that have to be sent twice.

The connection is reset in the middle of an upload at full speed; the offset is asked for at once,
the rest is sent.  uploadd promises only what is durable; the others tell what is in the page cache.
What a server refuses, or takes in vain, was sent all the same.  (On disks without tuspyserver,
whose lock keeps everybody out for 30 s there.)
"""

import os
import select
import socket
import struct
import time

from bench.contenders import node, python, uploadd
from bench.contenders.server import Server
from bench.harness import Bench, Measure
from bench.load import bodies, sessions, ws
from bench.load.answers import answer
from bench.load.workers import Go, Job, Part, together
from bench.places import MIB

TWICE = Measure("MiB", lambda load: load.samples[0] / MIB, "less", "sent twice")
BACK = Measure("ms", lambda load: load.samples[1] * 1e3, "less", "until it goes on")
CHUNK = 256 * 1024
ATTEMPTS = 20
ABORT = struct.pack("ii", 1, 0)


def run(bench: Bench) -> None:
    """By tus PATCH beside others, and by WebSocket."""
    for place in bench.everywhere("resume"):
        size = bench.mib(place, short=64, full=256, disk=128)
        with bench.servers(
            place,
            *(uploadd.DURABLE, uploadd.WRITTEN, node.tus_server),
            *bench.pick(short=(), full=() if place.on_disk else (python.tuspyserver,)),
        ) as servers:
            bench.compare(
                f"tus PATCH of {size // MIB} MiB, reset in the middle",
                place,
                servers,
                lambda server: together(server, _tus(server, size)),
                *(TWICE, BACK),
            )
            bench.compare(
                f"WebSocket upload of {size // MIB} MiB, reset in the middle",
                place,
                [server for server in servers if server.name.startswith("uploadd")],
                lambda server: together(server, _websocket(server, size)),
                *(TWICE, BACK),
                alone=True,
            )


def _tus(server: Server, size: int) -> Job:
    payload = os.urandom(CHUNK)

    def job(go: Go) -> Part:
        path = bodies.create(server, size)
        go()
        sock = _patch(server, path, 0, size)
        for _ in range(size // 2 // CHUNK):
            sock.sendall(payload)
        _reset(sock)
        began, sent = time.perf_counter(), size // 2
        for _ in range(ATTEMPTS):
            offset = _offset(server, path)
            back = time.perf_counter() - began
            rest = _Rest(_patch(server, path, offset, size), payload, size - offset)
            try:
                rest.send()
            except ConnectionError:
                continue  # the old holder had bytes left to read, so this was not the end
            finally:
                sent += rest.sent
            return Part(1, size, [sent - size, back])
        raise ConnectionError(f"no append went through in {ATTEMPTS} attempts")

    return job


class _Rest:
    """One attempt to send the *left* bytes that are missing."""

    def __init__(self, sock: socket.socket, payload: bytes, left: int) -> None:
        self._sock, self._payload, self._left, self.sent = sock, payload, left, 0

    def send(self) -> None:
        """As far as the server takes it.  Raises ConnectionError when it does not."""
        while self.sent < self._left and not select.select([self._sock], [], [], 0)[0]:
            self.sent += self._sock.send(self._payload[: self._left - self.sent])
        answer(self._sock)


def _patch(server: Server, path: str, offset: int, size: int) -> socket.socket:
    sock = ws.connect(server.port)
    fields = b"Upload-Offset: %d\r\nContent-Length: %d\r\n" % (offset, size - offset)
    head = b"PATCH %b HTTP/1.1\r\nHost: localhost\r\n" % path.encode()
    sock.sendall(head + bodies.TUS + bodies.OCTETS + fields + b"\r\n")
    return sock


def _offset(server: Server, path: str) -> int:
    """By HEAD; a server that still holds the upload is asked again."""
    while True:
        sock = ws.connect(server.port)
        head = b"HEAD %b HTTP/1.1\r\nHost: localhost\r\n" % path.encode()
        sock.sendall(head + bodies.TUS + b"Connection: close\r\n\r\n")
        told = b""
        while b"\r\n\r\n" not in told:
            told += sock.recv(65536)
        for line in told.decode().lower().split("\r\n"):
            if line.startswith("upload-offset:"):
                return int(line.partition(":")[2])
        if b" 423 " not in told[:20]:
            raise ConnectionError(told)
        time.sleep(0.01)


def _websocket(server: Server, size: int) -> Job:
    payload = memoryview(os.urandom(CHUNK))

    def job(go: Go) -> Part:
        session = ws.uploadd(server.port)
        ready = session.begin(name=f"{os.getpid()}.bin", length=size)
        sending = sessions.Sending(session, payload, size, ready["limit"])
        go()
        sessions.drive([sending], stop=lambda: sending.at >= size // 2)
        _reset(session.socket)
        began = time.perf_counter()
        session = ws.uploadd(server.port)
        ready = session.begin(upload=ready["upload"])
        back = time.perf_counter() - began
        twice = sending.at - ready["offset"]
        rest = sessions.Sending(session, payload, size, ready["limit"], ready["offset"])
        sessions.drive([rest])
        return Part(1, size, [twice, back])

    return job


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    sock.close()
