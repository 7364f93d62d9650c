"""What the next batch of the group commit has to do, and when it starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Final

import trio

from uploadd.errors import StoreError, UploadError
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import GONE, Identity, State, Upload
from uploadd.rows import Entries, row

TOGETHER: Final = 64
"""Growing names of published uploads that are removed in one turn, while there is other work."""
Then = Callable[[UploadError | None], None]


@dataclass(slots=True, eq=False)
class Work:
    """What one upload needs from the next batch."""

    upload: Upload
    save: bool = False
    path: str | None = None  # publish it under this path
    refusal: UploadError | None = None  # why it was not published; the rest goes on
    remove: bool = False  # its growing bytes, once the row says that they are not needed
    release: bool = False  # its descriptor, once all is durable
    newly: Extents = NOTHING  # durable, and not in the ledger yet
    flushed: bool = False  # alone, before its batch
    then: list[Then] = field(default_factory=list)
    error: UploadError | None = None

    @property
    def flushes(self) -> bool:
        """Whether its file still has to be flushed: of what is gone nothing is promised.

        And what is published must not get a growing name again: recovery would cut it back.
        """
        return not self.flushed and self.upload.state not in (*GONE, State.PUBLISHED)

    @property
    def doomed(self) -> bool:
        """Whether it has ended: nobody wants its bytes any more."""
        return self.remove and self.upload.state in GONE

    @property
    def writes(self) -> bool:
        """Whether the ledger has to know."""
        return self.error is None and bool(
            self.save or self.newly or self.path is not None or self.remove
        )

    def enter(self, entries: Entries, now: float, boot: str, *, nameless: bool) -> None:
        """Put into *entries* what the ledger has to know.

        *nameless*: it is held once it has its name; until then it is unflushed.
        """
        if nameless:
            self.newly = NOTHING
        if self.newly:  # after a crash nobody may take it for abandoned
            self.upload.modified = now
        entries.rows.append(row(self.upload, self.upload.held.union(self.newly), boot))
        if self.remove:
            entries.note(self.upload, now)

    def intend(self, identity: Identity | None, now: float) -> None:
        """Declare complete what is to be published; *identity* is of what will be linked."""
        try:
            self.upload.complete(self.newly)
        except UploadError as error:  # what became durable is remembered all the same
            self.path, self.refusal = None, error
        else:
            self.upload.intent, self.upload.identity = self.path, identity
            self.upload.modified = now

    def heard(self, outcome: Extents | StoreError) -> None:
        """Note what a flush has told."""
        if isinstance(outcome, StoreError):  # nothing beyond what is held is promised any more
            self.error, self.newly = outcome, NOTHING
        else:
            self.newly = self.newly.union(outcome)


class Leftovers:
    """Growing bytes that nobody needs any more, until they are removed."""

    def __init__(self) -> None:
        self._named: list[str] = []

    def take(self, works: Sequence[Work], *, idle: bool) -> list[str]:
        """What is to be removed after the batch of *works*; *idle*: no other waits.

        Of what is published only a growing name is left: many go in one turn.
        """
        removed = [w.upload for w in works if w.remove and w.error is None]
        self._named += [one.id for one in removed if one.state is State.PUBLISHED]
        gone = [one.id for one in removed if one.state is not State.PUBLISHED]
        if idle or len(self._named) >= TOGETHER:
            gone, self._named = gone + self._named, []
        return gone


class Agenda:
    """What waits for the next batch: one `Work` an upload."""

    def __init__(self) -> None:
        self.pending: dict[str, Work] = {}
        self._wake = trio.Event()
        self._urgent = False
        self._deadline = math.inf

    def work(self, upload: Upload) -> Work:
        """The work of *upload*, to which the caller adds what it wants."""
        work = self.pending.get(upload.id)
        if work is None:
            work = self.pending[upload.id] = Work(upload)
        return work

    def at_once(self) -> None:
        """Somebody waits: the next batch starts as soon as the one that runs has ended."""
        self._urgent = True
        self._wake.set()

    def later(self, seconds: float) -> None:
        """Nobody waits: the next batch starts after *seconds* at the latest."""
        at = trio.current_time() + seconds
        if at < self._deadline:
            self._deadline = at
            self._wake.set()

    async def done(self, work: Work) -> None:
        """Wait until *work* is done; the next batch starts at once.  Raises its error."""
        done = trio.Event()
        told: list[UploadError] = []

        def then(error: UploadError | None) -> None:
            if error is not None:
                told.append(error)
            done.set()

        work.then.append(then)
        self.at_once()
        await done.wait()
        if told:
            raise copy(told[0])  # several may wait for one: each raises its own

    async def due(self) -> None:
        """Return when a batch should start."""
        await trio.lowlevel.checkpoint()
        while not self._urgent and trio.current_time() < self._deadline:
            self._wake = trio.Event()
            with trio.move_on_at(self._deadline):
                await self._wake.wait()
        self._urgent, self._deadline = False, math.inf
