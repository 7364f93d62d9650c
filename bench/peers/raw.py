"""What the kernel can do: bytes of a request with a Content-Length, without any protocol.

raw.py receive|splice|splice-flush|sendfile FOLDER; prints its port.  One thread a connection.
"""

import contextlib
import fcntl
import itertools
import os
import re
import socket
import sys
import threading

KIND, FOLDER = sys.argv[1:]
NUMBERS = itertools.count()
PIPE = 1 << 20


def serve(sock: socket.socket) -> None:
    """One request after the other."""
    with sock:
        while head := _head(sock):
            if KIND == "sendfile":
                _send(sock, head)
            else:
                _take(sock, head)


def _head(sock: socket.socket) -> bytes:
    """To the empty line and not beyond it: the rest stays in the socket."""
    while True:
        seen = sock.recv(65536, socket.MSG_PEEK)
        if not seen:
            return b""
        end = seen.find(b"\r\n\r\n")
        if end >= 0:
            return sock.recv(end + 4)


def _take(sock: socket.socket, head: bytes) -> None:
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert found
    left = int(found[1])
    if KIND == "receive":
        buffer = memoryview(bytearray(1 << 18))
        while left > 0 and (count := sock.recv_into(buffer)):
            left -= count
    else:
        _splice(sock, left)
    sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


def _splice(sock: socket.socket, left: int) -> None:
    file = os.open(f"{FOLDER}/{next(NUMBERS)}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    out, into = os.pipe()
    try:
        _widen(into)
        while left > 0 and (count := os.splice(sock.fileno(), into, min(left, PIPE))):
            left -= count
            while count:
                count -= os.splice(out, file, count)
        if KIND == "splice-flush":
            os.fdatasync(file)
    finally:
        for fd in (file, out, into):
            os.close(fd)


def _widen(pipe: int) -> None:
    with contextlib.suppress(PermissionError):  # unprivileged, and too many of them
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def _send(sock: socket.socket, head: bytes) -> None:
    name = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
    with open(f"{FOLDER}/{name}", "rb") as file:
        size = os.fstat(file.fileno()).st_size
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        at = 0
        while at < size:
            at += os.sendfile(sock.fileno(), file.fileno(), at, size - at)


listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
print(f"port {listener.getsockname()[1]}", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
