"""What is remembered beside the bytes: SQLite, one transaction a batch.

Exactly one read-write connection, used by one thread at a time; a second, read-only one looks
things up.  In WAL mode with synchronous=FULL a commit is durable when it returns.  The ledger
keeps a ballast file that is given up when the disk is full, so that deleting still works.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

import trio

from uploadd import errors
from uploadd.protocol.upload import Upload
from uploadd.rows import (
    LOOK,
    SAVE,
    SCHEMA,
    SCHEMA_VERSION,
    UPGRADES,
    Entries,
    Event,
    upload_of,
)
from uploadd.store.contract import MediumFailed

T = TypeVar("T")
BALLAST: Final = 1 << 20
CHECKPOINT_PAGES: Final = 1000
"""WAL pages (4 KiB) after which a checkpoint is made between two batches."""


class Ledger:
    """One SQLite file; opened by the constructor, which may block."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        self._path, self._ballast = path, path + "-ballast"
        self._write_limit, self._read_limit = trio.CapacityLimiter(1), trio.CapacityLimiter(1)
        self.boot = _boot_id()
        try:
            try:
                self._open(durable=durable)
            except sqlite3.Error:
                if not _is_full(path):
                    raise
                self._give_up_ballast()
                self._open(durable=durable)
        except sqlite3.Error as error:
            raise _cannot_open(path, error) from error
        self._load_ballast()
        _sync_folder(os.path.dirname(path) or ".")

    def _open(self, *, durable: bool) -> None:
        self._writer = _open(self._path, durable=durable)
        try:
            self._reader = _connect(f"file:{quote(self._path)}?mode=ro", uri=True)
        except sqlite3.Error:
            self._writer.close()
            raise

    # --- writing --------------------------------------------------------------------------

    async def commit(self, entries: Entries) -> None:
        """Write *entries* in one transaction; durable when it returns.

        Raises NoSpace: nothing was written, the daemon goes on.  Any other failure of the
        file raises MediumFailed.  Cancelled: not begun.
        """
        await self._in_thread(self._write_limit, partial(self._commit_now, entries))

    def _commit_now(self, entries: Entries) -> None:  # in a thread
        try:
            self._transact(entries)
        except sqlite3.Error as error:
            if not _found_no_room(error):
                raise MediumFailed(f"the ledger failed: {error}") from error
            self._transact_on_full_disk(entries)
        self._checkpoint()

    def _transact(self, entries: Entries) -> None:
        db = self._writer
        db.execute("BEGIN IMMEDIATE")
        try:
            saved = db.executemany(SAVE, entries.rows).rowcount if entries.rows else 0
            if saved != len(entries.rows):
                raise MediumFailed("a row was written under an older fence: two daemons?")
            db.executemany(
                "INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?)",
                [(e.id, e.upload, e.kind, e.created) for e in entries.events],
            )
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _transact_on_full_disk(self, entries: Entries) -> None:
        """Give up the ballast and try once more: the rolled-back transaction left nothing."""
        self._give_up_ballast()
        try:
            self._transact(entries)
        except sqlite3.Error as error:
            if _found_no_room(error):
                raise errors.NoSpace("no room on the disk for the ledger") from error
            raise MediumFailed(f"the ledger failed: {error}") from error

    def _checkpoint(self) -> None:
        """Between batches, when the log has grown: nobody waits for it but the next batch."""
        with suppress(FileNotFoundError):
            if os.stat(self._path + "-wal").st_size > CHECKPOINT_PAGES * 4096:
                try:
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                except sqlite3.Error as error:
                    if not _found_no_room(error):
                        raise MediumFailed(f"the ledger failed: {error}") from error
                else:
                    self._load_ballast()

    def _load_ballast(self) -> None:
        """Keep a mebibyte aside while there is room for it."""
        try:
            fd = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # a full disk: it comes back at a later checkpoint
        try:
            os.posix_fallocate(fd, 0, BALLAST)
        except OSError:
            os.unlink(self._ballast)
        finally:
            os.close(fd)

    def _give_up_ballast(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._ballast)

    # --- looking --------------------------------------------------------------------------

    async def find(self, id: str) -> Upload | None:
        """The upload as last committed."""
        return await self._one("id = ?", (id,))

    async def find_key(self, owner: str, key: str) -> Upload | None:
        """The upload that this owner began with this idempotency key."""
        return await self._one("owner = ? AND key = ?", (owner, key))

    async def _one(self, where: str, values: tuple[Any, ...]) -> Upload | None:
        def look() -> Any:
            return self._reader.execute(LOOK + where, values).fetchone()

        found = await self._look(look)
        return upload_of(found)[0] if found else None

    async def unfinished(self) -> list[tuple[Upload, str]]:
        """Every upload that is receiving or finalizing, with the boot that wrote it."""

        def look() -> list[Any]:
            where = "state IN ('receiving', 'finalizing')"
            return self._reader.execute(LOOK + where).fetchall()

        return [upload_of(values) for values in await self._look(look)]

    async def stale(self, before: float) -> list[str]:
        """Ids of uploads that are receiving and of which nothing was remembered since *before*."""

        def look() -> list[Any]:
            where = "SELECT id FROM uploads WHERE state = 'receiving' AND modified < ?"
            return self._reader.execute(where, (before,)).fetchall()

        return [id for (id,) in await self._look(look)]

    async def events(self) -> list[Event]:
        """What the outbox holds, oldest first."""

        def look() -> Iterable[Any]:
            return self._reader.execute("SELECT * FROM outbox ORDER BY created").fetchall()

        return [Event(*values) for values in await self._look(look)]

    async def _look(self, job: Callable[[], T]) -> T:
        try:
            return await self._in_thread(self._read_limit, job)
        except sqlite3.Error as error:  # nothing was changed, and the next look may succeed
            raise errors.StoreError(f"the ledger cannot be read: {error}") from error

    async def aclose(self) -> None:
        """Close both connections; the last one folds the log into the file."""

        def close() -> None:
            self._reader.close()
            self._writer.close()

        with trio.CancelScope(shield=True):
            await self._in_thread(self._write_limit, close)

    async def _in_thread(self, limiter: trio.CapacityLimiter, job: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(job, limiter=limiter)


def _connect(path: str, *, uri: bool = False) -> sqlite3.Connection:
    # Each connection has a limiter of one token: never two threads at a time.
    return sqlite3.connect(path, uri=uri, isolation_level=None, check_same_thread=False, timeout=0)


def _open(path: str, *, durable: bool) -> sqlite3.Connection:
    db = _connect(path)
    try:
        _configure(db, durable=durable)
    except sqlite3.Error:
        db.close()
        raise
    return db


def _configure(db: sqlite3.Connection, *, durable: bool) -> None:
    (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError("its file system does not let it keep a write-ahead log")
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
    _empty_log(db)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    while version in UPGRADES:
        version += 1
        db.executescript(f"BEGIN; {UPGRADES[version - 1]} PRAGMA user_version={version}; COMMIT;")
    if version not in (0, SCHEMA_VERSION):
        raise sqlite3.DatabaseError(
            f"it was written by another version (schema {version}, this one has {SCHEMA_VERSION})"
        )


def _empty_log(db: sqlite3.Connection) -> None:
    """Write what the log holds into the file.

    If the last daemon ended because the log could not be synced, the kernel shows us pages of
    it that it will never write; whatever was appended to those would be lost with them.
    """
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        if not _found_no_room(error):
            raise


def _found_no_room(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _is_full(path: str) -> bool:
    """Whether there is no room beside *path* for the log and the index that SQLite keeps."""
    try:
        stat = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return False
    return stat.f_bavail * stat.f_frsize < BALLAST


def _cannot_open(path: str, error: sqlite3.Error) -> errors.StoreError:
    if _is_full(path):
        return errors.NoSpace(
            f"no room on the disk to open the ledger {path}",
            hint="free some mebibytes and start again: nothing that was acknowledged is lost",
        )
    return errors.NotWritable(
        f"cannot open the ledger {path}: {error}",
        hint="restore it from a copy, or move it away: uploads that are not finished "
        "and links to finished files are lost with it",
    )


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
