"""An upload as a row of the ledger, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from uploadd.auth.who import is_proven
from uploadd.protocol import pages
from uploadd.protocol.extents import Extents
from uploadd.protocol.seen import said
from uploadd.protocol.upload import Identity, Published, State, Upload
from uploadd.protocol.wsmessages import Notice
from uploadd.store.contract import MediumFailed


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the outbox: something that one hook will be told, at least once."""

    id: str
    """The same for every hook, and however often the step is repeated."""
    hook: str
    upload: str
    kind: str
    created: float
    payload: bytes


@dataclass(slots=True)
class Entries:
    """What one transaction writes."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    notices: list[tuple[str, Notice]] = field(default_factory=list)
    """Each with its owner."""

    def __bool__(self) -> bool:
        return bool(self.rows or self.events)

    def note(self, upload: Upload, now: float) -> None:
        """*upload* has ended: its owner should know, if anybody can say that it is theirs."""
        if is_proven(upload.owner) and upload.state in NOTED:
            self.notices.append((upload.owner, notice(upload, now)))


NOTED: Final = {
    State.PUBLISHED: "published",
    State.EXPIRED: "expired",
    State.FAILED: "failed",
    State.LOST: "failed",
}
"""What somebody who was away wants to know; who cancels or deletes knows it."""
MOST_NOTICES: Final = 100
"""Of one owner; the oldest go."""


def notice(upload: Upload, now: float) -> Notice:
    """How *upload* has ended: the same id however often it is said."""
    told = NOTED[upload.state]
    published = upload.state is State.PUBLISHED
    url = pages.file_path(upload.id, upload.name) if published else None
    name = said(upload.name)
    return Notice(f"{upload.id}.{told}", upload.id, told, now, name, upload.length, url)


class Begun(NamedTuple):
    """What the ledger says of an unfinished upload, but for what its client said of it."""

    id: str
    state: State
    held: Extents


SCHEMA_VERSION: Final = 6
_NOTICES: Final = """
CREATE TABLE notices (
    notice  TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    upload  TEXT NOT NULL,
    state   TEXT NOT NULL,
    created REAL NOT NULL,
    name    TEXT,
    length  INTEGER,
    url     TEXT,
    read    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_owner ON notices (owner, created);
CREATE INDEX uploads_listed ON uploads (created, id);
CREATE INDEX uploads_owned ON uploads (owner, created, id) WHERE owner <> '';
"""

_OUTBOX: Final = """
CREATE TABLE outbox (
    place    INTEGER PRIMARY KEY,  -- the order in which things happened
    event    TEXT NOT NULL,
    hook     TEXT NOT NULL,
    upload   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    created  REAL NOT NULL,
    payload  BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due      REAL NOT NULL DEFAULT 0,  -- epoch seconds of the next attempt
    dead     INTEGER NOT NULL DEFAULT 0,
    error    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX outbox_event ON outbox (event, hook);
CREATE INDEX outbox_due ON outbox (hook, dead, place, due);
CREATE TABLE clocks (wall REAL NOT NULL, counted REAL NOT NULL, boot TEXT NOT NULL) STRICT;
CREATE TABLE sums (
    upload   TEXT PRIMARY KEY,
    made     REAL NOT NULL,            -- epoch seconds
    sums     BLOB NOT NULL             -- CRC-32 of each 8 MiB, big-endian
) STRICT, WITHOUT ROWID;
"""

UNFINISHED: Final = "state IN ('receiving', 'finalizing')"
"""As the index has it that finds them."""
PUBLISHED: Final = "state = 'published'"
ENDED: Final = "state IN ('cancelled', 'deleted', 'expired', 'failed', 'lost')"
"""Gone: what `GONE` has, as the index that finds the old ones has it."""
_AGES: Final = f"""
CREATE INDEX uploads_published ON uploads (modified) WHERE {PUBLISHED};
CREATE INDEX uploads_gone ON uploads (modified) WHERE {ENDED};
"""

SCHEMA: Final = (
    """
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    held       TEXT NOT NULL,      -- durable extents: "0-4096 8192-12288"
    fence      INTEGER NOT NULL,   -- grows with every claim; an older one writes nothing
    name       TEXT,
    length     INTEGER,
    media_type TEXT,
    metadata   TEXT NOT NULL,
    owner      TEXT NOT NULL,
    key        TEXT,
    digest     BLOB,
    created    REAL NOT NULL,
    modified   REAL NOT NULL,
    path       TEXT,               -- intended from finalizing on, true once published
    inode      INTEGER,
    boot       TEXT NOT NULL,      -- the boot that wrote the row; for durability.ack = "written"
    echo       TEXT NOT NULL DEFAULT '{}', -- said again as it was said
    mark       BLOB                -- tells the file from a later one with its inode
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX uploads_key ON uploads (owner, key) WHERE key IS NOT NULL;
CREATE INDEX uploads_unfinished ON uploads (state) WHERE state IN ('receiving', 'finalizing');
"""
    + _NOTICES
    + _OUTBOX
    + _AGES
)
UPGRADES: Final = {
    1: "ALTER TABLE uploads ADD COLUMN echo TEXT NOT NULL DEFAULT '{}';",
    2: "ALTER TABLE uploads ADD COLUMN mark BLOB;",
    3: _NOTICES,
    4: "DROP TABLE outbox;" + _OUTBOX,  # which nobody had ever read
    5: _AGES,
}
"""What leads from each older version to the next."""
COLUMNS: Final = (
    *("id", "state", "held", "fence", "name", "length", "media_type", "metadata", "owner"),
    *("key", "digest", "created", "modified", "path", "inode", "boot", "echo", "mark"),
)
_CHANGING: Final = [c for c in COLUMNS if c not in ("id", "owner", "created")]  # or indexes move
_SAVE: Final = f"INSERT INTO uploads ({', '.join(COLUMNS)}) VALUES "
_OR_UPDATE: Final = (
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in _CHANGING)} "
    "WHERE excluded.fence >= uploads.fence"
)
_REMEMBER: Final = (
    "INSERT OR IGNORE INTO outbox (event, hook, upload, kind, created, payload) VALUES "
)
MOST_TOGETHER: Final = 64
"""Rows of one statement."""
LOOK: Final = f"SELECT {', '.join(COLUMNS)} FROM uploads WHERE "


def _insert(
    db: sqlite3.Connection, verb: str, rows: Sequence[tuple[Any, ...]], then: str = ""
) -> int:
    """Insert *rows*, many in one statement; how many were written.

    Python lets go of its lock for every row that it steps to, and a busy loop takes a while to
    give it back.  By powers of two, so that few statements have to be prepared.
    """
    written, at, count = 0, 0, MOST_TOGETHER
    while at < len(rows):
        if count > len(rows) - at:
            count //= 2
            continue
        some = rows[at : at + count]
        marks = f"({', '.join('?' * len(some[0]))})"
        values = list(chain.from_iterable(some))
        written += db.execute(f"{verb}{', '.join([marks] * count)}{then}", values).rowcount
        at += count
    return written


def write(db: sqlite3.Connection, entries: Entries) -> None:
    """Write *entries*, inside a transaction of the caller's.  Raises MediumFailed."""
    if _insert(db, _SAVE, entries.rows, _OR_UPDATE) != len(entries.rows):
        raise MediumFailed("a row was written under an older fence: two daemons?")
    _insert(db, _REMEMBER, [astuple(e) for e in entries.events])
    if entries.notices:
        _write_notices(db, entries.notices)


def _write_notices(db: sqlite3.Connection, notices: Sequence[tuple[str, Notice]]) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO notices VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
        [(n.notice, who, n.upload, n.state, n.at, n.name, n.length, n.url) for who, n in notices],
    )
    db.executemany(
        "DELETE FROM notices WHERE owner = ? AND notice NOT IN (SELECT notice FROM notices "
        "WHERE owner = ? ORDER BY created DESC LIMIT ?)",
        [(owner, owner, MOST_NOTICES) for owner in {owner for owner, _ in notices}],
    )


def held_of(text: str) -> Extents:
    """The extents that a row holds."""
    pairs = [tuple(map(int, pair.split("-"))) for pair in text.split()]
    return Extents((a, b) for a, b in pairs)


def row(upload: Upload, held: Extents, boot: str) -> tuple[Any, ...]:
    """The row of *upload* when it holds *held*: a snapshot, safe to hand to a thread."""
    metadata, echo = upload.said
    path = upload.published.path if upload.published else upload.intent
    identity = upload.identity
    return (
        upload.id,
        upload.state.value,
        " ".join(f"{start}-{end}" for start, end in held),
        upload.fence,
        upload.name,
        upload.length,
        upload.media_type,
        msgspec.json.encode(metadata).decode() if metadata else "{}",
        upload.owner,
        upload.key,
        upload.digest,
        upload.created,
        upload.modified,
        path,
        None if identity is None else _signed(identity.inode),
        boot,
        msgspec.json.encode(echo).decode() if echo else "{}",
        None if identity is None else identity.mark,
    )


def _signed(inode: int) -> int:
    """*inode* as SQLite keeps integers; some file systems use all 64 bits."""
    return inode - (1 << 64) if inode >> 63 else inode


def upload_of(values: Sequence[Any]) -> tuple[Upload, str]:
    """The upload of one row, and the boot that wrote it."""
    told = dict(zip(COLUMNS, values, strict=True))
    state = State(told["state"])
    identity = None
    if told["inode"] is not None:
        identity = Identity(told["inode"] & ((1 << 64) - 1), told["mark"])
    upload = Upload(
        id=told["id"],
        name=told["name"],
        length=told["length"],
        media_type=told["media_type"],
        metadata=msgspec.json.decode(told["metadata"], type=dict[str, str]),
        echo=msgspec.json.decode(told["echo"], type=dict[str, str]),
        owner=told["owner"],
        key=told["key"],
        digest=told["digest"],
        created=told["created"],
        modified=told["modified"],
        state=state,
        held=held_of(told["held"]),
        fence=told["fence"],
        enrolled=True,
        intent=told["path"],
        identity=identity,
    )
    if state is State.PUBLISHED and identity is not None:
        upload.published = Published(told["path"], *identity)
    return upload, told["boot"]
