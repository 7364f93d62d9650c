"""The clocks of what is kept for a time: when they disagree, stamps move, and nothing expires."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import trio

from uploadd.database import boot_id
from uploadd.ledger import Ledger
from uploadd.protocol.ages import Reading, shifted, step
from uploadd.protocol.upload import Upload

log = logging.getLogger("uploadd")
REMEMBERED: Final = 3600.0
"""Seconds between two readings that are written down."""
_STAMPS: Final = (
    ("uploads", "modified", "state <> 'finalizing'"),
    ("notices", "created", "true"),
)


def read_clocks() -> Reading:
    """Both clocks, now."""
    return Reading(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id())


class Ages:
    """Looks after the stamps in *ledger*; *read* reads the clocks."""

    def __init__(self, ledger: Ledger, read: Callable[[], Reading] = read_clocks) -> None:
        self._ledger, self._read = ledger, read
        self._last: Reading | None = None
        self._kept: Reading | None = None
        self._one_at_a_time = trio.Lock()

    async def look(self, live: Callable[[], Iterable[Upload]]) -> float:
        """The wall clock; stamps have been moved by as much as it has stepped since the last look.

        Those of the *live* uploads first: what is written down meanwhile is right then.
        Raises StoreError.
        """
        async with self._one_at_a_time:
            return await self._look(live)

    async def _look(self, live: Callable[[], Iterable[Upload]]) -> float:
        if self._last is None:
            self._last = self._kept = await self._ledger.look(_reading)
        now = self._read()
        by = 0.0 if self._last is None else step(self._last, now)
        if by:
            for upload in live():
                upload.modified = shifted(upload.modified, by, now.wall)
        if by or self._kept is None or now.counted - self._kept.counted > REMEMBERED:
            if by:
                log.warning("the clock has stepped by %.0f s: nothing expires for that", by)
            await self._ledger.change(partial(_shift, by=by, now=now))
            self._kept = now
        self._last = now
        return now.wall


def _reading(db: sqlite3.Connection) -> Reading | None:
    found = db.execute("SELECT wall, counted, boot FROM clocks").fetchone()
    return None if found is None else Reading(*found)


def _shift(db: sqlite3.Connection, by: float, now: Reading) -> None:
    if by:
        db.create_function("shifted", 1, partial(shifted, by=by, now=now.wall), deterministic=True)
        for table, column, where in _STAMPS:
            db.execute(f"UPDATE {table} SET {column} = shifted({column}) WHERE {where}")
    db.execute("DELETE FROM clocks")
    db.execute("INSERT INTO clocks VALUES (?, ?, ?)", now)
