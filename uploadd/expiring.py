"""What is kept for a time: unfinished uploads, finished ones where that is wanted, notices, and
that there was an upload which is gone.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from uploadd.ages import Ages
from uploadd.errors import UploadError
from uploadd.protocol.upload import Input, State, Upload
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd")
AT_ONCE: Final = 512
"""Uploads that one turn looks at."""
LONGEST: Final = 64
"""Sweeps after which a file that cannot be removed is tried again, at most; each failure doubles
them.
"""
MOST_STUCK: Final = 10_000
"""Files that cannot be removed: beyond them no other is tried."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things are kept, in seconds; None: for ever."""

    unfinished: float
    finished: float | None
    notices: float
    gone: float

    @property
    def shortest(self) -> float:
        """The shortest of them."""
        return min(self.unfinished, self.notices, self.gone, self.finished or self.unfinished)


class Old(NamedTuple):
    """An upload whose time is over."""

    id: str
    name: str
    state: str
    held: int
    age: float


@dataclass(slots=True)
class Stuck:
    """A file that could not be removed: how often in a row, and in how many sweeps it is tried."""

    failures: int = 0
    rests: int = 0

    def failed(self) -> None:
        """Once more."""
        self.rests = min(2**self.failures, LONGEST)
        self.failures += 1


@dataclass(slots=True)
class Expiring:
    """Expires what is in *uploads*; *ages* knows whether the clock can be believed."""

    uploads: Uploads
    ages: Ages
    stuck: dict[str, Stuck] = field(default_factory=dict)
    """Published uploads that could not be removed, by id."""

    async def old(self, terms: Terms) -> list[Old]:
        """What `sweep` would end now, changing nothing but stamps.  Raises StoreError."""
        now = await self._now()
        found = [_old(one, now) async for one in self.uploads.stale(now - terms.unfinished)]
        if terms.finished is not None:
            found += [_old(one, now) async for one in self._finished(now - terms.finished)]
        return found

    async def sweep(self, terms: Terms) -> int:
        """End all whose time is over; how many uploads it was.  Raises StoreError."""
        now = await self._now()
        removed, archive = self.uploads.tally.removed, self.uploads.archive
        removed["unfinished"] += (count := await self.uploads.sweep(now - terms.unfinished))
        if terms.finished is not None:
            count += await self._sweep_finished(now - terms.finished)
        removed["notices"] += await archive.forget(now - terms.notices)
        while purged := await archive.purge(now - terms.gone, AT_ONCE):
            removed["gone"] += purged
        return count

    async def _now(self) -> float:
        return await self.ages.look(self.uploads.live)

    async def _sweep_finished(self, before: float) -> int:
        count = 0
        for stuck in self.stuck.values():
            stuck.rests -= 1
        async with aclosing(self._finished(before)) as found:
            async for upload in found:
                try:
                    await self.uploads.delete(upload, Input.EXPIRE)
                except UploadError as error:
                    self._failed(upload, error)
                    if len(self.stuck) >= MOST_STUCK:
                        break
                else:
                    count += 1
        self.stuck = {id: stuck for id, stuck in self.stuck.items() if stuck.rests > 0}
        self.uploads.tally.removed["finished"] += count
        self.uploads.tally.stuck = len(self.stuck)
        return count

    def _failed(self, upload: Upload, error: UploadError) -> None:
        """Try it again later, less and less often; it is told once."""
        stuck = self.stuck.setdefault(upload.id, Stuck())
        level = logging.DEBUG if stuck.failures else logging.WARNING
        log.log(level, "cannot remove expired %s, and tries again: %s", upload.id, error)
        stuck.failed()

    async def _finished(self, before: float) -> AsyncGenerator[Upload, None]:
        """Every upload that was published before that moment and does not rest, oldest first."""
        archive, after = self.uploads.archive, (float("-inf"), "")
        while places := await archive.finished(before, after, AT_ONCE):
            after = places[-1]
            for _, id in places:
                if (stuck := self.stuck.get(id)) is not None and stuck.rests > 0:
                    continue
                upload = await self.uploads.look_up(id)
                if upload.state is State.PUBLISHED and upload.modified < before:
                    yield upload


def _old(upload: Upload, now: float) -> Old:
    held, age = upload.held.total, now - upload.modified
    return Old(upload.id, upload.name or "", upload.state.value, held, age)
