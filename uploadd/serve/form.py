"""A form with files: nothing is published before its end, and then all at once."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack, suppress
from typing import Final, Protocol

import trio

from uploadd import errors
from uploadd.budget import Budget, Share
from uploadd.claim import Claim
from uploadd.digests import Digests
from uploadd.errors import UploadError
from uploadd.pacing import Flow
from uploadd.protocol.form import Event, FileBegins, FileEnds, Form, Value, metadata
from uploadd.protocol.hooks import Draft
from uploadd.protocol.upload import Input, Upload
from uploadd.serve.admitting import admit, asking, invite, measured
from uploadd.serve.appending import Writer
from uploadd.serve.exchange import Exchange
from uploadd.serve.holding import holding
from uploadd.serve.pace import Pace
from uploadd.serve.rules import Rules
from uploadd.serve.verbs import CANCEL_SECONDS
from uploadd.uploads import Uploads

RECEIVE: Final = 512 * 1024
"""Bytes that are taken at once, where there is memory: each time two threads have their turn, to
write and to hash.
"""


class _File:
    """One file of the form."""

    def __init__(self, begins: FileBegins, claim: Claim, writer: Writer, digests: Digests) -> None:
        self.begins, self.upload, self.claim = begins, claim.upload, claim
        self.digest = hashlib.sha256()
        self._writer, self._digests = writer, digests

    def end(self) -> None:
        """It is whole."""
        received = self.claim.run.received
        self.upload.declare(received, received)

    @property
    def chosen(self) -> bool:
        """Whether somebody chose a file: an input that was left empty is sent all the same."""
        return self.begins.name is not None or self.claim.run.received > 0

    async def take(self, data: bytes) -> None:
        """Write some of it."""
        await self._writer.credit()
        await self._writer.write(data)
        await self._digests.update(self.digest, data)


class Kept(Protocol):
    """A file of the form, as far as it is taken in."""

    begins: FileBegins
    upload: Upload
    digest: hashlib._Hash

    @property
    def chosen(self) -> bool: ...
    async def take(self, data: bytes) -> None: ...
    def end(self) -> None: ...


class FormUpload:
    """The form that is the body of *exchange*."""

    def __init__(
        self, uploads: Uploads, budget: Budget, rules: Rules, exchange: Exchange, form: Form
    ) -> None:
        self._uploads, self._budget, self._exchange, self._form = uploads, budget, exchange, form
        self._access, self._measures = rules.access, rules.measures
        self._files: list[Kept] = []
        self._came = 0  # bytes of the body
        self._values: list[Value] = []
        self._failed: list[UploadError] = []

    async def store(self) -> list[tuple[Upload, bytes]]:
        """Take the body; the files, each with its SHA-256, published and durable.

        Raises BadRequest, TooLarge, StoreError, BrokenResourceError: nothing is published
        then, but what was when the disk failed on another.
        """
        await admit(self._uploads, self._access, self._exchange.who, None)  # nobody knows how long
        share = self._budget.share()
        try:
            async with AsyncExitStack() as claims:
                flow = claims.enter_context(measured(self._measures, self._exchange))
                await self._take(share, claims, flow)
                self._access.check_still(self._exchange.who)
                await self._publish()
        except BaseException:
            await self._throw_away()
            raise
        finally:
            share.close()
        stored = [(file.upload, file.digest.digest()) for file in self._files if file.chosen]
        if not stored:
            raise errors.BadRequest("there is no file in the form", hint="curl -F file=@FILE URL/")
        return stored

    async def _take(self, share: Share, claims: AsyncExitStack, flow: Flow | None) -> None:
        pace = Pace(self._exchange.least_rate)
        while True:
            with pace.held_back():
                await share.room()
            data = await self._exchange.receive_body(min(RECEIVE, share.max_chunk))
            if not data:
                self._form.end()
                return
            with pace.held_back():
                await self._feed(data, share, claims)
                if flow is not None:
                    await flow.pay(len(data))
            self._came += len(data)
            pace.came(len(data))

    async def _feed(self, data: bytes, share: Share, claims: AsyncExitStack) -> None:
        """Take what is in *data*, which is in memory until then: also while a hook is asked."""
        share.take(len(data))
        try:
            for event in self._form.feed(data):
                await self._event(event, share, claims)
        finally:
            share.give_back(len(data))

    async def _event(self, event: Event, share: Share, claims: AsyncExitStack) -> None:
        match event:
            case FileBegins():
                await self._begin(event, share, claims)
            case FileEnds():
                self._files[-1].end()
            case Value():
                self._values.append(event)
            case bytes():
                await self._files[-1].take(event)

    async def _begin(self, event: FileBegins, share: Share, claims: AsyncExitStack) -> None:
        key, draft = await self._invite(event)
        await self._open(event, self._create(event, draft, key), share, claims)

    async def _invite(self, event: FileBegins) -> tuple[str | None, Draft]:
        if event.name is not None:
            self._uploads.types.check_name(event.name, event.media_type)
        draft = Draft(name=event.name, length=None, media_type=event.media_type)
        return await invite(self._uploads, self._access, self._exchange, draft)

    def _create(self, event: FileBegins, draft: Draft, key: str | None = None) -> Upload:
        """The upload of one file; it has at most what is still to come.  Raises OverQuota."""
        upload = self._uploads.create(
            name=draft.name,
            media_type=draft.media_type,
            metadata=draft.metadata,
            echo=draft.echo,
            owner=self._exchange.who.owner,
            key=key,
        )
        upload.request = asking(self._uploads, self._exchange)
        length = self._exchange.length
        upload.expected = None if length is None else length - self._came
        upload.field = event.field
        return upload

    async def _open(
        self, event: FileBegins, upload: Upload, share: Share, claims: AsyncExitStack
    ) -> None:
        claim, holder = await claims.enter_async_context(
            holding(self._uploads, upload, self._exchange, patient=True)
        )
        writer = Writer(self._uploads, claim, holder, share)
        self._files.append(_File(event, claim, writer, self._uploads.digests))

    async def _publish(self) -> None:
        """All at once: one batch makes them durable and gives them their names."""
        alone = len(self._files) == 1
        async with trio.open_nursery() as nursery:
            for file in self._files:
                if not isinstance(file, _File):
                    continue
                if not file.chosen:
                    self._uploads.release(file.claim)  # or the holder to be stopped were us
                    nursery.start_soon(self._cancel, file.upload)
                    continue
                values = metadata(file.begins, self._values, alone=alone)
                file.upload.metadata = {**values, **file.upload.metadata}
                nursery.start_soon(self._publish_one, file)
        if self._failed:
            raise self._failed[0]

    async def _publish_one(self, file: _File) -> None:
        try:
            await self._uploads.complete(file.upload, claim=file.claim)
        except UploadError as error:
            self._failed.append(error)

    async def _throw_away(self) -> None:
        """All at once: one batch."""
        with trio.move_on_after(CANCEL_SECONDS, shield=True):
            async with trio.open_nursery() as nursery:
                for file in self._files:
                    if isinstance(file, _File):
                        nursery.start_soon(self._cancel, file.upload, Input.FAIL)

    async def _cancel(self, upload: Upload, what: Input = Input.CANCEL) -> None:
        with suppress(UploadError):
            await self._uploads.cancel(upload, what)
