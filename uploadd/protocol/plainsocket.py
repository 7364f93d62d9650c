"""What a plain WebSocket hears: where the files of one client are, for whoever shows a bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from uploadd.protocol import questions
from uploadd.protocol.heads import Head
from uploadd.protocol.seen import Glance, Seen, progress, reason
from uploadd.protocol.upload import Upload

Status: TypeAlias = Literal["buffering", "processing", "completed", "error"]
STATUSES: Final[Mapping[Seen, Status]] = {
    Seen.QUEUED: "buffering",
    Seen.RECEIVING: "buffering",
    Seen.STORING: "processing",
    Seen.VERIFYING: "processing",
    Seen.PUBLISHED: "completed",
    Seen.CANCELLED: "error",
    Seen.EXPIRED: "error",
    Seen.DELETED: "error",
    Seen.FAILED: "error",
}


MAX_HEARD: Final = 1024
"""Bytes of a binary message that is taken, and not listened to."""


class Told(Struct, omit_defaults=True):
    """One message."""

    status: Status
    client_id: str
    upload: str
    received: int
    stored: int
    """Bytes that are durable."""
    field: str | None = None
    """The field of the form that the file is in."""
    name: str | None = None
    total: int | None = None
    """Bytes in all, as far as anybody knows."""
    progress: int | None = None
    """In percent; 100 is said of what is completed, and of nothing else."""
    url: str | None = None
    reason: str | None = None
    part: int | None = None
    """That is being stored, from 1 on, where files are stored in parts."""


def client_id(head: Head) -> str | None:
    """Whom a socket that *head* asks for wants to hear of; None: nobody.  Raises BadRequest."""
    return questions.client_id(head, questions.query_of(head.target.partition("?")[2]))


def told(upload: Upload, glance: Glance, client: str) -> str:
    """How *upload* of *client* stands."""
    now = progress(upload, glance)
    status = STATUSES[Seen(now.state)]
    total = now.length if now.length is not None else now.expected
    percent = 100 if status == "completed" else None
    if percent is None and total is not None:
        percent = min(99, now.held * 100 // max(1, total))
    message = Told(
        status,
        client,
        upload.id,
        max(glance.received, now.held),
        now.held,
        upload.field,
        now.name,
        total,
        percent,
        now.url,
        reason(upload),
        now.part,
    )
    return msgspec.json.encode(message).decode()
