"""What is kept for a time: unfinished uploads, finished ones where that is wanted, notices."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from uploadd.ages import Ages
from uploadd.errors import UploadError
from uploadd.protocol.upload import Input, State, Upload
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd")
AT_ONCE: Final = 512
"""Published uploads that one turn looks at."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things are kept, in seconds; None: for ever."""

    unfinished: float
    finished: float | None
    notices: float

    @property
    def shortest(self) -> float:
        """The shortest of them."""
        return min(self.unfinished, self.notices, self.finished or self.unfinished)


class Old(NamedTuple):
    """An upload whose time is over."""

    id: str
    name: str
    state: str
    held: int
    age: float


@dataclass(slots=True)
class Expiring:
    """Expires what is in *uploads*; *ages* knows whether the clock can be believed."""

    uploads: Uploads
    ages: Ages
    skipped: set[str] = field(default_factory=set)
    """Published uploads that could not be removed; they are tried again after a restart."""

    async def old(self, terms: Terms) -> list[Old]:
        """What `sweep` would end now, changing nothing but stamps.  Raises StoreError."""
        now = await self._now()
        found = await self.uploads.stale(now - terms.unfinished)
        if terms.finished is not None:
            before = now - terms.finished
            found += [u for u in await self._finished(before) if u.id not in self.skipped]
        return [
            Old(one.id, one.name or "", one.state.value, one.held.total, now - one.modified)
            for one in found
        ]

    async def sweep(self, terms: Terms) -> int:
        """End all whose time is over; how many uploads it was.  Raises StoreError."""
        now = await self._now()
        count = await self.uploads.sweep(now - terms.unfinished)
        if terms.finished is not None:
            count += await self._sweep_finished(now - terms.finished)
        await self.uploads.archive.forget(now - terms.notices)
        return count

    async def _now(self) -> float:
        return await self.ages.look(self.uploads.live)

    async def _sweep_finished(self, before: float) -> int:
        count = 0
        while found := [u for u in await self._finished(before) if u.id not in self.skipped]:
            for upload in found:
                try:
                    await self.uploads.delete(upload, Input.EXPIRE)
                except UploadError as error:
                    log.warning("cannot expire %s: %s", upload.id, error)
                    self.skipped.add(upload.id)
                else:
                    count += 1
        return count

    async def _finished(self, before: float) -> list[Upload]:
        ids = await self.uploads.archive.finished(before, AT_ONCE + len(self.skipped))
        found = [await self.uploads.find(id) for id in ids]
        return [one for one in found if one.state is State.PUBLISHED and one.modified < before]
