"""The client's side of uploadd.v1, without a socket: the mirror of ``ws.py``.

Rule 1: whatever the server does is an event, never an exception: a server that breaks the
protocol ends the session (``closing``).  LocalError says that *we* asked for what cannot be.

Rule 2: what the server would refuse as malformed is not sent.

Rule 3: where things lead stands in ``wsstates.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from uploadd.protocol import wsmessages as m
from uploadd.protocol.wschunks import Chunk, pack, unpack
from uploadd.protocol.wsmachine import Machine, Run
from uploadd.protocol.wsmessages import (
    Acked,
    Digest,
    Done,
    Drain,
    Gone,
    Notice,
    Progress,
    Ready,
    Refused,
    Violation,
    Welcome,
)
from uploadd.protocol.wsstates import (
    CLIENT_REFS,
    LocalError,
    RefInput,
    RefState,
    SessionInput,
    WatchInput,
)

Event: TypeAlias = Welcome | Ready | Acked | Done | Refused | Gone | Progress | Notice | Drain

SESSION_INPUTS: Final[dict[type[m.Message], SessionInput]] = {
    Welcome: SessionInput.WELCOME,
    Drain: SessionInput.DRAIN,
}
REF_INPUTS: Final[dict[type[m.Message], RefInput]] = {
    Ready: RefInput.READY,
    Acked: RefInput.ACK,
    Done: RefInput.DONE,
    Gone: RefInput.GONE,
}


class ClientSession(Machine):
    """One session.  After any input: send ``messages()``, then close with ``closing`` if set."""

    refs_table = CLIENT_REFS

    def __init__(self, can: Sequence[str] = ()) -> None:
        super().__init__()
        self.limits: m.Limits | None = None  # from welcome
        self.max_chunk = 0  # bytes; the newest from welcome or an ack
        self._can = tuple(can)
        self._out: list[str | bytes] = []

    # --- from our side ------------------------------------------------------------------------
    # All raise LocalError, and then say and change nothing: not now, or not within the limits.

    def hello(
        self, token: str | None = None, client: str | None = None, client_id: str | None = None
    ) -> None:
        """Open the session; *client* names the program, *client_id* is who owns what it begins."""
        text = self._checked(m.Hello(token, client, self._can, client_id))
        self._step(SessionInput.HELLO, LocalError)
        self._out.append(text)

    def begin(
        self,
        ref: int,
        *,
        name: str | None = None,
        length: int | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        digest: Digest | None = None,
        upload: str | None = None,
        key: str | None = None,
    ) -> None:
        """Begin a new upload under *ref*, or go on with the one of id *upload* or of *key*."""
        extra = None if metadata is None else dict(metadata)
        try:
            said = m.Begin(ref, name, length, media_type, extra, digest, upload, key)
        except ValueError as error:
            raise LocalError(str(error)) from None
        text = self._checked(said)
        then = self._asks(ref, RefInput.BEGIN)
        initial = self.limits.initial if self.limits and upload is None else 0
        self._refs[ref] = Run(then, initial)
        self._out.append(text)

    def chunk(
        self,
        ref: int,
        at: int,
        data: bytes | bytearray | memoryview,
        *,
        last: bool = False,
        flush: bool = False,
        crc: bool = False,
    ) -> None:
        """Send *data*, which begins at *at*; at most ``max_chunk`` bytes, within the credit."""
        view = memoryview(data).cast("B")
        then = self._asks(ref, RefInput.FINISH if last else RefInput.CHUNK)
        run = self._refs[ref]
        chunk = Chunk(ref, at, view, last, flush, zlib.crc32(view) if crc else None)
        if at < 0 or chunk.end > run.limit:
            raise LocalError(f"[{at}, {chunk.end}) of ref {ref}: the limit is {run.limit}")
        if len(view) > self.max_chunk:
            raise LocalError(f"{len(view)} bytes: max_chunk is {self.max_chunk}")
        message = pack(chunk)
        try:
            unpack(message)
        except Violation as violation:
            raise LocalError(str(violation)) from None
        run.state, run.sent = then, chunk.end
        self._out.append(message)

    def finish(self, ref: int, length: int | None = None, digest: Digest | None = None) -> None:
        """Declare the upload whole, with *length* bytes."""
        text = self._checked(m.Finish(ref, length, digest))
        self._move(ref, self._asks(ref, RefInput.FINISH))
        self._out.append(text)

    def cancel(self, ref: int) -> None:
        """Ask for the upload to be deleted; its last word is still to come."""
        text = self._checked(m.Cancel(ref))
        self._move(ref, self._asks(ref, RefInput.CANCEL))
        self._out.append(text)

    def watch(self, uploads: Sequence[str] | Literal["mine", "all"]) -> None:
        """Ask to be told of *uploads*: ids, or a word; beside those watched already."""
        subjects: m.Subjects = uploads if isinstance(uploads, str) else tuple(uploads)  # type: ignore[assignment]  # mypy: any str is a Sequence[str]
        text = self._checked(m.Watch(subjects))
        self._step(SessionInput.ASK, LocalError)
        self._see(WatchInput.WATCH, _each(subjects))
        self._out.append(text)

    def unwatch(self, uploads: Sequence[str] | Literal["mine", "all"] | None = None) -> None:
        """Ask not to be told of *uploads* any more; None: of anything."""
        subjects: m.Subjects | None
        subjects = uploads if isinstance(uploads, str) or uploads is None else tuple(uploads)  # type: ignore[assignment]  # as above
        text = self._checked(m.Unwatch(subjects))
        self._step(SessionInput.ASK, LocalError)
        self._see(WatchInput.UNWATCH, set(self.watched) if subjects is None else _each(subjects))
        self._out.append(text)

    def read(self, notices: Sequence[str] | Literal["all"]) -> None:
        """Say that *notices* need not be told again."""
        text = self._checked(m.Read("all" if isinstance(notices, str) else tuple(notices)))
        self._step(SessionInput.ASK, LocalError)
        self._out.append(text)

    def drained(self) -> None:
        """Answer ``drain``: nothing more comes in this session."""
        self._step(SessionInput.DRAINED, LocalError)
        self._out.append(m.encode(m.Drained()))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session; what is not acknowledged may be lost, the rest can be resumed."""
        if not self.deaf:
            self._step(SessionInput.CLOSE, LocalError)
            self.closing = (code, reason)
            self._refs.clear()

    # --- from the wire ------------------------------------------------------------------------

    def receive(self, message: str | bytes) -> list[Event]:
        """What *message* means.  Never raises; nothing is heard any more once it is over."""
        if self.deaf:
            return []
        try:
            if not isinstance(message, str):
                raise Violation("a binary message, and nothing was fetched")
            said = m.decode(message, m.FROM_SERVER)
            return [] if isinstance(said, m.Unknown) else self._heard(said)
        except Violation as violation:
            self._step(SessionInput.FAIL, LocalError)
            self.closing = (violation.close, str(violation)[:100])
            self._refs.clear()
            return []

    def _heard(self, said: m.Message) -> list[Event]:
        if isinstance(said, Refused) and said.ref is None and said.final:
            self._step(SessionInput.FAIL, Violation)
            self._refs.clear()
            return [said]
        self._step(SESSION_INPUTS.get(type(said), SessionInput.TELL), Violation)
        match said:
            case Welcome():
                self.limits, self.max_chunk = said.limits, said.limits.max_chunk
                return [said]
            case Drain() | Progress() | Notice():
                return [said]
            case Gone(ref=None):
                self._see(WatchInput.GONE, (said.upload,))
                return [said]
            case Ready() | Acked() | Done() | Refused() | Gone():
                return [said] if said.ref is None else self._heard_of(said.ref, said)
        return []

    def _heard_of(self, ref: int, said: Ready | Acked | Done | Refused | Gone) -> list[Event]:
        if isinstance(said, Refused):
            what = RefInput.FAIL if said.final else RefInput.REFUSE
        else:
            what = REF_INPUTS[type(said)]
        then = self._next(ref, what, Violation)
        if isinstance(said, Acked) and said.max_chunk is not None:
            self.max_chunk = said.max_chunk
        run = self._move(ref, then)
        if run is None:
            return []
        if isinstance(said, Ready):
            run.sent = max(run.sent, said.offset)
        if isinstance(said, Ready | Acked):
            run.offset, run.limit = said.offset, max(run.limit, said.limit)
        return [said]

    # --- out ----------------------------------------------------------------------------------

    def messages(self) -> list[str | bytes]:
        """What to send now, in order."""
        out, self._out = self._out, []
        return out

    @property
    def has_output(self) -> bool:
        """Whether ``messages()`` would give any."""
        return bool(self._out)

    def credit(self, ref: int) -> int:
        """How many bytes may be sent for *ref* behind those already sent."""
        run = self._refs.get(ref)
        return run.limit - run.sent if run and RefInput.CHUNK in CLIENT_REFS[run.state] else 0

    def _asks(self, ref: int, what: RefInput) -> RefState:
        self._step(SessionInput.ASK, LocalError)
        return self._next(ref, what, LocalError)

    def _checked(self, said: m.Message) -> str:
        """The text of *said*, read once as the server will read it."""
        try:
            text = m.encode(said)
            m.decode(text, m.FROM_CLIENT)
        except (Violation, UnicodeEncodeError) as error:
            raise LocalError(str(error)) from None
        return text


def _each(subjects: m.Subjects) -> Sequence[str]:
    return (subjects,) if isinstance(subjects, str) else subjects
