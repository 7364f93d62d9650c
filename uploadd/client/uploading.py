"""One upload, over as many conversations as it takes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import trio

from uploadd import errors as e
from uploadd.client.conversation import Conversation, failure
from uploadd.client.errors import DigestMismatch, LocalFileChanged, TakenOver, UploadGone
from uploadd.client.limiter import Limiter
from uploadd.client.pace import Backoff
from uploadd.client.run import Begin, Lost, Run
from uploadd.client.source import Source
from uploadd.protocol import saying
from uploadd.protocol.wsmessages import Done, Gone, Refused
from uploadd.protocol.wsstates import LocalError

AT_ONCE: Final = frozenset(
    kind.code for kind in (e.OffsetMismatch, e.ChecksumMismatch, e.Incomplete)
)
"""Refusals that need no waiting: the answer to the next begin says where to go on."""


class Progress(NamedTuple):
    """How far an upload is, in bytes: sent from here, durable there, and in all."""

    sent: int
    stored: int
    total: int | None


class Line(Protocol):
    """Where conversations come from; *tell* takes a line for people."""

    tell: Callable[[str], None]
    limiter: Limiter | None

    async def conversation(self) -> Conversation:
        """The one that is open, or the next.  Raises ServerUnavailable, NotAuthorised, Rejected."""


class Uploading:
    """An upload on its way; a Listener of its runs."""

    def __init__(
        self,
        line: Line,
        source: Source,
        what: Begin,
        backoff: Backoff,
        progress: Callable[[Progress], None] | None = None,
        begun: Callable[[str], None] | None = None,
    ) -> None:
        self._line, self._source, self._what = line, source, what
        self._backoff = backoff
        self._progress, self._begun = progress, begun
        self._upload = what.upload
        self._key = what.key
        self._declared = source.length  # a key finds nothing when the length is another one
        self._at_once = self._begun_before = False
        self._sent = self._stored = 0
        self.resumed = False  # whether some of it was there when a conversation began

    async def run(self) -> Done:
        """Send it all.  Raises UploadFailed.  Cancelled: what is durable stays so."""
        refused: int | None = None
        before: Conversation | None = None
        while True:
            conversation = await self._line.conversation()
            run = self._begin(conversation, refused if conversation is before else None)
            try:
                await self._feed(conversation, run)
            finally:
                conversation.leave(run)
            before, refused = conversation, run.ref
            match run.outcome:
                case Done() as done:
                    self._check(done)
                    self.resumed |= run.sent == 0 < done.length
                    return done
                case Gone() as gone:
                    raise _gone(gone)
                case Refused() as refusal:
                    await self._pause(refusal)
                case Lost(error) if error is not None:
                    raise error

    # --- one run -------------------------------------------------------------------------------

    def _begin(self, conversation: Conversation, ref: int | None) -> Run:
        """Begin, or go on with, the upload.

        The key finds it again when an answer is lost before the id is known.  A file of one chunk
        goes at once, the first time: who knows what the server has, after that?
        """
        length = self._source.length
        small = length is not None and length <= self._chunk_size(conversation)
        self._at_once = small and self._upload is None and not self._begun_before
        self._begun_before = True
        if self._key is None:
            self._key = secrets.token_urlsafe(18)
        if self._upload is not None:
            what = Begin(upload=self._upload, digest=self._what.digest)
        else:
            what = self._what._replace(length=self._declared, key=self._key)
        self._sent = self._stored
        try:
            return conversation.begin(what, self, ref, at_once=self._at_once)
        except LocalError as error:
            raise ValueError(str(error)) from None

    async def _feed(self, conversation: Conversation, run: Run) -> None:
        """Read and hand over, until the run has its outcome."""
        with run.scope:
            at = await run.start()
            while True:
                data = await self._source.read(at, self._chunk_size(conversation))
                if self._line.limiter is not None:
                    await self._line.limiter.take(len(data))
                at += len(data)
                last = at == self._source.length
                if not last:
                    self._check_length(at, ended=not data)
                await conversation.offer(run, at - len(data), data, last=last)
                if last:
                    await trio.sleep_forever()

    def _chunk_size(self, conversation: Conversation) -> int:
        limiter = self._line.limiter
        return limiter.size(conversation.chunk_size) if limiter else conversation.chunk_size

    def _check_length(self, at: int, *, ended: bool) -> None:
        length = self._source.length
        if length is not None and (ended or at > length):
            raise LocalFileChanged(f"{at} bytes where there should be {length}")

    # --- what the server says ------------------------------------------------------------------

    def on_ready(self, upload: str, offset: int) -> None:
        """See Listener."""
        self._upload = upload
        # not for one chunk that is under way already: its done is nearly here
        if self._begun is not None and not self._at_once:
            begun, self._begun = self._begun, None
            begun(upload)
        self.resumed |= offset > 0
        self._sent = max(self._sent, offset)
        self.on_stored(offset)

    def on_sent(self, end: int) -> None:
        """See Listener."""
        self._sent = end
        self._tell()

    def on_stored(self, offset: int) -> None:
        """See Listener."""
        if offset > self._stored:
            self._backoff.moved()
        self._stored = offset
        self._source.release(offset)
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(Progress(self._sent, self._stored, self._source.length))

    def _check(self, done: Done) -> None:
        """The last word is only good if it is about what was sent."""
        length, digest = self._source.length, self._what.digest
        if length is not None and done.length != length:
            raise DigestMismatch(f"{done.length} bytes are stored, {length} were to be")
        if digest is not None and done.digest is not None and done.digest != digest:
            raise DigestMismatch(f"{done.digest} is stored, {digest} was to be")
        self._sent = self._stored = done.length
        self._tell()

    async def _pause(self, refused: Refused) -> None:
        """Wait as long as *refused* asks for, or raise what it means."""
        error = failure(refused)
        if refused.code == e.DigestMismatch.code:
            raise DigestMismatch(error.message, error.hint)
        if refused.code in (e.NotFound.code, e.Gone.code):
            raise UploadGone(error.message, refused.code, error.hint)
        if refused.final and not error.retryable:
            raise error
        now = trio.current_time()
        fresh = self._backoff.fresh
        delay = self._backoff.next(now)
        if delay is None:
            raise error
        if not (fresh and refused.code in AT_ONCE):
            self._line.tell(f"{refused.message}; trying again {saying.delay(delay)}")
            await trio.sleep(delay)


def _gone(gone: Gone) -> TakenOver | UploadGone:
    if gone.reason == "taken-over":
        return TakenOver(f"somebody else goes on with upload {gone.upload}")
    return UploadGone(f"upload {gone.upload} is not there any more: {gone.reason}", gone.reason)
