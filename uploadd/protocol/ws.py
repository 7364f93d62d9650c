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
from uploadd.protocol.wsbegin import begin_objection, digest_objection
from uploadd.protocol.wschunks import Chunk, unpack
from uploadd.protocol.wsmachine import Run
from uploadd.protocol.wsmessages import (
    Begin,
    Cancel,
    Drained,
    Finish,
    Hello,
    Read,
    Unwatch,
    Violation,
    Watch,
)
from uploadd.protocol.wssaying import CAN as CAN
from uploadd.protocol.wssaying import Saying
from uploadd.protocol.wsstates import (
    MUTE,
    SERVER_REFS,
    RefInput,
    SessionInput,
    SessionState,
    WatchInput,
)

MIN_UNREAD: Final = 1024  # answers; a turn of the shell brings at most 128 messages


class Ended(NamedTuple):
    """The machine ended *ref* and told the client: let go of the upload."""

    ref: int
    error: UploadError


class Dropped(NamedTuple):
    """The machine refused a chunk of *ref*: let go after a flush; a new Begin may come."""

    ref: int
    error: UploadError


Asked: TypeAlias = Begin | Chunk | Finish | Cancel
Event: TypeAlias = Hello | Asked | Watch | Unwatch | Read | Drained | Ended | Dropped


class ServerSession(Saying):
    """One session.  After any input: send ``messages()``, then close with ``closing`` if set."""

    refs_table = SERVER_REFS

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
            case Watch() | Unwatch():
                return [said] if self._watch(said) else []
            case Read():
                return [said]
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
        return begin_objection(said, anonymous=self._anonymous)

    def _finish(self, said: Finish) -> list[Event]:
        then = self._next(said.ref, RefInput.FINISH, Violation)
        if then in MUTE:
            return []
        objection = digest_objection(said.digest)
        if objection is not None:
            return self._end(said.ref, objection)
        self._move(said.ref, then)
        return [said]

    def _cancel(self, said: Cancel) -> list[Event]:
        then = self._next(said.ref, RefInput.CANCEL, Violation)
        self._out.forget_ack(said.ref)
        return [said] if self._move(said.ref, then) else []

    def _watch(self, said: Watch | Unwatch) -> bool:
        """Note what is watched; False when it was refused."""
        subjects = (said.uploads,) if isinstance(said.uploads, str) else said.uploads
        if isinstance(said, Unwatch):
            self._see(WatchInput.UNWATCH, set(self.watched) if subjects is None else subjects)
            self._out.keep_progress(None if self.watched & {"mine", "all"} else self.watched)
            return True
        count = len(self.watched.union(subjects or ()))
        if count > self._limits.max_watched:
            self._out.refuse(e.TooMany(f"{count} uploads in one session"), final=False)
            return False
        self._see(WatchInput.WATCH, subjects or ())
        return True

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
