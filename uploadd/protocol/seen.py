"""How an upload stands, in the words of people: what everybody who watches it is told."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from uploadd.protocol import pages
from uploadd.protocol.upload import GONE, State, Upload
from uploadd.protocol.wsmessages import Progress


class Seen(StrEnum):
    """Where an upload stands; the values are words of every wire."""

    QUEUED = "queued"
    RECEIVING = "receiving"
    STORING = "storing"
    VERIFYING = "verifying"
    PUBLISHED = "published"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DELETED = "deleted"
    FAILED = "failed"


MEANING: Final[dict[Seen, str]] = {
    Seen.QUEUED: "it waits for its sender: nothing has come yet, or nobody sends now",
    Seen.RECEIVING: "bytes are coming",
    Seen.STORING: "bytes are here and are made durable: all of them, which then get their name, or "
    "a `part` of many, where they are stored in parts",
    Seen.VERIFYING: "all bytes are here; they are compared with the digest that was declared",
    Seen.PUBLISHED: "complete and durable, under its name; nothing before this is whole",
    Seen.CANCELLED: "it was not wanted any more; its bytes are freed",
    Seen.EXPIRED: "nobody went on with it for too long; its bytes are freed",
    Seen.DELETED: "it was published, and was removed",
    Seen.FAILED: "its sender broke off and cannot come back, or the disk lost it",
}
ENDED: Final = frozenset({Seen.CANCELLED, Seen.EXPIRED, Seen.DELETED, Seen.FAILED})
"""Of those there is nothing any more."""

_STATES: Final = {
    State.FINALIZING: Seen.STORING,
    State.PUBLISHED: Seen.PUBLISHED,
    State.CANCELLED: Seen.CANCELLED,
    State.EXPIRED: Seen.EXPIRED,
    State.DELETED: Seen.DELETED,
    State.LOST: Seen.FAILED,
    State.FAILED: Seen.FAILED,
}


KEPT_AS: Final[dict[Seen, frozenset[State]]] = {
    word: frozenset(state for state, seen in _STATES.items() if seen is word) for word in Seen
} | {
    word: frozenset({State.RECEIVING, State.FINALIZING})
    for word in (Seen.QUEUED, Seen.RECEIVING, Seen.STORING, Seen.VERIFYING)
}
"""In which states the ledger may have what stands so."""


class Glance(NamedTuple):
    """What is known of an upload beside what is durable."""

    received: int = 0
    """One past the last byte taken from the wire."""
    held: bool = False
    """Whether somebody has a claim on it."""
    checking: bool = False
    """Whether its digest is being computed."""
    grain: int = 1
    """Bytes that become durable together: more than one where they are stored in parts."""


def seen(upload: Upload, glance: Glance) -> Seen:
    """How *upload* stands."""
    if upload.state is not State.RECEIVING:
        return _STATES[upload.state]
    if glance.checking:
        return Seen.VERIFYING
    if not glance.held:
        return Seen.QUEUED
    if upload.length is not None and glance.received >= upload.length:
        return Seen.STORING
    if 1 < glance.grain <= glance.received - upload.offset:
        return Seen.STORING
    return Seen.RECEIVING if glance.received else Seen.QUEUED


def part(upload: Upload, glance: Glance) -> int | None:
    """The number, from 1 on, of the part that is being stored; None where there are no parts."""
    if glance.grain == 1 or seen(upload, glance) is not Seen.STORING:
        return None
    return upload.offset // glance.grain + 1 if upload.offset < glance.received else None


def progress(upload: Upload, glance: Glance, rate: float | None = None) -> Progress:
    """What those who watch *upload* are told; *rate* in durable bytes a second."""
    published = upload.state is State.PUBLISHED
    return Progress(
        upload=upload.id,
        offset=upload.offset,
        held=upload.held.total,
        state=seen(upload, glance),
        name=said(upload.name),
        length=upload.length,
        rate=None if rate is None or published else round(rate, 1),
        expected=upload.expected if upload.length is None else None,
        url=pages.file_path(upload.id, upload.name) if published else None,
        part=part(upload, glance),
    )


def reason(upload: Upload) -> str | None:
    """Why *upload* is gone; None while it is not."""
    return GONE.get(upload.state)


def said(name: str | None) -> str | None:
    """*name* as UTF-8 can say it: one from a form may hold lone surrogates."""
    return None if name is None else name.encode("utf-8", "replace").decode()
