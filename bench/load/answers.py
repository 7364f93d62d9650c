"""Answers of HTTP servers, as far as a load generator must understand them."""

from __future__ import annotations

import re
import socket

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation:[ \t]*(\S+)", re.IGNORECASE)


class Refused(ConnectionError):
    """An answer that is no success, or none."""


class Answers:
    """Counts answers on one connection.  Raises Refused for what is not 2xx."""

    __slots__ = ("_chunked", "_head", "left")

    def __init__(self) -> None:
        self._head, self._chunked = b"", False
        self.left = 0
        """Bytes of a body that are still to come."""

    def receive(self, data: memoryview) -> bool:
        """Whether an answer ends with *data*; they are not pipelined, so nothing follows it."""
        if self.left:
            self.left -= len(data)
            return self.left == 0
        self._head += data
        if self._chunked:
            return self._ended()
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if not data:
                raise Refused(f"the server closed: {self._head!r}")
            return False
        if self._head[:9] not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or self._head[9:10] != b"2":
            raise Refused(bytes(self._head[:200]))
        head = self._head[: end + 2]
        if found := _LENGTH.search(head):
            self.left = int(found[1]) - (len(self._head) - end - 4)
        elif _CHUNKED.search(head):
            self._chunked = True
            return self._ended()
        self._head = b""
        return self.left == 0

    def _ended(self) -> bool:
        ended = self._head.endswith(b"0\r\n\r\n")
        if ended:
            self._head, self._chunked = b"", False
        return ended


def answer(sock: socket.socket) -> bytes:
    """One whole answer of a blocking socket; its head."""
    answers, head = Answers(), b""
    while True:
        data = sock.recv(65536)
        if not data:
            raise Refused(f"the server closed: {head!r}")
        if b"\r\n\r\n" not in head:
            head += data
        if answers.receive(memoryview(data)):
            return head.partition(b"\r\n\r\n")[0] + b"\r\n"


def location(head: bytes) -> str:
    """The path that an answer points to."""
    found = _LOCATION.search(head)
    if not found:
        raise Refused(head)
    where = found[1].decode()
    return "/" + where.split("/", 3)[3] if "://" in where else where
