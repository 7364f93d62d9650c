"""A real Chromium, a real daemon, and pages of its origin."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser.road import Road
from tests.e2e.daemon import START, Daemon

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
]
PATIENCE = 30_000
"""Milliseconds for anything in a browser, on a machine that has much else to do."""
_WEATHER = (
    *("WebSocket connection to", "ERR_CONNECTION", "ERR_SOCKET_NOT_CONNECTED"),
    *("ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE", "ERR_INTERNET", "favicon"),
)
"""What browsers log themselves when connections fail, as some tests make them do."""


class Server(Daemon):
    """The daemon on a port that stays the same when it is restarted."""

    def __init__(self, folder: Path, *args: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        super().__init__(folder, "--port", str(port), *args)
        self.port = int(port)

    @property
    def dir(self) -> Path:
        """Where published files come to lie."""
        return self.folder

    def await_ready(self) -> None:
        """Wait until it is, when it was launched before."""
        if not self._ready.wait(START) or not self.url:
            self.kill()
            raise AssertionError(f"the daemon did not start:\n{self.log}")

    def stop(self) -> None:
        """Ask it to end, as systemd does, and wait."""
        self.terminate()

    def sizes(self) -> dict[str, int]:
        """The published files."""
        return {path.name: path.stat().st_size for path in self.folder.iterdir() if path.is_file()}

    def unfinished(self) -> list[str]:
        """Ids of the uploads that have bytes and are not published."""
        return os.listdir(self.folder / ".uploadd" / "growing")


@pytest.fixture(scope="module")  # while it lives, nobody else can run an asyncio loop
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is not there: apt install chromium", pytrace=False)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """The daemon of the next test: it starts while the one before it runs."""
    waiting: list[Server] = []
    yield waiting
    for server in waiting:
        server.kill()


@pytest.fixture
def daemon(spare: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A daemon that runs, with nothing stored; ``stop``, ``kill`` and ``start`` it as you like."""

    def launched() -> Server:
        server = Server(tmp_path_factory.mktemp("store"))
        server.launch()
        return server

    with spare.pop() if spare else launched() as server:
        server.await_ready()
        spare.append(launched())
        yield server


@pytest.fixture
def road(daemon: Server) -> Iterator[Road]:
    """A road to the daemon, for pages opened at its url."""
    with Road(daemon.port) as road:
        yield road


Opener = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """Opens pages: ``open_page(url, context=None, **options of new_context)``.

    The test fails when one of them throws, or logs an error that no lost connection explains.
    """
    faults: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(word in text for word in _WEATHER):
            faults.append(text)

    with ExitStack() as stack:

        def open_page(url: str, context: BrowserContext | None = None, **options: Any) -> Page:
            if context is None:
                context = browser.new_context(**options)
                context.set_default_timeout(PATIENCE)
                stack.callback(context.close)
            page = context.new_page()
            page.on("console", on_console)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(url)
            return page

        yield open_page
    assert faults == []


@pytest.fixture
def page(open_page: Opener, daemon: Server) -> Page:
    """The daemon's own page, in a browser that remembers nothing."""
    return open_page(daemon.url)
