"""The load generator: blocking sockets, prebuilt buffers, frames masked with the zero key.

The server has to unmask them all the same; the generator does not have to mask, so it is not
what bounds a figure.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: uploadd.v1\r\n\r\n"
)


class WebSocket:
    """As little of RFC 6455 as a load generator needs."""

    def __init__(self, port: int, path: str = "/-/ws") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE.format(path=path).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(head)
            head += more
        assert b" 101 " in head, head
        self._in = head.partition(b"\r\n\r\n")[2]

    def send_text(self, told: object) -> None:
        """Send *told* as JSON."""
        data = json.dumps(told).encode()
        self.socket.sendall(frame_header(0x81, len(data)) + data)

    def send_binary(self, header: bytes, payload: memoryview | bytes) -> None:
        """Send one message of two parts without joining them."""
        parts = [frame_header(0x82, len(header) + len(payload)) + header, payload]
        sent = self.socket.sendmsg(parts)
        rest = len(parts[0]) + len(payload) - sent
        if rest:
            whole = memoryview(b"".join(parts)) if sent < len(parts[0]) else memoryview(payload)
            self.socket.sendall(whole[len(whole) - rest :])

    def messages(self) -> list[str]:
        """What has come, at least one."""
        found: list[str] = []
        while not found:
            self._in += self.socket.recv(65536) or _ended()
            while len(self._in) >= 2:
                size, start = self._in[1] & 127, 2
                if size == 126:
                    size, start = int.from_bytes(self._in[2:4], "big"), 4
                if len(self._in) < start + size:
                    break
                if self._in[0] == 0x81:
                    found.append(self._in[start : start + size].decode())
                self._in = self._in[start + size :]
        return found


def _ended() -> bytes:
    raise ConnectionError("the server closed")


def frame_header(first: int, size: int) -> bytes:
    """A masked frame header with the zero key."""
    if size < 126:
        return struct.pack(">BB4x", first, 0x80 | size)
    if size < 65536:
        return struct.pack(">BBH4x", first, 0xFE, size)
    return struct.pack(">BBQ4x", first, 0xFF, size)


def upload(port: int, size: int, chunk: int, *, flush: bool = False) -> float:
    """Send *size* bytes in chunks of *chunk* to uploadd; seconds from the first byte to ``done``.

    *flush*: stop and wait, every chunk with the flag *flush*.
    """
    ws = WebSocket(port)
    ws.send_text({"type": "hello"})
    ws.messages()
    began = time.perf_counter()
    ws.send_text({"type": "begin", "ref": 1, "name": "bench.bin", "length": size})
    told = Told()
    told.hear(ws)
    payload = memoryview(os.urandom(chunk))
    at = 0
    while at < size:
        count = min(chunk, size - at)
        while at + count > told.limit:
            told.hear(ws)
        last = at + count == size
        flags = 2 * last | 4 * (flush and not last)
        ws.send_binary(struct.pack(">BBHIQ", 1, flags, 0, 1, at), payload[:count])
        at += count
        while flush and not last and told.offset < at:
            told.hear(ws)
    while not told.done:
        told.hear(ws)
    return time.perf_counter() - began


class Told:
    """The newest of what uploadd has said."""

    limit = offset = 0
    done = False

    def hear(self, ws: WebSocket) -> None:
        """Take in what comes next."""
        for message in map(json.loads, ws.messages()):
            assert message["type"] in ("ready", "ack", "done"), message
            self.limit = max(self.limit, message.get("limit", 0))
            self.offset = max(self.offset, message.get("offset", 0))
            self.done |= message["type"] == "done"


def plain_upload(port: int, size: int, chunk: int) -> float:
    """The same bytes to a server without a protocol that says ``done`` at the end."""
    ws = WebSocket(port, "/")
    payload = memoryview(os.urandom(chunk))
    header = bytes(16)
    began = time.perf_counter()
    for _ in range(size // chunk):
        ws.send_binary(header, payload)
    ws.messages()
    return time.perf_counter() - began


def download(port: int, path: str) -> float:
    """GET *path* into nowhere by curl, as people do: bytes a second."""
    url = f"http://127.0.0.1:{port}{path}"
    command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{speed_download}", url]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)
