"""Framing of HTTP/1.1 messages (RFC 9112): where a request ends, and how an answer is written.

The gate (``heads.py``) has judged how the request is framed, so of a body with a declared length
nothing is left to parse; one that comes in chunks is read by ``chunks.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from uploadd.protocol.chunks import Chunks
from uploadd.protocol.fields import Field, reason
from uploadd.protocol.heads import Head

_CLEAN: Final = re.compile(r"(?:[\t -~]+\r\n)+\r\n")


class RequestBody:
    """The body of the request *head*: `feed` what was read, and take it out with `next`."""

    __slots__ = ("_chunks", "_data", "begun", "left", "trailers")

    def __init__(self, head: Head) -> None:
        self.left: int | None = None if head.chunked else head.length or 0
        """Bytes that nobody has taken yet; None while only the end will tell."""
        self.begun = False
        """Whether any byte of it is here, or was."""
        self.trailers: Sequence[tuple[bytes, bytes]] = ()
        """Fields behind the last chunk."""
        self._data = b""
        self._chunks = Chunks() if head.chunked else None

    def feed(self, data: bytes) -> None:
        """Add what was read: more of the body, and what may follow it."""
        self.begun = self.begun or self.left != 0
        if self._chunks is not None:
            self._chunks.feed(data)
        else:
            self._data += data

    def next(self) -> bytes | None:
        """Bytes that are here, ``b""`` after the last, None while more must be fed.

        Raises BadRequest when the chunks are not framed as they must be, then and ever after.
        """
        if self.left == 0:
            return b""
        if self._chunks is not None:
            return self._next_of(self._chunks)
        assert self.left is not None
        data, self._data = self._data[: self.left], self._data[self.left :]
        self.left -= len(data)
        return data or None

    def _next_of(self, chunks: Chunks) -> bytes | None:
        data = chunks.next()
        if data == b"":
            self.trailers, self.left = chunks.trailers, 0
            self._data, self._chunks = chunks.leftover, None
        return data

    @property
    def at_hand(self) -> bool:
        """Whether all of it was fed, and its length declared."""
        return self._chunks is None and self.left is not None and len(self._data) >= self.left

    def moved(self, count: int) -> None:
        """*count* bytes went another way; what was fed has been taken before."""
        assert self.left is not None
        assert count <= self.left
        self.left -= count

    @property
    def leftover(self) -> bytes:
        """What was fed and follows the body, once that has ended."""
        return self._data


# --- the answer ---------------------------------------------------------------------------------


def waits_for_100(head: Head) -> bool:
    """Whether the client waits to be asked for its body (RFC 9110 section 10.1.1)."""
    if head.version == "1.0" or not (head.chunked or head.length):
        return False
    return any(item.lower() == b"100-continue" for item in head.items(b"expect"))


def may_follow(head: Head) -> bool:
    """Whether the client lets another request follow on this connection (section 9.3)."""
    if head.version == "1.0":
        return False
    return all(item.lower() != b"close" for item in head.items(b"connection"))


def answer_head(status: int, fields: Iterable[Field]) -> bytes:
    """Status line and *fields*.  Raises ValueError for a value that would be more than a value."""
    lines = [f"HTTP/1.1 {status} {reason(status)}"]
    lines += [f"{name}: {value}" for name, value in fields]
    text = "\r\n".join(lines) + "\r\n\r\n"
    if not _CLEAN.fullmatch(text) or text.count("\n") != len(lines) + 1:
        raise ValueError(f"an answer with a field that cannot be: {lines!r}")
    return text.encode("ascii")


class Pieces:
    """How the body of an answer with *fields* is framed when it comes piece by piece."""

    def __init__(self, head: Head, fields: Iterable[Field]) -> None:
        declared = [int(value) for name, value in fields if name.lower() == "content-length"]
        self._left = declared[0] if declared else None
        self._chunked = self._left is None and head.version != "1.0"

    @property
    def fields(self) -> list[Field]:
        """What must be said of it beside the given fields."""
        return [("Transfer-Encoding", "chunked")] if self._chunked else []

    @property
    def ends_connection(self) -> bool:
        """Whether only the end of the connection tells the end of the body."""
        return self._left is None and not self._chunked

    def around(self, size: int) -> tuple[bytes, bytes]:
        """What goes before and behind a piece of *size* bytes, at least one."""
        if self._chunked:
            return b"%x\r\n" % size, b"\r\n"
        if self._left is not None:
            if size > self._left:
                raise ValueError("more bytes than the answer has declared")
            self._left -= size
        return b"", b""

    def end(self) -> bytes:
        """What goes behind the last piece."""
        if self._left:
            raise ValueError(f"{self._left} bytes fewer than the answer has declared")
        return b"0\r\n\r\n" if self._chunked else b""
