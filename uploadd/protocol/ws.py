"""The server's side of uploadd.v1, without a socket: messages in, events out, messages out.

Rule 1: whatever the peer does is an event or an answer, never an exception.  LocalError says
that *we* asked for what cannot be.

Rule 2: a position is never compared with an offset here; ``upload.accept`` does that.  Bytes
are compared with the credit alone.

Rule 3: where things lead stands in ``wsstates.py``.

What the shell owes: every ``Begin`` and every ``Cancel`` gets one last word (``done``, a final
``refuse`` or ``gone``).  After ``Ended``, ``Dropped`` or a ``refuse`` of its own the shell has
let go of the run and says nothing more for it; the next ``Begin`` of that ref is another run.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from uploadd import errors as e
from uploadd.errors import UploadError
from uploadd.protocol import wsmessages as m
from uploadd.protocol.answers import answer
from uploadd.protocol.wschunks import Chunk, unpack
from uploadd.protocol.wsmachine import Machine, Run
from uploadd.protocol.wsmessages import Begin, Cancel, Digest, Drained, Finish, Hello, Violation
from uploadd.protocol.wsoutbox import Outbox
from uploadd.protocol.wsstates import (
    MUTE,
    SERVER_REFS,
    LocalError,
    RefInput,
    RefState,
    SessionInput,
    SessionState,
)

CAN: Final = ("upload", "resume", "key", "crc32", "flush", *m.DIGEST_SIZES)
MIN_ANONYMOUS_KEY: Final = 22  # characters; 128 bits in base64url
MIN_UNREAD: Final = 1024  # answers; a turn of the shell brings at most 128 messages


class Ended(NamedTuple):
    """The machine ended *ref* and told the client: let go of the upload."""

    ref: int
    error: UploadError


class Dropped(NamedTuple):
    """The machine refused a chunk of *ref*: let go after a flush; a new Begin may come."""

    ref: int
    error: UploadError


Event: TypeAlias = Hello | Begin | Chunk | Finish | Cancel | Drained | Ended | Dropped


class ServerSession(Machine):
    """One session.  After any input: send ``messages()``, then close with ``closing`` if set."""

    refs_table = SERVER_REFS

    def __init__(self, limits: m.Limits) -> None:
        super().__init__()
        self._limits = limits
        self._anonymous = True
        self._max_chunk_taken = limits.max_chunk  # the largest ever told
        self._out = Outbox(limits.max_chunk)

    # --- from the wire ------------------------------------------------------------------------

    def receive(self, message: str | bytes) -> list[Event]:
        """What *message* means.  Never raises; nothing is heard any more once ``closing``."""
        if self.deaf:
            return []
        if self._out.queued > max(MIN_UNREAD, 4 * self._limits.max_refs):
            self.fail(e.TooMany(f"{self._out.queued} answers wait to be read"))
            return []
        try:
            return self._text(message) if isinstance(message, str) else self._chunk(message)
        except Violation as violation:
            self._fail(e.BadMessage(str(violation)), violation.close)
            return []

    def _text(self, text: str) -> list[Event]:
        said = m.decode(text, m.FROM_CLIENT)
        if isinstance(said, Hello):
            self._step(SessionInput.HELLO, Violation)
            return [said]
        if isinstance(said, Drained):
            self._step(SessionInput.DRAINED, Violation)
            return [said]
        self._step(SessionInput.ASK, Violation)
        match said:
            case Begin():
                return self._begin(said)
            case Finish():
                return self._finish(said)
            case Cancel():
                return self._cancel(said)
            case m.Unknown():
                error = e.Unsupported(f"{said.type[:40]!r} is not offered: see welcome.can")
                self._out.refuse(error, final=False)
        return []

    def _begin(self, said: Begin) -> list[Event]:
        then = self._next(said.ref, RefInput.BEGIN, Violation)
        was_alive = said.ref in self._refs
        objection = self._objection(said, was_alive)
        initial = self._limits.initial if said.upload is None else 0
        self._refs[said.ref] = Run(then, initial)
        if objection is None:
            return [said]
        ended = self._end(said.ref, objection)
        return ended if was_alive else []

    def _objection(self, said: Begin, was_alive: bool) -> UploadError | None:
        """What the session itself has against *said*."""
        if self.state is SessionState.DRAINING:
            return e.Draining("this server is about to restart")
        if not was_alive and len(self._refs) >= self._limits.max_refs:
            return e.TooMany(f"{len(self._refs)} uploads run in this session")
        if (said.start, said.end, said.ticket) != (None, None, None):
            return e.Unsupported("start, end and ticket are not offered: see welcome.can")
        if said.key is not None and self._anonymous and len(said.key) < MIN_ANONYMOUS_KEY:
            return e.Unsupported(
                "without a token whoever guesses a key has its upload",
                hint=f"a key of at least {MIN_ANONYMOUS_KEY} random characters, or a token",
            )
        return _digest_objection(said.digest)

    def _finish(self, said: Finish) -> list[Event]:
        then = self._next(said.ref, RefInput.FINISH, Violation)
        if then in MUTE:
            return []
        objection = _digest_objection(said.digest)
        if objection is not None:
            return self._end(said.ref, objection)
        self._move(said.ref, then)
        return [said]

    def _cancel(self, said: Cancel) -> list[Event]:
        then = self._next(said.ref, RefInput.CANCEL, Violation)
        self._out.forget_ack(said.ref)
        return [said] if self._move(said.ref, then) else []

    def _chunk(self, message: bytes) -> list[Event]:
        chunk = unpack(message)
        count = len(chunk.data)
        if count > self._max_chunk_taken:
            told = f"a chunk of {count} bytes: max_chunk is {self._out.max_chunk}"
            raise Violation(told, m.MESSAGE_TOO_BIG)
        self._step(SessionInput.ASK, Violation)
        what = RefInput.FINISH if chunk.last else RefInput.CHUNK
        then = self._next(chunk.ref, what, Violation)
        if then in MUTE:
            return []
        run = self._refs[chunk.ref]
        if chunk.end > run.limit:
            told = f"a chunk ends at {chunk.end}, the limit is {run.limit}"
            return self._end(chunk.ref, e.CreditExceeded(told, offset=run.offset))
        if not chunk.intact():
            told = f"{count} bytes at {chunk.at} were damaged on their way"
            damage = e.ChecksumMismatch(told, offset=run.offset)
            self.refuse(chunk.ref, damage)
            return [Dropped(chunk.ref, damage)]
        run.state = then
        return [chunk]

    def _end(self, ref: int, error: UploadError) -> list[Event]:
        self.refuse(ref, error)
        return [Ended(ref, error)]

    # --- from our side ------------------------------------------------------------------------
    # Nothing is said, and nothing is wrong, for a ref that ended meanwhile or once ``closing``.

    def welcome(self, session: str, version: str, durability: str, *, anonymous: bool) -> None:
        """Open the session for whoever said hello; *anonymous*: nobody owns what it begins."""
        if self._ours(SessionInput.WELCOME):
            self._anonymous = anonymous
            self._out.say(m.Welcome(session, version, CAN, self._limits, durability))

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

    def progress(self, progress: m.Progress) -> None:
        """Where a watched upload is.  Replaces a progress of it not sent yet."""
        if self._ours(SessionInput.TELL):
            self._out.progress(progress)

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


def _digest_objection(digest: Digest | None) -> UploadError | None:
    if digest is None or digest.alg in m.DIGEST_SIZES:
        return None
    return e.Unsupported(f"digest {digest.alg} is not offered", hint=", ".join(m.DIGEST_SIZES))
