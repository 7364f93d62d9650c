"""The desk: create, find, claim with takeover by the newest, complete, cancel.

An `Upload` is in memory as long as somebody holds it; else the ledger knows it.  The line that
moves an offset (in the group commit) is the line that tells the claims of that upload.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

import trio

from uploadd import errors
from uploadd.claim import Claim
from uploadd.commit import Commit
from uploadd.errors import StoreError, UploadError
from uploadd.ledger import Ledger
from uploadd.protocol import names
from uploadd.protocol.upload import Input, Run, State, Upload
from uploadd.store.contract import Store

LET_GO: Final = 1.0
"""Seconds that an old holder has to be released in; after that it is stuck in the disk."""
ROOM_AGE: Final = 1.0
"""Seconds for which the free space that was read counts as known."""
HASH_STEP: Final = 4 << 20


class Uploads:
    """Every upload of this daemon.  *template* is ``storage.path``; lengths in bytes."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        commit: Commit,
        *,
        template: str = "{folder}/{name}",
        max_length: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        names.check_template(template)
        self.store, self.commit, self.max_length = store, commit, max_length
        self._ledger, self._template, self._now = ledger, template, now
        self._live: WeakValueDictionary[str, Upload] = WeakValueDictionary()
        self._keys: WeakValueDictionary[tuple[str, str], Upload] = WeakValueDictionary()
        self._claims: dict[str, list[Claim]] = {}
        self._ending: dict[str, Upload] = {}  # gone, and the ledger does not know it yet
        self._hashing = trio.CapacityLimiter(2)
        self._room = (0, float("-inf"))
        commit.moved, commit.failed = self._moved, self._failed

    # --- create and find --------------------------------------------------------------------

    async def room_for(self, length: int | None) -> None:
        """Refuse an upload of *length* before its first byte.  Raises TooLarge or NoSpace."""
        if self.max_length is not None and (length or 0) > self.max_length:
            raise errors.TooLarge(
                f"the file has {length} bytes, the limit here is {self.max_length}"
            )
        room, read = self._room
        if trio.current_time() - read > ROOM_AGE:
            room = await self.store.room()
            self._room = (room, trio.current_time())
        if (length or 1) > room:
            raise errors.NoSpace(f"the upload needs {length or 'some'} bytes, {room} are free")

    def create(
        self,
        *,
        name: str | None = None,
        length: int | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        owner: str = "",
        key: str | None = None,
        digest: bytes | None = None,
    ) -> Upload:
        """A new upload, in memory: it has a row from its first commit on (see `Commit.enrol`)."""
        upload = Upload(
            id=secrets.token_urlsafe(18),
            name=name,
            length=length,
            media_type=media_type,
            metadata=dict(metadata or {}),
            owner=owner,
            key=key,
            digest=digest,
            created=self._now(),
        )
        self._live[upload.id] = upload
        if key is not None:
            self._keys[owner, key] = upload
        return upload

    async def find(self, id: str) -> Upload:
        """The upload with this id, whatever its state.  Raises NotFound."""
        upload = self._live.get(id) or self._adopt(await self._ledger.find(id))
        if upload is None:
            raise errors.NotFound(f"there is no upload {id}")
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

    def _adopt(self, found: Upload | None) -> Upload | None:
        """The one object of an upload read from the ledger."""
        if found is None:
            return None
        upload = self._live.setdefault(found.id, found)
        if upload.key is not None:
            self._keys.setdefault((upload.owner, upload.key), upload)
        return upload

    # --- claims -----------------------------------------------------------------------------

    def contend(
        self,
        upload: Upload,
        on_stop: Callable[[UploadError], None],
        on_move: Callable[[], None],
        on_fault: Callable[[Exception], None],
    ) -> Claim:
        """Become the newest claim of *upload*, see `Claim`: every older one is told to let go.

        Call `settle` before the first byte, and `release` in any case.
        Raises Gone, or Conflict while it is being published.
        """
        if upload.id in self._ending:
            raise errors.NoSpace(f"the end of upload {upload.id} could not be written down yet")
        upload.check(Input.CLAIM)
        claim = Claim(upload, on_stop, on_move, on_fault)
        older = self._claims.setdefault(upload.id, [])
        for rival in list(older):
            rival.stop(errors.TakenOver(f"a newer claim has taken upload {upload.id}"))
        older.append(claim)
        return claim

    def _run(self, upload: Upload) -> Run:
        # Of unknown length, it ends where every upload must.
        end = self.max_length if upload.length is None else None
        return Run(upload.offset, upload.fence, end)

    def settle_new(self, claim: Claim) -> None:
        """Open the run of a claim on an upload that was just created: nothing is to wait for."""
        claim.upload.fence += 1
        claim.run = self._run(claim.upload)

    async def settle(self, claim: Claim) -> None:
        """Wait for the older claims, make their bytes durable, open the run at the true offset.

        Raises HolderStuck, StoreError, Gone, or what the claim was stopped for.  Cancelled: the
        run is not open.
        """
        upload = claim.upload
        claims = self._claims[upload.id]
        await self._let_go(upload, claims[: claims.index(claim)])  # newer ones wait for this one
        await self._make_true(upload)
        if claim.ended is not None:
            raise claim.ended
        upload.move(Input.CLAIM)
        upload.fence += 1
        claim.run = self._run(upload)

    async def _let_go(self, upload: Upload, claims: Sequence[Claim]) -> None:
        """Wait until *claims*, which are stopped, are released.  Raises HolderStuck."""
        with trio.move_on_after(LET_GO) as patience:
            for claim in claims:
                await claim.released.wait()
        if patience.cancelled_caught:
            raise errors.HolderStuck(
                f"the holder of upload {upload.id} waits for the disk", offset=upload.offset
            )

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
        claim.released.set()
        upload = claim.upload
        claims = self._claims[upload.id]
        claims.remove(claim)
        if not claims:
            del self._claims[upload.id]
            if upload.state is State.RECEIVING:
                self.commit.release(upload)

    def _moved(self, upload: Upload) -> None:
        if upload.state is not State.RECEIVING:
            self._ending.pop(upload.id, None)
        for claim in list(self._claims.get(upload.id, ())):
            claim.moved()

    def _failed(self, upload: Upload, error: UploadError) -> None:
        error.offset = upload.offset  # the copy is ours
        for claim in list(self._claims.get(upload.id, ())):
            claim.stop(error)

    # --- endings ----------------------------------------------------------------------------

    async def complete(
        self, upload: Upload, digest: bytes | None = None, claim: Claim | None = None
    ) -> None:
        """Publish an upload whose bytes are all written; durable when it returns.

        *digest*: the SHA-256 that the whole must have.  Publishing twice is no error.
        Raises Incomplete, DigestMismatch, StoreError, Gone: it can be completed again.
        """
        if upload.state is State.FINALIZING:  # it was asked for twice
            await self.commit.settle(upload)
        if upload.state is State.PUBLISHED:
            return
        upload.check(Input.COMPLETE)
        wanted = digest or upload.digest
        if wanted is not None and upload.length is not None:
            await self._check_digest(upload, upload.length, wanted, claim)
        if upload.length == 0:
            await self.store.write(upload.id, 0, [b""], whole=True)
        await self.commit.publish(upload, self._path(upload))

    def _path(self, upload: Upload) -> str:
        return names.expand(
            self._template,
            name=names.sanitise(upload.name, upload.id),
            folder=names.folders(upload.metadata.get(names.RELATIVE_PATH)),
            date=time.strftime("%Y-%m-%d", time.gmtime(upload.created)),
            id=upload.id,
            subject=names.sanitise(upload.owner, "anon"),
        )

    async def _check_digest(
        self, upload: Upload, length: int, wanted: bytes, claim: Claim | None
    ) -> None:
        digest, at = hashlib.sha256(), 0
        while at < length:
            if claim is not None and claim.ended is not None:
                raise claim.ended  # a takeover does not wait for gigabytes
            data = await self.store.read(upload.id, at, min(at + HASH_STEP, length))
            if not data:
                return  # `Commit.publish` says what is missing
            at += len(data)
            await trio.to_thread.run_sync(digest.update, data, limiter=self._hashing)
        if digest.digest() != wanted:
            raise errors.DigestMismatch(
                f"the bytes of upload {upload.id} do not have the digest that was announced",
                hint="resume and finish again with the right digest, or cancel",
            )

    async def cancel(self, upload: Upload) -> None:
        """End an unfinished upload; its bytes are removed.  Durable when it returns.

        Raises Gone, Conflict once it is complete, HolderStuck, StoreError.
        """
        if upload.id in self._ending:
            await self.commit.forget(upload)  # there was no room; nobody is told before there is
        upload.check(Input.CANCEL)
        reason = errors.Gone(f"upload {upload.id} was cancelled", reason="cancelled")
        while claims := list(self._claims.get(upload.id, ())):  # more may come while we wait
            for claim in claims:
                claim.stop(reason)
            await self._let_go(upload, claims)
        upload.move(Input.CANCEL)
        await self._end(upload)

    async def _end(self, upload: Upload) -> None:
        """Write down that *upload* is gone; only then is its key free again."""
        owner, key, upload.key = upload.owner, upload.key, None
        self._ending[upload.id] = upload
        await self.commit.forget(upload)
        if key is not None and self._keys.get((owner, key)) is upload:
            del self._keys[owner, key]
