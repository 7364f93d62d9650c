"""Create and append over HTTP; the dialects say how that is asked for and answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, TypeAlias

import trio

from uploadd import errors
from uploadd.auth import Access
from uploadd.budget import Budget
from uploadd.claim import Claim
from uploadd.claims import LET_GO
from uploadd.errors import Conflict, Draining, HolderStuck, HookFailed, StoreError, UploadError
from uploadd.measures import Measures
from uploadd.protocol.checksums import Announced, Checksum
from uploadd.protocol.hooks import Draft
from uploadd.protocol.requests import Append, Create, is_part
from uploadd.protocol.upload import Input, State, Upload
from uploadd.serve.admitting import asking, invite, measured
from uploadd.serve.appending import Body
from uploadd.serve.checked import CheckedBody
from uploadd.serve.exchange import Exchange
from uploadd.serve.holding import Holder, holding
from uploadd.uploads import Uploads

CANCEL_SECONDS: Final = 5.0
Begun: TypeAlias = Callable[[Upload], Awaitable[None]]
Trailer: TypeAlias = Callable[[Iterable[tuple[bytes, bytes]]], Checksum | None]


class Verbs:
    """What HTTP clients do to *uploads*; bodies in memory are charged to *budget*.

    *access* says who may begin one; who goes on with one has been asked before.
    """

    def __init__(
        self, uploads: Uploads, budget: Budget, access: Access, measures: Measures | None
    ) -> None:
        self._uploads, self._budget, self._access = uploads, budget, access
        self._measures = measures

    def adopt(self, measures: Measures | None) -> None:
        """Count by *measures* from the next body on."""
        self._measures = measures

    async def create(
        self,
        exchange: Exchange,
        ask: Create,
        begun: Begun | None = None,
        trailer: Trailer | None = None,
    ) -> Upload:
        """A new upload, with the body of *exchange* if it belongs to it; durable.

        *begun* is awaited when the upload is remembered, and before its body is asked for;
        *trailer* reads the checksum that was announced out of the fields behind the body.
        Raises as `holding` and `Body.take` do; one that cannot be resumed is then thrown away.
        """
        self._uploads.types.check_name(ask.name, ask.media_type)
        draft = Draft(
            name=ask.name,
            length=ask.length,
            media_type=ask.media_type,
            metadata=ask.metadata,
            echo=ask.echo,
        )
        key, draft = await invite(self._uploads, self._access, exchange, draft)
        upload = self._uploads.create(
            name=draft.name,
            length=ask.length,
            media_type=draft.media_type,
            metadata=draft.metadata,
            echo=draft.echo,
            owner=exchange.who.owner,
            key=key,
            digest=ask.digest,
        )
        upload.request = asking(self._uploads, exchange)
        try:
            await self._fill(exchange, upload, ask, begun, trailer)
        except errors.TakenOver:
            raise  # it is somebody else's now
        except BaseException:
            if not ask.resumable:
                with trio.move_on_after(CANCEL_SECONDS, shield=True), suppress(UploadError):
                    await self._uploads.cancel(upload, Input.FAIL)
            raise
        return upload

    async def _fill(
        self,
        exchange: Exchange,
        upload: Upload,
        ask: Create,
        begun: Begun | None,
        trailer: Trailer | None,
    ) -> None:
        patient = not ask.resumable
        async with holding(self._uploads, upload, exchange, patient=patient) as (claim, holder):
            if begun is not None or not ask.carries:
                await self._uploads.commit.remember(upload)
            if begun is not None:
                await begun(upload)
            if ask.carries:
                await self._take(exchange, claim, holder, ask.checksum, trailer)
            await self._end(claim, exchange, completes=ask.completes)

    async def append(
        self, exchange: Exchange, upload: Upload, ask: Append, trailer: Trailer | None = None
    ) -> None:
        """Append the body of *exchange*; durable, and published if that completes it.

        Raises as `holding` and `Body.take` do, and LengthConflict: what came before counts,
        unless the body went beyond the known length and *ask* is strict.
        """
        try:
            await self._append(exchange, upload, ask, trailer)
        except (errors.LengthConflict, errors.LengthExceeded) as error:
            known, goes_on_to = upload.length, ask.length if ask.completes else None
            exceeded = isinstance(error, errors.LengthExceeded)
            if ask.completes is None or known is None:
                raise
            if ask.strict and (exceeded or (goes_on_to or 0) > known):
                with suppress(UploadError):
                    await self._uploads.cancel(upload)
            raise errors.LengthConflict(error.message, offset=upload.offset) from error

    async def _append(
        self, exchange: Exchange, upload: Upload, ask: Append, trailer: Trailer | None
    ) -> None:
        async with holding(self._uploads, upload, exchange, at=ask.offset) as (claim, holder):
            upload.request = asking(self._uploads, exchange)
            declared = ask.length is not None and upload.length is None
            if ask.length is not None:
                self._uploads.declare(claim, ask.length)  # before the body, which may be lost
            try:
                await self._take(exchange, claim, holder, ask.checksum, trailer)
            except (errors.LengthExceeded, errors.TooLarge):
                if ask.completes is None:  # all that belongs to it is here
                    await self._end(claim, exchange, completes=None, declared=declared)
                raise
            await self._end(claim, exchange, completes=ask.completes, declared=declared)

    async def finish(self, exchange: Exchange, upload: Upload) -> None:
        """Publish *upload*, whose bytes are all here; or let its holder.

        Raises HolderStuck while that cannot be: many clients begin again from nothing at any
        other refusal that more patience would mend.  Raises Gone, DigestMismatch.
        """
        await self._let_finish(upload)
        try:
            async with holding(self._uploads, upload, exchange, at=upload.offset) as (claim, _):
                await self._end(claim, exchange, completes=None)
        except (Conflict, Draining, HookFailed, StoreError) as error:
            if upload.state is not State.PUBLISHED:
                told = f"upload {upload.id} has all its bytes, and cannot be published yet: {error}"
                raise HolderStuck(told, offset=upload.offset) from error

    async def _let_finish(self, upload: Upload) -> None:
        """Wait until nobody holds *upload*.  Raises HolderStuck."""
        with trio.move_on_after(LET_GO):
            while (holder := self._uploads.holder(upload)) is not None:
                await holder.released.wait()
            return
        raise HolderStuck(f"somebody is completing upload {upload.id}", offset=upload.offset)

    async def _take(
        self,
        exchange: Exchange,
        claim: Claim,
        holder: Holder,
        checksum: Checksum | Announced | None,
        trailer: Trailer | None,
    ) -> None:
        share = self._budget.share()
        try:
            with measured(self._measures, exchange) as flow:
                if checksum is None:
                    await Body(self._uploads, exchange, claim, holder, share, flow).take()
                else:
                    body = CheckedBody(self._uploads, exchange, claim, holder, share, flow)
                    await body.take_checked(checksum, trailer)
        finally:
            share.close()

    async def _end(
        self,
        claim: Claim,
        exchange: Exchange,
        *,
        completes: bool | None,
        declared: bool = False,
    ) -> None:
        """Make durable what came; the whole, if it *completes* (None: when the length is there).

        Raises Unauthorised when the token was taken back meanwhile: what came is kept.
        """
        upload, received = claim.upload, claim.run.received
        with claim.working():
            if completes is None:
                completes = upload.length == received and not is_part(upload.echo)
            if not completes or exchange.who.revoked:
                if declared or not upload.enrolled:
                    await self._uploads.commit.remember(upload)
                await self._uploads.commit.settle(upload)
                self._access.check_still(exchange.who)
                return
            if upload.length is None:
                upload.declare(received, received)
            await self._uploads.complete(upload, claim=claim)
