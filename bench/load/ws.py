"""As little of RFC 6455 as a load generator needs.

Frames are masked with one key, and not the zero key: some servers see that there is nothing to
unmask.  Payloads of files are random bytes, which are as random to whoever unmasks them, so the
generator masks no more than the words around them.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)
UPLOADD = b"Sec-WebSocket-Protocol: uploadd.v1\r\n"
TEXT, BINARY = 0x81, 0x82
LAST, FLUSH = 2, 4
KEY = b"\x37\xfa\x21\x3d"
_KEYS = KEY * 64
ATTEMPTS = 20


def frame_header(first: int, size: int) -> bytes:
    """Of a frame that is masked with KEY."""
    if size < 126:
        return struct.pack(">BB", first, 0x80 | size) + KEY
    if size < 65536:
        return struct.pack(">BBH", first, 0xFE, size) + KEY
    return struct.pack(">BBQ", first, 0xFF, size) + KEY


def masked(data: bytes) -> bytes:
    """*data*, at most 256 bytes of words, as they are sent at the beginning of a frame."""
    size = len(data)
    key = int.from_bytes(_KEYS[:size], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")


def word(data: bytes) -> bytes:
    """A whole frame of text."""
    return frame_header(TEXT, len(data)) + masked(data)


def text(told: object) -> bytes:
    """A whole frame with *told* as JSON."""
    return word(json.dumps(told).encode())


def chunk_header(ref: int, at: int, size: int, flags: int = 0) -> bytes:
    """All before the payload of a chunk of uploadd.v1: frame header and chunk header."""
    return frame_header(BINARY, 16 + size) + masked(struct.pack(">BBHIQ", 1, flags, 0, ref, at))


class Frames:
    """Cuts what a server sent into messages; it does not fragment and does not mask."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    def receive(self, data: bytes) -> list[bytes]:
        """The payloads of text and binary messages that end in *data*."""
        data = self._data + data
        found, at, end = [], 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1] & 127, at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if end < start + size:
                break
            if data[at] in (TEXT, BINARY):
                found.append(data[start : start + size])
            elif data[at] == 0x88:
                raise ConnectionError(f"closed: {data[start : start + size]!r}")
            at = start + size
        self._data = data[at:]
        return found


class WebSocket:
    """A connection whose handshake is done."""

    def __init__(self, port: int, path: str = "/", fields: bytes = b"") -> None:
        self.socket = connect(port)
        self.socket.sendall(HANDSHAKE % (path.encode(), fields))
        self._frames = Frames()
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(head)
            head += more
        head, _, rest = head.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionError(head)
        self._early = self._frames.receive(rest)
        self.max_chunk = 1 << 62
        """The largest payload that the server wants."""

    def receive(self) -> list[bytes]:
        """The messages that have come, perhaps none; raises BlockingIOError, ConnectionError."""
        if self._early:
            early, self._early = self._early, []
            return early
        data = self.socket.recv(262144)
        if not data:
            raise ConnectionError("the server closed")
        return self._frames.receive(data)

    def hear(self) -> dict[str, Any]:
        """One message of JSON; for blocking sockets."""
        while not (messages := self.receive()):
            pass
        self._early = messages[1:] + self._early
        told: dict[str, Any] = json.loads(messages[0])
        return told

    def begin(self, **told: object) -> dict[str, Any]:
        """Begin an upload as ref 1; the ready.  Raises ConnectionError for another answer."""
        self.say({"type": "begin", "ref": 1, **told})
        if (answer := self.hear())["type"] != "ready":
            raise ConnectionError(answer)
        return answer

    def say(self, told: object) -> None:
        """One message of JSON."""
        self.socket.sendall(text(told))


def uploadd(port: int) -> WebSocket:
    """A session of uploadd.v1, opened."""
    ws = WebSocket(port, "/-/ws", UPLOADD)
    ws.say({"type": "hello"})
    told = ws.hear()
    if told["type"] != "welcome":
        raise ConnectionError(told)
    ws.max_chunk = told["limits"]["max_chunk"]
    return ws


def connect(port: int) -> socket.socket:
    """A socket; a server whose queue of connections is full gets a second chance."""
    for attempt in range(ATTEMPTS):
        try:
            sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.05)
        else:
            break
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
