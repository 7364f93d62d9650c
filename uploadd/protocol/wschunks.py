"""The binary message of uploadd.v1: a header of 16 or 20 bytes, big-endian, then the payload.

u8 kind=1 | u8 flags | u16 reserved=0 | u32 ref | u64 offset | [u32 crc32] | payload
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

from uploadd.protocol.wsmessages import MAX_CLIENT_REF, MAX_INTEGER, PROTOCOL_ERROR, Violation

KIND: Final = 1
CRC32: Final = 1  # flag: the payload's CRC-32, as zlib computes it, follows the header
LAST: Final = 2  # flag: the upload ends with this payload; the same as ``finish``
FLUSH: Final = 4  # flag: make this durable now, somebody waits for the ack
MAX_HEADER: Final = 20

_HEADER = struct.Struct(">BBHIQ")
_SUM = struct.Struct(">I")


class Chunk(NamedTuple):
    """Bytes of the upload *ref* that begin at *at*.  ``data`` is a view into the message."""

    ref: int
    at: int
    data: memoryview
    last: bool = False
    flush: bool = False
    crc32: int | None = None

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.at + len(self.data)

    def intact(self) -> bool:
        """Whether the payload is what its checksum says, if it has one."""
        return self.crc32 is None or zlib.crc32(self.data) == self.crc32


def pack(chunk: Chunk) -> bytes:
    """The message for *chunk*."""
    flags = (chunk.crc32 is not None) * CRC32 | chunk.last * LAST | chunk.flush * FLUSH
    header = _HEADER.pack(KIND, flags, 0, chunk.ref, chunk.at)
    if chunk.crc32 is not None:
        header += _SUM.pack(chunk.crc32)
    return b"".join((header, chunk.data))


def unpack(message: bytes) -> Chunk:
    """The chunk in *message*; its checksum is not looked at (Chunk.intact).

    Raises Violation: 1002 when the header is not one, 4400 when its values cannot be.
    """
    if len(message) < _HEADER.size:
        raise Violation(f"a binary message of {len(message)} bytes has no header", PROTOCOL_ERROR)
    kind, flags, reserved, ref, at = _HEADER.unpack_from(message)
    if kind != KIND or flags & ~(CRC32 | LAST | FLUSH) or reserved:
        told = f"kind {kind}, flags {flags}, reserved {reserved}"
        raise Violation(f"not a chunk: {told}", PROTOCOL_ERROR)
    start = _HEADER.size
    crc32 = None
    if flags & CRC32:
        start += _SUM.size
        if len(message) < start:
            raise Violation("the header ends before its checksum", PROTOCOL_ERROR)
        (crc32,) = _SUM.unpack_from(message, _HEADER.size)
    chunk = Chunk(
        ref, at, memoryview(message)[start:], bool(flags & LAST), bool(flags & FLUSH), crc32
    )
    if ref > MAX_CLIENT_REF or chunk.end > MAX_INTEGER:
        raise Violation(f"ref {ref} at {at}: out of range")
    if not chunk.data and not chunk.last:
        raise Violation(f"an empty chunk for ref {ref} that is not the last")
    return chunk
