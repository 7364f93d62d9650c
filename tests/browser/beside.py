"""What the tests of others' uploads share: somebody else, who sends by hand over plain HTTP."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote
from urllib.request import Request, urlopen

from playwright.sync_api import Locator, Page

from tests.e2e.daemon import Daemon


def stored(daemon: Daemon, name: str, size: int = 1000, client_id: str = "") -> str:
    """Somebody has stored the file *name*; where it is."""
    fields = {"X-Client-Id": client_id} if client_id else {}
    body = os.urandom(size)
    request = Request(f"{daemon.url}/{quote(name)}", body, fields, method="PUT")
    with urlopen(request) as answer:
        return str(answer.read().decode().strip())


class Sender:
    """Somebody else, in the middle of a PUT of *length* bytes."""

    def __init__(self, daemon: Daemon, name: str, length: int, client_id: str = "") -> None:
        self._socket = socket.create_connection(daemon.address)
        host = f"127.0.0.1:{daemon.address[1]}"
        head = f"PUT /{quote(name)} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n"
        self._socket.sendall(f"{head}X-Client-Id: {client_id or 's'}\r\n\r\n".encode())
        self._left = length

    def send(self, count: int) -> None:
        """Send *count* more bytes."""
        self._socket.sendall(bytes(count))
        self._left -= count

    def finish(self) -> str:
        """Send the rest; the first line of the answer."""
        self.send(self._left)
        return self._socket.makefile().readline().strip()

    def answer(self) -> bytes:
        """What the daemon says to it, if that ends."""
        return self._socket.recv(1 << 16)

    def leave(self) -> None:
        """Break off."""
        self._socket.close()


@contextmanager
def sending(daemon: Daemon, name: str, length: int, client_id: str = "") -> Iterator[Sender]:
    """Somebody else who sends *name*, and has begun."""
    sender = Sender(daemon, name, length, client_id)
    try:
        yield sender
    finally:
        sender.leave()


def other(page: Page, name: str) -> Locator:
    """The row of what somebody else uploads."""
    return page.locator("#others .row").filter(has=page.get_by_text(name, exact=True))


def file(page: Page, name: str) -> Locator:
    """The row of the stored file *name*."""
    return page.locator("#stored .row").filter(has=page.get_by_text(name, exact=True))


def names(page: Page) -> list[str]:
    """The stored files on the page, in order."""
    return page.locator("#stored .row bdi").all_text_contents()
