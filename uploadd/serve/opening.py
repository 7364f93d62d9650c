"""What a ``begin`` is about: an upload that there is, or a new one."""

from __future__ import annotations

from typing import Final

from uploadd import errors
from uploadd.auth import Access, Operation, Who
from uploadd.protocol.hooks import PRE_CREATE, Draft, called
from uploadd.protocol.kinds import HEAD
from uploadd.protocol.requests import parts_of
from uploadd.protocol.upload import State, Upload
from uploadd.protocol.wschunks import Chunk
from uploadd.protocol.wsmessages import Begin
from uploadd.serve.admitting import check_length, used
from uploadd.serve.voice import Voice
from uploadd.uploads import Uploads

KEY: Final = "key"
"""Where an upload that a link was for has the key that its client has for its file."""


async def find(uploads: Uploads, access: Access, begin: Begin, who: Who) -> Upload | None:
    """The upload that *begin* goes on with, None for a new one.

    A key of *who* may be from a time when they did not say who they are: anonymous keys are
    secrets, and whoever knows one has its upload.

    Raises NotFound, NotAppendable, KeyConflict when the key is that of another file, and what
    `Access.check` raises.
    """
    if begin.upload is not None:
        found = await uploads.find(begin.upload)
        access.check(who, Operation.APPEND, found)
        if parts_of(found.echo) and found.state is State.RECEIVING:
            raise errors.NotAppendable(f"upload {found.id} is being put together from others")
        return found
    key = key_of(begin, who)
    if key is None:
        return None
    upload = await uploads.find_key("", key) if who.owner else None
    if upload is not None and not access.may(who, Operation.APPEND, upload):
        upload = None
    upload = upload or await uploads.find_key(who.owner, key)
    if upload is None:
        return None
    access.check(who, Operation.APPEND, upload)
    of_link = key != begin.key
    is_named_so = called(upload) == begin.name and begin.length in (None, upload.length)
    if is_named_so and (not of_link or _has_begun(upload, begin)):
        return upload
    if of_link:
        raise used()
    raise errors.KeyConflict(
        "this key belongs to an upload with another name or length",
        hint="a new key for every file",
    )


def _has_begun(upload: Upload, begin: Begin) -> bool:
    """Whether *upload*, which a link was for, is of the file of *begin*, and not of one like it."""
    return begin.key is not None and upload.echo.get(KEY) == begin.key


def check_chunk(uploads: Uploads, upload: Upload, chunk: Chunk) -> None:
    """Refuse what may not follow.  Raises OverQuota, and TypeNotAllowed for how a file begins."""
    if upload.length is None:
        uploads.reserve(upload, chunk.end)
    if chunk.at == 0 and uploads.types.restrict and len(chunk.data) >= HEAD:
        begins = bytes(chunk.data[:HEAD])
        uploads.types.check_content(upload.name, upload.media_type, begins)


def key_of(begin: Begin, who: Who) -> str | None:
    """The key that the upload of *begin* has: a link's own, where that is for one upload."""
    return begin.key if who.claims is None or who.claims.key is None else who.claims.key


def is_free(session: Voice, begin: Begin) -> bool:
    """Whether *begin* is of a new upload, and nobody has to be asked before it is there.

    Raises TooMany when there is no memory for it, new or not.
    """
    if not session.share.may_begin:
        raise errors.TooMany(
            "there is no memory for more uploads than are under way",
            hint="begin it again when others have ended (limits.memory)",
        )
    is_new = begin.upload is None and key_of(begin, session.who) is None
    return is_new and not session.uploads.hooks.wants(PRE_CREATE)


async def invite(session: Voice, begin: Begin) -> tuple[Upload | None, Draft]:
    """The upload that *begin* goes on with; None for a new one, and what hooks make of that.

    Raises what `find` and `create` raise, NoSpace, Refused and HookFailed.
    """
    uploads, wanted = session.uploads, draft(begin)
    found = await find(uploads, session.access, begin, session.who)
    if found is None and uploads.hooks.wants(PRE_CREATE):
        _check(session, begin)
        await uploads.room_for(begin.length)
        wanted = await uploads.hooks.create(wanted, session.request)
        found = await find(uploads, session.access, begin, session.who)  # somebody was faster
    return found, wanted


def draft(begin: Begin) -> Draft:
    """The upload that *begin* describes."""
    return Draft(
        name=begin.name,
        length=begin.length,
        media_type=begin.media_type,
        metadata=begin.metadata or {},
    )


def _check(session: Voice, begin: Begin) -> None:
    session.access.check(session.who, Operation.CREATE)
    check_length(session.who, begin.length)
    session.uploads.types.check_name(begin.name, begin.media_type)


def create(session: Voice, begin: Begin, wanted: Draft) -> Upload:
    """The upload that is *wanted* by *begin*; right after `find`, so that the key is free.

    Raises what `Access.check` raises, TooLarge, TypeNotAllowed, BadRequest, OverQuota.
    """
    _check(session, begin)
    who, key = session.who, key_of(begin, session.who)
    return session.uploads.create(
        name=wanted.name,
        length=begin.length,
        media_type=wanted.media_type,
        metadata=wanted.metadata,
        echo=wanted.echo if key in (None, begin.key) else {KEY: begin.key or ""},
        owner=who.owner,
        key=key,
        digest=begin.digest.value if begin.digest else None,
    )
