"""Who may append: the newest claim of an upload, once the older ones have let go."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import trio

from uploadd import errors
from uploadd.claim import Claim
from uploadd.commit import Commit
from uploadd.errors import StoreError, UploadError
from uploadd.lines import told_end
from uploadd.protocol.seen import Glance
from uploadd.protocol.upload import Input, Run, State, Upload
from uploadd.quota import Quota
from uploadd.store.contract import Store
from uploadd.tally import NO_WAY, Tally, Way
from uploadd.watch import Watch

log = logging.getLogger("uploadd.upload")
LET_GO: Final = 1.0
"""Seconds that an old holder has to be released in; after that it is stuck in the disk."""
FLUSHED: Final = 10.0
"""Seconds in which what was taken becomes durable for who asks where to go on: a proxy that waits
for longer says 504, and to that some clients begin again from nothing."""


class Claims(ABC):
    """The claims of every upload; the line that moves an offset tells them.

    `Uploads` is the only one of its kind: it knows how an upload ends.
    """

    def __init__(
        self,
        store: Store,
        commit: Commit,
        max_length: int | None,
        quota: Quota,
        now: Callable[[], float],
    ) -> None:
        self.quota = quota
        self.store, self.commit, self.max_length, self._now = store, commit, max_length, now
        self._claims: dict[str, list[Claim]] = {}
        self._ending: dict[str, Upload] = {}  # gone, and the ledger does not know it yet
        self._movements: dict[str, set[trio.Event]] = {}
        self._pins: Counter[str] = Counter()
        self._checking: Counter[str] = Counter()
        self.watch = Watch(self._glance)
        self.tally = Tally()
        self.interruptible: set[Claim] = set()
        """Claims whose holders can go on later: a daemon that stops need not wait for them."""
        commit.moved, commit.failed = self._moved, self._failed
        commit.noted = self.watch.noted
        if store.grain > 1:  # a part may take long, and those who watch want to know
            commit.storing = self.watch.moved

    @abstractmethod
    async def _end(self, upload: Upload) -> None:
        """Write down that *upload* is gone; only then is its key free again."""

    def contend(
        self,
        upload: Upload,
        on_stop: Callable[[UploadError], None],
        on_move: Callable[[], None],
        on_fault: Callable[[Exception], None],
        *,
        at: int | None = None,
        way: Way = NO_WAY,
    ) -> Claim:
        """Become the newest claim of *upload*, see `Claim`: every older one is told to let go.

        *at*: where the new one means to go on.  If the holder is beyond, nobody is told anything.
        *way*: by which its bytes will come.
        Call `settle` before the first byte, and `release` in any case.
        Raises Gone, OffsetMismatch, or Conflict while it is being published or ended.
        """
        if upload.id in self._ending:
            raise errors.Conflict(f"the end of upload {upload.id} is not written down yet")
        upload.check(Input.CLAIM)
        claim = Claim(upload, on_stop, on_move, on_fault, way=way)
        claim.most, claim.on_durable = self.max_length, self.tally.waited
        claim.settled = partial(self.commit.is_settled, upload)
        older = self._claims.setdefault(upload.id, [])
        if at is not None and older and older[-1].is_beyond(at):
            told = f"somebody else appends to upload {upload.id}, and is beyond {at}"
            raise errors.OffsetMismatch(told, offset=upload.offset)
        for rival in list(older):
            rival.stop(errors.TakenOver(f"a newer claim has taken upload {upload.id}"))
        older.append(claim)
        self.tally.claimed(upload, way)
        return claim

    def holder(self, upload: Upload) -> Claim | None:
        """The newest claim of *upload*; None when nobody has one."""
        claims = self._claims.get(upload.id)
        return claims[-1] if claims else None

    def _run(self, claim: Claim) -> Run:
        upload = claim.upload
        return Run(upload.offset, upload.fence, claim.most if upload.length is None else None)

    def settle_new(self, claim: Claim) -> None:
        """Open the run of a claim on an upload that was just created: nothing is to wait for."""
        claim.upload.fence += 1
        claim.run = self._run(claim)
        self.tally.created[claim.way.wire] += 1
        self.watch.moved(claim.upload)

    async def settle(self, claim: Claim) -> None:
        """Wait for the older claims, make their bytes durable, open the run at the true offset.

        Raises HolderStuck, StoreError, Gone, or what the claim was stopped for.  Cancelled: the
        run is not open.
        """
        upload = claim.upload
        claims = self._claims[upload.id]
        await self._let_go(upload, claims[: claims.index(claim)])  # newer ones wait for this one
        await self._make_true(upload)
        claim.check()
        upload.move(Input.CLAIM)
        upload.fence += 1
        claim.run = self._run(claim)
        self.tally.went_on(upload, claim.way)
        self.watch.moved(upload)

    async def retrieve(self, upload: Upload, *, ends: bool) -> None:
        """Make `offset` the place where the next append will go on: what was taken is flushed.

        The holder keeps the upload as long as its bytes move, unless that *ends*.
        Raises HolderStuck, Gone.
        """
        claims = self._claims.get(upload.id)
        if claims and not ends:  # who ends it waits for its release
            with _patience(upload, LET_GO):
                await claims[-1].catch_up()
            claims = self._claims.get(upload.id)
        broken = self.store.failed(upload.id)  # only who holds it may mend it
        wanted = broken or (claims and (ends or claims[-1].quiet))
        # What is durable stays so when the medium fails, and that is told.
        with _patience(upload, FLUSHED), suppress(StoreError):
            if upload.state is not State.RECEIVING or not wanted:
                await self.commit.settle(upload)
                return
            claim = self.contend(upload, _ignore, _nothing, _ignore)
            try:
                await self.settle(claim)
            finally:
                self.release(claim)

    def reserve(self, upload: Upload, upto: int) -> None:
        """Have what its owner may have for *upload* up to that byte, while its length is unknown.

        Raises OverQuota.
        """
        if upload.length is None:
            self.quota.extend(upload, upto)

    async def _let_go(self, upload: Upload, claims: Sequence[Claim]) -> None:
        """Wait until *claims*, which are stopped, are released.  Raises HolderStuck."""
        with _patience(upload, LET_GO):
            for claim in claims:
                await claim.released.wait()

    async def _make_true(self, upload: Upload) -> None:
        """Leave nothing written that is not durable."""
        try:
            await self.commit.settle(upload)
        except StoreError:
            if not self.store.failed(upload.id):
                raise
        if self.store.failed(upload.id):
            try:
                await self.store.rewind(upload.id, upload.held)
            except LookupError:
                upload.move(Input.LOSE)
                await self._end(upload)
                upload.check(Input.APPEND)  # raises Gone

    def release(self, claim: Claim) -> None:
        """Give the claim back: nothing of its holder can be written any more.  Idempotent."""
        if claim.released.is_set():
            return
        claim.let_go()
        upload = claim.upload
        claims = self._claims[upload.id]
        claims.remove(claim)
        self.tally.let_go(upload, claim.way, claim.run.start, claim.run.received)
        if not claims:
            del self._claims[upload.id]
            self.watch.moved(upload)
            if upload.state is State.RECEIVING:
                upload.modified = self._now()
                self.commit.release(upload)

    def _moved(self, upload: Upload) -> None:
        ended = False
        if not self.commit.is_ending(upload):  # else that was of a batch before its end
            ended = self._ending.pop(upload.id, None) is not None
        if upload.state is State.PUBLISHED:
            self._ended(upload)
        self.quota.moved(upload, ended=ended, held=upload.id in self._claims)
        self.watch.moved(upload)
        for claim in list(self._claims.get(upload.id, ())):
            claim.moved()
        for event in self._movements.pop(upload.id, ()):
            event.set()

    def _ended(self, upload: Upload) -> None:
        """Count how *upload* has ended, and say so in the one line that there is of it."""
        self.tally.ended(upload, self._now())
        told_end(upload, self.tally.way(upload), self._now() - upload.created)

    def moving(self) -> Iterator[Claim]:
        """The claims that bytes come by now."""
        for claims in self._claims.values():
            yield from claims

    def _glance(self, upload: Upload) -> Glance:
        """What those who watch *upload* see of it beside what is durable."""
        claims, checking = self._claims.get(upload.id), upload.id in self._checking
        received = claims[-1].run.received if claims else 0
        return Glance(max(received, upload.held.end), bool(claims), checking, self.store.grain)

    @contextmanager
    def checking(self, upload: Upload) -> Iterator[None]:
        """Tell those who watch that *upload* is compared with its digest while the block runs."""
        self._checking[upload.id] += 1
        self.watch.moved(upload)
        try:
            yield
        finally:
            self._checking[upload.id] -= 1
            self._checking += Counter()
            self.watch.moved(upload)

    @contextmanager
    def pinned(self, ids: Collection[str]) -> Iterator[None]:
        """Let nobody end the uploads *ids* while the block runs: others are made of them."""
        self._pins.update(ids)
        try:
            yield
        finally:
            for id in ids:
                self._pins[id] -= 1
                if not self._pins[id]:
                    del self._pins[id]

    async def movement(self, *uploads: Upload) -> None:
        """Wait until the durable offset or the state of one of *uploads* has changed."""
        event = trio.Event()
        for upload in uploads:
            self._movements.setdefault(upload.id, set()).add(event)
        try:
            await event.wait()
        finally:
            for upload in uploads:
                waiting = self._movements.get(upload.id, set())
                waiting.discard(event)
                if not waiting:
                    self._movements.pop(upload.id, None)

    def _failed(self, upload: Upload, error: UploadError) -> None:
        self.tally.store_errors[error.code] += 1
        error.offset = upload.offset  # the copy is ours
        self.quota.moved(upload, ended=False, held=upload.id in self._claims)
        for claim in list(self._claims.get(upload.id, ())):
            claim.stop(error)


@contextmanager
def _patience(upload: Upload, seconds: float) -> Iterator[None]:
    """Raises HolderStuck when the block takes longer."""
    with trio.move_on_after(seconds) as patience:
        yield
    if patience.cancelled_caught:
        told = f"what came of upload {upload.id} waits for the disk"
        raise errors.HolderStuck(told, offset=upload.offset)


def _ignore(error: Exception) -> None:
    """For claims that are given back at once: nothing of them can be stopped."""


def _nothing() -> None:
    """Nobody is to be told."""
