"""What a ``begin`` is about: an upload that there is, or a new one."""

from __future__ import annotations

from typing import Final

from uploadd import errors
from uploadd.protocol.requests import parts_of
from uploadd.protocol.upload import State, Upload
from uploadd.protocol.wsmessages import Begin
from uploadd.uploads import Uploads

OWNER: Final = ""
"""Nobody is asked for a token yet."""


async def find(uploads: Uploads, begin: Begin) -> Upload | None:
    """The upload that *begin* goes on with, None for a new one.

    Raises NotFound, NotAppendable, and KeyConflict when the key is that of another file.
    """
    if begin.upload is not None:
        found = await uploads.find(begin.upload)
        if parts_of(found.echo) and found.state is State.RECEIVING:
            raise errors.NotAppendable(f"upload {found.id} is being put together from others")
        return found
    if begin.key is None:
        return None
    upload = await uploads.find_key(OWNER, begin.key)
    if upload is None or (upload.name == begin.name and begin.length in (None, upload.length)):
        return upload
    raise errors.KeyConflict(
        "this key belongs to an upload with another name or length",
        hint="a new key for every file",
    )


def create(uploads: Uploads, begin: Begin) -> Upload:
    """The new upload that *begin* describes; right after `find`, so that the key is free."""
    return uploads.create(
        name=begin.name,
        length=begin.length,
        media_type=begin.media_type,
        metadata=begin.metadata,
        owner=OWNER,
        key=begin.key,
        digest=begin.digest.value if begin.digest else None,
    )
