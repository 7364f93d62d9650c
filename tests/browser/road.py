"""The road between a browser and the daemon: it counts, narrows, breaks and is built over.

In threads, because playwright's sync API keeps the loop of the test's own thread.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress
from typing import Final

BLOCK: Final = 1 << 16
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
        self.silent, self.limit = False, None
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
        with suppress(OSError):
            while data := source.recv(BLOCK):
                while self.silent or (up and self._is_full):
                    time.sleep(0.02)
                if up and self.swallows and data.startswith(b"GET /-/ws"):
                    continue
                if up:
                    data = self._upwards(data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if not up:
            source.close()
            sink.close()

    @property
    def _is_full(self) -> bool:
        return self.limit is not None and self.up >= self.limit

    def _upwards(self, data: bytes) -> bytes:
        self.up += len(data)
        if self.rate is not None:
            time.sleep(len(data) / self.rate)
        if self.strips and data.startswith(b"GET "):
            return _UPGRADE.sub(b"", data)
        return data
