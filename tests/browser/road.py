"""The road between a browser and the daemon: it counts, narrows, breaks and is built over.

In threads, because playwright's sync API keeps the loop of the test's own thread.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

BLOCK: Final = 1 << 16
TURN: Final = 0.02
"""Seconds until what waits looks again whether it may pass."""
_UPGRADE: Final = re.compile(rb"\r\n(?:upgrade|connection):[^\r\n]*", re.IGNORECASE)


class Road:
    """Passes bytes on to *target*, a port of this host.  Leaving the ``with`` block closes it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.up = 0
        """Bytes from browsers."""
        self.closed = False
        """Whether new connections are turned away."""
        self.silent = False
        """Whether nothing passes any more, and nobody is told."""
        self.strips = False
        """Whether ``Upgrade`` is taken out of requests, as old proxies do."""
        self.swallows = False
        """Whether who asks for a WebSocket hears nothing at all, as with other old proxies."""
        self.rate: float | None = None
        """Bytes in a second from browsers."""
        self.limit: int | None = None
        """Bytes from browsers that pass in all; what follows waits."""
        self.each: int | None = None
        """Bytes from browsers that pass on one connection."""
        self._counting = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        """What browsers are told."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Road:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self.silent, self.limit, self.each = False, None, None
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """End every connection, as a lost network does."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.closed:
                    raise ConnectionRefusedError
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for source, sink, up in ((near, far, True), (far, near, False)):
                thread = threading.Thread(target=self._pass, args=(source, sink, up))
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(BLOCK):
                if up and self.swallows and data.startswith(b"GET /-/ws"):
                    continue
                for part in self._upwards(data, passed) if up else self._downwards(data):
                    sink.sendall(part)
                passed += len(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if not up:
            source.close()
            sink.close()

    def _downwards(self, data: bytes) -> Iterator[bytes]:
        while self.silent:
            time.sleep(TURN)
        yield data

    def _upwards(self, data: bytes, passed: int) -> Iterator[bytes]:
        """Yields *data* as it may pass: in parts, so that not one byte is beyond the limits."""
        while data:
            with self._counting:
                room = self._room(len(data), passed)
                self.up += room
            passed += room
            if not room:
                time.sleep(TURN)
                continue
            part, data = data[:room], data[room:]
            if self.rate is not None:
                time.sleep(room / self.rate)
            if self.strips and part.startswith(b"GET "):
                part = _UPGRADE.sub(b"", part)
            yield part

    def _room(self, wanted: int, passed: int) -> int:
        """How many of *wanted* bytes may go up now, on a connection by which *passed* have gone."""
        if self.silent:
            return 0
        for limit, gone in ((self.limit, self.up), (self.each, passed)):
            if limit is not None:
                wanted = max(0, min(wanted, limit - gone))
        return wanted
