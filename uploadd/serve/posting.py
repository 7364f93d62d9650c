"""A form whose client wants to watch it: known by a name, told to a session, stored once."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack, suppress

import trio

from uploadd import errors
from uploadd.auth import Operation
from uploadd.budget import Budget, Share
from uploadd.digests import Digests
from uploadd.latest import of_session
from uploadd.protocol.form import FileBegins, Form
from uploadd.protocol.hooks import called
from uploadd.protocol.posted import Posted
from uploadd.protocol.upload import Input, State, Upload
from uploadd.serve.exchange import Exchange
from uploadd.serve.form import FormUpload
from uploadd.serve.looking import Names
from uploadd.serve.rules import Rules
from uploadd.uploads import Uploads


class Again:
    """A file that was stored before, under the same key: its bytes are compared, not kept."""

    chosen = True

    def __init__(self, begins: FileBegins, upload: Upload, digests: Digests) -> None:
        self.begins, self.upload, self._digests = begins, upload, digests
        self.digest = hashlib.sha256()
        self._count = 0

    async def take(self, data: bytes) -> None:
        """See some of it."""
        self._count += len(data)
        await self._digests.update(self.digest, data)

    def end(self) -> None:
        """It is whole."""

    def is_same(self, digest: bytes | None) -> bool:
        """Whether it is what the upload is, whose *digest* that is."""
        same = (self.begins.name, self._count) == (called(self.upload), self.upload.length)
        return same and self.digest.digest() == digest


class Post(FormUpload):
    """The form in the body of *exchange*, of which *said* was said beside it."""

    def __init__(
        self,
        uploads: Uploads,
        budget: Budget,
        rules: Rules,
        exchange: Exchange,
        form: Form,
        said: Posted,
        names: Names,
    ) -> None:
        super().__init__(uploads, budget, rules, exchange, form)
        self._said, self._names = said, names
        self._again: Again | None = None

    async def _begin(self, event: FileBegins, share: Share, claims: AsyncExitStack) -> None:
        first, who, name = not self._files, self._exchange.who, self._said.upload_id
        one, draft = await self._invite(event)
        key = name if first and one is None and self._said.is_key(owned=who.owns) else None
        if key is not None and (older := await self._older(key)) is not None:
            self._again = Again(event, older, self._uploads.digests)
            self._files.append(self._again)
            return
        upload = self._create(event, draft, key or one)
        if first and name is not None and key is None:
            self._names.name(upload, name)
        upload.expected = self._said.sizes.get(event.field, upload.expected)
        if self._said.socket_id is not None:
            self._uploads.watch.tie(upload, of_session(self._said.socket_id))
        await self._open(event, upload, share, claims)

    async def _older(self, key: str) -> Upload | None:
        """The complete upload of this key; one that is not is given up for this one.

        Raises Forbidden where who asks may not end what they have begun.
        """
        while (found := await self._uploads.find_key(self._exchange.who.owner, key)) is not None:
            if found.state is State.FINALIZING:
                with suppress(errors.UploadError):
                    await self._uploads.complete(found)
            if found.state is State.PUBLISHED:
                return found
            self._access.check(self._exchange.who, Operation.CANCEL, found)
            with suppress(errors.Gone):  # its own exchange may be faster
                await self._uploads.cancel(found, Input.FAIL)
            await trio.lowlevel.checkpoint()
        return None

    async def _publish(self) -> None:
        if self._again is not None and not self._again.is_same(
            await self._uploads.digest(self._again.upload)
        ):
            raise errors.KeyConflict("that is the name of another file", hint="a new one for each")
        await super()._publish()
