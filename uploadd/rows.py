"""An upload as a row of the ledger, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from uploadd.protocol.extents import Extents
from uploadd.protocol.upload import Identity, Published, State, Upload


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the outbox: something that a hook will be told, at least once."""

    id: str
    upload: str
    kind: str
    created: float


@dataclass(slots=True)
class Entries:
    """What one transaction writes."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.events)


SCHEMA_VERSION: Final = 3

SCHEMA: Final = """
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
CREATE TABLE outbox (
    event   TEXT PRIMARY KEY,      -- the same id however often the step is repeated
    upload  TEXT NOT NULL,
    kind    TEXT NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""
UPGRADES: Final = {
    1: "ALTER TABLE uploads ADD COLUMN echo TEXT NOT NULL DEFAULT '{}';",
    2: "ALTER TABLE uploads ADD COLUMN mark BLOB;",
}
"""What leads from each older version to the next."""
COLUMNS: Final = (
    *("id", "state", "held", "fence", "name", "length", "media_type", "metadata", "owner"),
    *("key", "digest", "created", "modified", "path", "inode", "boot", "echo", "mark"),
)
SAVE: Final = (
    f"INSERT INTO uploads ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in COLUMNS[1:])} "
    "WHERE excluded.fence >= uploads.fence"
)
LOOK: Final = f"SELECT {', '.join(COLUMNS)} FROM uploads WHERE "


def row(upload: Upload, held: Extents, boot: str) -> tuple[Any, ...]:
    """The row of *upload* when it holds *held*: a snapshot, safe to hand to a thread."""
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
        msgspec.json.encode(upload.metadata).decode() if upload.metadata else "{}",
        upload.owner,
        upload.key,
        upload.digest,
        upload.created,
        upload.modified,
        path,
        None if identity is None else _signed(identity.inode),
        boot,
        msgspec.json.encode(upload.echo).decode() if upload.echo else "{}",
        None if identity is None else identity.mark,
    )


def _signed(inode: int) -> int:
    """*inode* as SQLite keeps integers; some file systems use all 64 bits."""
    return inode - (1 << 64) if inode >> 63 else inode


def upload_of(values: Sequence[Any]) -> tuple[Upload, str]:
    """The upload of one row, and the boot that wrote it."""
    told = dict(zip(COLUMNS, values, strict=True))
    state = State(told["state"])
    pairs = [tuple(map(int, pair.split("-"))) for pair in told["held"].split()]
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
        held=Extents((a, b) for a, b in pairs),
        fence=told["fence"],
        enrolled=True,
        intent=told["path"],
        identity=identity,
    )
    if state is State.PUBLISHED and identity is not None:
        upload.published = Published(told["path"], *identity)
    return upload, told["boot"]
