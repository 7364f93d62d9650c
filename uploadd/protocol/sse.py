"""Server-sent events (HTML, 9.2): lines of text that a browser reads by itself."""

from __future__ import annotations

from typing import Final

from uploadd.protocol.fields import Field

HEARTBEAT: Final = 15.0
"""Seconds of silence before a comment: shorter than what proxies wait for."""
RETRY: Final = b"retry: 1000\n\n"
"""Milliseconds until a client comes back, after whatever end."""
COMMENT: Final = b":\n\n"
FIELDS: Final[tuple[Field, ...]] = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # or nginx would collect it
    ("X-Content-Type-Options", "nosniff"),
)


def event(kind: str, text: str, id: str | None = None) -> bytes:
    """One event; *text* is one line of JSON, *id* what a client says when it comes back."""
    told = f"event: {kind}\ndata: {text}\n"
    return (told + (f"id: {id}\n\n" if id is not None else "\n")).encode()


def event_id(epoch: str, number: int) -> str:
    """The id of what was told up to *number* in the life *epoch* of a daemon."""
    return f"{epoch}-{number}"


def since(last: str | None, epoch: str) -> int | None:
    """The number in *last*, which a client has heard; None when it is of another life."""
    said, _, number = (last or "").partition("-")
    known = said == epoch and number.isascii() and number.isdigit() and len(number) < 20
    return int(number) if known else None
