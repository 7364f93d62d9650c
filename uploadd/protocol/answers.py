"""One table: how each error is said on each wire.

The errors themselves know neither HTTP nor WebSocket.  ``tests/protocol/test_answers.py``
walks the tree of ``uploadd.errors`` and fails when a class is missing here.
"""

from __future__ import annotations

from typing import NamedTuple

from uploadd import errors as e
from uploadd.errors import UploadError


class Answer(NamedTuple):
    """How one class of errors is said."""

    status: int
    """HTTP status."""
    title: str
    """Title of the problem document (RFC 9457); its type is ``/errors/<code>``."""
    close: int
    """WebSocket close code, when the error ends the session."""
    level: str
    """Log level: debug for the weather, info for what users do, error for what we did."""
    final: bool
    """Whether the upload's ref ends with it (``error{final:true}``); if not, begin again."""
    retryable: bool
    """Whether the same request may succeed later without the peer changing anything."""


#   class                   HTTP  title                        close  level      final  retryable
ANSWERS: dict[type[UploadError], Answer] = {
    e.ClientError:          Answer(400, "Bad request",               4400, "info",    True,  False),
    e.BadRequest:           Answer(400, "Bad request",               4400, "info",    True,  False),
    e.HeadTooLarge:         Answer(431, "Header fields too large",   4400, "info",    True,  False),
    e.NotImplementedHere:   Answer(501, "Not implemented",           4400, "info",    True,  False),
    e.MethodNotAllowed:     Answer(405, "Method not allowed",        4400, "info",    True,  False),
    e.HostNotAllowed:       Answer(421, "Misdirected request",       4403, "info",    True,  False),
    e.OriginNotAllowed:     Answer(403, "Origin not allowed",        4403, "info",    True,  False),
    e.UpgradeStripped:      Answer(426, "Upgrade stripped by proxy", 4400, "info",    True,  False),
    e.UpgradeRequired:      Answer(426, "Upgrade required",          4400, "info",    True,  False),
    e.BadMessage:           Answer(400, "Bad message",               4400, "info",    True,  False),
    e.Unsupported:          Answer(501, "Unsupported",               4400, "info",    True,  False),
    e.Unauthorised:         Answer(401, "Token refused",             4401, "info",    True,  False),
    e.TokenExpired:         Answer(401, "Token expired",             4401, "info",    True,  False),
    e.Forbidden:            Answer(403, "Forbidden",                 4403, "info",    True,  False),
    e.Refused:              Answer(400, "Refused by a hook",         4403, "info",    True,  False),
    e.TooSlow:              Answer(408, "Too slow",                  4408, "info",    True,  True),
    e.TooMany:              Answer(429, "Too many",                  4429, "info",    True,  True),
    e.TooOften:             Answer(429, "Too often",                 4429, "info",    True,  True),
    e.OverQuota:            Answer(413, "Over quota",                4413, "info",    True,  False),
    e.TypeNotAllowed:       Answer(415, "Type not allowed",          4400, "info",    True,  False),
    e.TooLarge:             Answer(413, "Too large",                 4413, "info",    True,  False),
    e.NotFound:             Answer(404, "Not found",                 4400, "info",    True,  False),
    e.Gone:                 Answer(410, "Gone",                      4400, "info",    True,  False),
    e.RangeNotSatisfiable:  Answer(416, "Range not satisfiable",     4400, "debug",   True,  False),
    e.PreconditionFailed:   Answer(412, "Precondition failed",       4400, "debug",   True,  False),
    e.LengthExceeded:       Answer(413, "Length exceeded",           4400, "info",    True,  False),
    e.LengthConflict:       Answer(400, "Length conflict",           4400, "info",    True,  False),
    e.CreditExceeded:       Answer(429, "Credit exceeded",           4429, "info",    True,  False),
    e.DigestMismatch:       Answer(400, "Digest mismatch",           4400, "info",    True,  False),
    e.UnsupportedMediaType: Answer(415, "Unsupported media type",    4400, "info",    True,  False),
    e.VersionMismatch:      Answer(412, "Version mismatch",          4400, "info",    True,  False),
    e.NotAppendable:        Answer(403, "Not appendable",            4400, "info",    True,  False),
    e.AlreadyComplete:      Answer(400, "Already complete",          4400, "info",    True,  False),
    e.ChecksumUnsupported:  Answer(400, "Checksum unsupported",      4400, "info",    True,  False),
    e.Conflict:             Answer(409, "Conflict",                  4400, "info",    False, True),
    e.OffsetMismatch:       Answer(409, "Offset mismatch",           4400, "info",    False, True),
    e.ChecksumMismatch:     Answer(460, "Checksum mismatch",         4400, "info",    False, True),
    e.Incomplete:           Answer(409, "Incomplete",                4400, "info",    False, True),
    e.KeyConflict:          Answer(409, "Key conflict",              4400, "info",    True,  False),
    e.TakenOver:            Answer(409, "Taken over",                4400, "info",    True,  False),
    e.HolderStuck:          Answer(423, "Locked",                    4400, "warning", True,  True),
    e.StoreError:           Answer(500, "Store failed",              4500, "error",   False, True),
    e.NoSpace:              Answer(507, "Insufficient storage",      4507, "warning", False, True),
    e.NotWritable:          Answer(503, "Store not writable",        4503, "error",   False, True),
    e.ServerBug:            Answer(500, "Internal error",            4500, "error",   True,  True),
    e.HookFailed:           Answer(503, "Hook failed",               4503, "error",   False, True),
    e.Draining:             Answer(503, "Draining",                  4503, "info",    True,  True),
}  # fmt: skip


def answer(error: UploadError) -> Answer:
    """How *error* is said."""
    found = ANSWERS[type(error)]
    if isinstance(error, e.Refused) and error.status is not None:
        return found._replace(status=error.status)
    return found


def problem(error: UploadError, request_id: str) -> dict[str, object]:
    """The members of a problem document (RFC 9457) for *error*; None members are left out."""
    row = answer(error)
    members: dict[str, object | None] = {
        "type": f"/errors/{error.code}",
        "title": row.title,
        "status": row.status,
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
        "offset": error.offset,
        "request_id": request_id,
    }
    return {name: value for name, value in members.items() if value is not None}
