"""What the tests of the page share: a daemon behind a door, and a page that looks at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, FilePayload, Locator, Page, expect

from tests.browser.door import Door, door
from tests.e2e.daemon import Daemon

MB = 1_000_000
LARGE = 40 * MB
"""More than what sockets and the server's credit take at once: it cannot all be sent."""


class Site:
    """A daemon behind a door, and pages in one browser profile."""

    def __init__(self, daemon: Daemon, door: Door, context: BrowserContext, files: Path) -> None:
        self.daemon, self.door, self.context, self._files = daemon, door, context, files
        self.complaints: list[str] = []
        """What the browser said on its console, and errors of the page's own code."""
        self.page = self.visit()

    def visit(self) -> Page:
        """One more page of the same user."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._hear(message.type, message.text))
        # The browser is to hand its choosers over from the start: told only when one is expected,
        # it may hear of that after the key.
        page.on("filechooser", lambda chooser: None)
        page.goto(self.door.url)
        expect(page.locator("#zone")).to_be_visible()
        return page

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    # --- files ----------------------------------------------------------------------------------

    def file(self, name: str, size: int = 1000) -> Path:
        """A file of random bytes on the user's disk."""
        path = self._files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return path

    def arrived(self, source: Path, name: str | None = None) -> bool:
        """Whether the daemon has published the bytes of *source*, under *name* or one like it."""
        pattern = name or f"{source.stem}*{source.suffix}"
        content = source.read_bytes()
        return any(path.read_bytes() == content for path in self.daemon.folder.glob(pattern))

    # --- the daemon -----------------------------------------------------------------------------

    def restart(self) -> None:
        """Stop the daemon as an operator does, and start it again."""
        self.daemon.terminate()
        self.daemon.start()
        self.door.lead_to(self.daemon.address[1])


def choose(page: Page, *files: Path) -> None:
    """Choose *files* with the button."""
    page.set_input_files("#files", list(files))


def row(page: Page, name: str) -> Locator:
    """The row of the file *name*, of those that the page uploads."""
    return page.locator("#rows .row").filter(has=page.locator("bdi", has_text=name))


def says(page: Page, name: str, words: str, seconds: float = 20) -> None:
    """Wait until the row of *name* says *words*."""
    expect(row(page, name)).to_contain_text(words, timeout=seconds * 1000)


def press(page: Page, button: str) -> None:
    """Press the button called *button*, of what the page uploads or asks."""
    ours = page.locator("main > section:not(#others, #stored), dialog")
    ours.get_by_role("button", name=button, exact=True).click()


def shades(page: Page, name: str) -> tuple[float, float]:
    """How much of the bar of *name* is sent and stored, as drawn, 0 … 1."""
    drawn: list[float] = (
        row(page, name)
        .locator(".bar")
        .evaluate(
            """bar => [".sent", ".stored"]
                .map(one => parseFloat(bar.querySelector(one).style.inlineSize) / 100)"""
        )
    )
    return drawn[0], drawn[1]


def payload(name: str, content: bytes) -> FilePayload:
    """A file that is nowhere on a disk."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


@contextmanager
def served(folder: Path, *args: str) -> Iterator[tuple[Daemon, Door]]:
    """A daemon that stores in *folder*, with a door; *args* are its own."""
    folder.mkdir(exist_ok=True)
    with Daemon(folder, *args) as daemon:
        daemon.start()
        with door(daemon.address[1]) as way:
            yield daemon, way


@contextmanager
def visited(browser: Browser, stage: tuple[Daemon, Door], files: Path) -> Iterator[Site]:
    """A new user of the daemon, with *files* to upload."""
    daemon, way = stage
    way.let_go()
    context = browser.new_context()
    context.set_default_timeout(20_000)
    yield Site(daemon, way, context, files)
    context.close()
