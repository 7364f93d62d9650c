"""Header fields: reading those of a request, completing those of an answer (RFC 9110 section 5).

Fields of a request are as the gate gives them: lower-case names and values, in bytes.  Fields of an
answer are text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from uploadd.errors import Refused, UploadError
from uploadd.protocol.answers import answer, problem
from uploadd.protocol.dates import format_date
from uploadd.protocol.heads import Head

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")

Received = Iterable[tuple[bytes, bytes]]
Field = tuple[str, str]

# No body by definition, so none is announced (RFC 9110 8.6).
_BODILESS: Final = frozenset({204, 304})
_RETRY_AFTER: Final = {423: 1, 429: 5, 503: 2, 507: 10}
"""Seconds after which it makes sense to ask again, by status."""
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {
    104: "Upload Resumption Supported",
    460: "Checksum Mismatch",
}


def values(received: Received, name: bytes) -> list[str]:
    """The values of every line of the field *name*, in order; every byte is one character."""
    return [value.decode("latin-1") for field, value in received if field == name]


def single(received: Received, name: bytes) -> str | None:
    """The value of a field that is not a list; None when it is absent or there twice."""
    found = values(received, name)
    return found[0] if len(found) == 1 else None


def joined(received: Received, name: bytes) -> str | None:
    """The value of a field that is a list, its lines joined (RFC 9110 5.3); None when absent."""
    found = values(received, name)
    return ", ".join(found) if found else None


def reason(status: int) -> str:
    """The reason phrase of *status*, empty when nobody knows one."""
    return _REASONS.get(status, "")


def complete(
    given: Iterable[Field], *, status: int, now: float, length: int | None, close: bool
) -> list[Field]:
    """*given* with what every final answer carries.

    *length* is that of the body in bytes; None when *given* or the framing tells it.  *now* is
    in epoch seconds.
    """
    added = [("Server", "uploadd"), ("Date", format_date(int(now)))]
    if length is not None and status not in _BODILESS:
        added.append(("Content-Length", str(length)))
    if close:
        added.append(("Connection", "close"))
    return [*given, *added]


def request_name(head: Head) -> str | None:
    """How the client calls this request, if it does, in words that a log can take."""
    named = head.values(b"x-request-id")
    if len(named) != 1 or not _REQUEST_ID.fullmatch(named[0]):
        return None
    return named[0].decode("ascii")


def naming(name: str | None) -> list[Field]:
    """What says to a client how it has called its request."""
    return [("X-Request-ID", name)] if name else []


def problem_document(error: UploadError, request_id: str) -> tuple[int, list[Field], bytes]:
    """Status, fields and body that tell *error* to a client (RFC 9457)."""
    # ASCII: what a client called its file may hold lone surrogates, which UTF-8 cannot say.
    body = json.dumps(problem(error, request_id)).encode("ascii") + b"\n"
    fields = [
        ("Content-Type", "application/problem+json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    status = answer(error).status
    if isinstance(error, Refused) and error.body is not None:
        body = error.body.encode("utf-8", "replace")
        fields[0] = ("Content-Type", "text/plain; charset=utf-8")
    if isinstance(error, Refused):
        own = {name.lower() for name, _ in error.fields}
        fields = [field for field in fields if field[0].lower() not in own] + [*error.fields]
    if (seconds := _RETRY_AFTER.get(status)) is not None:
        fields.append(("Retry-After", str(seconds)))
    return status, fields, body
