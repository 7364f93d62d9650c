"""What a ``begin`` is about: an upload that there is, or a new one."""

from __future__ import annotations

from uploadd import errors
from uploadd.auth import Access, Operation, Who
from uploadd.protocol.kinds import HEAD
from uploadd.protocol.requests import parts_of
from uploadd.protocol.upload import State, Upload
from uploadd.protocol.wschunks import Chunk
from uploadd.protocol.wsmessages import Begin
from uploadd.serve.admitting import check_length, most_of, permit, used
from uploadd.uploads import Uploads


async def find(uploads: Uploads, access: Access, begin: Begin, who: Who) -> Upload | None:
    """The upload that *begin* goes on with, None for a new one.

    A key of *who* may be from a time when they did not say who they are: anonymous keys are
    secrets, and whoever knows one has its upload.

    Raises NotFound, NotAppendable, KeyConflict when the key is that of another file, and what
    `Access.check` raises.
    """
    if begin.upload is not None:
        found = await uploads.find(begin.upload)
        permit(access, who, found)
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
    permit(access, who, upload)
    if upload.name == begin.name and begin.length in (None, upload.length):
        return upload
    if key != begin.key:
        raise used()
    raise errors.KeyConflict(
        "this key belongs to an upload with another name or length",
        hint="a new key for every file",
    )


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


def create(uploads: Uploads, access: Access, begin: Begin, who: Who) -> Upload:
    """The new upload that *begin* describes; right after `find`, so that the key is free.

    Raises what `Access.check` raises, TooLarge, TypeNotAllowed, OverQuota.
    """
    access.check(who, Operation.CREATE)
    check_length(who, begin.length)
    uploads.types.check_name(begin.name, begin.media_type)
    upload = uploads.create(
        name=begin.name,
        length=begin.length,
        media_type=begin.media_type,
        metadata=begin.metadata,
        owner=who.owner,
        key=key_of(begin, who),
        digest=begin.digest.value if begin.digest else None,
    )
    upload.ceiling = most_of(who)
    return upload
