"""What one ref is told of its upload, in the words of its session, until its last."""

from __future__ import annotations

from typing import Final, NamedTuple

import trio

from uploadd.errors import GoneReason, UploadError
from uploadd.protocol import pages
from uploadd.protocol.answers import answer
from uploadd.protocol.upload import Upload
from uploadd.protocol.wsmessages import Digest
from uploadd.serve.voice import Voice

UNTOLD: Final = 256 * 1024
"""Bytes that may be taken without a word; by what it is told a client sees how fast it is."""
SILENT: Final = 5.0
"""Seconds that may pass without a word while a client sends; much later it takes us for dead."""


class _Told(NamedTuple):
    received: int
    offset: int
    limit: int
    at: float


class Telling:
    """Speaks for *ref* of *session*.  Once ``mute`` nothing is said: the ref may have a new run."""

    def __init__(self, session: Voice, ref: int) -> None:
        self._session, self._ref = session, ref
        self.mute = False
        self._ready = False
        self._told = _Told(0, 0, 0, 0.0)

    def stands(
        self, upload: Upload, received: int, offset: int, limit: int, *, ended: bool
    ) -> None:
        """Where it is, and up to where more may come; *ended*: nothing more will."""
        machine = self._session.machine
        if self._ready:
            if not ended and self._can_wait(received, offset, limit):
                return
            machine.ack(self._ref, received, offset, limit)
        elif not ended:
            machine.ready(self._ref, upload.id, _url(upload), offset, limit)
            self._ready = True
        self._told = _Told(received, offset, limit, trio.current_time())
        self._session.wake_sender()

    def _can_wait(self, received: int, offset: int, limit: int) -> bool:
        """Whether the client misses nothing until more is durable: little has come since the last
        word, and there is no more credit, or most of it is left, and room for a chunk.
        """
        told = self._told
        if offset != told.offset or received - told.received >= UNTOLD:
            return False
        more, left = limit - told.limit, told.limit - received
        enough = not more or (left >= self._session.max_chunk and left > 3 * more)
        return enough and trio.current_time() - told.at < SILENT

    def refuse(self, error: UploadError, upload: Upload | None, *, owed: bool) -> None:
        """Say *error*; *owed*: the ref was cancelled, and gets a last word of its own."""
        final = answer(error).final
        if upload is not None and not final:
            error.offset = upload.offset  # the newest
        self._session.machine.refuse(self._ref, error)
        self._session.tell_refused(upload)
        self._session.wake_sender()
        self.mute = final or not owed

    def gone(self, upload: Upload, reason: GoneReason) -> None:
        """The upload is not there any more, or not this ref's."""
        if not self.mute:
            self._session.machine.gone(self._ref, upload.id, reason, upload.offset)
            self._session.wake_sender()
            self.mute = True

    def done(self, upload: Upload, digest: bytes | None) -> None:
        """It is complete, durable and published."""
        if self.mute:
            return
        told, length = Digest("sha-256", digest) if digest else None, upload.length or 0
        self._session.machine.done(self._ref, upload.id, _url(upload), length, told)
        self._session.wake_sender()
        self.mute = True


def _url(upload: Upload) -> str:
    return pages.file_path(upload.id, upload.name)
