"""The desk: create, find, claim with takeover by the newest, complete, cancel.

An `Upload` is in memory as long as somebody holds it; else the ledger knows it.  The line that
moves an offset (in the group commit) is the line that tells the claims of that upload.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Final
from weakref import WeakValueDictionary

import trio

from uploadd import errors
from uploadd.archive import Archive, Page
from uploadd.claim import Claim
from uploadd.claims import Claims
from uploadd.commit import Commit
from uploadd.digests import Digests
from uploadd.ledger import Ledger
from uploadd.naming import new_ids, path_of
from uploadd.protocol import names, saying
from uploadd.protocol.kinds import ANYTHING, HEAD, Types
from uploadd.protocol.questions import Listing
from uploadd.protocol.requests import is_part
from uploadd.protocol.tickets import is_spent
from uploadd.protocol.upload import GONE, Input, State, Upload, gone
from uploadd.quota import Quota
from uploadd.store.contract import Store

ROOM_AGE: Final = 1.0
"""Seconds for which the free space that was read counts as known."""
RECENT: Final = 1024
"""Uploads that were asked for and are kept in memory, so that they need not be looked up again."""


class Uploads(Claims):
    """Every upload of this daemon.  *template* is ``storage.path``; lengths in bytes."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        commit: Commit,
        *,
        template: str = "{folder}/{name}",
        max_length: int | None = None,
        quota: Quota | None = None,
        types: Types = ANYTHING,
        now: Callable[[], float] = time.time,
    ) -> None:
        names.check_template(template)
        super().__init__(store, commit, max_length, quota, now)
        self.types = types
        self._ledger, self._template = ledger, template
        self._live: WeakValueDictionary[str, Upload] = WeakValueDictionary()
        self._keys: WeakValueDictionary[tuple[str, str], Upload] = WeakValueDictionary()
        self.digests = Digests(store)
        self.archive = Archive(ledger)
        self._doomed: set[str] = set()  # somebody has asked for their end
        self._room = (0, float("-inf"))
        self._ids = new_ids()
        self._recent: deque[Upload] = deque(maxlen=RECENT)

    def adopt(self, *, template: str, max_length: int | None, types: Types) -> None:
        """Go by new settings from the next upload on."""
        self._template, self.max_length, self.types = template, max_length, types

    # --- create and find --------------------------------------------------------------------

    async def room_for(self, length: int | None) -> None:
        """Refuse an upload of *length* before its first byte.  Raises TooLarge or NoSpace."""
        if self.max_length is not None and (length or 0) > self.max_length:
            raise errors.TooLarge(saying.too_large(length or 0, self.max_length))
        room, read = self._room
        if trio.current_time() - read > ROOM_AGE:
            room = await self.store.room()
            self._room = (room, trio.current_time())
        if (length or 1) > room:
            raise errors.NoSpace(await self._no_room(length, room))

    async def _no_room(self, length: int | None, room: int) -> str:
        needs, free = saying.compared(length or 1, room)
        wanted = f"the upload needs {needs}, " if length is not None else ""
        count, held = await self.archive.unfinished()
        others = f"; {saying.plural(count, 'unfinished upload')}: {saying.size(held)}"
        return f"no room: {wanted}{free} free beyond the reserve{others if count else ''}"

    def create(
        self,
        *,
        name: str | None = None,
        length: int | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        echo: Mapping[str, str] | None = None,
        owner: str = "",
        key: str | None = None,
        digest: bytes | None = None,
    ) -> Upload:
        """A new upload, in memory: it has a row from its first commit on (see `Commit.enrol`).

        Raises OverQuota.
        """
        upload = Upload(
            id=next(self._ids),
            name=name,
            length=length,
            media_type=media_type,
            metadata=dict(metadata or {}),
            echo=dict(echo or {}),
            owner=owner,
            key=key,
            digest=digest,
            created=self._now(),
            modified=self._now(),
        )
        if self.quota is not None:
            self.quota.enter(upload)
        self._live[upload.id] = upload
        if key is not None:
            self._keys[owner, key] = upload
        return upload

    async def find(self, id: str) -> Upload:
        """The upload with this id, whatever its state.  Raises NotFound."""
        upload = self._live.get(id)
        if upload is None:
            upload = self._adopt(await self._ledger.find(id))
            if upload is None:
                raise errors.NotFound(f"there is no upload {id}")
            self._recent.append(upload)
        return upload

    async def find_key(self, owner: str, key: str) -> Upload | None:
        """The upload that *owner* began with this idempotency key; None once it is gone.

        Right after it returned None, without a checkpoint between, `create` takes the key.
        """
        upload = self._keys.get((owner, key))
        if upload is None:
            upload = self._adopt(await self._ledger.find_key(owner, key))
            upload = self._keys.get((owner, key)) or upload  # somebody was faster
        return upload

    async def unfinished(self) -> list[Upload]:
        """Every upload that the ledger knows as unfinished."""
        found = [self._adopt(upload) for upload, _ in await self._ledger.unfinished()]
        return [upload for upload in found if upload is not None]

    async def page(self, asked: Listing, owner: str | None) -> Page:
        """As `Archive.page`, with the one object of each upload."""
        found = await self.archive.page(asked, owner)
        return found._replace(uploads=[self._adopt(upload) or upload for upload in found.uploads])

    def _adopt(self, found: Upload | None) -> Upload | None:
        """The one object of an upload read from the ledger."""
        if found is None:
            return None
        upload = self._live.setdefault(found.id, found)
        if upload.key is not None:
            self._keys.setdefault((upload.owner, upload.key), upload)
        return upload

    # --- endings ----------------------------------------------------------------------------

    async def complete(
        self, upload: Upload, digest: bytes | None = None, claim: Claim | None = None
    ) -> None:
        """Publish an upload whose bytes are all written; durable when it returns.

        *digest*: the SHA-256 that the whole must have.  Publishing twice is no error.
        Raises Incomplete, DigestMismatch, StoreError, Gone: it can be completed again.
        Raises TypeNotAllowed, and then it has ended.
        """
        if upload.state is State.FINALIZING:  # it was asked for twice
            await self.commit.settle(upload)
        if upload.state is State.PUBLISHED:
            return
        upload.check(Input.COMPLETE)
        if is_part(upload.echo):
            raise errors.NotAppendable(f"upload {upload.id} is a part: others are made of it")
        with claim.working() if claim is not None else nullcontext():
            self.watch.moved(upload)  # all is here
            if self.types.restrict:
                await self.check_content(upload)
            wanted = digest or upload.digest
            if wanted is not None and upload.length is not None:
                with self.checking(upload):
                    await self.digests.check(upload, upload.length, wanted, claim)
            if upload.length == 0:
                await self.store.write(upload.id, 0, [b""], whole=True)
            await self.commit.publish(upload, path_of(self._template, upload))

    async def check_content(self, upload: Upload) -> None:
        """Look at how *upload* begins, whose first bytes are written.

        Raises TypeNotAllowed, and then it has ended: nothing that follows could mend it.
        """
        begins = await self.store.read(upload.id, 0, HEAD) if upload.length != 0 else b""
        try:
            self.types.check_content(upload.name, upload.media_type, begins)
        except errors.TypeNotAllowed:
            upload.move(Input.FAIL)
            await self._end(upload)
            raise

    async def digest(self, upload: Upload) -> bytes | None:
        """The SHA-256 of a complete upload: as it was declared and compared, else computed."""
        if upload.state is not State.PUBLISHED or upload.published is None:
            return None
        if upload.digest is None:
            place, length = upload.published, upload.length or 0
            fd = await self.store.open_published(place, length)
            try:
                upload.digest = await self.digests.read(fd, length)
            finally:
                with trio.CancelScope(shield=True):  # the last close may free a large file
                    await trio.to_thread.run_sync(os.close, fd)
        return upload.digest

    async def cancel(self, upload: Upload, what: Input = Input.CANCEL) -> None:
        """End an unfinished upload; its bytes are removed.  Durable when it returns.

        *what* is FAIL when nobody wanted that.
        Raises Gone, Conflict once it is complete, HolderStuck, StoreError.
        """
        self._check_free(upload)
        if upload.id in self._ending:
            await self.commit.forget(upload)  # there was no room; nobody is told before there is
        reason = gone(upload.id, GONE[upload.check(what)])
        if what is Input.FAIL and upload.id in self._doomed:
            return  # that is why it broke off
        self._doomed.add(upload.id)
        try:
            while claims := list(self._claims.get(upload.id, ())):  # more may come while we wait
                for claim in claims:
                    claim.stop(reason)
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
        self._ending[upload.id] = upload
        self._ended(upload)
        await self.commit.forget(upload)
        if upload.key is None and key is not None and self._keys.get((owner, key)) is upload:
            del self._keys[owner, key]

    async def delete(self, upload: Upload) -> None:
        """Remove a published upload and its file; durable when it returns.

        A file that was changed outside stays where it is.  Raises Gone, Conflict, StoreError.
        """
        upload.check(Input.DELETE)
        if upload.published is not None:
            await self.store.unpublish(upload.published, upload.length or 0)
        upload.check(Input.DELETE)  # somebody may have been faster
        upload.move(Input.DELETE)
        await self._end(upload)

    async def sweep(self, before: float) -> int:
        """Expire what nobody has touched since *before*, in epoch seconds; how many it was."""
        count = 0
        needed = set(self._pins)  # also by what ends in this sweep: those have time until the next
        for id in await self._ledger.stale(before):
            upload = await self.find(id)
            idle = upload.state is State.RECEIVING and id not in self._claims
            needed |= self._pins.keys()
            if idle and id not in needed and upload.modified < before:
                upload.move(Input.EXPIRE)
                await self._end(upload)
                count += 1
        return count
