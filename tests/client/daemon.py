"""The real daemon in the same loop, for what the commands do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from uploadd.config import Sources, load
from uploadd.daemon import serve


@asynccontextmanager
async def daemon(folder: Path, **settings: object) -> AsyncIterator[str]:
    """The URL of a daemon that serves *folder*; *settings* as ``section__key``."""
    overrides = {name.replace("__", "."): value for name, value in settings.items()}
    flags = {"storage.dir": str(folder), "server.port": 0} | overrides
    config = load(Sources(flags=flags)).config
    urls: list[str] = []
    ready = trio.Event()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve, config, on_ready=on_ready))
        await ready.wait()
        yield urls[0]
        nursery.cancel_scope.cancel()
