"""What the server says in a session of uploadd.v1: the half of ``ws.py`` that speaks.

Nothing is said, and nothing is wrong, for a ref that ended meanwhile or once ``closing``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from uploadd import errors as e
from uploadd.errors import UploadError
from uploadd.protocol import wsmessages as m
from uploadd.protocol.answers import answer
from uploadd.protocol.wsmachine import Machine, Run
from uploadd.protocol.wsmessages import Digest
from uploadd.protocol.wsoutbox import Outbox
from uploadd.protocol.wsstates import (
    MUTE,
    LocalError,
    RefInput,
    RefState,
    SessionInput,
    SessionState,
    WatchInput,
)

CAN: Final = ("upload", "resume", "key", "crc32", "flush", "watch", "notices", *m.DIGEST_SIZES)


class Saying(Machine):
    """The server's side, as far as it is ours to begin."""

    def __init__(self, limits: m.Limits) -> None:
        super().__init__()
        self._limits = limits
        self._anonymous = True
        self._max_chunk_taken = limits.max_chunk  # the largest ever told
        self._out = Outbox(limits.max_chunk)

    def welcome(
        self,
        session: str,
        version: str,
        durability: str,
        *,
        anonymous: bool,
        left: int | None = None,
    ) -> None:
        """Open the session for whoever said hello; *anonymous*: nobody owns what it begins.

        *left*: bytes that its owner may still begin; None: as many as there is room for.
        """
        if self._ours(SessionInput.WELCOME):
            self._anonymous = anonymous
            known = msgspec.UNSET if left is None else left
            limits = msgspec.structs.replace(self._limits, left=known)
            self._out.say(m.Welcome(session, version, CAN, limits, durability))

    def ready(self, ref: int, upload: str, url: str, offset: int, limit: int) -> None:
        """The upload of *ref* goes on at the durable *offset*, with credit up to *limit*."""
        run = self._told(ref, RefInput.READY)
        if run is not None:
            run.offset, run.limit = offset, max(run.limit, limit)
            self._out.say(m.Ready(ref, upload, url, offset, run.limit))

    def ack(self, ref: int, received: int, offset: int, limit: int) -> None:
        """Bytes of *ref*: taken, durable, granted.  Replaces an ack not sent yet.

        Raises LocalError: *offset* is lower than one told before.
        """
        run = self._told(ref, RefInput.ACK)
        if run is not None:
            if run.offset is not None and offset < run.offset:
                raise LocalError(f"offset {offset} of ref {ref}: {run.offset} was told")
            run.offset, run.limit = offset, max(run.limit, limit)
            self._out.ack(m.Acked(ref, received, offset, run.limit))

    def done(
        self, ref: int, upload: str, url: str, length: int, digest: Digest | None = None
    ) -> None:
        """The last word of *ref*: complete, durable, published under *url*."""
        if self._told(ref, RefInput.DONE):
            self._out.say(m.Done(ref, upload, url, length, digest))

    def refuse(self, ref: int, error: UploadError) -> None:
        """Say *error* for *ref*: its last word, or (answers.py) nothing counts until it begins."""
        final = answer(error).final
        if self._told(ref, RefInput.FAIL if final else RefInput.REFUSE):
            self._out.refuse(error, ref=ref, final=final)

    def gone(self, ref: int, upload: str, reason: e.GoneReason, offset: int) -> None:
        """The last word of *ref*: its upload was cancelled, taken over, ... at *offset*."""
        if self._told(ref, RefInput.GONE):
            self._out.say(m.Gone(upload, reason, ref, offset))

    def progress(self, upload: str, text: str) -> None:
        """Where a watched upload is: the *text* of a Progress.  Replaces one not sent yet."""
        if self._ours(SessionInput.TELL):
            self._out.progress(upload, text)

    def unwatched(self, upload: str, reason: str) -> None:
        """A watched upload is gone, or there never was one: it is watched no more."""
        if self._ours(SessionInput.TELL):
            self._see(WatchInput.GONE, (upload,))
            self._out.forget_progress(upload)
            self._out.say(m.Gone(upload, reason))

    def notice(self, notice: m.Notice) -> None:
        """How an upload of this owner ended."""
        if self._ours(SessionInput.TELL):
            self._out.say(notice)

    def object(self, error: UploadError) -> None:
        """Say *error* of something that was asked for beside the refs; nothing ends."""
        if self._ours(SessionInput.TELL):
            self._out.refuse(error, final=False)

    def set_max_chunk(self, max_chunk: int) -> None:
        """Ask for chunks of at most *max_chunk* bytes: told with the next ack.

        Larger ones, up to the largest ever told, are still taken: they may be on their way.
        """
        self._out.max_chunk = max_chunk
        self._max_chunk_taken = max(self._max_chunk_taken, max_chunk)

    def drain(self, reconnect_after: float, deadline: float) -> None:
        """Ask the client to end its message and come back; both in seconds from now.

        A session that is not open has nothing to keep, and fails with ``draining``.
        """
        if self.state in (SessionState.OPENING, SessionState.GREETED):
            self.fail(e.Draining("this server is about to restart"))
        elif self._ours(SessionInput.DRAIN):
            self._out.say(m.Drain(reconnect_after, deadline))

    def fail(self, error: UploadError) -> None:
        """End the session: *error* without a ref, then its close code."""
        self._fail(error, answer(error).close)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session with *code* once everything is said."""
        if self._ours(SessionInput.CLOSE):
            self.closing = (code, reason)
            self._refs.clear()

    # --- out ----------------------------------------------------------------------------------

    def messages(self) -> list[str]:
        """What to send now, in order; acks are last, the session's own error behind them."""
        return self._out.take()

    def refused(self) -> list[UploadError]:
        """What the client was refused since this was asked last, by us or by the shell: for the
        log, each of it once.
        """
        return self._out.take_refused()

    @property
    def has_output(self) -> bool:
        """Whether ``messages()`` would give any."""
        return bool(self._out)

    def _ours(self, what: SessionInput) -> bool:
        """Move the session by an input of ours; False when it is too late for any."""
        if self.deaf:
            return False
        self._step(what, LocalError)
        return True

    def _told(self, ref: int, what: RefInput) -> Run | None:
        """Move *ref* by an input of ours; its run, when the client is to hear of it."""
        if not self._ours(SessionInput.TELL):
            return None
        before = self.state_of(ref)
        then = self._next(ref, what, LocalError)
        if then in MUTE:
            self._out.forget_ack(ref)
        run = self._move(ref, then)
        return run if then is RefState.ABSENT or before not in MUTE else None

    def _fail(self, error: UploadError, close: int) -> None:
        if self._ours(SessionInput.FAIL):
            self._out.settle()
            self._out.refuse(error, final=True)
            self.closing = (close, error.code)
            self._refs.clear()
