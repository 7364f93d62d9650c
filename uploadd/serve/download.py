"""GET and HEAD of a published file."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from uploadd.protocol import download
from uploadd.protocol.download import Published
from uploadd.serve.exchange import Exchange, FileSpan

__all__ = ["Published", "serve_file"]


async def serve_file(
    exchange: Exchange,
    published: Published,
    open_file: Callable[[], AbstractAsyncContextManager[int]],
) -> None:
    """Answer a GET or HEAD with the file that *open_file* opens for reading.

    What *open_file* raises comes out before anything is said, so that the same file is missing to
    every method and every precondition.  Raises StoreError when the file turns out shorter.
    """
    async with open_file() as fd:
        plan = download.plan(
            exchange.head.method,
            exchange.head.fields,
            published,
            boundary=_boundary,
            now=int(exchange.now()),
        )
        if plan.error is not None:
            await exchange.refuse(plan.error, plan.headers)
            return
        pieces = [
            piece
            if isinstance(piece, bytes)
            else FileSpan(fd, piece.start, piece.end - piece.start)
            for piece in plan.body
        ]
        await exchange.stream_answer(plan.status, plan.headers, pieces)


def _boundary() -> str:
    return secrets.token_hex(16)
