"""Resumable uploads of the IETF (draft-ietf-httpbis-resumable-upload), interop versions 3 to 9.

One answer serves them all: always offset, completeness, limits and version, 201 for a creation
and 204 for what says no more.  What differs between them stands in ``interop.py``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Final

from uploadd.errors import (
    AlreadyComplete,
    BadRequest,
    ChecksumMismatch,
    ChecksumUnsupported,
    DigestMismatch,
    HolderStuck,
    Incomplete,
    LengthConflict,
    LengthExceeded,
    MethodNotAllowed,
    OffsetMismatch,
    UnsupportedMediaType,
    UploadError,
)
from uploadd.protocol import checksums, metadata, structured
from uploadd.protocol.answers import answer, problem
from uploadd.protocol.checksums import Announced, Checksum
from uploadd.protocol.fields import Field, problem_document
from uploadd.protocol.heads import Head
from uploadd.protocol.interop import (
    Version,
    check_bare,
    check_no_form,
    completeness,
    completes,
    may_inform,
    natural,
    problem_members,
    version_of,
)
from uploadd.protocol.requests import (
    Append,
    Asked,
    Cancel,
    Create,
    Refusal,
    Reply,
    Retrieve,
    Standing,
    body_length,
    check_coding,
    effective_method,
    essence,
    text,
    together,
)

PARTIAL_TYPE: Final = "application/partial-upload"
_WANTED: Final = ("Want-Repr-Digest", "sha-256=10")
_NOT_OF_THE_FILE: Final = (PARTIAL_TYPE, "application/offset+octet-stream")


# --- what is asked ------------------------------------------------------------------------------


def asked(head: Head, upload_id: str | None, *, names: Collection[str] = ()) -> Asked:
    """What *head* asks of the upload in its path, or, without one, of any place.

    Raises the UploadError that answers what is not of the protocol.  *names* are not needed.
    """
    check_coding(head)
    method = effective_method(head)
    match method, upload_id is None:
        case "POST" | "PUT" | "PATCH", True:
            return _create(head, version_of(head))
        case "PATCH", False:
            return _append(head, version_of(head))
        case "HEAD" | "GET", False:
            check_bare(head)
            return Retrieve(ends=True)
        case "DELETE", False:
            check_bare(head)
            return Cancel()
    where = "where uploads are created" if upload_id is None else "for an upload"
    raise MethodNotAllowed(f"resumable uploads know no {method} {where}")


def _create(head: Head, version: Version) -> Create:
    check_no_form(head)
    whole = completes(head)
    length = _length(head, version, 0, whole is not False)
    if length is not None and (body_length(head) or 0) > length:
        raise LengthExceeded(f"the body would end behind the upload's {length} bytes")
    said = metadata.parse(head.get(b"upload-metadata"))  # tus-js-client sends it here, too
    disposition = text(head, b"content-disposition")
    digest = together(head, b"repr-digest")
    return Create(
        name=(disposition and metadata.disposition_name(disposition)) or said.name,
        length=length,
        media_type=_media_type(head) or said.media_type,
        metadata=said.texts,
        echo={"Upload-Metadata": said.verbatim} if said.verbatim else {},
        digest=None if digest is None else checksums.parse_sha256(digest),
        carries=True,
        completes=whole is not False,
        checksum=_checksum(head),
        wants_digest=_wants_digest(head),
        # Without an interim answer it never learns where to go on.
        resumable=whole is not None and may_inform(head),
    )


def _media_type(head: Head) -> str | None:
    """That of the file, parameters included; what labels a piece of it says nothing of it."""
    said = text(head, b"content-type")
    if said is None or len(said) > metadata.MAX_MEDIA_TYPE:
        return None
    return None if essence(said.encode("latin-1")) in _NOT_OF_THE_FILE else said


def _append(head: Head, version: Version) -> Append:
    if version.labelled and essence(head.get(b"content-type")) != PARTIAL_TYPE:
        raise UnsupportedMediaType(
            "an append of another media type", hint=f"send Content-Type: {PARTIAL_TYPE}"
        )
    offset = natural(head, b"upload-offset")
    if offset is None:
        raise BadRequest("an append without Upload-Offset", hint="HEAD tells it")
    whole = completes(head)
    if whole is None and version.number <= 6:  # tus-js-client leaves it out with the last bytes
        whole = natural(head, b"upload-length") == offset + (body_length(head) or 0)
    if not whole and completes(head) is None:
        raise BadRequest("an append without Upload-Complete", hint="send ?1 with the last bytes")
    return Append(
        offset=offset,
        length=_length(head, version, offset, bool(whole)),
        completes=whole,
        strict=version.inconsistent,
        checksum=_checksum(head),
        wants_digest=_wants_digest(head),
    )


def _length(head: Head, version: Version, offset: int, whole: bool) -> int | None:
    """The upload's length: said, or known because the body is all that is left."""
    said = natural(head, b"upload-length") if version.length else None
    body = body_length(head)
    if whole and body is not None:
        if said not in (None, offset + body):
            raise LengthConflict(
                f"Upload-Length says {said} bytes, the body ends at {offset + body}"
            )
        return offset + body
    if said is not None and offset > said:
        raise LengthConflict(f"an offset of {offset}, and a length of {said} bytes")
    return said


