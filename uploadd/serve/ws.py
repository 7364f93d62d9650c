"""One WebSocket session: its nursery, its reader, its sender, its uploads.

The reader never waits for a store; the sender is one task, started when there is something to
say; every upload has a task of its own.  When the reader ends, for whatever reason, the uploads
write what was taken and give their claims back, and the nursery closes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from uploadd import errors
from uploadd.auth import NOBODY
from uploadd.budget import Share
from uploadd.errors import UploadError
from uploadd.protocol.frames import Refusal
from uploadd.protocol.hooks import Request
from uploadd.protocol.upload import Upload
from uploadd.protocol.ws import Asked, Dropped, Ended, Event, ServerSession
from uploadd.protocol.wschunks import MAX_HEADER, Chunk
from uploadd.protocol.wsmessages import Begin, Cancel, Drained, Finish, Hello, Read, Unwatch, Watch
from uploadd.protocol.wsstates import RefState
from uploadd.serve.gate import Closed, Gate
from uploadd.serve.guest import Guest
from uploadd.serve.messages import Messages
from uploadd.serve.receiving import Receiving
from uploadd.serve.rules import Rules
from uploadd.serve.voice import Farewell as Farewell
from uploadd.serve.watching import Watching
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd.session")
ABSENT: Final = RefState.ABSENT
QUIET: Final = 2.0
"""Seconds without a byte after which no memory is kept for a peer."""


class Session:
    """*uploads* of one peer over *messages*.  `serve` runs it; the other verbs never wait."""

    def __init__(
        self,
        id: str,
        messages: Messages,
        gate: Gate,
        share: Share,
        uploads: Uploads,
        rules: Rules,
        *,
        max_chunk: int,
        version: str,
        token: str | None = None,
        guest: Guest | None = None,
        request: Request | None = None,
    ) -> None:
        self.id, self.uploads, self.share = id, uploads, share
        self.access, self._token, self.request = rules.access, token, request
        self.guest = guest or Guest(None)
        self.max_chunk = max_chunk
        self._messages, self._gate, self._rules, self._version = messages, gate, rules, version
        self.who = NOBODY
        self.machine = ServerSession(rules.told(max_chunk))
        self._watching = Watching(self, rules.access)
        self._receivings: dict[int, Receiving] = {}
        self._work = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._runs: trio.Nursery | None = None
        self._senders: trio.Nursery | None = None
        self._sending = False
        self._farewell: Farewell | None = None
        self._fault: Exception | None = None

    async def serve(self) -> Farewell:
        """Converse until the peer, a refusal, a deadline or `drain` ends it.

        Raises what was wrong in this session, in a group or bare.
        """
        with self._work:
            async with trio.open_nursery() as senders:
                self._senders = senders
                try:
                    await self._converse()
                finally:  # here it is open for certain: those outside never meet a closed one
                    self._senders = None
                    self._watching.close()
                    self.guest.close()
                    self._receivings.clear()
        if self._fault is not None:
            raise self._fault
        return self._farewell or Farewell(*(self.machine.closing or (1000, "")))

    async def _converse(self) -> None:
        async with trio.open_nursery() as self._runs:
            with self._reading:
                await self._greet()
                await self._read()
            for receiving in list(self._receivings.values()):
                receiving.leave()

    # --- from outside: never wait ---------------------------------------------------------------

    def drain(self, reconnect_after: float, deadline: float) -> None:
        """Ask the client to come back later; at once where there is nothing to end first."""
        self.machine.drain(reconnect_after, deadline)
        if not self.machine.alive and not self.machine.deaf:
            self.part()
        self.wake_sender()

    def part(self) -> None:
        """End the session because the daemon restarts: what was taken is acknowledged first."""
        self._end_reading(Farewell(1012, "restarting"))

    def fail(self, error: UploadError) -> None:
        """End the session because of *error*: its uploads keep what was taken."""
        self.machine.fail(error)
        self.wake_sender()

    def crash(self, fault: Exception) -> None:
        """End the session, and nothing else, because of an error of ours."""
        self._fault = self._fault or fault
        self._work.cancel(reason="an error of ours")

    def look_after(self, now: float) -> None:
        """Ping a quiet peer, end a silent one, ask for smaller chunks when memory is scarce.

        To be called now and then; *now* is trio's clock.
        """
        self._set_max_chunk()
        if (refusal := self.access.over(self.who)) is not None:
            self.fail(refusal)
        quiet = now - self._gate.heard
        if self._gate.holding_back:
            return
        if quiet > QUIET:
            self._gate.rest()
        if quiet > self._rules.idle:
            self.fail(errors.TooSlow(f"not a byte for {self._rules.idle:g} s"))
        elif quiet > self._rules.ping:
            self._messages.ping()

    def _refused(self, refusal: Refusal) -> None:
        self.uploads.refusals.tell(refusal.error, self.id)
        self._farewell = Farewell(refusal.code, refusal.reason)
        self._work.cancel(reason=refusal.reason)

    def _end_reading(self, farewell: Farewell | None = None) -> None:
        self._farewell = self._farewell or farewell
        self._reading.cancel()

    # --- the reader -----------------------------------------------------------------------------

    async def _greet(self) -> None:
        """The first message must be ``hello``, and come soon."""
        with trio.move_on_after(self._rules.hello) as patience:
            await self._hear()
        if patience.cancelled_caught:
            self.fail(errors.TooSlow(f"no hello within {self._rules.hello:g} s"))

    async def _read(self) -> None:
        while not self.machine.deaf:
            await self._hear()

    async def _hear(self) -> None:
        try:
            message = await self._messages.receive()
        except Closed as closed:
            if closed.refusal is not None:
                self._refused(closed.refusal)
            self._end_reading()
            await trio.lowlevel.checkpoint()
            return
        for event in self.machine.receive(message):
            self._handle(event)
        self.wake_sender()

    def _handle(self, event: Event) -> None:
        match event:
            case Begin():
                self._begin(event)
            case Hello():
                self._welcome(event)
            case Drained():
                self.part()
            case Watch():
                self._watching.watch(event)
            case Unwatch():
                self._watching.unwatch(event)
            case Read():
                self._watching.read(event)
            case _:
                self._pass_on(event, self._receivings[event.ref])

    def _welcome(self, hello: Hello) -> None:
        token, self._token = hello.token or self._token, None
        try:
            self.who = self.access.identify(token, hello.client_id)
            self.access.admit(self.who)
            self.guest.count(self.who.owner)
        except UploadError as error:
            self.fail(error)
            return
        nameless = self.who.claims is None
        self.machine.welcome(
            self.id,
            self._version,
            self._rules.durability,
            anonymous=nameless,
            left=self.uploads.quota.left(self.who.owner),
        )
        self._watching.open()

    def _pass_on(self, event: Asked | Ended | Dropped, receiving: Receiving) -> None:
        match event:
            case Chunk():
                receiving.chunk(event)
            case Finish():
                receiving.finish(event)
            case Cancel():
                receiving.cancel()
            case Ended():
                receiving.end()
                self.forget(event.ref, receiving)
            case Dropped():
                receiving.end()

    def _begin(self, begin: Begin) -> None:
        self.share.join()
        self._set_max_chunk()
        if (older := self._receivings.get(begin.ref)) is not None:
            older.end()
        receiving = self._receivings[begin.ref] = Receiving(self, begin)
        if (count := self.share.runs) > 2 * self._rules.max_refs:  # a ref begun again and again
            self.fail(errors.TooMany(f"{count} uploads of this session have not ended"))
        self.spawn(receiving.run)

    def _set_max_chunk(self) -> None:
        """Chunks as large as the memory allows that all sessions share; told with the next ack."""
        if self.share.max_chunk != self.max_chunk:
            self.max_chunk = self.share.max_chunk
            self.machine.set_max_chunk(self.max_chunk)
            self._gate.set_max_binary(self.max_chunk + MAX_HEADER)

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run *task* as long as the session lives."""
        assert self._runs is not None, "the reader alone starts runs"
        self.share.begin()
        self._runs.start_soon(self._live, task)

    async def _live(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        finally:
            self.share.end()

    def forget(self, ref: int, run: object) -> None:
        """The task of *run* has ended; a ref that was refused may still be cancelled."""
        if self._receivings.get(ref) is run and self.machine.state_of(ref) is ABSENT:
            del self._receivings[ref]

    # --- the sender -----------------------------------------------------------------------------

    def tell_refused(self, upload: Upload | None = None) -> None:
        """Have in the log what the machine was given to refuse, about *upload*."""
        for error in self.machine.refused():
            self.uploads.refusals.tell(error, self.id, upload)

    def wake_sender(self) -> None:
        """There may be something to say."""
        self.tell_refused()
        if self.machine.deaf:
            self._end_reading()
        if self._has_output and not self._sending and self._senders is not None:
            self._sending = True
            self._senders.start_soon(self._send)

    @property
    def _has_output(self) -> bool:
        return self.machine.has_output or self._watching.ready

    async def _send(self) -> None:
        patience = trio.CancelScope()  # one for all that is sent now: it costs as much as sending
        try:
            with patience:
                while self._has_output:
                    self._watching.tell()  # not before: what is told is the newest
                    patience.deadline = trio.current_time() + self._rules.send
                    await self._messages.send(*self.machine.messages())
        except Closed:
            self._end_reading()
        finally:
            self._sending = False
        if patience.cancelled_caught:  # half a message is out
            self._work.cancel(reason="the peer takes nothing")
