"""Group commit: the one task that makes things durable, batch after batch.

A batch is one step each for up to 512 uploads: flush their files, write one transaction, link
the names of those that are complete.  Whoever comes while one runs is in the next.  A batch
starts at once when somebody waits; otherwise when an upload has ``flush_bytes`` that are not
durable, or ``flush_interval`` after its first such byte.

If this task ends, the daemon must end: nothing is acknowledged but by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from typing import Final

import trio

from uploadd.errors import NoSpace, StoreError, UploadError
from uploadd.hooks import Hooks
from uploadd.ledger import Ledger
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.upload import Input, Published, State, Upload
from uploadd.protocol.wsmessages import Notice
from uploadd.rows import Entries
from uploadd.store.contract import MediumFailed, Publication, Store
from uploadd.work import Agenda, Leftovers, Work

BATCH: Final = 512
ALONE: Final = 1 << 20  # bytes from which a flush is alone: it holds up no small one
LONG_FLUSHES: Final = 3  # at a time: one thread less than a store has for flushing
TOLD_AT_ONCE: Final = 64  # before others run: those who are told have something to do at once
NO_ROOM_PAUSE: Final = 1.0  # seconds until a transaction that found the disk full is tried again


class Commit:
    """Run `run` in the daemon's nursery; everybody else calls the verbs.

    *moved* is told of uploads whose durable offset or state changed, *failed* of those that the
    medium refused, *noted* of notices, *storing* before a flush: on the loop.  They must not raise.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        *,
        now: Callable[[], float] = time.time,
        flush_bytes: int = 8 << 20,
        flush_interval: float = 0.2,
    ) -> None:
        self._store, self._ledger, self._now = store, ledger, now
        self._flush_bytes, self._flush_interval = flush_bytes, flush_interval
        self.moved: Callable[[Upload], None] = lambda upload: None
        self.failed: Callable[[Upload, UploadError], None] = lambda upload, error: None
        self.storing: Callable[[Upload], None] = lambda upload: None
        self.noted: Callable[[str, Notice], None] = lambda owner, notice: None
        self.hooks = Hooks()  # which put into the outbox what they will be told
        self._agenda, self._leftovers = Agenda(), Leftovers()
        self._alone, self._long = set[str](), trio.CapacityLimiter(LONG_FLUSHES)
        self._flushed: list[Work] = []  # alone; the next batch remembers them
        self._in_batch: frozenset[str] = frozenset()
        self._drained, self._full = trio.Event(), False
        self.stored = 0  # bytes that have become durable

    # --- verbs ----------------------------------------------------------------------------

    def wrote(self, upload: Upload) -> None:
        """Say that bytes of *upload* were written; they are durable before long."""
        self._agenda.work(upload)
        self._agenda.later(self._flush_interval)
        if self._store.unflushed(upload.id) >= self._flush_bytes:
            self._agenda.at_once()

    def flush(self, upload: Upload) -> None:
        """Make durable what is written now, without waiting for it."""
        self._agenda.work(upload)
        self._agenda.at_once()

    def release(self, upload: Upload) -> None:
        """Make durable what is written and let go of the descriptor; nobody appends now."""
        work = self._agenda.work(upload)
        work.release, work.save = True, work.save or upload.enrolled
        self._agenda.at_once()

    def enrol(self, upload: Upload) -> None:
        """Give a new upload its durable row; `moved` tells when it has one."""
        self._agenda.work(upload).save = True
        self._agenda.at_once()

    async def remember(self, upload: Upload) -> None:
        """Write down how *upload* stands; durable when it returns.  Raises StoreError."""
        self._agenda.work(upload).save = True
        await self._agenda.done(self._agenda.work(upload))

    async def settle(self, upload: Upload) -> None:
        """Wait until what is written now is durable and remembered.  Raises StoreError."""
        if self.is_settled(upload):
            await trio.lowlevel.checkpoint()
            return
        await self._agenda.done(self._agenda.work(upload))

    async def publish(self, upload: Upload, path: str) -> None:
        """Complete: flush, remember the intent, link under *path*; durable when it returns.

        Raises Gone; Incomplete or StoreError: the upload is as before and can be completed again.
        Cancelled: it goes on all the same.
        """
        work = self._agenda.work(upload)
        work.path = path
        await self._agenda.done(work)
        if (refusal := work.refusal) is not None and upload.state is not State.PUBLISHED:
            refusal.offset = upload.offset  # it may have moved since
            raise copy(refusal)

    async def forget(self, upload: Upload) -> None:
        """Remember the end of an upload, durable when it returns; its bytes go soon after."""
        work = self._agenda.work(upload)
        work.save = work.remove = True
        await self._agenda.done(work)

    async def drain(self) -> None:
        """Wait until nothing is left to do, or no room for it.  Who could bring more has ended."""
        self._full = False
        while not self._full and (self._agenda.pending or self._alone or self._in_batch):
            self._agenda.at_once()
            await self._drained.wait()

    def is_settled(self, upload: Upload) -> bool:
        """Whether all that is written is durable and remembered."""
        work = self._agenda.pending.get(upload.id)
        return (
            upload.id not in self._alone
            and not self._store.unflushed(upload.id)
            and upload.id not in self._in_batch
            and (work is None or not work.newly)
        )

    def is_ending(self, upload: Upload) -> bool:
        """Whether the ledger has yet to hear of its end."""
        return (work := self._agenda.pending.get(upload.id)) is not None and work.remove

    # --- the task ---------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run batches until cancelled.  Raises MediumFailed, and then the daemon must end."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await self._agenda.due()
                    if works := self._take(nursery):
                        await self._batch(works, nursery)
        except BaseExceptionGroup as group:  # the nursery is nobody's business
            if (failed := group.subgroup(MediumFailed)) is not None:
                raise MediumFailed(str(failed.exceptions[0])) from failed
            raise

    def _take(self, nursery: trio.Nursery) -> list[Work]:
        """The next batch: one work an upload.  Long flushes are sent off alone."""
        works, self._flushed = self._flushed[:BATCH], self._flushed[BATCH:]
        taken = {work.upload.id for work in works}
        for id, work in list(self._agenda.pending.items()):
            if id in taken or len(works) == BATCH:
                self._agenda.at_once()
            elif id not in self._alone:
                del self._agenda.pending[id]
                if work.flushes and self._store.unflushed(id) >= ALONE:
                    self._alone.add(id)
                    nursery.start_soon(self._flush_alone, work)
                else:
                    works.append(work)
        self._alone -= taken
        return works

    async def _flush_alone(self, work: Work) -> None:
        async with self._long:
            self.storing(work.upload)
            told = await self._store.flush([work.upload.id])
        work.heard(told.get(work.upload.id, NOTHING))
        work.flushed = True
        self._flushed.append(work)
        self._agenda.at_once()

    async def _batch(self, works: list[Work], nursery: trio.Nursery) -> None:
        self._in_batch = frozenset(work.upload.id for work in works)
        await self._files(works)
        await self._intend(works)
        await self._remember(works)
        await self._name(works)
        self._in_batch = frozenset()
        if removed := self._leftovers.take(works, idle=not self._agenda.pending):
            nursery.start_soon(self._store.remove, removed)
        if released := [w.upload.id for w in works if w.release and not w.remove]:
            nursery.start_soon(self._store.release, released)
        for number, work in enumerate(works):
            if number % TOLD_AT_ONCE == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
            self._tell(work)
        self._drained.set()
        self._drained = trio.Event()

    async def _files(self, works: list[Work]) -> None:
        store, wanted = self._store, {w.upload.id: w for w in works if w.flushes}
        publishing = {id for id, work in wanted.items() if work.path is not None}
        ids = [id for id in wanted if id in publishing or store.unflushed(id) or store.nameless(id)]
        for id in ids:
            self.storing(wanted[id].upload)
        if ids:
            for id, outcome in (await store.flush(ids, publishing)).items():
                wanted[id].heard(outcome)

    async def _intend(self, works: list[Work]) -> None:
        """Declare complete those that are to be published, and note what will be linked."""
        wanted = [w for w in works if w.path is not None and w.error is None]
        if not wanted:
            return
        found = await self._store.identities([w.upload.id for w in wanted])
        for work in wanted:
            work.intend(found.get(work.upload.id), self._now())

    async def _remember(self, works: list[Work]) -> None:
        entries = Entries()
        writing = [work for work in works if work.writes]
        for work in writing:
            entries.events += self.hooks.events(work.upload, ended=work.remove)
            nameless = self._store.nameless(work.upload.id)
            work.enter(entries, self._now(), self._ledger.boot, nameless=nameless)
        if not entries:
            return
        try:
            await self._record(entries, writing)
        except NoSpace as error:
            self._no_room(writing, error)
            return
        for work in writing:
            self.stored += work.upload.hold(work.newly)
            work.upload.enrolled = True
        for owner, notice in entries.notices:
            self.noted(owner, notice)
        if entries.events:
            self.hooks.wake()

    async def _record(self, entries: Entries, works: list[Work]) -> None:
        """Commit.  Without room, what is gone makes some: nobody wants its bytes any more."""
        try:
            await self._ledger.commit(entries)
        except NoSpace:
            if not (doomed := [w.upload.id for w in works if w.doomed]):
                raise
            # Killed between these two, recovery calls it lost: gone as well, and for good.
            await self._store.remove(doomed)
            await self._ledger.commit(entries)

    def _no_room(self, works: list[Work], error: NoSpace) -> None:
        """Nothing was remembered: what is durable stays so, and is tried again."""
        for work in works:
            if work.upload.state is State.FINALIZING:
                work.upload.move(Input.REOPEN)
            again = self._agenda.work(work.upload)
            again.newly = again.newly.union(work.newly)
            if work.upload.enrolled or work.upload.state is not State.RECEIVING:
                again.save, again.remove = True, again.remove or work.remove
            work.error = error
        self._full = True
        self._agenda.later(NO_ROOM_PAUSE)

    async def _name(self, works: list[Work]) -> None:
        wanted = {w.upload.id: w for w in works if w.path is not None and w.error is None}
        if not wanted:
            return
        links = [Publication(id, work.path or "") for id, work in wanted.items()]
        for id, result in (await self._store.publish(links)).items():
            work, upload = wanted[id], wanted[id].upload
            if isinstance(result, StoreError):
                upload.move(Input.REOPEN)
                work.error = result
                self._agenda.work(upload).save = True  # or nobody could go on with it later
                self._agenda.later(self._flush_interval)
                continue
            self.mark_published(upload, result)

    def mark_published(self, upload: Upload, published: Published) -> None:
        """Note that *upload* is under its name; the next batch writes it down, unhurried."""
        upload.published, upload.identity = published, published.identity
        self.stored += upload.hold(NOTHING.add(0, upload.length or 0))
        upload.move(Input.PUBLISH)
        after = self._agenda.work(upload)
        after.save = after.remove = True
        self._agenda.later(self._flush_interval)

    def _tell(self, work: Work) -> None:
        """To the claims first: nobody hears that it is durable before the offset says so."""
        if isinstance(work.error, StoreError):
            self.failed(work.upload, copy(work.error))  # each is told its own offset
        elif not (work.remove and work.upload.state is State.PUBLISHED):  # that was told before
            self.moved(work.upload)
        for then in work.then:
            then(work.error)
