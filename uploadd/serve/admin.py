"""The back door, for operators: how the daemon is.  Never on the port of peers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Final

import trio

from uploadd.errors import UploadError
from uploadd.protocol import operating, pages
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.operating import Question
from uploadd.serve.exchange import Exchange

log = logging.getLogger("uploadd.admin")
SECONDS: Final = 10.0
"""For one request, and between two."""


class AdminDoor:
    """``/healthz``: the loop turns.  ``/readyz``: *checks*, by name, each empty or what is wrong.
    ``/metrics``: the text that *metrics* makes, of *media_type*.  *facts* go with the checks.
    """

    def __init__(
        self,
        checks: Callable[[], Awaitable[Mapping[str, str]]],
        metrics: Callable[[], Awaitable[bytes]],
        media_type: str,
        facts: Callable[[], Mapping[str, str]],
    ) -> None:
        self._checks, self._metrics, self._facts = checks, metrics, facts
        self._media_type = media_type
        self._numbers = count(1)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Converse on *stream* until it ends, and close it.  Raises nothing but Cancelled."""
        try:
            await self._converse(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the peer is gone, or says nothing
        except* Exception:
            log.exception("a connection of an operator ended by an error of ours")
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.abc.Stream) -> None:
        gate = HeadGate()
        while True:
            with trio.fail_after(SECONDS):
                try:
                    while (head := gate.next()) is None:
                        data = await stream.receive_some()
                        if not data:
                            return
                        gate.feed(bytes(data))
                except UploadError:
                    return
                exchange = Exchange(
                    stream, head, f"admin-{next(self._numbers):x}", behind=gate.take()
                )
                try:
                    await exchange.answer(*await self._answer(head))
                except UploadError as error:
                    await exchange.refuse(error)
            if not exchange.reusable:
                return
            gate.feed(exchange.leftover)

    async def _answer(self, head: Head) -> pages.Page:
        match operating.question(head):
            case Question.HEALTH:
                return operating.health()
            case Question.READINESS:
                return operating.readiness(await self._checks(), self._facts())
            case Question.METRICS:
                return operating.metrics(self._media_type, await self._metrics())
