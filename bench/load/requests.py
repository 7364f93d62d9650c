"""Small requests, one after the other on each of many connections."""

from __future__ import annotations

import base64
import os
import random
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Sequence

from bench.contenders.server import Server
from bench.load.answers import Answers
from bench.load.bodies import OCTETS, TUS
from bench.load.workers import Go, Job, Load, Part, spread_over, together
from bench.load.ws import connect
from bench.machine import find

Said = Sequence[bytes]
Make = Callable[[int], Said]
"""The parts of request number n."""


def creation(server: Server, size: int) -> Make:
    """tus creation-with-upload, each under a name of its own."""
    body = os.urandom(size)
    fields = TUS + OCTETS + b"Upload-Length: %d\r\nContent-Length: %d\r\n" % (size, size)
    start = b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b" % (server.tus.encode(), fields)
    start += b"Upload-Metadata: filetype aW1hZ2UvanBlZw==,filename "
    pid = os.getpid()

    def make(number: int) -> Said:
        name = base64.b64encode(b"%d-%08d.jpg" % (pid, number))
        return (b"%b%b\r\n\r\n" % (start, name), body)

    return make


def put(server: Server, size: int) -> Make:
    """A raw PUT, each under a name of its own."""
    body = os.urandom(size)
    pid = os.getpid()

    def make(number: int) -> Said:
        head = b"PUT /%d-%08d.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        return (head % (pid, number, size), body)

    return make


def get(path: str) -> Make:
    """The same file again and again."""
    said = (b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode(),)
    return lambda number: said


def ranges(path: str, length: int, size: int) -> Make:
    """*size* bytes from anywhere in a file of *length*."""
    start = b"GET %b HTTP/1.1\r\nHost: localhost\r\nRange: bytes=" % path.encode()
    chance = random.Random(length)

    def make(number: int) -> Said:
        at = chance.randrange(length - size)
        return (b"%b%d-%d\r\n\r\n" % (start, at, at + size - 1),)

    return make


def closed_loop(server: Server, make: Callable[[], Make], count: int, connections: int) -> Load:
    """*count* requests; on each connection the next one follows the answer to the last."""
    shares = spread_over(connections)
    jobs = [_job(server.port, make, count * share // connections, share) for share in shares]
    return together(server, *jobs)


def _job(port: int, make: Callable[[], Make], count: int, connections: int) -> Job:
    def run(go: Go) -> Part:
        requests = make()
        socks = {}
        poll = select.epoll()
        for _ in range(connections):
            sock = connect(port)
            # On loopback 64 KiB and a head are a segment and a bit; with the first window of
            # 64 KiB that bit waits 40 ms for an acknowledgement, whoever the server is.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            socks[sock.fileno()] = (sock, Answers())
            poll.register(sock, select.EPOLLIN)
        buffer = memoryview(bytearray(1 << 20))
        go()
        asked = moved = answered = 0
        for sock, _ in socks.values():
            if asked < count:
                moved += _say(sock, requests(asked))
                asked += 1
        while answered < count:
            for fd, _ in poll.poll():
                sock, answers = socks[fd]
                got = sock.recv_into(buffer)
                moved += got
                if answers.receive(buffer[:got]):
                    answered += 1
                    if asked < count:
                        moved += _say(sock, requests(asked))
                        asked += 1
        return Part(answered, moved)

    return run


def _say(sock: socket.socket, said: Said) -> int:
    size = sum(map(len, said))
    sent = sock.sendmsg(said)
    if sent < size:
        sock.sendall(b"".join(said)[sent:])
    return size


def probe(port: int, path: str, interval: float, seconds: float) -> Job:
    """How long one who is to ask for *path* every *interval* waits: from when that was due."""

    def run(go: Go) -> Part:
        sock, answers = connect(port), Answers()
        said = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
        buffer = memoryview(bytearray(65536))
        samples = []
        go()
        due = time.perf_counter()
        ends = due + seconds
        while due < ends:
            time.sleep(max(0.0, due - time.perf_counter()))
            sock.sendall(said)
            while not answers.receive(buffer[: sock.recv_into(buffer)]):
                pass
            samples.append(time.perf_counter() - due)
            due += interval
        return Part(len(samples), 0, samples)

    return run


def wrk(server: Server, path: str, connections: int, seconds: int) -> Load | None:
    """The same GETs by wrk; None where it is not installed."""
    program = find("wrk")
    if program is None:
        return None
    url = f"http://127.0.0.1:{server.port}{path}"
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", url]

    def run(go: Go) -> Part:
        go()
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return Part(*wrk_told(told))

    return together(server, run)


def wrk_told(told: str) -> tuple[int, int]:
    """Requests that succeeded and bytes, from what wrk prints."""
    found = re.search(r"(\d+) requests in \S+, ([\d.]+)([KMGT]?B) read", told)
    if not found:
        raise ValueError(told)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    unit = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}[found[3]]
    return int(found[1]) - int(bad[1] if bad else 0), round(float(found[2]) * unit)
