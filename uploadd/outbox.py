"""The outbox: what hooks are still to be told, in the ledger.

A line goes in with the transaction that makes it true and goes out when its receiver has taken it.
What was tried too often is a dead letter: it stays, to be looked at and tried again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from uploadd.ledger import Ledger

MOST_DEAD: Final = 10_000
"""Dead letters of one hook; the oldest go."""
LONGEST_PAUSE: Final = 3600.0
"""Seconds until the next attempt at most; a line that is due later than that is of another clock,
and due now."""
_LINE: Final = "event, hook, upload, kind, created, payload, attempts, dead, error"


class Line(NamedTuple):
    """One event for one hook."""

    event: str
    hook: str
    upload: str
    kind: str
    created: float
    payload: bytes
    attempts: int
    dead: bool
    error: str
    """What went wrong the last time; empty before the first."""


class Outcome(NamedTuple):
    """What came of an attempt."""

    line: Line
    error: str = ""
    """Empty: it was taken."""
    due: float = 0.0
    """When it is to be tried again, in epoch seconds."""
    dead: bool = False


class Outbox:
    """The lines of one *ledger*.  Everything raises StoreError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def due(self, hook: str, now: float, most: int, but: Collection[str]) -> list[Line]:
        """The oldest *most* lines of *hook* whose time has come, *but* those of these uploads."""
        order = (
            f"SELECT {_LINE} FROM outbox WHERE hook = ? AND dead = 0 AND (due <= ? OR due > ?) "
            f"AND upload NOT IN ({', '.join('?' * len(but))}) ORDER BY place LIMIT ?"
        )
        values = (hook, now, now + LONGEST_PAUSE, *but, most)
        return [_line(row) for row in await self._ledger.look(lambda db: _all(db, order, *values))]

    async def next_due(self, hook: str) -> float | None:
        """When the next line of *hook* is due, in epoch seconds; None without one."""
        order = "SELECT min(due) FROM outbox WHERE hook = ? AND dead = 0"
        found = await self._ledger.look(lambda db: db.execute(order, (hook,)).fetchone())
        return None if found[0] is None else float(found[0])

    async def lines(self, *, dead: bool | None = None) -> list[Line]:
        """All lines, oldest first; only the *dead*, or only the others."""
        where = {None: "true", True: "dead", False: "NOT dead"}[dead]
        order = f"SELECT {_LINE} FROM outbox WHERE {where} ORDER BY place"
        return [_line(row) for row in await self._ledger.browse(lambda db: _all(db, order))]

    async def counts(self) -> dict[str, tuple[int, int]]:
        """How many lines wait, and how many are dead letters, by hook."""
        order = "SELECT hook, sum(dead = 0), sum(dead) FROM outbox GROUP BY hook"
        found = await self._ledger.browse(lambda db: _all(db, order))
        return {hook: (waits, dead) for hook, waits, dead in found}

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write down what came of attempts: all of it, or nothing."""

        def change(db: sqlite3.Connection) -> None:
            for line, error, due, dead in outcomes:
                if not error:
                    db.execute(f"DELETE FROM outbox WHERE {_ONE}", (line.event, line.hook))
                    continue
                db.execute(
                    f"UPDATE outbox SET attempts = ?, error = ?, due = ?, dead = ? WHERE {_ONE}",
                    (line.attempts + 1, error, due, dead, line.event, line.hook),
                )
            for hook in {outcome.line.hook for outcome in outcomes if outcome.dead}:
                _bound(db, hook)

        await self._ledger.change(change)

    async def disown(self, hooks: Collection[str]) -> int:
        """Make dead letters of all that is for none of *hooks*; how many it was."""
        marks = ", ".join("?" * len(hooks))
        where = f"NOT dead AND hook NOT IN ({marks})"
        order = f"SELECT count(*) FROM outbox WHERE {where}"
        (count,) = await self._ledger.look(lambda db: db.execute(order, (*hooks,)).fetchone())
        if count:

            def change(db: sqlite3.Connection) -> None:
                owners = _all(db, f"SELECT DISTINCT hook FROM outbox WHERE {where}", *hooks)
                db.execute(
                    f"UPDATE outbox SET dead = 1, error = 'there is no such hook' WHERE {where}",
                    (*hooks,),
                )
                for (hook,) in owners:
                    _bound(db, hook)

            await self._ledger.change(change)
        return int(count)

    async def retry(self, events: Collection[str] | None) -> int:
        """Try dead letters again, all (None) or those of *events*; how many there are."""
        return await self._ledger.change(lambda db: retry(db, events))


def retry(db: sqlite3.Connection, events: Collection[str] | None) -> int:
    """As `Outbox.retry`, in a transaction of the caller's."""
    again = "UPDATE outbox SET dead = 0, attempts = 0, due = 0 WHERE dead"
    if events is None:
        return db.execute(again).rowcount
    return sum(db.execute(f"{again} AND event = ?", (event,)).rowcount for event in events)


def lines(db: sqlite3.Connection) -> list[Line]:
    """All lines, oldest first."""
    return [_line(row) for row in _all(db, f"SELECT {_LINE} FROM outbox ORDER BY place")]


_ONE: Final = "event = ? AND hook = ?"


def _bound(db: sqlite3.Connection, hook: str) -> None:
    """Keep the newest dead letters of *hook* only."""
    db.execute(
        "DELETE FROM outbox WHERE place IN (SELECT place FROM outbox WHERE hook = ? AND dead "
        "ORDER BY place DESC LIMIT -1 OFFSET ?)",
        (hook, MOST_DEAD),
    )


def _all(db: sqlite3.Connection, order: str, *values: Any) -> list[Any]:
    return db.execute(order, values).fetchall()


def _line(row: Sequence[Any]) -> Line:
    event, hook, upload, kind, created, payload, attempts, dead, error = row
    return Line(event, hook, upload, kind, created, payload, attempts, bool(dead), error)
