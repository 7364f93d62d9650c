"""The client: one session for many uploads, which comes back by itself when it is lost."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urljoin

import trio

from uploadd.client import address
from uploadd.client.conversation import Conversation, Ended
from uploadd.client.errors import UploadFailed, WrongAddress
from uploadd.client.limiter import Limiter
from uploadd.client.messages import Messages, open_messages
from uploadd.client.nursery import open_plain_nursery
from uploadd.client.pace import Backoff
from uploadd.client.run import Begin
from uploadd.client.source import Uploadable, open_source
from uploadd.client.uploading import Progress, Uploading
from uploadd.protocol import saying
from uploadd.protocol.wsmessages import Digest

PATIENCE: Final = 300.0
FIRST_PATIENCE: Final = 5.0  # for a server never met: rather a typing mistake than a restart
AT_ONCE: Final = 64  # uploads that run; servers let 256 refs live

Connect: TypeAlias = Callable[[trio.Nursery], Awaitable[Messages]]


class Stored(NamedTuple):
    """A file that is durable and published; ``url`` is absolute, ``length`` in bytes."""

    url: str
    id: str
    length: int
    resumed: bool = False
    """Whether some of it was there already: from an earlier call, or before a reconnect."""


class _Attempt:
    """To have a conversation; whoever needs one waits for how it ends."""

    def __init__(self) -> None:
        self.decided = trio.Event()
        self.error: UploadFailed | None = None


class Client:
    """Uploads to one server; made by ``open_client``."""

    def __init__(
        self,
        url: str,
        connect: Connect,
        *,
        patience: float = PATIENCE,
        tell: Callable[[str], None] | None = None,
        rate: float | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self._chance = chance
        self._connect = connect
        self._patience = patience
        self.tell = tell or (lambda notice: None)
        self.limiter = Limiter(rate) if rate is not None else None
        self._met = False
        self._backoff = Backoff(min(FIRST_PATIENCE, patience), chance)
        self._running = trio.CapacityLimiter(AT_ONCE)
        self._open: Conversation | None = None
        self._attempt = _Attempt()
        self._asked = trio.Event()

    async def upload(
        self,
        source: Uploadable,
        *,
        name: str | None = None,
        length: int | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        resume: str | None = None,
        key: str | None = None,
        digest: Digest | None = None,
        progress: Callable[[Progress], None] | None = None,
        begun: Callable[[str], None] | None = None,
    ) -> Stored:
        """Store *source* durably; whatever happens to the connection, it goes on by itself.

        *resume*: the id of an upload to go on with.  *key*: of the same key, nothing is stored
        twice.  *length*: of a stream, where known.  *progress* and *begun*, which gets the id as
        soon as there is something to resume, are called on the event loop and may not raise.
        Raises UploadFailed.  Cancelled: what is durable stays, and can be resumed.
        """
        extra = None if metadata is None else dict(metadata)
        what = Begin(name, length, media_type, extra, digest, resume, key)
        async with self._running, open_source(source, length) as opened:
            if self._running.borrowed_tokens == 1 and self._open is None:
                self._backoff.moved()  # nothing was asked for until now
            backoff = Backoff(self._patience, self._chance)
            uploading = Uploading(self, opened, what, backoff, progress, begun)
            done = await uploading.run()
        return Stored(urljoin(self.url, done.url), done.upload, done.length, uploading.resumed)

    # --- the line ------------------------------------------------------------------------------

    async def conversation(self) -> Conversation:
        """The one that is open, or the next.  Raises ServerUnavailable, NotAuthorised, Rejected."""
        while self._open is None or not self._open.accepting:
            self._asked.set()
            attempt = self._attempt
            await attempt.decided.wait()
            if attempt.error is not None:
                raise attempt.error
        return self._open

    async def keep(self) -> None:
        """Have a conversation whenever somebody needs one; runs as long as the client."""
        while True:
            await self._asked.wait()
            conversation, ended = await self._converse()
            delay = self._delay(ended)
            final = ended.error if delay is None else None
            if conversation is not None:
                conversation.lose(final)
            if delay is None:
                self._decide(final)
                continue
            not_before = trio.current_time() + delay
            await self._asked.wait()
            if trio.current_time() < not_before:
                self.tell(f"{ended.error.message}; trying again {saying.delay(delay)}")
                await trio.sleep_until(not_before)

    async def _converse(self) -> tuple[Conversation | None, Ended]:
        """Connect, and converse to the end."""
        async with trio.open_nursery() as nursery:
            try:
                messages = await self._connect(nursery)
            except UploadFailed as error:
                return None, Ended(error)
            conversation = Conversation(messages, self._backoff.moved)
            try:
                return conversation, await conversation.run(partial(self._opened, conversation))
            finally:
                self._open = None
                await messages.close(*(conversation.machine.closing or (1000, "")))
                nursery.cancel_scope.cancel(reason="the conversation ended")

    def _opened(self, conversation: Conversation) -> None:
        self._open = conversation
        self._met = True
        self._backoff.patience = self._patience
        self._decide(None)

    def _decide(self, error: UploadFailed | None) -> None:
        """Tell whoever waits for a conversation."""
        attempt, self._attempt = self._attempt, _Attempt()
        self._asked = trio.Event()
        attempt.error = error
        attempt.decided.set()

    def _delay(self, ended: Ended) -> float | None:
        """Seconds to wait before the next attempt; None when there is to be none."""
        if not ended.error.retryable:
            return None
        if isinstance(ended.error, WrongAddress) and not self._met:
            return None
        delay = self._backoff.next(trio.current_time())
        return delay if delay is None or ended.after is None else ended.after + delay


@asynccontextmanager
async def open_client(
    url: str,
    token: str | None = None,
    *,
    patience: float = PATIENCE,
    tell: Callable[[str], None] | None = None,
    rate: float | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """A client of the server at *url*; connects with the first upload.

    *patience*: seconds of trying again without progress after which ServerUnavailable is raised.
    *tell* gets a line for people whenever the connection is lost or the server lets us wait.
    *rate*: bytes per second that all uploads together send at most.
    Raises ValueError: not a URL, not a token.
    """
    base = address.parse(url)
    token = address.check_token(token) if token is not None else None
    connect = partial(open_messages, base=base, token=token, context=context)
    async with open_plain_nursery() as nursery:
        client = Client(base.url, connect, patience=patience, tell=tell, rate=rate)
        nursery.start_soon(client.keep)
        yield client
