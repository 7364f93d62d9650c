"""One upload, as data: its states, and every rule about offset, length and completeness.

What must live here: everything that decides whether bytes, lengths and verbs are legal.
What this file must not know: which wire they came by, where the bytes are kept, what time it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from uploadd import errors
from uploadd.protocol import saying
from uploadd.protocol.extents import NOTHING, Extents

MIB: Final = 1 << 20
AHEAD_OF_DURABLE: Final = 32 * MIB
"""Bytes that may be under way beyond the durable offset: fills 1 Gbit/s x 100 ms."""
AHEAD_OF_WRITTEN: Final = 16 * MIB
"""Bytes that may wait in memory beyond what is written."""


class State(Enum):
    """Where an upload stands.  The value is what the ledger keeps."""

    RECEIVING = "receiving"
    FINALIZING = "finalizing"  # declared complete, every byte durable, not yet under its name
    PUBLISHED = "published"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DELETED = "deleted"  # was published
    LOST = "lost"  # the medium lost durable bytes: never a smaller offset, always 410
    FAILED = "failed"  # its sender broke off and cannot come back

    __hash__ = object.__hash__  # each is one object; Enum's own is called from Python, and often


class Input(Enum):
    """What may happen to an upload."""

    CLAIM = "claim"
    APPEND = "append"
    DECLARE = "declare"
    COMPLETE = "complete"
    REOPEN = "reopen"  # publishing failed for want of room: complete can be asked again
    PUBLISH = "publish"
    CANCEL = "cancel"
    FAIL = "fail"
    EXPIRE = "expire"
    DELETE = "delete"
    LOSE = "lose"

    __hash__ = object.__hash__  # as above


S, I = State, Input  # noqa: E741 - the table below is read as a table

TRANSITIONS: Final[dict[State, dict[Input, State]]] = {
    S.RECEIVING: {
        I.CLAIM: S.RECEIVING,
        I.APPEND: S.RECEIVING,
        I.DECLARE: S.RECEIVING,
        I.COMPLETE: S.FINALIZING,
        I.CANCEL: S.CANCELLED,
        I.FAIL: S.FAILED,
        I.EXPIRE: S.EXPIRED,
        I.LOSE: S.LOST,
    },
    S.FINALIZING: {
        I.REOPEN: S.RECEIVING,
        I.PUBLISH: S.PUBLISHED,
        I.LOSE: S.LOST,
    },
    S.PUBLISHED: {I.EXPIRE: S.EXPIRED, I.DELETE: S.DELETED},
    S.CANCELLED: {},
    S.EXPIRED: {},
    S.DELETED: {},
    S.LOST: {},
    S.FAILED: {},
}

GONE: Final[dict[State, errors.GoneReason]] = {
    S.CANCELLED: "cancelled",
    S.EXPIRED: "expired",
    S.DELETED: "deleted",
    S.LOST: "lost",
    S.FAILED: "failed",
}


class Identity(NamedTuple):
    """What makes a file that file, under whatever name."""

    inode: int
    mark: bytes | None = None
    """What tells it from a later one with its inode; None where the store knows nothing such."""


def gone(id: str, reason: errors.GoneReason) -> errors.Gone:
    """That upload *id* is no more."""
    told = "failed: its sender broke off" if reason == "failed" else f"was {reason}"
    return errors.Gone(f"upload {id} {told}", reason=reason)


@dataclass(frozen=True, slots=True)
class Published:
    """Where a published upload lies: path below the store's root, and what identifies it."""

    path: str
    inode: int
    mark: bytes | None = None

    @property
    def identity(self) -> Identity:
        """Of the file that lies there if nobody has changed that."""
        return Identity(self.inode, self.mark)


