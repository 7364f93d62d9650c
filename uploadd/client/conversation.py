"""One WebSocket session of the client: its machine, its messages, and the runs in it.

Three tasks: one receives, one sends, one watches for silence.  Uploads hand over blocks; the
sender cuts chunks from them, in turn, so that no send is ever cancelled with one upload.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import trio

from uploadd.client.errors import NotAuthorised, Rejected, ServerUnavailable, UploadFailed
from uploadd.client.messages import ABNORMAL, Closed, Messages
from uploadd.client.pace import Pace
from uploadd.client.run import Begin, Block, Listener, Lost, Run
from uploadd.errors import TokenExpired, Unauthorised
from uploadd.protocol.answers import ANSWERS
from uploadd.protocol.wsclient import ClientSession, Event
from uploadd.protocol.wsmessages import (
    Acked,
    Done,
    Drain,
    Gone,
    Ready,
    Refused,
    Welcome,
)
from uploadd.protocol.wsstates import RefState, SessionState

WELCOME_SECONDS: Final = 10.0
QUIET_SECONDS: Final = 25.0  # without a message: ping
SILENT_SECONDS: Final = 35.0  # without a pong after that: the server is gone
GRACE_SECONDS: Final = 5.0  # beyond the deadline that a draining server has set itself

RETRYABLE: Final = frozenset(kind.code for kind, row in ANSWERS.items() if row.retryable)
"""Error codes after which the same may succeed without a change on our side."""


class Ended(NamedTuple):
    """Why a conversation ended, and in how many seconds the server wants to see us again."""

    error: UploadFailed
    after: float | None = None


class Conversation:
    """One session over *messages*.  *moved* is called whenever bytes arrived over there."""

    def __init__(self, messages: Messages, moved: Callable[[], None]) -> None:
        self.machine = ClientSession()
        self.pace = Pace()
        self._messages = messages
        self._moved = moved
        self._runs: dict[int, Run] = {}
        self._offering: deque[Run] = deque()  # runs with a block; the first has the next turn
        self._next_ref = 1
        self._wake = trio.Event()
        self._heard = trio.current_time()
        self._pinging = False
        self._reading = trio.CancelScope()
        self._drain: Drain | None = None
        self._refused: Refused | None = None

    @property
    def accepting(self) -> bool:
        """Whether something may begin here."""
        return self.machine.state is SessionState.OPEN

    @property
    def chunk_size(self) -> int:
        """Bytes of the next chunk."""
        return self.pace.size(self.machine.max_chunk)

    # --- for uploads ---------------------------------------------------------------------------

    def begin(
        self, what: Begin, listener: Listener, ref: int | None = None, *, at_once: bool = False
    ) -> Run:
        """Begin a run; under *ref* when that was refused, but not finally, in this conversation.

        *at_once*: its first chunk does not wait for the server to be ready.

        Raises LocalError: what is to be said does not fit into a message.
        """
        if ref is None or self.machine.state_of(ref) is not RefState.DROPPED:
            ref = self._next_ref
        self.machine.begin(ref, **what._asdict())
        self._next_ref = max(self._next_ref, ref + 1)
        run = Run(ref, listener, at_once=at_once)
        self._runs[ref] = run
        self.wake()
        return run

    async def offer(self, run: Run, at: int, data: bytes, *, last: bool) -> None:
        """Hand over what follows in *run*; waits until what came before has been taken."""
        await run.free()
        run.block = Block(at, memoryview(data), last)
        self._offering.append(run)
        self.wake()

    def leave(self, run: Run) -> None:
        """Nobody reads for *run* any more; its upload stays as it is."""
        if self._runs.get(run.ref) is run:
            del self._runs[run.ref]
        if run in self._offering:
            self._offering.remove(run)

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    # --- its life ------------------------------------------------------------------------------

    async def run(self, opened: Callable[[], None]) -> Ended:
        """Converse to the end; *opened* is called after the welcome.  Then ``lose``."""
        self.machine.hello(client="uploadd python")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send)
            nursery.start_soon(self._watch)
            with self._reading:
                self._reading.deadline = trio.current_time() + WELCOME_SECONDS
                ended = await self._receive(opened)
            if self._reading.cancelled_caught:
                ended = self._farewell("no answer")
            nursery.cancel_scope.cancel(reason="the conversation ended")
        return ended

    def lose(self, error: UploadFailed | None) -> None:
        """It has ended: so do its runs, to go on in another one unless there is an *error*."""
        for run in self._runs.values():
            run.end(Lost(error))
        self._runs.clear()

    async def _receive(self, opened: Callable[[], None]) -> Ended:
        try:
            while not self.machine.deaf:
                message = await self._messages.receive()
                self._heard = trio.current_time()
                for event in self.machine.receive(message):
                    if isinstance(event, Welcome):
                        self._reading.deadline = float("inf")
                        opened()
                    self._hear(event)
                self.wake()
        except Closed as closed:
            return self._farewell(closed.reason if closed.code != ABNORMAL else "")
        return self._farewell((self.machine.closing or (0, "refused"))[1])

    def _farewell(self, why: str) -> Ended:
        if self._refused is not None:
            return Ended(failure(self._refused))
        if self._drain is not None:
            return Ended(
                ServerUnavailable("the server restarts"), after=self._drain.reconnect_after
            )
        told = f": {why}" if why else ""
        return Ended(ServerUnavailable(f"the connection was lost{told}"))

    def _hear(self, event: Event) -> None:
        match event:
            case Ready() | Acked():
                run = self._runs.get(event.ref)
                if run is not None:
                    self._heard_of(run, event)
            case Refused(ref=None):
                self._refused = event if event.final else self._refused
            case Done() | Refused() | Gone():
                self._end(event)
            case Drain():
                self._drain = event
                self._reading.deadline = self._heard + event.deadline + GRACE_SECONDS
                if self.machine.state is SessionState.DRAINING:
                    self.machine.drained()

    def _heard_of(self, run: Run, event: Ready | Acked) -> None:
        before = (run.offset, run.received)
        if isinstance(event, Ready):
            run.begin_at(event.offset)
            run.listener.on_ready(event.upload, event.offset)
        else:
            run.offset, run.received = event.offset, event.received
            run.listener.on_stored(event.offset)
        if (run.offset, run.received) > before:
            self._moved()

    def _end(self, event: Done | Refused | Gone) -> None:
        run = self._runs.pop(event.ref, None) if event.ref is not None else None
        if run is not None:
            if isinstance(event, Done):
                self._moved()
            run.end(event)

    # --- the sender ----------------------------------------------------------------------------

    async def _send(self) -> None:
        with suppress(Closed):  # the receiver hears it too, and says why
            while True:
                run = self._next_chunk() if self.accepting else None
                for message in self.machine.messages():
                    await self._send_one(message)
                if run is not None:
                    run.listener.on_sent(run.sent)
                elif not self.machine.has_output:
                    await self._wake.wait()
                    self._wake = trio.Event()

    async def _send_one(self, message: str | bytes) -> None:
        began = trio.current_time()
        await self._messages.send(message)
        if isinstance(message, bytes):
            self.pace.sent(len(message), trio.current_time() - began)

    def _next_chunk(self) -> Run | None:
        """Put a chunk of the first run that may send into the machine; that run."""
        for _ in range(len(self._offering)):
            run = self._offering.popleft()
            if run.outcome is not None:
                continue
            assert run.block is not None
            count = self._allowed(run, run.block)
            if count is None:
                self._offering.append(run)
                continue
            at, data, last = run.block
            whole = count == len(data)
            self.machine.chunk(run.ref, at, data[:count], last=last and whole)
            if run.take(count):
                self._offering.append(run)
            return run
        return None

    def _allowed(self, run: Run, block: Block) -> int | None:
        """How much of *block* may go: all of it or a full chunk, not every crumb of credit."""
        wanted = min(len(block.data), self.machine.max_chunk)
        credit = self.machine.credit(run.ref)
        if credit >= wanted:
            return wanted
        starved = run.offset == run.sent and credit > 0  # no more is going to come
        return credit if starved else None

    # --- the watch -----------------------------------------------------------------------------

    async def _watch(self) -> None:
        """End the conversation when nothing is heard; without it TCP takes a quarter of an hour."""
        async with trio.open_nursery() as nursery:
            while True:
                quiet = self._heard + QUIET_SECONDS
                if trio.current_time() < quiet:
                    await trio.sleep_until(quiet)
                    continue
                if not self._pinging:
                    self._pinging = True
                    nursery.start_soon(self._ping)
                await trio.sleep_until(quiet + SILENT_SECONDS)
                if trio.current_time() >= self._heard + QUIET_SECONDS + SILENT_SECONDS:
                    self._reading.cancel(reason="silence")

    async def _ping(self) -> None:
        # never cancelled by the watch: half a ping would be half a frame
        with suppress(Closed):
            await self._messages.ping()
            self._heard = trio.current_time()
        self._pinging = False


def failure(refused: Refused) -> UploadFailed:
    """The exception for what the server refused."""
    if refused.code in (Unauthorised.code, TokenExpired.code):
        return NotAuthorised(refused.message, refused.hint)
    if refused.ref is None and refused.code in RETRYABLE:
        return ServerUnavailable(refused.message, refused.hint)
    retryable = refused.code in RETRYABLE
    return Rejected(refused.code, refused.message, refused.hint, retryable=retryable)
