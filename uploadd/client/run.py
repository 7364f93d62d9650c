"""What an upload and the conversation it runs in hand to each other."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

import trio

from uploadd.client.errors import UploadFailed
from uploadd.protocol.wsmessages import Digest, Done, Gone, Refused


class Lost(NamedTuple):
    """The conversation ended before the run did; with an *error*, there is to be no other."""

    error: UploadFailed | None


Outcome: TypeAlias = Done | Refused | Gone | Lost


class Block(NamedTuple):
    """Bytes that were read, on their way to the sender."""

    at: int
    data: memoryview
    last: bool


class Begin(NamedTuple):
    """What ``begin`` says: of a new upload, or only which one goes on."""

    name: str | None = None
    length: int | None = None
    media_type: str | None = None
    metadata: dict[str, str] | None = None
    digest: Digest | None = None
    upload: str | None = None
    key: str | None = None


class Listener(Protocol):
    """Whoever began a run hears how it goes; nothing here may raise or wait."""

    def on_ready(self, upload: str, offset: int) -> None:
        """The server knows it as *upload*, durable up to *offset*."""

    def on_sent(self, end: int) -> None:
        """Everything below *end* is with the operating system."""

    def on_stored(self, offset: int) -> None:
        """Everything below *offset* is durable."""


class Run:
    """One life of a ref, from its begin to its outcome."""

    def __init__(self, ref: int, listener: Listener, *, at_once: bool) -> None:
        self.ref = ref
        self.listener = listener
        self.scope = trio.CancelScope()  # of whoever reads for it; cancelled by the outcome
        self.outcome: Outcome | None = None
        self.block: Block | None = None
        self.sent = self.offset = self.received = 0
        self._free = trio.Event()
        self._started = trio.Event()
        if at_once:
            self._started.set()

    async def start(self) -> int:
        """Where to read from: 0 at once for a new upload, else the durable offset."""
        await self._started.wait()
        return self.sent

    async def free(self) -> None:
        """Return when the block before has been taken."""
        while self.block is not None:
            await self._free.wait()
        self._free = trio.Event()

    def take(self, count: int) -> bool:
        """The sender took *count* bytes of the block; whether something of it is left."""
        assert self.block is not None
        at, data, last = self.block
        self.sent = at + count
        if count < len(data):
            self.block = Block(at + count, data[count:], last)
            return True
        self.block = None
        self._free.set()
        return False

    def begin_at(self, offset: int) -> None:
        """The server is ready for bytes from *offset* on."""
        self.offset = offset
        if not self._started.is_set():
            self.sent = self.received = offset
            self._started.set()

    def end(self, outcome: Outcome) -> None:
        """The last word."""
        self.outcome = outcome
        self.scope.cancel(reason="the run ended")
