"""What is remembered beside the bytes: SQLite, one transaction a batch.

Exactly one read-write connection, used by one thread at a time; a second, read-only one looks up
single things, and a third what takes longer.  In WAL mode with synchronous=FULL a commit is durable
when it returns.  The ledger keeps a ballast file that is given up when the disk is full, so that
deleting still works.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

import trio

from uploadd import errors
from uploadd.database import (
    BALLAST,
    boot_id,
    cannot_open,
    connect,
    found_no_room,
    is_full,
    open_writer,
    sync_folder,
)
from uploadd.protocol.requests import PARTS
from uploadd.protocol.upload import State, Upload
from uploadd.rows import LOOK, UNFINISHED, Begun, Entries, held_of, upload_of, write
from uploadd.store.contract import MediumFailed
from uploadd.threads import in_thread

T = TypeVar("T")
STALE: Final = (
    f"SELECT id FROM uploads WHERE {UNFINISHED} AND state = 'receiving' AND modified < ? "
    "AND id > ? ORDER BY id LIMIT ?"
)
CHECKPOINT_PAGES: Final = 1000
"""WAL pages (4 KiB) after which a checkpoint is made between two batches."""


class Ledger:
    """One SQLite file; opened by the constructor, which may block."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        self._path, self._ballast = path, path + "-ballast"
        self._write_limit, self._changing = trio.CapacityLimiter(1), trio.Lock()
        self._read_limit, self._browse_limit = trio.CapacityLimiter(1), trio.CapacityLimiter(1)
        self.boot = boot_id()
        self._broken: MediumFailed | None = None
        try:
            try:
                self._open(durable=durable)
            except sqlite3.Error:
                if not is_full(path):
                    raise
                self._give_up_ballast()
                self._open(durable=durable)
        except sqlite3.Error as error:
            raise cannot_open(path, error) from error
        self._load_ballast()
        self._inode = os.stat(path).st_ino
        sync_folder(os.path.dirname(path) or ".")

    def _open(self, *, durable: bool) -> None:
        self._writer = open_writer(self._path, durable=durable)
        reading = f"file:{quote(self._path)}?mode=ro"
        try:
            self._reader, self._browser = connect(reading, uri=True), connect(reading, uri=True)
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
        if self._broken is not None:
            raise self._broken
        try:
            self._transact(partial(write, entries=entries))
        except sqlite3.Error as error:
            if not found_no_room(error):
                raise MediumFailed(f"the ledger failed: {error}") from error
            self._transact_on_full_disk(entries)
        self._checkpoint(self._logged())

    def _logged(self) -> int:
        """Bytes of the log.  Raises MediumFailed when the files have lost their names.

        SQLite writes on to such files, and all of it would go with us.
        """
        try:
            log = os.stat(self._path + "-wal")
            there = os.stat(self._path).st_ino == self._inode
        except OSError:
            there = False
        if not there:
            raise MediumFailed(f"the ledger {self._path} was removed or replaced while it was used")
        return log.st_size

    def _transact(self, job: Callable[[sqlite3.Connection], T]) -> T:
        db = self._writer
        db.execute("BEGIN IMMEDIATE")
        try:
            result = job(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return result

    def _transact_on_full_disk(self, entries: Entries) -> None:
        """Give up the ballast and try once more: the rolled-back transaction left nothing."""
        self._give_up_ballast()
        try:
            self._transact(partial(write, entries=entries))
        except sqlite3.Error as error:
            if found_no_room(error):
                raise errors.NoSpace("no room on the disk for the ledger") from error
            raise MediumFailed(f"the ledger failed: {error}") from error

    async def change(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Let *job* change what no upload depends on, in a transaction of its own; what it returns.

        However many come, a commit waits for one of them at most.  Raises StoreError.  If the
        medium failed, the next commit says so.
        """

        def change() -> T:
            try:
                return self._transact(job)
            except sqlite3.Error as error:
                if found_no_room(error):
                    raise errors.NoSpace("no room on the disk for the ledger") from error
                self._broken = MediumFailed(f"the ledger failed: {error}")
                raise errors.StoreError(str(self._broken)) from error

        async with self._changing:
            return await self._in_thread(self._write_limit, change)

    def _checkpoint(self, logged: int) -> None:
        """Between batches, when the log has grown: nobody waits for it but the next batch."""
        if logged <= CHECKPOINT_PAGES * 4096:
            return
        try:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            if not found_no_room(error):
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

    async def find_all(
        self, ids: Collection[str], owner: str, keys: Collection[str]
    ) -> list[Upload]:
        """The uploads with these ids, and those that *owner* began with these keys."""

        def look(db: sqlite3.Connection) -> list[Any]:
            found = db.execute(f"{LOOK}id IN ({_marks(ids)})", (*ids,)).fetchall()
            by_key = f"{LOOK}owner = ? AND key IN ({_marks(keys)})"
            return found + db.execute(by_key, (owner, *keys)).fetchall()

        return [upload_of(values)[0] for values in await self.look(look)]

    async def _one(self, where: str, values: tuple[Any, ...]) -> Upload | None:
        found = await self.look(lambda db: db.execute(LOOK + where, values).fetchone())
        return upload_of(found)[0] if found else None

    async def unfinished(self) -> list[Begun]:
        """Every upload that is receiving or finalizing."""
        where = f"SELECT id, state, held FROM uploads WHERE {UNFINISHED}"

        def look(db: sqlite3.Connection) -> list[Begun]:
            rows = db.execute(where)
            return [Begun(id, State(state), held_of(held)) for id, state, held in rows]

        return await self.browse(look)

    async def assembled(self) -> list[str]:
        """Ids of unfinished uploads that are made of others."""
        where = f"SELECT id FROM uploads WHERE {UNFINISHED} AND instr(echo, ?)"
        found = await self.browse(lambda db: db.execute(where, (f'"{PARTS}":',)).fetchall())
        return [id for (id,) in found]

    async def stale(self, before: float, after: str, most: int) -> list[str]:
        """Ids of at most *most* uploads that are receiving and of which nothing was remembered
        since *before*; the next of them come *after* the last.
        """
        values = (before, after, most)
        found = await self.browse(lambda db: db.execute(STALE, values).fetchall())
        return [id for (id,) in found]

    async def look(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What *job* finds, on a connection that only reads.  Raises StoreError."""
        return await self._read(self._read_limit, lambda: job(self._reader))

    async def browse(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """As `look`, for what takes longer: nobody who looks up a single thing waits for it."""
        return await self._read(self._browse_limit, lambda: job(self._browser))

    async def _read(self, limiter: trio.CapacityLimiter, job: Callable[[], T]) -> T:
        try:
            return await self._in_thread(limiter, job)
        except sqlite3.Error as error:  # nothing was changed, and the next look may succeed
            raise errors.StoreError(f"the ledger cannot be read: {error}") from error

    async def aclose(self) -> None:
        """Close all connections; the last one folds the log into the file."""

        def close() -> None:
            self._reader.close()
            self._browser.close()
            self._writer.close()

        with trio.CancelScope(shield=True):
            await self._in_thread(self._write_limit, close)

    async def _in_thread(self, limiter: trio.CapacityLimiter, job: Callable[[], T]) -> T:
        return await in_thread(job, limiter)


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))
