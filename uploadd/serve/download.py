"""GET and HEAD of a published file."""

from __future__ import annotations

import secrets
from contextlib import AbstractAsyncContextManager

from uploadd.errors import UploadError
from uploadd.protocol import download
from uploadd.protocol.download import Published
from uploadd.serve.exchange import Exchange, FileSpan

__all__ = ["Published", "serve_file"]


async def serve_file(
    exchange: Exchange,
    published: Published,
    file: AbstractAsyncContextManager[int],
) -> UploadError | None:
    """Answer a GET or HEAD with *file*, a descriptor while it is open; what was refused, if any.

    What opening it raises comes out before anything is said, so that the same file is missing to
    every method and every precondition.  Raises StoreError when the file turns out shorter.
    """
    async with file as fd:
        plan = download.plan(
            exchange.head.method,
            exchange.head.fields,
            published,
            boundary=_boundary,
            now=int(exchange.now()),
        )
        if plan.error is not None:
            await exchange.refuse(plan.error, plan.headers)
            return plan.error
        pieces = [
            piece
            if isinstance(piece, bytes)
            else FileSpan(fd, piece.start, piece.end - piece.start)
            for piece in plan.body
        ]
        await exchange.stream_answer(plan.status, plan.headers, pieces)
        return None


def _boundary() -> str:
    return secrets.token_hex(16)
