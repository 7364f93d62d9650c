"""What the ledger is asked beside single uploads: lists, and how things ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final, NamedTuple, TypeAlias

from uploadd import errors
from uploadd.ledger import Ledger
from uploadd.protocol.questions import Listing
from uploadd.protocol.seen import KEPT_AS
from uploadd.protocol.upload import Upload
from uploadd.protocol.wsmessages import Notice
from uploadd.quota import Taken
from uploadd.rows import ENDED, PUBLISHED, UNFINISHED, held_of

SCAN: Final = 2000
"""Rows that one page looks at: a name that is nowhere must not hold up everybody else."""
SAID: Final = 1 << 18
"""Letters that clients have said of the uploads of one page, beyond which it ends."""
FEW: Final = 16
"""Uploads of a page that are looked up at a time: so long others wait who look up one."""
SEARCHES: Final = 16
"""Searches for a name at a time; the others are refused at once."""
COUNTED: Final = 10_000
"""Unfinished uploads that are counted when somebody asks how many there are."""

FINISHED: Final = (
    f"SELECT modified, id FROM uploads WHERE {PUBLISHED} AND modified < ? "
    "AND (modified, id) > (?, ?) ORDER BY modified, id LIMIT ?"
)
GONE_ONES: Final = f"SELECT id FROM uploads WHERE {ENDED} AND modified < ? AND key IS NULL LIMIT ?"
_PLACE: Final = "(created, id) < (?, ?)"
_CALLED: Final = " AND instr(folded(name), ?) > 0"
_ORDER: Final = "ORDER BY created DESC, id DESC"
_NOTICE: Final = "n.notice, n.upload, n.state, n.created, n.name, n.length, n.url, n.read"
_STANDS: Final = (
    "(n.state <> 'published' OR u.state = 'published')"  # nobody removed the file since
)


Place: TypeAlias = tuple[float, str]
"""Where an upload stands among others: a stamp, and its id."""
FindAll: TypeAlias = Callable[[Collection[str], str, Collection[str]], Awaitable[list[Upload]]]
"""As `Ledger.find_all`."""


class Page(NamedTuple):
    """Some uploads, newest first."""

    uploads: list[Upload]
    last: Place | None
    """Where the next page begins; None after the last."""


class Kept(NamedTuple):
    """A notice, and whether it was read."""

    notice: Notice
    read: bool


class Archive:
    """Lists and notices of one *ledger*.  Everything raises StoreError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._searches = ledger, 0

    async def page(
        self, asked: Listing, owner: str | None, find_all: FindAll | None = None
    ) -> Page:
        """The next page of what *owner* has begun, or (None) everybody has; *find_all* finds few by
        their ids.

        It may be shorter than was asked for, even empty, while more follow.  What is being
        received and what is being stored look alike here.  Raises TooMany, for a name.
        """
        with self._searching() if asked.name else nullcontext():
            places, last = await self._places(asked, owner)
        uploads, said = list[Upload](), 0
        for start in range(0, len(places), FEW):
            ids = [id for _, id in places[start : start + FEW]]
            found = await (find_all or self._ledger.find_all)(ids, "", [])
            found.sort(key=lambda upload: (upload.created, upload.id), reverse=True)
            uploads += found
            said += sum(upload.letters for upload in found)
            if said > SAID and start + FEW < len(places):
                return Page(uploads, places[start + FEW - 1])
        return Page(uploads, last)

    async def _places(self, asked: Listing, owner: str | None) -> tuple[list[Place], Place | None]:
        """Where the uploads of a page stand, and where the next page begins."""
        states = sorted({state.value for word in asked.states for state in KEPT_AS[word]})
        place = asked.before or (float("inf"), "")
        whose, owners = ("", ()) if owner is None else ("owner = ? AND ", (owner,))
        called, name = ("", ()) if not asked.name else (_CALLED, (asked.name.casefold(),))

        def look(db: sqlite3.Connection) -> tuple[list[Place], Place | None]:
            db.create_function("folded", 1, _folded, deterministic=True)
            found = db.execute(
                "SELECT created, id FROM (SELECT created, id, state, name FROM uploads "
                f"WHERE {whose}{_PLACE} {_ORDER} LIMIT {SCAN}) "
                f"WHERE state IN ({', '.join('?' * len(states))}){called} "
                "LIMIT ?",  # in the order of what is looked at
                (*owners, *place, *states, *name, asked.limit),
            ).fetchall()
            if len(found) == asked.limit:
                return found, found[-1]
            scanned = db.execute(
                f"SELECT created, id FROM uploads WHERE {whose}{_PLACE} {_ORDER} "
                f"LIMIT 1 OFFSET {SCAN - 1}",
                (*owners, *place),
            ).fetchone()
            return found, scanned

        return await self._ledger.browse(look)

    @contextmanager
    def _searching(self) -> Iterator[None]:
        """A place among those who search.  Raises TooMany."""
        if self._searches >= SEARCHES:
            raise errors.TooMany(
                f"{self._searches} searches for a name run already",
                hint="try again in a moment, or list without a name",
            )
        self._searches += 1
        try:
            yield
        finally:
            self._searches -= 1

    async def unfinished(self) -> tuple[int, int]:
        """How many uploads are unfinished, and the bytes that they hold; of the first `COUNTED`."""
        order = f"SELECT held FROM uploads WHERE {UNFINISHED} LIMIT {COUNTED}"
        found = await self._ledger.browse(lambda db: db.execute(order).fetchall())
        held = [held_of(text).total for (text,) in found]
        return len(held), sum(held)

    async def taken(self) -> list[Taken]:
        """What every owner has here: the unfinished one by one, the complete together."""

        def look(db: sqlite3.Connection) -> list[Taken]:
            unfinished = db.execute(
                f"SELECT owner, length, held, id FROM uploads WHERE {UNFINISHED}"
            ).fetchall()
            complete = db.execute(
                "SELECT owner, SUM(length), COUNT(*) FROM uploads "
                "WHERE state = 'published' GROUP BY owner"
            ).fetchall()
            return [
                *(
                    Taken(owner, _reserved(length, held), id)
                    for owner, length, held, id in unfinished
                ),
                *(Taken(owner, total or 0, None, count) for owner, total, count in complete),
            ]

        return await self._ledger.browse(look)

    async def finished(self, before: float, after: Place, most: int) -> list[Place]:
        """At most *most* uploads that were published before that moment, oldest first; the next
        of them come *after* the last.
        """
        values = (before, *after, most)
        rows = await self._ledger.browse(lambda db: db.execute(FINISHED, values).fetchall())
        return [(modified, id) for modified, id in rows]

    async def purge(self, before: float, most: int) -> int:
        """Forget at most *most* uploads that were gone by that moment; how many it was.

        What a link was for is remembered for good: it is for one upload.
        """
        ids = await self._ledger.browse(lambda db: db.execute(GONE_ONES, (before, most)).fetchall())

        def change(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM sums WHERE upload = ?", ids)
            db.executemany(f"DELETE FROM uploads WHERE id = ? AND {ENDED}", ids)

        if ids:
            await self._ledger.change(change)
        return len(ids)

    async def notices(self, owner: str, *, unread: bool) -> list[Kept]:
        """The notices of *owner*, newest first."""
        order = (
            f"SELECT {_NOTICE} FROM notices AS n LEFT JOIN uploads AS u ON u.id = n.upload "
            f"WHERE n.owner = ? AND {_STANDS} AND n.read <= ? ORDER BY n.created DESC"
        )
        rows = await self._ledger.browse(
            lambda db: db.execute(order, (owner, not unread)).fetchall()
        )
        return [Kept(Notice(*row[:-1]), bool(row[-1])) for row in rows]

    async def read(self, owner: str, notices: Collection[str] | None) -> None:
        """Note that *owner* has read these *notices*, or (None) all; if that is news."""
        unread = "SELECT notice FROM notices WHERE owner = ? AND read = 0"
        found = await self._ledger.browse(lambda db: db.execute(unread, (owner,)).fetchall())
        wanted = None if notices is None else frozenset(notices)
        ids = [(id,) for (id,) in found if wanted is None or id in wanted]
        if ids:
            order = "UPDATE notices SET read = 1 WHERE notice = ?"
            await self._ledger.change(lambda db: db.executemany(order, ids))

    async def forget(self, before: float) -> int:
        """Forget the notices from before that moment; how many it was."""
        old = "SELECT 1 FROM notices WHERE created < ? LIMIT 1"
        if not await self._ledger.browse(lambda db: db.execute(old, (before,)).fetchone()):
            return 0

        def change(db: sqlite3.Connection) -> int:
            return db.execute("DELETE FROM notices WHERE created < ?", (before,)).rowcount

        return await self._ledger.change(change)


def _reserved(length: int | None, held: str) -> int:
    """Bytes of an unfinished upload: all that it will have, or all that it has."""
    return length if length is not None else int(held.rpartition("-")[2] or 0)


def _folded(name: str | None) -> str:
    return (name or "").casefold()
