"""As many small uploads as go through one WebSocket session: pipelined, with the flag *last*."""

from __future__ import annotations

import json
import os
import select

from bench.contenders.server import Server
from bench.load.workers import Go, Job, Load, Part, spread_over, together
from bench.load.ws import LAST, chunk_header, uploadd, word

AT_ONCE = 256
"""Refs alive at a time: what a session is allowed."""
BATCH = 1 << 18
"""Bytes that are handed to the socket at once."""


def upload(server: Server, count: int, size: int, sessions: int = 1) -> Load:
    """*count* uploads of *size* bytes in all, from the first ``begin`` to the last ``done``."""
    shares = spread_over(sessions)
    jobs = [_job(server.port, count * share // sessions, size, share) for share in shares]
    return together(server, *jobs)


def _job(port: int, count: int, size: int, sessions: int) -> Job:
    def run(go: Go) -> Part:
        each = count // sessions
        flows = [Flow(port, each, size, number) for number in range(sessions)]
        by_fd = {flow.socket.fileno(): flow for flow in flows}
        poll = select.epoll()
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        go()
        while by_fd:
            for fd, event in poll.poll():
                flow = by_fd[fd]
                if event & select.EPOLLIN:
                    flow.hear()
                flow.send()
                poll.modify(fd, select.EPOLLIN | select.EPOLLOUT * flow.wants_to_send)
                if flow.done == flow.count:
                    poll.unregister(fd)
                    del by_fd[fd]
        return Part(each * sessions, each * sessions * size)

    return run


class Flow:
    """One session: a new upload begins with every ref that is free."""

    def __init__(self, port: int, count: int, size: int, number: int) -> None:
        self._ws = uploadd(port)
        self.socket = self._ws.socket
        self.socket.setblocking(False)
        self.count, self.begun, self.done = count, 0, 0
        self._free = list(range(AT_ONCE))
        payload = os.urandom(size)
        self._chunks = [chunk_header(ref, 0, size, LAST) + payload for ref in range(AT_ONCE)]
        self._stem = f"{os.getpid()}-{number}"
        self._size = size
        self._out = memoryview(b"")

    @property
    def wants_to_send(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._out) or (bool(self._free) and self.begun < self.count)

    def send(self) -> None:
        """As much as the socket takes."""
        while self.wants_to_send:
            if not self._out:
                self._out = memoryview(self._next())
            try:
                self._out = self._out[self.socket.send(self._out) :]
            except BlockingIOError:
                return

    def _next(self) -> bytes:
        parts, total = [], 0
        while self._free and self.begun < self.count and total < BATCH:
            ref = self._free.pop()
            begin = b'{"type":"begin","ref":%d,"name":"%b-%d.jpg","length":%d}' % (
                *(ref, self._stem.encode(), self.begun, self._size),
            )
            parts += [word(begin), self._chunks[ref]]
            total += len(self._chunks[ref])
            self.begun += 1
        return b"".join(parts)

    def hear(self) -> None:
        """Count what is done; its refs are free."""
        for message in self._ws.receive():
            told = json.loads(message)
            if told["type"] == "done":
                self.done += 1
                self._free.append(told["ref"])
            elif told["type"] not in ("ready", "ack"):
                raise ConnectionError(message)
