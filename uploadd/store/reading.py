"""Reading what is published."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from uploadd.protocol.upload import Published
from uploadd.store.contract import Store

SMALL: Final = 64 * 1024
"""Bytes of a file that is closed sooner than a thread is found: its last close may free it."""


@asynccontextmanager
async def opened(store: Store, published: Published, length: int) -> AsyncIterator[int]:
    """A descriptor to read a published file of *store*, *length* bytes long, while the block runs.

    Raises what `Store.open_published` raises.
    """
    fd = await store.open_published(published, length)
    try:
        yield fd
    finally:
        if length <= SMALL:
            os.close(fd)
        else:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(os.close, fd)