@dataclass(slots=True, weakref_slot=True, eq=False)
class Upload:
    """The resource.  ``held`` is the truth; ``offset`` is read off it and never set."""

    id: str
    name: str | None = None
    length: int | None = None
    media_type: str | None = None
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    echo: dict[str, str] = dataclasses.field(default_factory=dict)
    """What the wire that it began on must say again as it was said."""
    owner: str = ""
    key: str | None = None
    digest: bytes | None = None
    """SHA-256 that the whole must have, if the peer declared one."""
    expected: int | None = None
    """A guess of the length, for those who watch; nothing else depends on it, nor on the next."""
    field: str | None = None
    """The field of the form that it came in."""
    created: float = 0.0
    """Seconds since the epoch."""
    modified: float = 0.0
    """When something of it was last remembered, in seconds since the epoch."""
    state: State = State.RECEIVING
    held: Extents = NOTHING
    fence: int = 0
    enrolled: bool = False
    """Whether the ledger has a durable row."""
    intent: str | None = None
    """The path that was intended for it, from FINALIZING on."""
    identity: Identity | None = None
    """Of the file that is to be published, or is."""
    published: Published | None = None
    request: Any = None
    """What brought it last, for hooks to be told of; not remembered."""

    @property
    def offset(self) -> int:
        """Bytes from the start that are durable; never decreases."""
        return self.held.offset

    @property
    def letters(self) -> int:
        """How many its client has said of it."""
        return sum(len(a) + len(b) for told in (self.metadata, self.echo) for a, b in told.items())

    @property
    def said(self) -> tuple[dict[str, str], dict[str, str]]:
        """``metadata`` and ``echo``, as far as anybody needs them: of what is gone nobody does, but
        a spent link says there whose it was.
        """
        if self.state not in GONE:
            return self.metadata, self.echo
        return {}, {} if self.key is None else self.echo

    def check(self, what: Input) -> State:
        """The state that *what* would lead to.  Raises Gone, or Conflict; nothing changes."""
        after = TRANSITIONS[self.state].get(what)
        if after is not None:
            return after
        if (reason := GONE.get(self.state)) is not None:
            raise gone(self.id, reason)
        raise errors.Conflict(f"upload {self.id} is {self.state.value}", offset=self.offset)

    def move(self, what: Input) -> None:
        """Change the state as the table says.  Raises as `check` does; nothing changes then."""
        self.state = self.check(what)

    def declare(self, length: int, received: int = 0) -> None:
        """Fix the length, *received* bytes having been taken.

        Raises LengthConflict when it contradicts the one known, or is less than what is here.
        """
        self.check(Input.DECLARE)
        if self.length is not None and length != self.length:
            raise errors.LengthConflict(
                f"upload {self.id} was declared with {self.length} bytes, now with {length}"
            )
        if length < (here := max(self.held.end, received)):
            raise errors.LengthConflict(f"upload {self.id} has {here} bytes, more than {length}")
        self.length = length

    def hold(self, extents: Extents) -> int:
        """Say that *extents* are durable and remembered: the only way that `offset` moves.

        Returns how many bytes that is news of.
        """
        before, self.held = self.held.total, self.held.union(extents)
        return self.held.total - before

    def complete(self, newly: Extents = NOTHING) -> None:
        """Declare the whole received, *newly* being durable but not remembered yet.

        Raises Incomplete while bytes or the length are missing; nothing changes then.
        """
        self.check(Input.COMPLETE)
        held = self.held.union(newly)
        if self.length is None or held != NOTHING.add(0, self.length):
            raise errors.Incomplete(
                f"upload {self.id} holds {held.offset} of "
                f"{'unknown' if self.length is None else self.length} bytes",
                offset=self.offset,
            )
        self.move(Input.COMPLETE)


@dataclass(slots=True, eq=False)
class Run:
    """What one claim appends: [start, …).  All numbers are positions in the upload, in bytes.

    offset <= written <= received <= limit, always; offset is `Upload.held` from `start` on.
    """

    start: int
    fence: int
    end: int | None = None
    received: int = 0
    """One past the last byte taken from the wire."""
    written: int = 0
    """One past the last byte in the page cache."""
    limit: int = 0
    """Where the peer's credit ends; never decreases."""

    def __post_init__(self) -> None:
        self.received = self.written = self.limit = self.start

    def offset(self, upload: Upload) -> int:
        """One past the last byte of this run that is durable."""
        return upload.held.end_from(self.start)

    def grant(self, offset: int, max_chunk: int, most: int | None = None) -> int:
        """Raise the credit as far as durability, memory and *most* allow; return the new limit."""
        limit = max(self.limit, min(offset + AHEAD_OF_DURABLE, self.written + AHEAD_OF_WRITTEN))
        if offset >= self.received:  # all is durable: one more chunk must always fit
            limit = max(limit, self.received + max_chunk)
        if most is not None:
            limit = max(self.limit, min(limit, most))
        self.limit = limit
        return limit


def beyond(upload: Upload, last: int, end: int) -> errors.UploadError:
    """The refusal of bytes up to *end* where they may go up to *last*.

    While the length is unknown that is the largest that it may become: nobody has declared it.
    """
    if upload.length is None:
        return errors.TooLarge(saying.too_large(end, last, more=True), offset=upload.offset)
    told = f"upload {upload.id} ends at {last} bytes, what is sent at {end}"
    return errors.LengthExceeded(told, offset=upload.offset)


def accept(upload: Upload, run: Run, at: int, count: int) -> list[tuple[int, int]]:
    """Take *count* bytes at position *at*: the pieces of them that must be written, in order.

    The only place that compares a position with an offset.  Bytes that are held already are
    left out: they are never written again.  Raises Gone, Conflict, TakenOver, OffsetMismatch,
    or what `beyond` makes, and then nothing changes.
    """
    upload.check(Input.APPEND)
    if run.fence != upload.fence:
        raise errors.TakenOver(f"upload {upload.id} was taken over", offset=upload.offset)
    if at != run.received:
        raise errors.OffsetMismatch(
            f"the next byte of upload {upload.id} is {run.received}, not {at}",
            offset=upload.offset,
        )
    last = upload.length if run.end is None else run.end
    if last is not None and at + count > last:
        raise beyond(upload, last, at + count)
    run.received = at + count
    return upload.held.missing(at, at + count)
