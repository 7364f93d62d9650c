"""Uploads that clients come back for, over HTTP: what was asked, carried out in any dialect."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from uploadd import errors
from uploadd.assembling import Assembling
from uploadd.auth import Operation
from uploadd.protocol.dialects import Speaker
from uploadd.protocol.heads import Head
from uploadd.protocol.requests import (
    PARTS,
    Append,
    Cancel,
    Create,
    Retrieve,
    Standing,
    is_part,
    parts_of,
)
from uploadd.protocol.upload import State, Upload
from uploadd.serve.exchange import Exchange
from uploadd.serve.looking import end, present
from uploadd.serve.rules import Rules
from uploadd.serve.verbs import Verbs
from uploadd.uploads import Uploads


class Resumable:
    """*uploads*, told of by *rules*; *now* gives epoch seconds."""

    def __init__(
        self,
        uploads: Uploads,
        verbs: Verbs,
        assembling: Assembling,
        rules: Rules,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._uploads, self._verbs, self._rules, self._now = uploads, verbs, rules, now
        self._assembling = assembling

    def adopt(self, rules: Rules) -> None:
        """Tell of uploads by *rules* from now on."""
        self._rules = rules

    async def converse(
        self,
        exchange: Exchange,
        head: Head,
        id: str | None,
        speaker: Speaker,
        path: str = "",
    ) -> None:
        """Answer what *head* asks of the upload *id*, or of the place where they are created.

        *path* names a new one that is not named otherwise.
        Raises UploadError, to be said by the same *speaker*.
        """
        match speaker.asked(head, id, names=self._rules.names):
            case Create() as ask:
                await self._create(exchange, head, ask.at(path), speaker)
            case Append() as ask:
                upload = await self.find(id or "")
                self._rules.access.check(exchange.who, Operation.APPEND, upload)
                await self._append(exchange, head, upload, ask, speaker)
            case Retrieve() as ask:
                upload = await self.find(id or "")
                self._rules.access.check(exchange.who, Operation.APPEND, upload)
                await self._retrieve(exchange, upload, ask)
                standing = replace(self._standing(upload), length=await self._length(upload))
                await exchange.answer(*speaker.status(standing, head))
            case Cancel():
                upload = await self.find(id or "")
                await end(self._uploads, upload, exchange, self._rules.access)
                await exchange.answer(*speaker.terminated(head))

    async def find(self, id: str) -> Upload:
        """The upload *id*.  Raises NotFound, or Gone for what expired or was lost."""
        return present(await self._uploads.find(id))

    async def _create(self, exchange: Exchange, head: Head, ask: Create, speaker: Speaker) -> None:
        if ask.concat is not None and ask.concat.parts:
            upload = await self._concatenate(exchange, ask, ask.concat.parts)
            await exchange.answer(*speaker.created(self._standing(upload), head))
            return

        async def offer(upload: Upload) -> None:
            fields = speaker.offered(self._standing(upload), head)
            await exchange.inform(104, fields or ())

        informs = speaker.offered(Standing(id="", offset=0), head) is not None
        upload = await self._verbs.create(
            exchange, ask, offer if informs else None, speaker.trailer
        )
        digest = await self._uploads.digest(upload) if ask.wants_digest else None
        await exchange.answer(*speaker.created(self._standing(upload, digest), head))

    async def _concatenate(self, exchange: Exchange, ask: Create, parts: tuple[str, ...]) -> Upload:
        """A new upload, remembered; it is put together in the background."""
        # Until its own task has them.
        with self._assembling.place(parts), self._uploads.pinned(parts):
            found = {id: await self.find(id) for id in set(parts)}
            for id, part in found.items():
                self._rules.access.check(exchange.who, Operation.APPEND, part)
                if not is_part(part.echo):
                    raise errors.BadRequest(f"upload {id} is no partial one")
            lengths = [found[id].length for id in parts]
            known = [length for length in lengths if length is not None]
            total = sum(known) if len(known) == len(parts) else None
            await self._uploads.room_for(sum(known))
            echo = {**ask.echo, PARTS: " ".join(parts)}
            upload = await self._verbs.create(exchange, replace(ask, length=total, echo=echo))
            await self._assembling.begin(upload)
        return upload

    async def _retrieve(self, exchange: Exchange, upload: Upload, ask: Retrieve) -> None:
        if _is_assembled(upload):
            return
        await self._uploads.retrieve(upload, ends=ask.ends)
        if ask.completes and _is_at_its_end(upload):
            await self._verbs.finish(exchange, upload)

    async def _length(self, upload: Upload) -> int | None:
        """Of one that is put together from others, as soon as all of theirs are known."""
        if upload.length is not None or not _is_assembled(upload):
            return upload.length
        lengths = [(await self._uploads.find(id)).length for id in parts_of(upload.echo)]
        known = [length for length in lengths if length is not None]
        return sum(known) if len(known) == len(lengths) else None

    async def _append(
        self, exchange: Exchange, head: Head, upload: Upload, ask: Append, speaker: Speaker
    ) -> None:
        if _is_assembled(upload):
            raise errors.NotAppendable(f"upload {upload.id} is put together from others")
        if upload.state is State.PUBLISHED:
            await self._check_again(exchange, upload, ask)
        else:
            await self._verbs.append(exchange, upload, ask, speaker.trailer)
        digest = await self._uploads.digest(upload) if ask.wants_digest else None
        await exchange.answer(*speaker.appended(self._standing(upload, digest), head))

    async def _check_again(self, exchange: Exchange, upload: Upload, ask: Append) -> None:
        """Only who did not hear the last answer may ask once more for nothing."""
        if ask.offset != upload.length:
            told = f"upload {upload.id} is complete with {upload.length} bytes"
            error = errors.OffsetMismatch(told, offset=upload.length)
            error.complete = True
            raise error
        if exchange.length or await exchange.receive_body():
            if ask.completes is None:
                raise errors.LengthExceeded(f"upload {upload.id} ends at {upload.length} bytes")
            raise errors.AlreadyComplete(f"upload {upload.id} is complete")
        if ask.length not in (None, upload.length):
            told = f"upload {upload.id} is complete with {upload.length} bytes, not {ask.length}"
            raise errors.LengthConflict(told)

    def _standing(self, upload: Upload, digest: bytes | None = None) -> Standing:
        """How *upload* stands now."""
        left = upload.modified + self._rules.keep_unfinished - self._now()
        unfinished = upload.state is State.RECEIVING
        return Standing(
            id=upload.id,
            offset=None if _is_assembled(upload) and unfinished else upload.offset,
            length=upload.length,
            complete=upload.state is State.PUBLISHED,
            metadata=upload.metadata,
            echo=upload.echo,
            expires=int(self._now() + left) if unfinished else None,
            max_age=max(0, int(left)) if unfinished else None,
            max_length=self._rules.max_length,
            digest=digest,
        )


def _is_at_its_end(upload: Upload) -> bool:
    """Whether all its bytes are durable and it is no part, but nobody has declared it complete."""
    whole = upload.offset == upload.length and not is_part(upload.echo)
    return whole and upload.state is State.RECEIVING


def _is_assembled(upload: Upload) -> bool:
    return bool(parts_of(upload.echo))
