"""Bit rot: the bytes of published files, compared with what they were.

The first time a file is looked at, the checksums of its segments are noted, on request and never
while it is uploaded: they cost reading it.  What was uploaded with a digest is compared with that
as well, so damage before the first look is seen there, too.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

import trio

from uploadd.errors import NotFound, StoreError
from uploadd.protocol.upload import GONE, State, Upload
from uploadd.store.reading import opened
from uploadd.uploads import Uploads

SEGMENT: Final = 8 << 20
"""Bytes of one segment; the last may be shorter."""
_STEP: Final = 1 << 20


class Verdict(NamedTuple):
    """What became of one upload."""

    id: str
    path: str
    found: str
    """``noted`` the first time, ``good``, ``damaged``, ``missing`` or ``unreadable``; ``gone`` when
    the upload has ended, and nothing should be there."""
    detail: str = ""


def gone(id: str, how: str) -> Verdict:
    """Of an upload that has ended, maybe while others were looked at."""
    return Verdict(id, "", "gone", how)


class Verifying:
    """Looks at the files of *uploads*, one after the other."""

    def __init__(self, uploads: Uploads, now: Callable[[], float] = time.time) -> None:
        self._uploads, self._ledger, self._now = uploads, uploads.ledger, now

    async def verify(self, upload: Upload) -> Verdict:
        """Compare the file of a published *upload*, or note what it is.  Raises StoreError."""
        place, length = upload.published, upload.length or 0
        if upload.state in GONE:
            return gone(upload.id, f"it is {upload.state.value}")
        if upload.state is not State.PUBLISHED or place is None:
            return Verdict(upload.id, "", "missing", f"it is {upload.state.value}")
        try:
            async with opened(self._uploads.store, place, length) as fd:
                sums, digest = await self._read(fd, length, wanted=upload.digest is not None)
        except NotFound as error:
            if upload.state in GONE or upload.id in self._uploads.deleting:
                return gone(upload.id, "it was deleted meanwhile")
            return Verdict(upload.id, place.path, "missing", error.message)
        except StoreError as error:
            return Verdict(upload.id, place.path, "unreadable", error.message)
        except OSError as error:
            return Verdict(upload.id, place.path, "unreadable", error.strerror or str(error))
        if upload.digest is not None and digest != upload.digest:
            told = "it does not have the digest that it was uploaded with"
            return Verdict(upload.id, place.path, "damaged", told)
        return await self._compare(upload.id, place.path, sums)

    async def _compare(self, id: str, path: str, sums: bytes) -> Verdict:
        look = "SELECT sums FROM sums WHERE upload = ?"
        found = await self._ledger.look(lambda db: db.execute(look, (id,)).fetchone())
        if found is None:

            def note(db: sqlite3.Connection) -> None:
                db.execute("INSERT OR REPLACE INTO sums VALUES (?, ?, ?)", (id, self._now(), sums))

            await self._ledger.change(note)
            return Verdict(id, path, "noted")
        wrong = [at // 4 for at in range(0, len(sums), 4) if sums[at:][:4] != found[0][at:][:4]]
        if not wrong and len(sums) == len(found[0]):
            return Verdict(id, path, "good")
        places = ", ".join(f"{number * SEGMENT}" for number in wrong[:10])
        return Verdict(id, path, "damaged", f"in the {SEGMENT >> 20} MiB from byte {places} on")

    async def _read(self, fd: int, length: int, *, wanted: bool) -> tuple[bytes, bytes]:
        """The checksums of the segments, and the SHA-256 of the whole if that is *wanted*."""
        sums, digest = [], hashlib.sha256()
        for start in range(0, length, SEGMENT):
            end = min(start + SEGMENT, length)
            into = digest if wanted else None
            sums.append(await trio.to_thread.run_sync(_sum, fd, start, end, into))
        return struct.pack(f">{len(sums)}I", *sums), digest.digest()


def _sum(fd: int, start: int, end: int, digest: hashlib._Hash | None) -> int:
    """The CRC-32 of the bytes from *start* to *end*.  Raises OSError."""
    found = 0
    while start < end:
        data = os.pread(fd, min(_STEP, end - start), start)
        if not data:
            raise OSError(0, f"the file ends at {start}")
        found = zlib.crc32(data, found)
        if digest is not None:
            digest.update(data)
        start += len(data)
    return found
