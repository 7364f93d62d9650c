"""How uploads end when they are not published, and published ones later."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Final
from weakref import WeakValueDictionary

from uploadd import errors
from uploadd.claims import Claims
from uploadd.commit import Commit
from uploadd.errors import Refused, UploadError
from uploadd.hooks import Hooks
from uploadd.ledger import Ledger
from uploadd.protocol.hooks import PRE_TERMINATE
from uploadd.protocol.tickets import is_spent
from uploadd.protocol.upload import GONE, Input, State, Upload, gone
from uploadd.quota import Quota
from uploadd.store.contract import Store

AT_ONCE: Final = 512
"""Ids of stale uploads that are read at a time."""


class Endings(Claims):
    """The ends of every upload; `Uploads` knows how to find them."""

    hooks: Hooks
    ledger: Ledger
    _keys: WeakValueDictionary[tuple[str, str], Upload]

    def __init__(
        self,
        store: Store,
        commit: Commit,
        max_length: int | None,
        quota: Quota,
        now: Callable[[], float],
    ) -> None:
        super().__init__(store, commit, max_length, quota, now)
        self._doomed: set[str] = set()  # somebody has asked for their end
        self.deleting: set[str] = set()
        """Ids of published uploads whose files are being removed, or are already."""

    @abstractmethod
    async def look_up(self, id: str) -> Upload:
        """As `Uploads.find`, in passing: it is kept by nobody but the caller."""

    async def terminate(self, upload: Upload, what: Input) -> None:
        """End *upload* as its peer wants it, by CANCEL or DELETE.  Hooks may be against it.

        Raises Refused, HookFailed, and as `cancel` and `delete` do.
        """
        if upload.state not in GONE and self.hooks.wants(PRE_TERMINATE):
            await self.hooks.terminate(upload)
        if what is Input.DELETE:
            await self.delete(upload)
        else:
            await self.cancel(upload)

    async def stop(self, upload: Upload, refused: Refused) -> None:
        """End *upload*, of which a hook wants no more: its holder is told."""
        with suppress(UploadError):
            await self.cancel(upload, reason=refused)

    async def cancel(
        self, upload: Upload, what: Input = Input.CANCEL, *, reason: UploadError | None = None
    ) -> None:
        """End an unfinished upload; its bytes are removed.  Durable when it returns.

        *what* is FAIL when nobody wanted that; *reason* is told to its holder, if it is a special
        one.
        Raises Gone, Conflict once it is complete, HolderStuck, StoreError.
        """
        self._check_free(upload)
        if upload.id in self._ending:
            await self.commit.forget(upload)  # there was no room; nobody is told before there is
        ending = gone(upload.id, GONE[upload.check(what)])
        if what is Input.FAIL and upload.id in self._doomed:
            return  # that is why it broke off
        self._doomed.add(upload.id)
        try:
            while claims := list(self._claims.get(upload.id, ())):  # more may come while we wait
                for claim in claims:
                    claim.stop(reason or ending)
                await self._let_go(upload, claims)
            self._check_free(upload)  # again: somebody may have come while we waited
            upload.move(what)
        finally:
            self._doomed.discard(upload.id)
        await self._end(upload)

    def _check_free(self, upload: Upload) -> None:
        """Raises Conflict while others are made of it."""
        if upload.id in self._pins:
            raise errors.Conflict(f"another upload is being put together from {upload.id}")

    async def _end(self, upload: Upload) -> None:
        owner, key = upload.owner, upload.key
        if not (upload.state is State.DELETED and is_spent(key)):
            upload.key = None
        upload.modified = self._now()
        self._ending[upload.id] = upload
        self._ended(upload)
        await self.commit.forget(upload)
        upload.metadata, upload.echo = upload.said  # it is in memory for a while
        if upload.key is None and key is not None and self._keys.get((owner, key)) is upload:
            del self._keys[owner, key]

    async def delete(self, upload: Upload, what: Input = Input.DELETE) -> None:
        """Remove a published upload and its file; durable when it returns.

        *what* is EXPIRE when its time is over.  A file that was changed outside stays where it is.
        Raises Gone, Conflict, StoreError.
        """
        upload.check(what)
        self.deleting.add(upload.id)
        try:
            if upload.published is not None:
                await self.store.unpublish(upload.published, upload.length or 0)
            upload.check(what)  # somebody may have been faster
            upload.move(what)
        finally:
            self.deleting.discard(upload.id)
        await self._end(upload)

    async def sweep(self, before: float) -> int:
        """Expire what nobody has touched since *before*, in epoch seconds; how many it was."""
        count = 0
        needed = set(self._pins)  # also by what ends in this sweep: those have time until the next
        async with aclosing(self.stale(before)) as found:
            async for upload in found:
                needed |= self._pins.keys()
                if upload.id not in needed:
                    upload.move(Input.EXPIRE)
                    await self._end(upload)
                    count += 1
        return count

    async def stale(self, before: float) -> AsyncGenerator[Upload, None]:
        """What nobody has touched since *before*, in epoch seconds, and nobody needs."""
        after = ""
        while ids := await self.ledger.stale(before, after, AT_ONCE):
            after = ids[-1]
            for id in ids:
                upload = await self.look_up(id)
                if self._is_stale(upload, before) and id not in self._pins:
                    yield upload

    def _is_stale(self, upload: Upload, before: float) -> bool:
        idle = upload.state is State.RECEIVING and upload.id not in self._claims
        return idle and upload.modified < before
