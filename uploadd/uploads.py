"""The desk: create, find, claim with takeover by the newest, complete, cancel.

An `Upload` is in memory as long as somebody holds it; else the ledger knows it.  The line that
moves an offset (in the group commit) is the line that tells the claims of that upload.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Final
from weakref import WeakValueDictionary

import trio

from uploadd import errors
from uploadd.archive import Archive, Page
from uploadd.claim import Claim
from uploadd.commit import Commit
from uploadd.digests import Digests
from uploadd.endings import Endings
from uploadd.hooks import Hooks
from uploadd.hooks.delivery import Delivery
from uploadd.ledger import Ledger
from uploadd.naming import new_ids, path_of
from uploadd.outbox import Outbox
from uploadd.protocol import names, saying
from uploadd.protocol.hooks import PRE_FINISH
from uploadd.protocol.kinds import ANYTHING, HEAD, Types
from uploadd.protocol.questions import Listing
from uploadd.protocol.requests import is_part
from uploadd.protocol.upload import Input, Published, State, Upload
from uploadd.quota import Quota
from uploadd.refusals import Refusals
from uploadd.store.contract import Store
from uploadd.store.reading import opened

ROOM_AGE: Final = 1.0
"""Seconds for which the free space that was read counts as known."""
RECENT: Final = 1024
"""Uploads that were asked for and are kept in memory, so that they need not be looked up again."""
SAID: Final = 2048
"""Letters that may have been said of each of them."""


class Uploads(Endings):
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
        hooks: Hooks | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        names.check_template(template)
        super().__init__(store, commit, max_length, quota or Quota(), now)
        self.types = types
        self.hooks = commit.hooks = Hooks() if hooks is None else hooks
        self.hooks.tally = self.tally
        self.refusals = Refusals(self.tally)
        self.ledger, self._template = ledger, template
        self._live: WeakValueDictionary[str, Upload] = WeakValueDictionary()
        self._keys: WeakValueDictionary[tuple[str, str], Upload] = WeakValueDictionary()
        self.digests = Digests(store)
        self.archive = Archive(ledger)
        self.delivery = Delivery(self.hooks, Outbox(ledger))
        self._room, self._asking = (0, float("-inf")), trio.Lock()
        self._ids = new_ids()
        self._recent: deque[Upload] = deque(maxlen=RECENT)

    def adopt(self, *, template: str, max_length: int | None, types: Types) -> None:
        """Go by new settings from the next upload on."""
        self._template, self.max_length, self.types = template, max_length, types

    # --- create and find --------------------------------------------------------------------

    def declare(self, claim: Claim, length: int) -> None:
        """Fix the length that was put off, for who holds *claim*.

        Raises TooLarge, OverQuota, LengthConflict.
        """
        upload, most = claim.upload, claim.most
        if upload.length is None and most is not None and length > most:
            raise errors.TooLarge(saying.too_large(length, most))
        self.reserve(upload, length)
        upload.declare(length, claim.run.received)
        claim.run.end = None

    async def room_for(self, length: int | None) -> None:
        """Refuse an upload of *length* before its first byte.  Raises TooLarge or NoSpace."""
        if self.max_length is not None and (length or 0) > self.max_length:
            raise errors.TooLarge(saying.too_large(length or 0, self.max_length))
        if trio.current_time() - self._room[1] > ROOM_AGE:
            await self._ask_room()
        room, _ = self._room
        if (length or 1) > room:
            raise errors.NoSpace(await self._no_room(length, room))

    async def _ask_room(self) -> None:
        """Read what is free; one does it for all who have to know."""
        async with self._asking:
            if trio.current_time() - self._room[1] > ROOM_AGE:
                self._room = (await self.store.room(), trio.current_time())

    async def _no_room(self, length: int | None, room: int) -> str:
        needs, free = saying.compared(length or 1, room)
        wanted = f"the upload needs {needs}, " if length is not None else ""
        count, held = await self.archive.unfinished()
        others = (
            f"; {saying.plural(count, 'unfinished upload')}: {saying.size(held)}"
            " (uploadd gc --dry-run)"
        )
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

        Raises BadRequest for a name that is too long, OverQuota.
        """
        names.check(name)
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
        self.quota.enter(upload)
        self._live[upload.id] = upload
        if key is not None:
            self._keys[owner, key] = upload
        return upload

    async def find(self, id: str) -> Upload:
        """The upload with this id, whatever its state.  Raises NotFound."""
        upload = self._live.get(id)
        if upload is None:
            upload = await self.look_up(id)
            if upload.letters <= SAID:
                self._recent.append(upload)
        return upload

    async def look_up(self, id: str) -> Upload:
        """As `find`, in passing: it is kept by nobody but the caller."""
        upload = self._live.get(id) or self._adopt(await self.ledger.find(id))
        if upload is None:
            raise errors.NotFound(f"there is no upload {id}")
        return upload

    async def find_key(self, owner: str, key: str) -> Upload | None:
        """The upload that *owner* began with this idempotency key; None once it is gone.

        Right after it returned None, without a checkpoint between, `create` takes the key.
        """
        upload = self._keys.get((owner, key))
        if upload is None:
            upload = self._adopt(await self.ledger.find_key(owner, key))
            upload = self._keys.get((owner, key)) or upload  # somebody was faster
        return upload

    async def find_all(
        self, ids: Collection[str], owner: str, keys: Collection[str]
    ) -> list[Upload]:
        """The uploads with these ids, and those that *owner* began with these keys: one look."""
        live = [upload for id in ids if (upload := self._live.get(id)) is not None]
        live += [upload for key in keys if (upload := self._keys.get((owner, key))) is not None]
        ids = [id for id in ids if id not in self._live]
        keys = [key for key in keys if not (key in self._live or (owner, key) in self._keys)]
        if not ids and not keys:
            return live
        found = await self.ledger.find_all(ids, owner, keys)
        return live + [self._adopt(upload) or upload for upload in found]

    def live(self) -> list[Upload]:
        """The uploads that somebody has in hand."""
        return list(self._live.values())

    async def page(self, asked: Listing, owner: str | None) -> Page:
        """As `Archive.page`, with the one object of each upload."""
        return await self.archive.page(asked, owner, self.find_all)

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
            if self.hooks.wants(PRE_FINISH):
                await self._ask(upload, claim)
            await self.commit.publish(upload, path_of(self._template, upload))

    async def _ask(self, upload: Upload, claim: Claim | None) -> None:
        """Let hooks have a say before *upload* is published; it has a name by then, and is durable.

        Raises Refused, HookFailed, and what *claim* was stopped for meanwhile.
        """
        await self.commit.settle(upload)
        await self.hooks.finish(upload)
        if claim is not None:
            claim.check()
        upload.check(Input.COMPLETE)

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
        """The SHA-256 of a complete upload: declared and compared, else computed.

        Once, however many ask while it is in memory.
        """
        if upload.state is not State.PUBLISHED or upload.published is None:
            return None
        if upload.digest is None:
            async with self.digests.alone(upload.id):
                if upload.digest is None:
                    await self._compute(upload, upload.published, upload.length or 0)
        return upload.digest

    async def _compute(self, upload: Upload, place: Published, length: int) -> None:
        async with opened(self.store, place, length) as fd:
            upload.digest = await self.digests.read(fd, length)
