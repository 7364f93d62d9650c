"""A load of tus uploads: large files by sendfile, a thread each; small ones from one loop."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from pathlib import Path

TUS = b"Tus-Resumable: 1.0.0\r\n"
CHUNK = b"Content-Type: application/offset+octet-stream\r\n"


def patch(port: int, path: str, source: Path, connections: int) -> float:
    """Send *source* over each of *connections*, one PATCH an upload; bytes a second in all."""
    size = source.stat().st_size
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    heads = [_patch_head(_create(sock, path, size), size) for sock in socks]
    began = threading.Barrier(connections + 1)

    def send(sock: socket.socket, head: bytes) -> None:
        with open(source, "rb") as file:
            began.wait()
            sock.sendall(head)
            sock.sendfile(file)
            answer = _answer(sock)
            assert answer.startswith(b"HTTP/1.1 204"), answer

    threads = [threading.Thread(target=send, args=pair) for pair in zip(socks, heads, strict=True)]
    for thread in threads:
        thread.start()
    began.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    for sock in socks:
        sock.close()
    return connections * size / seconds


def _create(sock: socket.socket, path: str, size: int) -> str:
    fields = TUS + b"Upload-Length: %d\r\nContent-Length: 0\r\n" % size
    sock.sendall(b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path.encode(), fields))
    answer = _answer(sock)
    assert b" 201 " in answer, answer
    for line in answer.decode().split("\r\n"):
        if line.lower().startswith("location: "):
            where = line.split(": ", 1)[1]
            return "/" + where.split("/", 3)[3] if "://" in where else where
    raise AssertionError(answer)


def _patch_head(path: str, size: int) -> bytes:
    fields = TUS + CHUNK + b"Upload-Offset: 0\r\nContent-Length: %d\r\n" % size
    return b"PATCH %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path.encode(), fields)


def _answer(sock: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = sock.recv(65536)
        assert more, "the server closed"
        answer += more
    return answer


def small(port: int, path: str, count: int, size: int, connections: int) -> float:
    """*count* creations with *size* bytes each over *connections*; uploads a second."""
    body = os.urandom(size)
    head = TUS + CHUNK + b"Upload-Length: %d\r\nContent-Length: %d\r\n" % (size, size)
    said = b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n%b" % (path.encode(), head, body)
    ready = selectors.EpollSelector()
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.register(sock, selectors.EVENT_READ)
    socks = [key.fileobj for key in ready.get_map().values()]
    began = time.perf_counter()
    asked = answered = 0
    for sock in socks:
        sock.sendall(said)  # type: ignore[union-attr]  # all of them are sockets
        asked += 1
    while answered < count:
        for key, _ in ready.select():
            answer = key.fileobj.recv(65536)  # type: ignore[union-attr]
            assert answer.startswith(b"HTTP/1.1 201"), answer
            answered += 1
            if asked < count:
                key.fileobj.sendall(said)  # type: ignore[union-attr]
                asked += 1
    seconds = time.perf_counter() - began
    for sock in socks:
        sock.close()  # type: ignore[union-attr]
    return count / seconds
