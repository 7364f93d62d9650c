"""The interop versions of the IETF's resumable uploads, 3 to 9, and which of them a head speaks.

Only what makes a difference to the server is here.  A version that is not in the table is read
as the newest, and gets no interim answers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from uploadd.errors import (
    AlreadyComplete,
    BadRequest,
    LengthConflict,
    OffsetMismatch,
    UnsupportedMediaType,
    UploadError,
)
from uploadd.protocol import structured
from uploadd.protocol.fields import Field
from uploadd.protocol.heads import Head
from uploadd.protocol.requests import essence, together

INCOMPLETE: Final = "Upload-Incomplete"
COMPLETE: Final = "Upload-Complete"
_TYPES: Final = "https://iana.org/assignments/http-problem-types#"


class Version(NamedTuple):
    """What one version has that others have not."""

    number: int
    draft: str
    complete: str
    """The field of completeness; Upload-Incomplete says the contrary."""
    labelled: bool
    """Whether an append has a media type of its own."""
    length: bool
    """Whether there is an Upload-Length."""
    bare: bool
    """Whether a retrieval or cancellation that tells state is refused."""
    age: str
    """The key of the limit that says how long an upload lives."""
    inconsistent: bool
    """Whether there is a problem type for lengths that contradict each other; more bytes than the
    known length then end an upload for good."""
    completed: bool
    """Whether there is a problem type for appending to what is complete."""


_ROWS: Final = (
    #       n  draft    completeness labelled length bare   age        incons. completed
    Version(3, "01",    INCOMPLETE,  False,   False, True,  "max-age", False,  False),
    Version(4, "02",    COMPLETE,    False,   False, True,  "max-age", False,  False),
    Version(5, "03",    COMPLETE,    False,   False, True,  "max-age", False,  False),
    Version(6, "04-05", COMPLETE,    True,    True,  True,  "expires", False,  True),
    Version(7, "06-08", COMPLETE,    True,    True,  False, "max-age", True,   True),
    Version(8, "09-11", COMPLETE,    True,    True,  False, "max-age", True,   True),
    Version(9, "12-",   COMPLETE,    True,    True,  False, "max-age", True,   False),
)  # fmt: skip
VERSIONS: Final = {version.number: version for version in _ROWS}
NEWEST: Final = _ROWS[-1]


def stated(head: Head) -> Version | None:
    """The version that *head* says, None when it says none, or one that is not spoken here."""
    number = _number(head)
    return None if number is None else VERSIONS.get(number)


def version_of(head: Head | None) -> Version:
    """The version to read *head* by and to answer it in."""
    return (head and stated(head)) or NEWEST


def speaks(head: Head) -> bool:
    """Whether *head* says a version, or whether the upload is complete."""
    return _number(head) is not None or completes(head) is not None


def completes(head: Head) -> bool | None:
    """Whether the upload is whole after this request; None when that is not said.

    In the field of the version; in the other where that is not there.
    """
    complete, incomplete = boolean(head, b"upload-complete"), boolean(head, b"upload-incomplete")
    inverse = None if incomplete is None else not incomplete
    first, second = complete, inverse
    if version_of(head).complete == INCOMPLETE:
        first, second = inverse, complete
    return second if first is None else first


def completeness(version: Version, complete: bool) -> Field:
    """The field that says in *version* whether an upload is complete."""
    return version.complete, structured.write(complete is not (version.complete == INCOMPLETE))


def check_bare(head: Head) -> None:
    """Refuse a retrieval or cancellation that tells state, where the version forbids it."""
    state = (b"upload-offset", b"upload-complete", b"upload-incomplete", b"upload-length")
    version = version_of(head)
    if version.bare and any(head.values(name) for name in state):
        raise BadRequest(f"in version {version.number} a {head.method} tells no state")


def check_no_form(head: Head) -> None:
    """Refuse a form that comes in several requests: its text is nobody's file."""
    if head.method == "POST" and essence(head.get(b"content-type")) == "multipart/form-data":
        raise UnsupportedMediaType(
            "a form in several requests", hint="send the form in one, or the file by itself"
        )


def may_inform(head: Head) -> bool:
    """Whether interim answers may be sent: old clients would take them for the last."""
    return head.version == "1.1" and stated(head) is not None


def problem_members(error: UploadError, head: Head | None) -> dict[str, object]:
    """What the registered types of problem documents say of *error*; empty for other errors."""
    version = version_of(head)
    match error:
        case OffsetMismatch():
            provided = None if head is None else natural(head, b"upload-offset")
            members = {"expected-offset": error.offset, "provided-offset": provided}
            return {
                "type": f"{_TYPES}mismatching-upload-offset",
                "title": "offset from request does not match offset of resource",
            } | {name: value for name, value in members.items() if value is not None}
        case AlreadyComplete() if version.completed:
            return {"type": f"{_TYPES}completed-upload", "title": "upload is already completed"}
        case LengthConflict() | AlreadyComplete() if version.inconsistent:
            return {
                "type": f"{_TYPES}inconsistent-upload-length",
                "title": "inconsistent length values for upload",
            }
    return {}


def boolean(head: Head, name: bytes) -> bool | None:
    """A field that is a boolean; None without, and for what is none."""
    said = together(head, name)
    return None if said is None else structured.boolean(said)


def natural(head: Head, name: bytes) -> int | None:
    """A field that is an integer of 0 or more; None without, and for what is none."""
    said = together(head, name)
    number = None if said is None else structured.integer(said)
    return number if number is not None and number >= 0 else None


def _number(head: Head) -> int | None:
    return natural(head, b"upload-draft-interop-version")
