"""What the server has to say, until the shell takes it: a queue, and slots for newest values.

An ack or a progress replaces the one before it that was not taken yet; everything else queues.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from uploadd.errors import UploadError
from uploadd.protocol.wsmessages import Acked, Message, Refused, encode

MAX_PROSE: Final = 500  # characters of an error's message or hint; 3 KB if all are escaped


class Outbox:
    """Messages in the order in which they go out: the queue, progress, acks."""

    def __init__(self, max_chunk: int) -> None:
        self.max_chunk = max_chunk  # the newest; told with the next ack
        self._max_chunk_told = max_chunk
        self._queue: list[str] = []
        self._progress: dict[str, str] = {}  # by upload; encoded once for all who watch
        self._acks: dict[int, Acked] = {}  # by ref
        self._refused: list[UploadError] = []  # for the log; some were said by now

    def __bool__(self) -> bool:
        return bool(self._queue or self._progress or self._acks)

    @property
    def queued(self) -> int:
        """How many messages wait that nothing can replace."""
        return len(self._queue)

    def say(self, message: Message) -> None:
        """Queue *message*."""
        self._queue.append(encode(message))

    def refuse(self, error: UploadError, *, final: bool, ref: int | None = None) -> None:
        """Queue *error*, of *ref* or of the session."""
        hint = None if error.hint is None else _prose(error.hint)
        self.say(Refused(error.code, _prose(error.message), final, ref, hint, error.offset))
        self._refused.append(error)

    def ack(self, ack: Acked) -> None:
        """Put *ack* in its ref's slot."""
        self._acks[ack.ref] = ack

    def forget_ack(self, ref: int) -> None:
        """Say no ack for *ref* any more."""
        self._acks.pop(ref, None)

    def progress(self, upload: str, text: str) -> None:
        """Put *text* in the slot of *upload*."""
        self._progress[upload] = text

    def forget_progress(self, upload: str) -> None:
        """Say no progress of *upload* any more."""
        self._progress.pop(upload, None)

    def keep_progress(self, uploads: Collection[str] | None) -> None:
        """Say progress of *uploads* only; None: of all that have a slot."""
        if uploads is not None:
            for upload in self._progress.keys() - uploads:
                del self._progress[upload]

    def take_refused(self) -> list[UploadError]:
        """What `refuse` was given since this was asked last."""
        refused, self._refused = self._refused, []
        return refused

    def settle(self) -> None:
        """Queue what is in the slots, so that what is said next is behind it."""
        self._queue += self._progress.values()
        for ack in self._acks.values():
            self.say(self._with_max_chunk(ack))
        self._progress.clear()
        self._acks.clear()

    def take(self) -> list[str]:
        """Everything, in order; nothing is left."""
        self.settle()
        out, self._queue = self._queue, []
        return out

    def _with_max_chunk(self, ack: Acked) -> Acked:
        if self.max_chunk == self._max_chunk_told:
            return ack
        self._max_chunk_told = self.max_chunk
        return msgspec.structs.replace(ack, max_chunk=self.max_chunk)


def _prose(text: str) -> str:
    # a file name from the system may hold lone surrogates, which JSON in UTF-8 cannot
    return text[:MAX_PROSE].encode("utf-8", "replace").decode()
