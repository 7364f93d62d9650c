"""What a ``begin`` is about: an upload that there is, or a new one."""

from __future__ import annotations

from uploadd import errors
from uploadd.auth import Who
from uploadd.protocol.requests import parts_of
from uploadd.protocol.upload import State, Upload
from uploadd.protocol.wsmessages import Begin
from uploadd.uploads import Uploads


async def find(uploads: Uploads, begin: Begin, who: Who) -> Upload | None:
    """The upload that *begin* goes on with, None for a new one.

    A key of *who* may be from a time when they did not say who they are: anonymous keys are
    secrets, and whoever knows one has its upload.

    Raises NotFound, NotAppendable, and KeyConflict when the key is that of another file.
    """
    if begin.upload is not None:
        found = await uploads.find(begin.upload)
        if parts_of(found.echo) and found.state is State.RECEIVING:
            raise errors.NotAppendable(f"upload {found.id} is being put together from others")
        return found
    if begin.key is None:
        return None
    upload = await uploads.find_key("", begin.key) if who.owner else None
    upload = upload or await uploads.find_key(who.owner, begin.key)
    if upload is None or (upload.name == begin.name and begin.length in (None, upload.length)):
        return upload
    raise errors.KeyConflict(
        "this key belongs to an upload with another name or length",
        hint="a new key for every file",
    )


def create(uploads: Uploads, begin: Begin, who: Who) -> Upload:
    """The new upload that *begin* describes; right after `find`, so that the key is free."""
    return uploads.create(
        name=begin.name,
        length=begin.length,
        media_type=begin.media_type,
        metadata=begin.metadata,
        owner=who.owner,
        key=begin.key,
        digest=begin.digest.value if begin.digest else None,
    )
