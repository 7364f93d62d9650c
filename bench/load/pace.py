"""Sessions that send a little now and then, and how long each chunk is not durable."""

from __future__ import annotations

import heapq
import json
import os
import select
import time
from collections import deque

from bench.contenders.server import Server
from bench.load.bodies import OCTETS, TUS, create
from bench.load.sessions import begin_uploadd
from bench.load.workers import Go, Job, Part
from bench.load.ws import FLUSH, WebSocket, chunk_header, connect

LATE = 10.0
"""Seconds after the last chunk for which its ack is awaited."""


class Paced:
    """One upload that gets a chunk every *interval*; the clock of a chunk starts when it is due."""

    def __init__(self, ws: WebSocket, payload: bytes, flags: int) -> None:
        self.ws, self._payload, self._flags = ws, payload, flags
        self._at = 0
        self.waiting: deque[tuple[int, float]] = deque()
        """Ends of chunks that are not durable, and when each was due."""

    def send(self, due: float) -> None:
        """One chunk, which was to be sent at *due*."""
        header = chunk_header(1, self._at, len(self._payload), self._flags)
        self.ws.socket.sendall(header + self._payload)
        self._at += len(self._payload)
        self.waiting.append((self._at, due))

    def hear(self, now: float) -> list[float]:
        """Seconds from due to durable of the chunks that are durable by now."""
        found = []
        for message in self.ws.receive():
            told = json.loads(message)
            if told["type"] != "ack":
                raise ConnectionError(message)
            while self.waiting and self.waiting[0][0] <= told["offset"]:
                found.append(now - self.waiting.popleft()[1])
        return found


def acks(
    server: Server, sessions: int, chunk: int, interval: float, seconds: float, *, flush: bool
) -> Job:
    """A job: each session a chunk every *interval* for *seconds*; samples are ack latencies.

    What is not durable after `LATE` counts with that: who is slow does not drop out.
    """
    payload = os.urandom(chunk)

    def run(go: Go) -> Part:
        flags = FLUSH if flush else 0
        begun = [begin_uploadd(server.port, number, None)[0] for number in range(sessions)]
        paced = {ws.socket.fileno(): Paced(ws, payload, flags) for ws in begun}
        poll = select.epoll()
        for fd in paced:
            poll.register(fd, select.EPOLLIN)
        go()
        start = time.perf_counter()
        due = [(start + interval * n / sessions, fd) for n, fd in enumerate(paced)]
        heapq.heapify(due)
        samples: list[float] = []
        sent, ends = 0, start + seconds
        while (now := time.perf_counter()) < ends + LATE and (
            now < ends or any(one.waiting for one in paced.values())
        ):
            while due and due[0][0] <= now:
                at, fd = heapq.heappop(due)
                paced[fd].send(at)
                sent += 1
                if at + interval < ends:
                    heapq.heappush(due, (at + interval, fd))
            wait = max(0.0, due[0][0] - time.perf_counter()) if due else 0.05
            for fd, _ in poll.poll(wait):
                samples += paced[fd].hear(time.perf_counter())
        samples += [now - due for one in paced.values() for _, due in one.waiting]
        return Part(sent, sent * chunk, samples)

    return run


def dribbles(server: Server, connections: int, interval: float, seconds: float) -> Job:
    """A job: PATCHes of 1 GiB of which a KiB comes every *interval*; answered by nobody."""
    piece = os.urandom(1024)

    def run(go: Go) -> Part:
        socks = []
        for _ in range(connections):
            path = create(server, 1 << 30)
            sock = connect(server.port)
            fields = TUS + OCTETS + b"Upload-Offset: 0\r\nContent-Length: %d\r\n" % (1 << 30)
            sock.sendall(
                b"PATCH %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path.encode(), fields)
            )
            socks.append(sock)
        go()
        start, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) < start + seconds:
            due = min(int((now - start) / interval * connections), 1 << 62)
            while sent < due:
                socks[sent % connections].sendall(piece)
                sent += 1
            time.sleep(0.005)
        return Part(sent, sent * len(piece))

    return run
