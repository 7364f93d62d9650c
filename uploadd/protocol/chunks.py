"""A body in chunks (RFC 9112, 7.1), read as strictly as a head: who is before us might read what is
lax in another way.  Pure.
"""

from __future__ import annotations

import re
from typing import Final

from uploadd.errors import BadRequest
from uploadd.protocol.heads import MAX_FIELDS, MAX_HEAD, field_of

MAX_LINE: Final = 4096
"""Bytes of the line before a chunk, its extensions included."""
FREE: Final = 64 * 1024
PER_BYTE: Final = 16
"""So many bytes of framing are forgiven, and for each byte of the body more: a sender whose chunks
are tiny has six."""
_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~]*)?\r\n")


class Chunks:
    """The chunks of one body: `feed` what was read, take it out with `next`."""

    __slots__ = (
        "_behind_data",
        "_body",
        "_buffer",
        "_framing",
        "_in_trailers",
        "_left",
        "trailers",
    )

    def __init__(self) -> None:
        self.trailers: list[tuple[bytes, bytes]] = []
        """Fields behind the last chunk."""
        self._buffer = bytearray()
        self._left = 0  # of the chunk that has begun
        self._behind_data = self._in_trailers = False
        self._framing = self._body = 0  # bytes that came

    def feed(self, data: bytes) -> None:
        """Add what was read: more chunks, and what may follow the last one."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Bytes that are here, ``b""`` behind the last chunk, None while more must be fed.

        Raises BadRequest when the framing is not as it must be, then and ever after.
        """
        while not self._in_trailers:
            if self._left:
                return self._data() if self._buffer else None
            if self._behind_data and not self._pass_end_of_data():
                return None
            if (line := self._line(MAX_LINE)) is None:
                return None
            self._begin(line)
        return b"" if self._pass_trailers() else None

    @property
    def leftover(self) -> bytes:
        """What was fed and not taken; once the body has ended, what follows it."""
        return bytes(self._buffer)

    def _data(self) -> bytes:
        count = min(self._left, len(self._buffer))
        with memoryview(self._buffer) as view:
            data = bytes(view[:count])
        del self._buffer[:count]
        self._left -= count
        self._body += count
        return data

    def _pass_end_of_data(self) -> bool:
        """Take the end of line behind a chunk; whether it is here."""
        if not b"\r\n".startswith(self._buffer[:2]):
            raise BadRequest("a chunk is longer than it said")
        if len(self._buffer) < 2:
            return False
        del self._buffer[:2]
        self._behind_data = False
        return True

    def _line(self, most: int) -> bytes | None:
        """The next line, with its end; None while it is not here."""
        end = self._buffer.find(b"\n", 0, most) + 1
        if not end and len(self._buffer) >= most:
            raise BadRequest(f"a line between chunks has more than {most} bytes")
        return bytes(self._buffer[:end]) if end else None

    def _begin(self, line: bytes) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadRequest("a chunk does not begin with its size in hexadecimal digits")
        self._framing += len(line)
        if self._framing > FREE + PER_BYTE * self._body:
            raise BadRequest("the body is hardly anything but the framing of its chunks")
        del self._buffer[: len(line)]
        self._left = int(match[1], 16)
        self._behind_data = self._left > 0
        if not self._left:
            self._in_trailers, self._framing = True, 0

    def _pass_trailers(self) -> bool:
        """Take the fields behind the last chunk and the empty line; whether all are here."""
        while (line := self._line(MAX_HEAD - self._framing)) is not None:
            if not line.endswith(b"\r\n"):
                raise BadRequest("a line behind the last chunk ends without CR")
            if line != b"\r\n":
                self.trailers.append(field_of(line[:-2]))
            self._framing += len(line)
            if len(self.trailers) > MAX_FIELDS or self._framing >= MAX_HEAD:
                raise BadRequest("too many fields behind the last chunk")
            del self._buffer[: len(line)]
            if line == b"\r\n":
                return True
        return False
