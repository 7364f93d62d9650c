"""tus 1.0.0, all nine extensions: what a head asks, and how the answer is said in its fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from uploadd.errors import (
    BadRequest,
    LengthConflict,
    LengthExceeded,
    MethodNotAllowed,
    NotAppendable,
    UnsupportedMediaType,
    UploadError,
    VersionMismatch,
)
from uploadd.protocol import metadata
from uploadd.protocol.answers import answer
from uploadd.protocol.checksums import SIZES, Announced, Checksum, parse_checksum
from uploadd.protocol.dates import format_date
from uploadd.protocol.fields import Field, problem_document
from uploadd.protocol.heads import Head
from uploadd.protocol.requests import (
    Append,
    Asked,
    Cancel,
    Concat,
    Create,
    Refusal,
    Reply,
    Retrieve,
    Standing,
    body_length,
    check_coding,
    effective_method,
    has_body,
    text,
    upload_of,
)

VERSION: Final = "1.0.0"
EXTENSIONS: Final = (
    *("creation", "creation-with-upload", "creation-defer-length", "expiration"),
    *("checksum", "checksum-trailer", "termination"),
    *("concatenation", "concatenation-unfinished"),
)
CHUNK_TYPE: Final = "application/offset+octet-stream"
MAX_PARTS: Final = 1000

_METADATA: Final = "Upload-Metadata"
_CONCAT: Final = "Upload-Concat"
_ECHOED: Final = (_METADATA, _CONCAT)
_NUMBER: Final = re.compile(rb"[0-9]{1,18}")
_TRAILER: Final = b"upload-checksum"


# --- what is asked ------------------------------------------------------------------------------


def asked(head: Head, upload_id: str | None, *, names: Collection[str] = ()) -> Asked:
    """What *head* asks of the upload in its path, or of the place where they are created.

    *names* are the host names of this server, as for `check_host`.  Raises the UploadError that
    answers what is not of the protocol.
    """
    method = effective_method(head)
    _check_version(head, method)
    check_coding(head)
    match method, upload_id is None:
        case "POST", True:
            return _create(head, names)
        case "PATCH", False:
            return _append(head)
        case "HEAD", False:
            # Who says nothing of tus may look at one of the IETF's: no last byte completes that.
            return Retrieve(ends=False, completes=bool(head.values(b"tus-resumable")))
        case "DELETE", False:
            return Cancel()
    where = "where uploads are created" if upload_id is None else "for an upload"
    raise MethodNotAllowed(f"tus knows no {method} {where}")


def _check_version(head: Head, method: str) -> None:
    """HEAD may leave it out: people look with tools that know nothing of tus."""
    said = text(head, b"tus-resumable")
    if said == VERSION or (said is None and method == "HEAD"):
        return
    found = "no Tus-Resumable" if said is None else f"Tus-Resumable {said[:20]!r}"
    raise VersionMismatch(f"{found}; spoken is {VERSION}", hint=f"send Tus-Resumable: {VERSION}")


def _create(head: Head, names: Collection[str]) -> Create:
    concat_said = text(head, b"upload-concat")
    concat = None if concat_said is None else _concat(concat_said, head.authority, names)
    final = concat is not None and bool(concat.parts)
    length = _declared_length(head, final)
    carries = not final and _is_chunk(head)
    if has_body(head) and not carries:
        _refuse_body(final)
    if carries and length is not None and (body_length(head) or 0) > length:
        raise LengthExceeded(f"the body has {head.length} bytes, the upload {length}")
    said = metadata.parse(head.get(b"upload-metadata"))
    echo = {_METADATA: said.verbatim, _CONCAT: concat_said}
    checksum = _checksum(head)
    return Create(
        name=said.name,
        length=length,
        media_type=said.media_type,
        metadata=said.texts,
        echo={name: value for name, value in echo.items() if value},
        carries=carries,
        resumable=not carries,  # cut off before our answer, nobody knows where it is
        checksum=checksum if carries else None,
        concat=concat,
    )


def _refuse_body(final: bool) -> None:
    if final:
        raise NotAppendable("an upload put together from others takes no bytes of its own")
    raise UnsupportedMediaType(
        "the body is not declared to be the upload's first bytes",
        hint=f"send Content-Type: {CHUNK_TYPE}, or no body",
    )


def _append(head: Head) -> Append:
    if not _is_chunk(head):
        raise UnsupportedMediaType(
            "PATCH with another media type than that of tus",
            hint=f"send Content-Type: {CHUNK_TYPE}",
        )
    offset = _number(head, "Upload-Offset")
    if offset is None:
        raise BadRequest("PATCH without Upload-Offset", hint="HEAD tells the offset to go on from")
    length = _number(head, "Upload-Length")
    if length is not None and offset > length:
        raise LengthConflict(f"an offset of {offset}, and a length of {length} bytes")
    if length is not None and offset + (body_length(head) or 0) > length:
        raise LengthExceeded(f"the body would end behind the upload's {length} bytes")
    return Append(offset=offset, length=length, checksum=_checksum(head))


def _is_chunk(head: Head) -> bool:
    return (text(head, b"content-type") or "").lower() == CHUNK_TYPE


def _declared_length(head: Head, final: bool) -> int | None:
    """The length, None when it is put off, or that of the parts: one of the three must be said."""
    length = _number(head, "Upload-Length")
    deferred = text(head, b"upload-defer-length")
    if deferred not in (None, "1"):
        raise BadRequest("Upload-Defer-Length can only be 1")
    if final and (length is not None or deferred is not None):
        raise BadRequest("the length of a final upload is that of its parts: send none")
    if not final and (length is None) == (deferred is None):
        raise BadRequest("a creation says either Upload-Length, or Upload-Defer-Length: 1")
    return length


def _number(head: Head, name: str) -> int | None:
    """A field of 1 to 18 digits, nothing else; None without."""
    value = head.get(name.lower().encode("ascii"))
    if value is not None and not _NUMBER.fullmatch(value):
        raise BadRequest(f"{name} is not a number of 1 to 18 digits")
    return None if value is None else int(value)


# --- checksums ----------------------------------------------------------------------------------


def _checksum(head: Head) -> Checksum | Announced | None:
    said = text(head, _TRAILER)
    announced = _TRAILER in [name.lower() for name in head.items(b"trailer")]
    if announced and said is not None:
        raise BadRequest("Upload-Checksum before and behind the body: one is enough")
    if announced and not head.chunked:
        raise BadRequest("Upload-Checksum announced as a trailer, and the body is not chunked")
    if announced:
        return Announced()
    return None if said is None else parse_checksum(said)


def trailer(received: Iterable[tuple[bytes, bytes]]) -> Checksum | None:
    """The checksum that was `Announced`, from the fields behind the body.

    Raises BadRequest when it is not there, and as for one before the body.
    """
    values = [value for name, value in received if name.lower() == _TRAILER]
    if len(values) != 1:
        raise BadRequest("Upload-Checksum was announced as a trailer, and is not there once")
    return parse_checksum(values[0].decode("latin-1"))


# --- concatenation ------------------------------------------------------------------------------


def _concat(said: str, authority: str, names: Collection[str]) -> Concat:
    if said == "partial":
        return Concat()
    kind, semicolon, rest = said.partition(";")
    urls = rest.split()
    if kind != "final" or not semicolon or not urls:
        raise BadRequest("Upload-Concat is neither 'partial' nor 'final;url url'")
    if len(urls) > MAX_PARTS:
        raise BadRequest(f"an upload is put together from at most {MAX_PARTS} others")
    return Concat(tuple(upload_of(url, authority, names) for url in urls))


# --- what is answered ---------------------------------------------------------------------------

_SPOKEN: Final[Field] = ("Tus-Resumable", VERSION)


def created(standing: Standing, head: Head) -> Reply:
    """The upload is there, and what came with *head* is durable."""
    fields = [_SPOKEN, ("Location", standing.path)]
    if _is_chunk(head) and standing.offset is not None:
        fields.append(("Upload-Offset", str(standing.offset)))
    return 201, [*fields, *_expiry(standing)]


def appended(standing: Standing, head: Head) -> Reply:
    """What came with *head* is durable, up to the offset."""
    return 204, [_SPOKEN, ("Upload-Offset", str(standing.offset or 0)), *_expiry(standing)]


def status(standing: Standing, head: Head) -> Reply:
    """How an upload stands.

    200, since a client takes nothing else; and completeness in the words of the IETF, since
    nobody else can be told apart when *head* names no dialect.
    """
    fields = [_SPOKEN, ("Cache-Control", "no-store")]
    if standing.offset is not None:
        fields.append(("Upload-Offset", str(standing.offset)))
    if standing.length is not None:
        fields.append(("Upload-Length", str(standing.length)))
    elif standing.offset is not None:
        fields.append(("Upload-Defer-Length", "1"))
    fields.append(("Upload-Complete", f"?{standing.complete:d}"))
    return 200, [*fields, *_echo(standing), *_expiry(standing)]


def _echo(standing: Standing) -> list[Field]:
    """What the creation said, as it said it; for one that came another way, in words of ours."""
    said = {name: standing.echo.get(name, "") for name in _ECHOED}
    said[_METADATA] = said[_METADATA] or metadata.write(standing.metadata)
    return [(name, value) for name, value in said.items() if value]


def terminated(head: Head) -> Reply:
    """The upload is gone.  204 exactly: a client takes any other for an error."""
    return 204, [_SPOKEN]


def refused(
    error: UploadError, request_id: str, head: Head | None, *, max_length: int | None = None
) -> Refusal:
    """*error* as a problem document, with the fields that a client goes by."""
    code, fields, body = problem_document(error, request_id)
    return code, [*fields, *on_error(error)], body


def on_error(error: UploadError) -> list[Field]:
    """What goes with *error*, whatever its body."""
    fields = [_SPOKEN]
    if isinstance(error, VersionMismatch):
        fields.append(("Tus-Version", VERSION))
    if answer(error).status == 409 and error.offset is not None:
        fields.append(("Upload-Offset", str(error.offset)))
    return fields


def options(max_length: int | None = None) -> list[Field]:
    """What OPTIONS tells of tus; *max_length* in bytes."""
    fields = [
        _SPOKEN,
        ("Tus-Version", VERSION),
        ("Tus-Extension", ",".join(EXTENSIONS)),
        ("Tus-Checksum-Algorithm", ",".join(SIZES)),
    ]
    if max_length is not None:
        fields.append(("Tus-Max-Size", str(max_length)))
    return fields


def offered(standing: Standing, head: Head) -> list[Field] | None:
    """Nothing is said before the answer."""
    return None


def _expiry(standing: Standing) -> list[Field]:
    if standing.expires is None or standing.complete:
        return []
    return [("Upload-Expires", format_date(standing.expires))]
