"""Large bodies over HTTP: sent by sendfile from memory, any number of connections at a time."""

from __future__ import annotations

import itertools
import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

from bench.contenders.server import Server
from bench.load.answers import Answers, answer, location
from bench.load.workers import Go, Job, Load, Part, spread_over, together
from bench.load.ws import connect

BLOCK = 64 << 20
"""Bytes that are sent again and again: enough to leave every cache, little enough for memory."""
TUS = b"Tus-Resumable: 1.0.0\r\n"
OCTETS = b"Content-Type: application/offset+octet-stream\r\n"
_BOUNDARY = b"----------------bench-of-uploadd"
_NUMBERS = itertools.count()


@dataclass
class Request:
    """What is said before and after a body."""

    head: bytes
    tail: bytes = b""


def put(server: Server, size: int) -> Request:
    """A raw PUT under a new name: nobody has to overwrite a file, which frees what it had."""
    target = f"/{os.getpid()}-{next(_NUMBERS)}.bin".encode()
    return Request(_head(b"PUT", target, b"Content-Length: %d\r\n" % size))


def form(server: Server, size: int) -> Request:
    """A form with one file under a new name, to the same URL."""
    before = (
        b'--%b\r\nContent-Disposition: form-data; name="f"; filename="%d-%d.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" % (_BOUNDARY, os.getpid(), next(_NUMBERS))
    )
    if server.name == "copyparty":
        act = b'--%b\r\nContent-Disposition: form-data; name="act"\r\n\r\nbput\r\n' % _BOUNDARY
        before = act + before
    after = b"\r\n--%b--\r\n" % _BOUNDARY
    fields = b"Content-Type: multipart/form-data; boundary=%b\r\nContent-Length: %d\r\n" % (
        _BOUNDARY,
        len(before) + size + len(after),
    )
    return Request(_head(b"POST", b"/", fields) + before, after)


def patch(server: Server, size: int) -> Request:
    """A tus PATCH of an upload that is created here, outside the measurement."""
    path = create(server, size)
    fields = TUS + OCTETS + b"Upload-Offset: 0\r\nContent-Length: %d\r\n" % size
    return Request(_head(b"PATCH", path.encode(), fields))


def create(server: Server, size: int) -> str:
    """Create a tus upload; its path."""
    fields = TUS + b"Upload-Length: %d\r\nContent-Length: 0\r\n" % size
    fields += b"Upload-Metadata: filename YmVuY2guYmlu,filetype YXBwbGljYXRpb24vb2N0ZXQ=\r\n"
    with connect(server.port) as sock:
        sock.sendall(_head(b"POST", server.tus.encode(), fields))
        path = location(answer(sock))
    if server.folder is None:
        server.made.append(path)
    return path


def _head(method: bytes, target: bytes, fields: bytes) -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (method, target, fields)


Make = Callable[[Server, int], Request]


def send(server: Server, make: Make, connections: int, size: int) -> Load:
    """*size* bytes in all, each connection one body; until every one is answered."""
    each = size // connections
    requests = [make(server, each) for _ in range(connections)]
    source = os.memfd_create("bench")
    try:
        os.write(source, os.urandom(BLOCK))
        jobs = []
        for count in spread_over(connections):
            jobs.append(_job(server, source, requests[:count], each))
            del requests[:count]
        return together(server, *jobs)
    finally:
        os.close(source)


def _job(server: Server, source: int, requests: list[Request], size: int) -> Job:
    def run(go: Go) -> Part:
        bodies = [Body(connect(server.port), source, request, size) for request in requests]
        go()
        pour(bodies)
        return Part(len(bodies), size * len(bodies))

    return run


class Body:
    """One request on a connection of its own."""

    def __init__(self, sock: socket.socket, source: int, request: Request, size: int) -> None:
        self.socket, self._source = sock, source
        self._text, self._tail = memoryview(request.head), memoryview(request.tail)
        self._at, self._size = 0, size
        self.answers = Answers()
        sock.setblocking(False)

    def send(self) -> bool:
        """As much as the socket takes, once; whether all is sent."""
        if self._text:
            self._text = self._text[self.socket.send(self._text) :]
        elif self._at < self._size:
            start = self._at % BLOCK
            count = min(self._size - self._at, BLOCK - start)
            self._at += os.sendfile(self.socket.fileno(), self._source, start, count)
        elif self._tail:
            self._tail = self._tail[self.socket.send(self._tail) :]
        return not self._text and self._at == self._size and not self._tail


def pour(bodies: list[Body]) -> None:
    """Send all, hear all answers."""
    by_fd = {body.socket.fileno(): body for body in bodies}
    poll = select.epoll()
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN | select.EPOLLOUT)
    buffer = memoryview(bytearray(65536))
    while by_fd:
        for fd, event in poll.poll():
            body = by_fd[fd]
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                count = body.socket.recv_into(buffer)
                if body.answers.receive(buffer[:count]):
                    poll.unregister(fd)
                    del by_fd[fd]
            elif body.send():
                poll.modify(fd, select.EPOLLIN)
    poll.close()
