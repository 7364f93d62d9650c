"""The loop of a socket.io tutorial: 10 KiB, wait for the acknowledgement, the next 10 KiB."""

from __future__ import annotations

import json
import os

from bench.contenders.server import Server
from bench.load.workers import Go, Load, Part, together
from bench.load.ws import BINARY, WebSocket, frame_header, word


def upload(server: Server, size: int, chunk: int = 10240) -> Load:
    """*size* bytes over one connection, stop and wait."""

    def run(go: Go) -> Part:
        ws = _connected(server.port)
        _send(ws, b'420["begin_upload"]')
        name = f"upload_chunk_{json.loads(_hear(ws)[3:])[0]}"
        payload = os.urandom(chunk)
        event = json.dumps([name, {"_placeholder": True, "num": 0}]).encode()
        binary = frame_header(BINARY, chunk) + payload
        go()
        for number in range(size // chunk):
            ws.socket.sendall(word(b"451-%d%b" % (number, event)) + binary)
            if not _hear(ws).startswith(b"43%d[" % number):
                raise ConnectionError("not the acknowledgement of this chunk")
        return Part(1, size // chunk * chunk)

    return together(server, run)


def _connected(port: int) -> WebSocket:
    """A socket.io session in the main namespace."""
    ws = WebSocket(port, "/socket.io/?EIO=4&transport=websocket")
    _hear(ws)  # open, with the server's intervals
    _send(ws, b"40")
    _hear(ws)
    return ws


def _send(ws: WebSocket, told: bytes) -> None:
    ws.socket.sendall(word(told))


def _hear(ws: WebSocket) -> bytes:
    """The next message that is no ping."""
    while True:
        for message in ws.receive():
            if message != b"2":
                return message
            _send(ws, b"3")
