"""MemoryStore: the reference implementation, and the one for tests.

It keeps what is durable apart from what is only written, so that ``crash()`` can show what a
power cut would leave.  ``clog()`` and ``failing`` make it slow or broken on purpose.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import trio

from uploadd import errors
from uploadd.errors import StoreError
from uploadd.protocol import names
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Identity, Published
from uploadd.store.contract import Bytes, Publication


@dataclass(slots=True)
class _Growing:
    inode: int
    data: bytearray = field(default_factory=bytearray)
    dirty: Extents = NOTHING
    in_flush: Extents = NOTHING
    provisional: Extents = NOTHING
    durable: bytearray = field(default_factory=bytearray)  # what a crash leaves
    failed: bool = False
    anonymous: bool = False

    def note(self, start: int, end: int, *, provisional: bool) -> None:
        """These bytes are written."""
        if provisional:
            self.provisional = self.provisional.add(start, end)
        else:
            self.dirty = self.dirty.add(start, end)

    def settle(self, *, publishing: bool) -> Extents:
        """What was in the flush is durable; so long as it has no name, only nearly."""
        mark, self.in_flush = self.in_flush, NOTHING
        for start, end in mark:
            _put(self.durable, start, self.data[start:end])
        self.anonymous &= publishing
        if self.anonymous:
            self.dirty = self.dirty.union(mark)
        return mark


class MemoryStore:
    """Keeps everything in this process; *capacity* in bytes, and those of a part in *grain*.

    The last part of an upload, which may be shorter, is durable when it is published.
    """

    def __init__(self, capacity: int = 1 << 62, grain: int = 1) -> None:
        self.capacity, self.grain = capacity, grain
        self.fail_next: dict[str, int] = {}
        """errno to raise from the next call of that verb: ``{"flush": errno.EIO}``."""
        self._gates: dict[str, trio.Event] = {}
        self._growing: dict[str, _Growing] = {}
        self._files: dict[str, tuple[int, bytes]] = {}
        self._inodes = 0

    # --- what tests do to it --------------------------------------------------------------

    def clog(self, *verbs: str) -> trio.Event:
        """Let every call, or those of *verbs*, wait until the returned event is set."""
        gate = trio.Event()
        self._gates.update(dict.fromkeys(verbs or ("",), gate))
        return gate

    def crash(self) -> None:
        """Forget everything that was not durable, as a power cut would."""
        for id, entry in list(self._growing.items()):
            if entry.anonymous:
                del self._growing[id]
                continue
            # A new one: calls that were under way do nothing any more.
            left = bytearray(entry.durable)
            self._growing[id] = _Growing(entry.inode, left.copy(), durable=left)

    def published(self, path: str) -> bytes:
        """The bytes under *path*; raises KeyError."""
        return self._files[path][1]

    async def _step(self, verb: str) -> None:
        await trio.lowlevel.checkpoint()
        if (gate := self._gates.get(verb, self._gates.get(""))) is not None:
            await gate.wait()
        if code := self.fail_next.pop(verb, 0):
            raise _told(code)

    # --- the contract ---------------------------------------------------------------------

    async def write(
        self,
        id: str,
        at: int,
        buffers: Sequence[Bytes],
        *,
        whole: bool = False,
        provisional: bool = False,
    ) -> None:
        await self._step("write")
        entry = self._growing.get(id)
        if entry is None:
            entry = self._growing[id] = self._create(
                anonymous=whole and at == 0 and not provisional
            )
        if entry.failed:
            raise _told(errno.EIO)
        for data in buffers:
            if self._used() + max(0, at + len(data) - len(entry.data)) > self.capacity:
                raise _told(errno.ENOSPC)
            _put(entry.data, at, data)
            entry.note(at, at + len(data), provisional=provisional)
            at += len(data)

    def confirm(self, id: str) -> None:
        if (entry := self._growing.get(id)) is not None:
            entry.dirty, entry.provisional = entry.dirty.union(entry.provisional), NOTHING

    async def discard(self, id: str, end: int) -> None:
        await self._step("discard")
        if (entry := self._growing.get(id)) is not None:
            entry.provisional = NOTHING
            del entry.data[end:]

    async def copy(self, source: str, start: int, end: int, id: str, at: int) -> None:
        data = await self.read(source, start, end)
        await self.write(id, at, [data])
        if len(data) < end - start:
            raise errors.StoreError(f"upload {source} has fewer bytes than it should")

    def unflushed(self, id: str) -> int:
        entry = self._growing.get(id)
        return entry.dirty.total + entry.in_flush.total if entry else 0

    def failed(self, id: str) -> bool:
        entry = self._growing.get(id)
        return entry is not None and entry.failed

    def nameless(self, id: str) -> bool:
        entry = self._growing.get(id)
        return entry is not None and entry.anonymous

    async def flush(
        self, ids: Sequence[str], publishing: Collection[str] = ()
    ) -> Mapping[str, Extents | StoreError]:
        entries = {id: self._growing[id] for id in ids if id in self._growing}
        sound = {id: entry for id, entry in entries.items() if not entry.failed}
        for id, entry in sound.items():
            grain = 1 if id in publishing else self.grain
            entry.in_flush, entry.dirty = entry.dirty.parts(grain)
        try:
            await self._step("flush")
        except StoreError as error:
            for entry in sound.values():
                entry.failed, entry.in_flush = True, NOTHING
            return {id: copy(error) for id in entries}
        except trio.Cancelled:
            for entry in sound.values():
                entry.dirty, entry.in_flush = entry.dirty.union(entry.in_flush), NOTHING
            raise
        return {
            id: _told(errno.EIO) if entry.failed else entry.settle(publishing=id in publishing)
            for id, entry in entries.items()
        }

    async def rewind(self, id: str, held: Extents) -> None:
        await self._step("rewind")
        entry = self._growing.get(id)
        if len(entry.data if entry else b"") < held.end:
            raise LookupError(id)
        if entry is None:
            return
        del entry.data[held.end :], entry.durable[held.end :]
        entry.dirty, entry.failed, entry.anonymous = NOTHING, False, False

    async def read(self, id: str, start: int, end: int) -> bytes:
        await self._step("read")
        entry = self._growing.get(id)
        return bytes(entry.data[start:end]) if entry else b""

    async def identities(self, ids: Sequence[str]) -> Mapping[str, Identity]:
        await self._step("identities")
        return {id: Identity(self._growing[id].inode) for id in ids if id in self._growing}

    async def publish(self, wanted: Sequence[Publication]) -> Mapping[str, Published | StoreError]:
        try:
            await self._step("publish")
        except StoreError as error:
            return {one.id: copy(error) for one in wanted}
        return {one.id: self._link(one) for one in wanted}

    def _link(self, one: Publication) -> Published | StoreError:
        entry = self._growing.get(one.id)
        if entry is None:
            return _told(errno.ENOENT)
        entry.dirty, entry.anonymous = NOTHING, False
        for path in names.candidates(one.path, one.id):
            if path in self._files and self._files[path][0] == entry.inode:
                return Published(path, entry.inode)
        for path in names.candidates(one.path, one.id):
            if path not in self._files:
                self._files[path] = (entry.inode, bytes(entry.data))
                return Published(path, entry.inode)
        raise AssertionError("the name with the id in it is free")

    async def release(self, ids: Sequence[str]) -> None:
        await self._step("release")

    async def remove(self, ids: Sequence[str]) -> None:
        await self._step("remove")
        for id in ids:
            self._growing.pop(id, None)

    async def unpublish(self, published: Published, length: int) -> None:
        await self._step("unpublish")
        if self._same(published, length):
            del self._files[published.path]

    async def recover(self, held: Mapping[str, Extents]) -> set[str]:
        await self._step("recover")
        for id in set(self._growing) - set(held):
            del self._growing[id]
        lost = set()
        for id, extents in held.items():
            entry = self._growing.get(id)
            if entry is None or len(entry.data) < extents.end:
                if extents:
                    lost.add(id)
                continue
            del entry.data[extents.end :], entry.durable[extents.end :]
            entry.dirty, entry.failed = NOTHING, False
        return lost

    async def settle(
        self, wanted: Sequence[Publication], nameless: Mapping[str, Identity]
    ) -> Mapping[str, Published | StoreError | None]:
        await self._step("settle")
        answer: dict[str, Published | StoreError | None] = {}
        for one in wanted:
            if one.id in self._growing and one.id not in nameless:
                answer[one.id] = self._link(one)
                continue
            answer[one.id] = None
            for path in names.candidates(one.path, one.id):
                found = Identity(self._files[path][0]) if path in self._files else None
                if found is not None and found == nameless.get(one.id):
                    answer[one.id] = Published(path, *found)
        return answer

    async def open_published(self, published: Published, length: int) -> int:
        await self._step("open_published")
        if not self._same(published, length):
            raise errors.NotFound("the file was changed outside")
        fd = os.memfd_create("uploadd")
        os.write(fd, self._files[published.path][1])
        return fd

    async def room(self) -> int:
        await self._step("room")
        return self.capacity - self._used()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    # --- its own --------------------------------------------------------------------------

    def _create(self, *, anonymous: bool) -> _Growing:
        self._inodes += 1
        return _Growing(self._inodes, anonymous=anonymous)

    def _used(self) -> int:
        return sum(len(e.data) for e in self._growing.values()) + sum(
            len(data) for _, data in self._files.values()
        )

    def _same(self, published: Published, length: int) -> bool:
        found = self._files.get(published.path)
        return found is not None and (found[0], len(found[1])) == (published.inode, length)


def _put(data: bytearray, at: int, more: Bytes) -> None:
    if at > len(data):
        data.extend(bytes(at - len(data)))
    data[at : at + len(more)] = more


def _told(code: int) -> StoreError:
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return errors.NoSpace("no room in memory")
    return errors.StoreError(f"the store failed: {errno.errorcode[code]}")
