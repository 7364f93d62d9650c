"""The frames that a server sends (RFC 6455): whole messages, never masked."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from uploadd.protocol.frames import BINARY, CLOSE, CONTROL_LIMIT, PING, PONG, TEXT

_FINAL: Final = 0x80


def messages(said: Iterable[str | bytes]) -> bytes:
    """The frames of *said*, one each, joined."""
    parts: list[bytes] = []
    for message in said:
        data = message.encode() if isinstance(message, str) else message
        parts += (_header(BINARY if data is message else TEXT, len(data)), data)
    return b"".join(parts)


def close(code: int | None, reason: str = "") -> bytes:
    """A Close; *reason* is cut where a control frame ends, and left out without *code*."""
    if code is None:
        return _control(CLOSE, b"")
    told = reason.encode()[: CONTROL_LIMIT - 2].decode(errors="ignore").encode()
    return _control(CLOSE, code.to_bytes(2, "big") + told)


def ping() -> bytes:
    """Ask for a sign of life."""
    return _control(PING, b"")


def pong(payload: bytes) -> bytes:
    """The answer to a Ping with *payload*."""
    return _control(PONG, payload)


def _control(opcode: int, payload: bytes) -> bytes:
    assert len(payload) <= CONTROL_LIMIT, payload
    return _header(opcode, len(payload)) + payload


def _header(opcode: int, length: int) -> bytes:
    if length < 126:
        return struct.pack("!BB", _FINAL | opcode, length)
    if length < 1 << 16:
        return struct.pack("!BBH", _FINAL | opcode, 126, length)
    return struct.pack("!BBQ", _FINAL | opcode, 127, length)
