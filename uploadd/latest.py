"""The newest of one upload, for everybody who watches it, and the names that it is watched by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from uploadd.protocol.rate import Rate
from uploadd.protocol.seen import Glance, Seen, progress, reason, seen
from uploadd.protocol.upload import State, Upload
from uploadd.protocol.wsmessages import Gone, encode

EVERYBODY: Final = "*"
"""The subject that is all uploads."""
PIECE: Final = 16 * 1024
"""Bytes of text that are made at a time for one who watches: what is not made waits for free."""
_FRAME: Final = 400  # bytes of a text without the name, about
_ESCAPED: Final = 6  # bytes of one byte of a name, at the worst


def of_upload(id: str) -> str:
    """The subject that is one upload."""
    return "u" + id


def upload_of(subject: str) -> str:
    """The id of the one upload that is *subject*; empty when it is not one."""
    return subject[1:] if subject.startswith("u") else ""


def of_owner(owner: str) -> str:
    """The subject that is all uploads of one owner."""
    return "o" + owner


def of_session(id: str) -> str:
    """The subject that is all uploads whose sender named one session."""
    return "s" + id


class Life:
    """An upload that somebody sends, or that was watched or has ended: what is told of it."""

    __slots__ = (
        "__weakref__",
        "_glance",
        "_held",
        "_text",
        "hurried",
        "number",
        "rate",
        "runs",
        "shown",
        "state",
        "subjects",
        "upload",
    )

    def __init__(self, upload: Upload, glance: Callable[[Upload], Glance]) -> None:
        self.upload, self._glance, self._held = upload, glance, upload.held
        self.rate = Rate(trio.current_time(), upload.held.total)
        self.subjects = [of_upload(upload.id), EVERYBODY]
        if upload.owner:
            self.subjects.append(of_owner(upload.owner))
        self.number = 0
        """Grows with every round that tells of it, over all uploads."""
        self.state: Seen | None = None
        """As `Watch.moved` saw it last, if anybody watches."""
        self.hurried = self.runs = False
        """Whether its state has changed; whether it was told as moving."""
        self.shown: tuple[int, Seen] | None = None
        """What the last round told, if anybody watched."""
        self._text: str | None = None

    @property
    def shared(self) -> list[str]:
        """The subjects that others can have as well, without EVERYBODY."""
        return self.subjects[2:]

    @property
    def gone(self) -> str | None:
        """Why there is nothing to watch any more."""
        return reason(self.upload)

    @property
    def text(self) -> str:
        """The newest of it as a message; of what is in hand made once for all who watch."""
        if self._text is not None:
            return self._text
        if (why := self.gone) is not None:
            return encode(Gone(self.upload.id, why))
        rate = self.rate.at(trio.current_time())
        self.runs = rate > 0
        text = encode(progress(self.upload, self._glance(self.upload), rate))
        if self.goes_on:  # others may rest or be remembered for long, and they are many
            self._text = text
        return text

    @property
    def size(self) -> int:
        """Bytes of its text, at the most, about."""
        return _FRAME + _ESCAPED * len(self.upload.name or "")

    def seen(self) -> Seen:
        """How it stands."""
        return seen(self.upload, self._glance(self.upload))

    @property
    def goes_on(self) -> bool:
        """Whether somebody has it in hand: else nothing happens until somebody takes it."""
        state = self.upload.state
        if state is State.RECEIVING:
            return self._glance(self.upload).held
        return state is State.FINALIZING

    def moved(self) -> None:
        """Its durable bytes or its state may have changed."""
        held = self.upload.held
        if held is not self._held:
            self._held = held
            self.rate.moved(trio.current_time(), held.total)
        self._text = None

    def stale(self) -> None:
        """What was made to be told is not the newest any more."""
        self._text = None
