"""RFC 6455 and HTTP/1.1 as a foreign client writes them: bytes made by hand."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from uploadd.protocol.heads import Head, HeadGate

TEXT: Final = 1
BINARY: Final = 2
CONTINUATION: Final = 0
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

KEY: Final = base64.b64encode(bytes(range(16)))


def head(*lines: bytes, method: bytes = b"GET", target: bytes = b"/", host: bytes = b"x") -> bytes:
    """The head of a request; an empty *host* leaves the field out."""
    fields = [b"Host: " + host] * bool(host) + list(lines)
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), *fields, b"", b""])


def handshake(
    *more: bytes, host: bytes = b"localhost", target: bytes = b"/-/ws", without: bytes = b""
) -> bytes:
    """The head that asks for a session, *without* one of its fields."""
    lines = [
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: uploadd.v1",
    ]
    kept = [line for line in lines if not without or not line.startswith(without + b":")]
    return head(*kept, *more, target=target, host=host)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, first: int = 0
) -> bytes:
    """One frame of a client; *first* is added to its first byte (the reserved bits)."""
    size, mask = len(payload), 0x80 * masked
    out = bytes([0x80 * fin | first | opcode])
    if size < 126:
        out += bytes([mask | size])
    elif size < 1 << 16:
        out += struct.pack(">BH", mask | 126, size)
    else:
        out += struct.pack(">BQ", mask | 127, size)
    # A mask of zeros is as good as any: the payload stays as it is.
    return out + bytes(4 * masked) + payload


def text(message: str | dict[str, Any]) -> bytes:
    """One text frame; a dict is sent as JSON."""
    return frame(TEXT, (message if isinstance(message, str) else json.dumps(message)).encode())


def chunk(
    ref: int,
    at: int,
    data: bytes,
    *,
    last: bool = False,
    flush: bool = False,
    crc32: int | bool | None = None,
) -> bytes:
    """The binary message of a chunk; *crc32* True for the right sum."""
    flags = (crc32 is not None) | 2 * last | 4 * flush
    out = struct.pack(">BBHIQ", 1, flags, 0, ref, at)
    if crc32 is not None:
        out += struct.pack(">I", zlib.crc32(data) if crc32 is True else crc32)
    return out + data


class Frame(NamedTuple):
    """One frame of the server."""

    opcode: int
    payload: bytes
    fin: bool = True


def frames(data: bytes) -> Iterator[Frame]:
    """The whole frames at the beginning of *data*, masked by zeros or not at all."""
    at = 0
    while found := next_frame(data, at):
        at, one = found
        yield one


def next_frame(data: bytes, at: int = 0) -> tuple[int, Frame] | None:
    """Where the frame at *at* ends, and the frame; None while it is not whole."""
    if len(data) < at + 2:
        return None
    size, extra = data[at + 1] & 0x7F, 4 * (data[at + 1] >> 7)
    start = at + 2
    if size > 125:
        count = 2 if size == 126 else 8
        if len(data) < start + count:
            return None
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    start += extra
    if len(data) < start + size:
        return None
    one = Frame(data[at] & 0x0F, bytes(data[start : start + size]), bool(data[at] & 0x80))
    return start + size, one


def parsed(raw: bytes) -> Head:
    """The head *raw*, as the gate cuts it out."""
    gate = HeadGate()
    gate.feed(raw)
    head = gate.next()
    assert head is not None
    return head
