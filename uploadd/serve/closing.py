"""The end of a connection."""

from __future__ import annotations

from typing import Final

import trio

SECONDS: Final = 1.0
"""In which a peer takes that nothing follows."""


async def close(stream: trio.abc.Stream) -> None:
    """Close *stream*; where it is encrypted, say first that it was not cut (close_notify)."""
    if isinstance(stream, trio.SSLStream):
        with trio.move_on_after(SECONDS):
            await stream.aclose()
    else:
        await trio.aclose_forcefully(stream)
