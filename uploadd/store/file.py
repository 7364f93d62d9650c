"""FileStore: a folder on a local disk.

``DIR/<path>`` are published files; ``DIR/.uploadd/growing/<id>`` the unfinished ones, in one
folder so that a batch has one to sync.  Uploads that arrive whole have no name until they are
published (O_TMPFILE).  Blocking calls run in threads under limiters of the store's own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import trio

from uploadd import errors
from uploadd.errors import StoreError
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Identity, Published
from uploadd.store import disk, settle
from uploadd.store.contract import Bytes, Publication, Pulled
from uploadd.store.descriptors import MANY
from uploadd.store.flushes import Flushes, How
from uploadd.store.growing import GrowingFiles
from uploadd.store.pull import Pipes, pull
from uploadd.store.reserve import Reserve
from uploadd.store.seconds import Seconds
from uploadd.store.writes import Growing, Kept, Write, Writes
from uploadd.threads import in_thread

T = TypeVar("T")
GROWING: Final = ".uploadd/growing"


class FileStore:
    """Keeps uploads below *root*, a folder that the caller holds a lock on.

    *durable* False leaves out every flush (``durability.ack = "written"``).  *max_open* bounds
    the growing files that are open; *min_free* bytes of the disk are left free.
    """

    grain = 1

    def __init__(
        self,
        root: str,
        *,
        mode: int = 0o644,
        durable: bool = True,
        flush: How = "files",
        min_free: int = 0,
        max_open: int = MANY,
    ) -> None:
        self._durable = durable
        disk.make_root(root)
        for folder in (os.path.dirname(GROWING), GROWING):  # the ledger lies there: both private
            with suppress(FileExistsError):
                os.mkdir(os.path.join(root, folder), mode=0o700)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._root = os.open(root, flags)
        self._folder = disk.open_folder(GROWING, self._root)
        self._prepare()
        self._durable_folders: set[str] = set()
        self._data, self._flushing, self._metadata = map(trio.CapacityLimiter, (16, 4, 4))
        self._growing = GrowingFiles(
            self._folder,
            mode=mode,
            max_open=max_open,
            in_thread=partial(self._in_thread, self._metadata),
        )
        self._reserve = Reserve(self._root, min_free)
        self.seconds = Seconds()
        self._writes = Writes(self._growing.open, self._reserve, self._data, self.seconds)
        self._kept = Kept()
        self._pipes = Pipes(16)
        self._flushes = Flushes(
            self._folder,
            self._growing,
            self._kept,
            self._reserve,
            durable=durable,
            how=flush,
            in_thread=partial(self._in_thread, self._flushing),
        )

    def _prepare(self) -> None:
        """Check that growing/ and the root are one mount, and make both durable."""
        if disk.mount_of(self._root) != disk.mount_of(self._folder):
            raise errors.NotWritable(
                "the folder for unfinished uploads lies on another mount",
                hint="unmount what is mounted on .uploadd: files are published by linking",
            )
        for fd in (self._folder, self._root):
            os.fsync(fd)
        disk.sync_folder(".uploadd", self._root)

    # --- writing --------------------------------------------------------------------------

    async def write(
        self,
        id: str,
        at: int,
        buffers: Sequence[Bytes],
        *,
        whole: bool = False,
        provisional: bool = False,
    ) -> None:
        # What is provisional has a name, so that its file can be closed for another upload's.
        entry, whole = self._sound(id), whole and at == 0 and not provisional
        with self._growing.using({id: entry}):
            await self._growing.admit(id, entry)
            if whole and self._kept.keep(entry, buffers):
                return
            job = Write(id, entry, at, buffers, whole, provisional)
            await self._writes.submit(job)
        if job.error is not None:
            raise disk.told(job.error, "writing")

    def _sound(self, id: str) -> Growing:
        entry = self._growing.use(id)
        if entry.failed:
            raise disk.told(OSError(errno.EIO, disk.BEFORE), "writing")
        return entry

    async def pull(
        self, id: str, socket: int, at: int, count: int, stop: Callable[[], bool]
    ) -> Pulled:
        """Move what *socket* has to position *at*, at most *count* bytes; see `Pulls`."""
        entry = self._sound(id)

        def move() -> Pulled:
            file = self._growing.open(id, entry)
            return pull(self._pipes, self._reserve, socket, file, at, count, stop)

        with self._growing.using({id: entry}):
            await self._growing.admit(id, entry)
            pulled = await self._in_thread(self._data, move)
            entry.dirty = entry.dirty.add(at, at + pulled.moved)
        self.seconds.took("write", pulled.seconds)
        if pulled.error is not None:
            raise disk.told(pulled.error, "writing")
        return pulled

    async def copy(self, source: str, start: int, end: int, id: str, at: int) -> None:
        entry = self._sound(id)

        def copy() -> tuple[int, OSError | None]:
            fd = self._growing.open(id, entry)
            return settle.copy(self._folder, source, start, end, fd, at, self._reserve)

        with self._growing.using({id: entry}):
            await self._growing.admit(id, entry)
            count, error = await self._in_thread(self._data, copy)
            entry.dirty = entry.dirty.add(at, at + count)
        if error is not None:
            raise disk.told(error, "copying")

    def confirm(self, id: str) -> None:
        if (entry := self._growing.get(id)) is not None:
            entry.dirty, entry.provisional = entry.dirty.union(entry.provisional), NOTHING

    async def discard(self, id: str, end: int) -> None:
        entry = self._growing.get(id)
        if entry is None or not entry.provisional:
            return  # nothing was written, so nothing lies there

        def cut() -> None:
            os.ftruncate(self._growing.open(id, entry), end)

        with self._growing.using({id: entry}):
            try:
                await self._growing.admit(id, entry)
                await self._in_thread(self._metadata, cut)
            except BaseException:
                entry.failed = True  # it is cut back when somebody comes for it
                raise
            finally:
                entry.provisional = NOTHING

    def unflushed(self, id: str) -> int:
        entry = self._growing.get(id)
        return entry.dirty.total + entry.in_flush.total if entry else 0

    def failed(self, id: str) -> bool:
        return (entry := self._growing.get(id)) is not None and entry.failed

    # --- making durable -------------------------------------------------------------------

    def nameless(self, id: str) -> bool:
        return (entry := self._growing.get(id)) is not None and entry.anonymous

    async def flush(
        self, ids: Sequence[str], publishing: Collection[str] = ()
    ) -> Mapping[str, Extents | StoreError]:
        entries = self._growing.some(ids)
        with self._growing.using(entries), self.seconds.of("flush"):
            await self._growing.settled(entries)
            return await self._flushes.flush(entries, publishing)

    async def rewind(self, id: str, held: Extents) -> None:
        entry = self._growing.use(id)
        self._kept.drop(entry)

        def rewind() -> None:
            entry.failed = True  # until it is through
            fd, entry.fd = entry.fd, -1
            if fd >= 0:
                os.close(fd)
            settle.cut_back(self._folder, id, held.end)

        with self._growing.using({id: entry}):
            await self._growing.settled({id: entry})
            await self._in_thread(self._metadata, rewind)
        self._growing.drop(id, entry)

    # --- publishing -----------------------------------------------------------------------

    async def read(self, id: str, start: int, end: int) -> bytes:
        entry = self._growing.get(id) or Growing()
        if entry.kept:
            await trio.lowlevel.checkpoint()
            return b"".join(entry.kept)[start:end]
        with self._growing.using({id: entry}):
            job = partial(settle.read, self._folder, id, entry.fd, start, end)
            return await self._in_thread(self._data, job)

    async def identities(self, ids: Sequence[str]) -> Mapping[str, Identity]:
        entries = self._growing.some(ids).items()
        found = {id: file.identity for id, e in entries if (file := e.opened) is not None}
        if closed := [id for id in ids if id not in found]:
            found |= await self._in_thread(
                self._metadata, partial(settle.identities, self._folder, closed)
            )
        return found

    async def publish(self, wanted: Sequence[Publication]) -> Mapping[str, Published | StoreError]:
        entries = self._growing.some([one.id for one in wanted])
        opened = {id: file for id, e in entries.items() if (file := e.opened) is not None}
        job = partial(
            settle.publish,
            self._root,
            self._folder,
            wanted,
            opened,
            durable_folders=self._durable_folders if self._durable else None,
        )
        with self._growing.using(entries), self.seconds.of("publish"):
            answer = await self._in_thread(self._metadata, job)
        for id, result in answer.items():
            if isinstance(result, Published) and id in entries:
                entries[id].dirty, entries[id].anonymous = NOTHING, False  # that is its name
        return answer

    async def unpublish(self, published: Published, length: int) -> None:
        job = partial(settle.unpublish, self._root, published, length, sync=self._durable)
        await self._in_thread(self._metadata, job)

    async def open_published(self, published: Published, length: int) -> int:
        job = partial(settle.open_published, self._root, published, length)
        return await self._in_thread(self._metadata, job)

    # --- letting go -----------------------------------------------------------------------

    async def release(self, ids: Sequence[str]) -> None:
        await self._growing.release(ids)

    async def remove(self, ids: Sequence[str]) -> None:
        for entry in self._growing.some(ids).values():
            self._kept.drop(entry)
        await self._growing.remove(ids)

    # --- starting and stopping --------------------------------------------------------------

    async def recover(self, held: Mapping[str, Extents]) -> set[str]:
        return await self._in_thread(self._metadata, partial(settle.recover, self._folder, held))

    async def settle(
        self, wanted: Sequence[Publication], nameless: Mapping[str, Identity]
    ) -> Mapping[str, Published | StoreError | None]:
        job = partial(settle.roll_forward, self._root, self._folder, wanted, nameless)
        return await self._in_thread(self._metadata, job)

    async def room(self) -> int:
        return await self._in_thread(self._metadata, self._reserve.room)

    async def aclose(self) -> None:
        await self._growing.aclose()
        self._pipes.close()
        for fd in (self._folder, self._root):
            os.close(fd)

    async def _in_thread(self, limiter: trio.CapacityLimiter, job: Callable[[], T]) -> T:
        try:
            return await in_thread(job, limiter)
        except OSError as error:  # of those that have not said better what they were doing
            raise disk.told(error, "using it") from error