def _wants_digest(head: Head) -> bool:
    said = together(head, b"want-repr-digest")
    return said is not None and checksums.wants_sha256(said)


def _checksum(head: Head) -> Checksum | Announced | None:
    said = together(head, b"content-digest")
    if said is not None:
        return checksums.parse_digest(said)
    announced = b"content-digest" in [name.lower() for name in head.items(b"trailer")]
    return Announced() if announced and head.chunked else None


def trailer(received: Iterable[tuple[bytes, bytes]]) -> Checksum | None:
    """The checksum that was `Announced`, from the fields behind the body; None for none of ours."""
    values = [value for name, value in received if name.lower() == b"content-digest"]
    return checksums.parse_digest(b", ".join(values).decode("latin-1"))


# --- what is answered ---------------------------------------------------------------------------


def offered(standing: Standing, head: Head) -> list[Field] | None:
    """What 104 says before the body is read: where to go on.  None when it must not be sent."""
    if not may_inform(head):
        return None
    version = version_of(head)
    return [_spoken(version), ("Location", standing.path), _limit(standing, version)]


def created(standing: Standing, head: Head) -> Reply:
    """What came with *head* is durable; if the upload is complete, it can be had."""
    fields = [("Location", standing.path), *_state(standing, head)]
    told = together(head, b"repr-digest")
    unknown = told is not None and checksums.parse_sha256(told) is None  # it was not looked at
    return 201, [*fields, *([_WANTED] * unknown), *_digest(standing)]


def appended(standing: Standing, head: Head) -> Reply:
    """As `created`, when it is complete: the answer that a creation in one go would have got."""
    if standing.complete:
        return created(standing, head)
    return 204, [*_state(standing, head), *_digest(standing)]


def status(standing: Standing, head: Head) -> Reply:
    """How an upload stands."""
    fields = [("Cache-Control", "no-store"), *_state(standing, head)]
    if standing.length is not None and standing.length <= structured.MAX_INTEGER:
        fields.append(("Upload-Length", str(standing.length)))
    return 204, [*fields, *_digest(standing)]


def terminated(head: Head) -> Reply:
    """The upload is gone."""
    return 204, [_spoken(version_of(head))]


def refused(
    error: UploadError, request_id: str, head: Head | None, *, max_length: int | None = None
) -> Refusal:
    """*error* as a problem document, with the type and the fields that a client goes by."""
    version = version_of(head)
    code, fields, _ = problem_document(error, request_id)
    if isinstance(error, ChecksumMismatch):
        code = 400  # 460 is a status of tus
    members = problem(error, request_id) | {"status": code} | problem_members(error, head)
    body = json.dumps(members).encode("ascii") + b"\n"
    return code, [*fields, *_on_error(error, version, code, max_length)], body


def options(max_length: int | None = None) -> list[Field]:
    """What OPTIONS tells of resumable uploads, to all versions; *max_length* in bytes."""
    return [
        ("Upload-Limit", limits(max_length=max_length)),
        ("Accept-Patch", PARTIAL_TYPE),
        _WANTED,
    ]


def limits(
    *, max_length: int | None = None, max_age: int | None = None, age: str = "max-age"
) -> str:
    """The value of Upload-Limit, in bytes and seconds; never empty."""
    known = {"max-size": max_length, age: max_age}
    top = structured.MAX_INTEGER
    members = {key: min(max(value, 0), top) for key, value in known.items() if value is not None}
    return structured.write_dictionary(members or {"min-size": 0})


def _limit(standing: Standing, version: Version) -> Field:
    age = None if standing.complete else standing.max_age
    return "Upload-Limit", limits(max_length=standing.max_length, max_age=age, age=version.age)


def _spoken(version: Version) -> Field:
    return "Upload-Draft-Interop-Version", str(version.number)


def _state(standing: Standing, head: Head) -> list[Field]:
    version = version_of(head)
    fields = [_spoken(version), completeness(version, standing.complete)]
    if standing.offset is not None:
        fields.append(("Upload-Offset", str(standing.offset)))
    return [*fields, _limit(standing, version)]


def _digest(standing: Standing) -> list[Field]:
    if standing.digest is None:
        return []
    return [("Repr-Digest", checksums.digest_text(standing.digest))]


# --- errors -------------------------------------------------------------------------------------

# The upload goes on after these; after those of the second line, its bytes are all here and
# sending them again changes nothing.  Of the others nothing is said: the status is enough.
_GOES_ON: Final = (
    *(OffsetMismatch, LengthConflict, LengthExceeded, ChecksumMismatch, ChecksumUnsupported),
    *(Incomplete, HolderStuck),
)
_OVER: Final = (DigestMismatch, AlreadyComplete)


def _on_error(
    error: UploadError, version: Version, code: int, max_length: int | None
) -> list[Field]:
    fields = [_spoken(version)]
    if isinstance(error, (*_GOES_ON, *_OVER)):
        over = isinstance(error, _OVER) or (isinstance(error, OffsetMismatch) and error.complete)
        fields.append(completeness(version, over))
    if answer(error).status == 409 and error.offset is not None:
        fields.append(("Upload-Offset", str(error.offset)))
    if code == 413:
        fields.append(("Upload-Limit", limits(max_length=max_length)))
    return fields
