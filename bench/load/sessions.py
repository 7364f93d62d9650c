"""Uploads over WebSocket, each in a session of its own, as fast as the server takes them."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Sequence

from bench.contenders.server import Server
from bench.load.workers import Go, Job, Load, Part, spread_over, together
from bench.load.ws import LAST, WebSocket, chunk_header, text, uploadd

TURN = 8
"""Chunks that one session sends before the others have their turn."""
FOREVER = 1 << 50


class Sending:
    """One upload: what has been sent of it, and how far it may go."""

    def __init__(
        self, ws: WebSocket, payload: memoryview, size: int, limit: int, at: int = 0
    ) -> None:
        self.ws, self.size, self.limit, self.at = ws, size, limit, at
        self.done = False
        self._payload, self._rest = payload, memoryview(b"")
        ws.socket.setblocking(False)

    @property
    def wants_to_send(self) -> bool:
        """Whether there is something to send that may be sent."""
        return bool(self._rest) or (self.at < self.size and self.at + self._next <= self.limit)

    @property
    def _next(self) -> int:
        return min(len(self._payload), self.ws.max_chunk, self.size - self.at)

    def send(self) -> None:
        """As much as the socket takes, at most a turn."""
        sock = self.ws.socket
        try:
            for _ in range(TURN):
                if self._rest:
                    self._rest = self._rest[sock.send(self._rest) :]
                    if self._rest:
                        return
                if not self.wants_to_send:
                    return
                self._send_chunk()
        except BlockingIOError:
            return

    def _send_chunk(self) -> None:
        count = self._next
        flags = LAST if self.at + count == self.size else 0
        header, payload = chunk_header(1, self.at, count, flags), self._payload[:count]
        sent = self.ws.socket.sendmsg([header, payload])
        self.at += count
        if sent < len(header):
            self._rest = memoryview(header[sent:] + bytes(payload))
        else:
            self._rest = payload[sent - len(header) :]

    def cancel(self) -> None:
        """Have the server remove it, and wait until it has."""
        self.ws.socket.setblocking(True)
        self.ws.socket.sendall(self._rest)
        self.ws.say({"type": "cancel", "ref": 1})
        while self.ws.hear()["type"] != "gone":
            pass

    def hear(self) -> None:
        """Take in what the server says."""
        for message in self.ws.receive():
            if message == b"done":  # what the peers of bench/peers say
                self.done = True
                continue
            told = json.loads(message)
            if told["type"] == "done":
                self.done = True
            elif told["type"] in ("ready", "ack"):
                self.limit = max(self.limit, told["limit"])
                self.ws.max_chunk = told.get("max_chunk", self.ws.max_chunk)
            else:
                raise ConnectionError(message)


def begin_uploadd(port: int, number: int, size: int | None) -> tuple[WebSocket, int]:
    """A session with an upload begun and ready, and its credit."""
    ws = uploadd(port)
    ready = ws.begin(name=f"{os.getpid()}-{number}.bin", length=size)
    return ws, int(ready["limit"])


def begin_plain(port: int, number: int, size: int | None) -> tuple[WebSocket, int]:
    """The same to a server of bench/peers, which knows no credit."""
    ws = WebSocket(port)
    ws.socket.sendall(text({"length": size or FOREVER}))
    return ws, FOREVER


def drive(sendings: Sequence[Sending], stop: Callable[[], bool] = lambda: False) -> None:
    """Until all are done, or *stop* says so."""
    by_fd = {sending.ws.socket.fileno(): sending for sending in sendings}
    poll = select.epoll()
    sends = {}
    for fd, sending in by_fd.items():
        sends[fd] = sending.wants_to_send
        poll.register(fd, _events(sends[fd]))
    while by_fd and not stop():
        for fd, event in poll.poll(1.0):
            sending = by_fd[fd]
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                sending.hear()
            if sending.done:
                poll.unregister(fd)
                del by_fd[fd]
                continue
            if event & select.EPOLLOUT or (not sends[fd] and sending.wants_to_send):
                sending.send()
            if sends[fd] is not sending.wants_to_send:
                sends[fd] = sending.wants_to_send
                poll.modify(fd, _events(sends[fd]))
    poll.close()


def _events(sends: bool) -> int:
    return select.EPOLLIN | select.EPOLLOUT if sends else select.EPOLLIN


Begin = Callable[[int, int, int | None], tuple[WebSocket, int]]


def begin_of(server: Server) -> Begin:
    """How an upload to *server* begins."""
    return begin_uploadd if server.name.startswith("uploadd") else begin_plain


def upload(server: Server, sessions: int, size: int, chunk: int) -> Load:
    """*size* bytes in all over *sessions*, at least a chunk in each, to the last ``done``."""
    each = max(chunk, size // sessions // chunk * chunk)
    return together(server, *(_job(server, n, each, chunk) for n in spread_over(sessions)))


def _job(server: Server, sessions: int, each: int, chunk: int) -> Job:
    begin, payload = begin_of(server), memoryview(os.urandom(chunk))

    def run(go: Go) -> Part:
        begun = [begin(server.port, number, each) for number in range(sessions)]
        sendings = [Sending(ws, payload, each, limit) for ws, limit in begun]
        go()
        drive(sendings)
        return Part(sessions, each * sessions)

    return run


def full_speed(
    server: Server, sessions: int, chunk: int, seconds: float, *, keep: bool = False
) -> Job:
    """As much to uploadd as goes for *seconds*; then it is cancelled, and the bytes are gone.

    *keep*: it is left as it is, unfinished; on a disk nothing is to be removed.
    """
    payload = memoryview(os.urandom(chunk))

    def run(go: Go) -> Part:
        begun = [begin_uploadd(server.port, number, None) for number in range(sessions)]
        sendings = [Sending(ws, payload, FOREVER, limit) for ws, limit in begun]
        go()
        ends = time.perf_counter() + seconds
        drive(sendings, lambda: time.perf_counter() >= ends)
        moved = sum(sending.at for sending in sendings)
        for sending in () if keep else sendings:
            sending.cancel()
        return Part(sessions, moved)

    return run
