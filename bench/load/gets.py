"""Downloads of large files: by a receiver that only receives, and by curl as people do it."""

from __future__ import annotations

import subprocess

from bench.contenders.server import Server
from bench.load.answers import Answers
from bench.load.workers import Go, Job, Load, Part, together
from bench.load.ws import connect

BUFFER = 1 << 18


def download(server: Server, path: str, connections: int) -> Load:
    """The whole file over each of *connections*, a process each."""
    return together(server, *[_job(server.port, path)] * connections)


def _job(port: int, path: str) -> Job:
    def run(go: Go) -> Part:
        sock, answers = connect(port), Answers()
        buffer = memoryview(bytearray(BUFFER))
        go()
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        moved = 0
        while True:
            count = sock.recv_into(buffer)
            moved += count
            if answers.receive(buffer[:count]):
                return Part(1, moved)

    return run


def curl(server: Server, path: str) -> Load:
    """One curl into nowhere.  Raises LoadFailed when there is none."""
    url = f"http://127.0.0.1:{server.port}{path}"
    command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{size_download}", url]

    def run(go: Go) -> Part:
        go()
        told = subprocess.run(command, capture_output=True, check=True)
        return Part(1, int(told.stdout))

    return together(server, run)
