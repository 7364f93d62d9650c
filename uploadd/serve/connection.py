"""The front door: one accepted stream, from its first byte to its last.

Every head passes the gate; then the table of routes says which conversation begins.  What goes
wrong in a conversation ends that connection alone: here it is caught, logged once, and counted.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from itertools import count
from typing import Final

import trio

from uploadd import errors
from uploadd.assembling import Assembling
from uploadd.budget import Budget
from uploadd.errors import UploadError
from uploadd.measures import Measures
from uploadd.protocol import cors, credentials, dialects, fields, pages
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.origins import check_foreign, check_host
from uploadd.protocol.routes import allowed, route
from uploadd.protocol.upgrade import asks_for_upgrade
from uploadd.serve.advice import Advice
from uploadd.serve.closing import close
from uploadd.serve.conversations import Conversations
from uploadd.serve.exchange import Exchange
from uploadd.serve.rules import Rules
from uploadd.serve.senders import sender
from uploadd.serve.sockets import Sockets, last_word
from uploadd.serve.voice import Lasting
from uploadd.store.contract import MediumFailed
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd.door")
READ: Final = 64 * 1024


class FrontDoor:
    """Serves connections to *uploads* by *rules*; `serve` one stream, in a task of its own."""

    def __init__(
        self,
        uploads: Uploads,
        assembling: Assembling,
        budget: Budget,
        rules: Rules,
        *,
        version: str,
    ) -> None:
        self._uploads, self._budget, self._rules, self._version = uploads, budget, rules, version
        self.failures = 0
        """Conversations that ended by an error of ours."""
        self._advice = Advice()
        self.draining = False
        """Whether it takes nothing new."""
        self._name, self._numbers = secrets.token_hex(4), count(1)
        self._idle: set[trio.CancelScope] = set()
        self._data = trio.CapacityLimiter(16)
        self._sockets = Sockets(uploads, budget, rules, version, self._advice)
        self._conversations = Conversations(uploads, assembling, budget, rules, version)

    @property
    def sessions(self) -> set[Lasting]:
        """Those that last now."""
        return self._sockets.sessions

    @property
    def rules(self) -> Rules:
        """What it goes by now."""
        return self._rules

    def adopt(self, rules: Rules) -> None:
        """Go by *rules* from the next conversation on; sessions keep what they were told."""
        self._rules = rules
        self._sockets.adopt(rules)
        self._conversations.adopt(rules)

    def drain(self, reconnect_after: float, deadline: float) -> None:
        """Begin nothing new, and ask every session to come back; seconds from now."""
        self.draining = True
        for scope in self._idle:
            scope.cancel(reason="draining")
        self._conversations.drain()
        self._sockets.drain(reconnect_after, deadline)
        for claim in list(self._uploads.interruptible):
            claim.stop(errors.Draining("this server restarts: go on in a moment"))

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Converse on *stream* until it ends, and close it.

        Raises nothing but Cancelled, and MediumFailed: then the daemon must end.
        """
        try:
            await self._converse(stream)
        except* MediumFailed:
            raise
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone: the weather
        except* Exception:
            self.failures += 1
            log.exception("a connection ended by an error of ours")
        finally:
            await close(stream)

    async def _converse(self, stream: trio.abc.Stream) -> None:
        """One request after another, in order."""
        gate = HeadGate(secure=isinstance(stream, trio.SSLStream))
        while not self.draining:
            request_id = f"{self._name}-{next(self._numbers):x}"
            try:
                head = await self._head(stream, gate)
            except UploadError as error:
                word = last_word(stream, request_id, fields=gate.origins)
                word.common = cors.fields(word.head, self._rules.origins)
                self._uploads.refusals.tell(error, request_id)
                await word.refuse(error)
                return
            if head is None:
                return
            if await self._sockets.serve(stream, gate, head, request_id):
                return
            name = fields.request_name(head)
            exchange = Exchange(
                stream, head, name or request_id, behind=gate.take(), data=self._data
            )
            exchange.named = fields.naming(name)
            began = trio.current_time()
            try:
                await self._answer(exchange, head)
            finally:
                self._count(exchange, trio.current_time() - began)
            if not exchange.reusable or asks_for_upgrade(head):
                return
            gate.feed(exchange.leftover)

    def _count(self, exchange: Exchange, seconds: float) -> None:
        tally = self._uploads.tally
        tally.answered(exchange.head.method, exchange.status, seconds)
        tally.sent += exchange.sent

    async def _head(self, stream: trio.abc.Stream, gate: HeadGate) -> Head | None:
        """The next head; None when the peer has ended, or says nothing more.

        Raises TooSlow when a head has begun and does not end.
        """
        deadline = trio.current_time() + self._rules.head
        while (head := gate.next()) is None:
            begun = gate.unread > 0
            until = deadline if begun else trio.current_time() + self._rules.idle
            with trio.move_on_at(until) as patience:
                if not begun:
                    self._idle.add(patience)
                try:
                    data = await stream.receive_some(READ)
                finally:
                    self._idle.discard(patience)
            if patience.cancelled_caught and begun:
                raise errors.TooSlow(f"the head did not end within {self._rules.head:g} s")
            if patience.cancelled_caught or not data:
                return None
            if not begun:
                deadline = trio.current_time() + self._rules.head
            gate.feed(data)
        return head

    # --- HTTP ---------------------------------------------------------------------------------

    async def _answer(self, exchange: Exchange, head: Head) -> None:
        """One exchange; what it raises is told to the peer while nothing else was."""
        try:
            check_host(head.authority, self._rules.names)
            check_foreign(head, self._rules.origins)
            exchange.least_rate = self._rules.min_rate
            if self._rules.measures is not None:
                self._measure(self._rules.measures, exchange, head)
            await self._conversations.converse(exchange, head, route(head))
        except UploadError as error:
            if exchange.answered:
                log.warning("%s broke off: %s", exchange.request_id, error)
                return
            await self._refuse(exchange, head, error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception:
            # To HEAD nothing is said: some clients begin again from nothing when it meets a 5xx.
            if not exchange.answered and head.method != "HEAD":
                exchange.body_lost()
                told = errors.ServerBug("an error of ours; its request id is in the server's log")
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._refuse(exchange, head, told)
            raise

    def _measure(self, measures: Measures, exchange: Exchange, head: Head) -> None:
        """Count the request.  Raises TooOften, but not to HEAD: tus clients that hear of that begin
        again from nothing.
        """
        exchange.address = sender(exchange.stream, head, self._rules.proxies)
        if head.method != "HEAD":
            measures.request(exchange.address)

    async def _refuse(self, exchange: Exchange, head: Head, error: UploadError) -> None:
        """Say *error* in the dialect of *head*."""
        self._advice.give(error, head, exchange.stream, self._rules)
        self._uploads.refusals.tell(error, exchange.request_id)
        exchange.common = cors.fields(head, self._rules.origins)
        if self.draining:
            exchange.body_lost()  # its rest is not waited for
        status, told, body = dialects.refused(
            error, exchange.request_id, head, max_length=self._rules.max_length
        )
        told += credentials.challenge_for(error)
        if _is_about_method(error):
            others = [method for method in allowed(head.target) if method != head.method]
            told += pages.allow(others)
        await exchange.answer(status, told, body)


def _is_about_method(error: UploadError) -> bool:
    return isinstance(error, errors.MethodNotAllowed)
