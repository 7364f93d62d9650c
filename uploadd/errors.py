"""The tree of errors: by fault, then by remedy.  No HTTP and no WebSocket here.

How each one is said on each wire stands in one table, ``protocol/answers.py``; a test walks
the subclasses of this tree and fails when the table does not name one.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self, TypeAlias

GoneReason: TypeAlias = Literal["cancelled", "taken-over", "expired", "deleted", "lost", "failed"]


class UploadError(Exception):
    """What a peer can be told: a stable ``code``, what happened and why, and what to type.

    ``offset`` is the durable offset in bytes where the peer needs it to go on, else None.
    """

    code: ClassVar[str]
    default_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, hint: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.default_hint
        self.offset = offset

    def __copy__(self) -> Self:
        """One more of it, with an offset of its own: several peers may hear of one failure."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        return twin


# --- the peer must change something -------------------------------------------------------
class ClientError(UploadError):
    """The peer asked for something that cannot be; asking again changes nothing."""

    code = "client-error"


class BadRequest(ClientError):
    """Malformed HTTP: framing, syntax, a header that cannot be."""

    code = "bad-request"


class HeadTooLarge(ClientError):
    """More header fields or bytes than the front door takes."""

    code = "head-too-large"
    default_hint = "at most 100 header fields and 16 KiB in all"


class NotImplementedHere(ClientError):
    """A method, transfer coding or version that this daemon does not speak."""

    code = "not-implemented"


class MethodNotAllowed(ClientError):
    """The resource exists and does not take this method."""

    code = "method-not-allowed"


class HostNotAllowed(ClientError):
    """A ``Host`` that is not one of our names: DNS rebinding, or a missing setting."""

    code = "host-not-allowed"
    default_hint = "name it: --set server.names=<host>"


class OriginNotAllowed(ClientError):
    """A page of another origin asked to change state."""

    code = "origin-not-allowed"
    default_hint = "allow it: --set server.origins=<scheme://host[:port]>"


class UpgradeStripped(ClientError):
    """A WebSocket handshake from which a proxy took ``Upgrade``."""

    code = "ws-upgrade-stripped"
    default_hint = (
        "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        'proxy_set_header Connection "upgrade";'
    )


class UpgradeRequired(ClientError):
    """Not a WebSocket handshake that we can answer with 101."""

    code = "upgrade-required"
    default_hint = "RFC 6455, version 13, subprotocol uploadd.v1"


class BadMessage(ClientError):
    """A message that is not of the protocol; the session ends."""

    code = "bad-message"
    default_hint = "docs/protocol.md"


class Unsupported(ClientError):
    """Part of the protocol that this server does not offer (see ``welcome.can``)."""

    code = "unsupported"


class Unauthorised(ClientError):
    """A token is needed, or the one given is not good."""

    code = "token"


class Forbidden(ClientError):
    """Known who asks, and it is not for them (``auth.may`` has said so)."""

    code = "forbidden"


class TooSlow(ClientError):
    """A deadline passed: head, handshake, hello, or a message that did not end."""

    code = "too-slow"


class TooMany(ClientError):
    """A limit on the number of uploads, frames or sessions."""

    code = "too-many"


class TooLarge(ClientError):
    """The declared length is over the limit of this server."""

    code = "too-large"


class NotFound(ClientError):
    """No such upload, or nothing that may be served under this name."""

    code = "not-found"


class Gone(ClientError):
    """The upload existed and does not any more: cancelled, expired, deleted or lost."""

    code = "gone"

    def __init__(self, message: str, *, reason: GoneReason, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class RangeNotSatisfiable(ClientError):
    """None of the ranges asked for lies inside the file."""

    code = "range-not-satisfiable"


class PreconditionFailed(ClientError):
    """If-Match or If-Unmodified-Since did not hold."""

    code = "precondition-failed"


class LengthExceeded(ClientError):
    """More bytes than the declared length."""

    code = "length-exceeded"


class LengthConflict(ClientError):
    """A length that contradicts the one declared before."""

    code = "length-conflict"


class CreditExceeded(ClientError):
    """Bytes beyond the limit that was granted."""

    code = "credit-exceeded"
    default_hint = "a chunk must end at or below the newest limit of ready or ack"


class DigestMismatch(ClientError):
    """The bytes that arrived are not the bytes that were announced."""

    code = "digest-mismatch"


class UnsupportedMediaType(ClientError):
    """A body of a media type that this request cannot have."""

    code = "unsupported-media-type"


class VersionMismatch(ClientError):
    """A version of a protocol that is not spoken here, or none where one must be named."""

    code = "version-mismatch"


class NotAppendable(ClientError):
    """An upload that is put together from others takes no bytes of its own."""

    code = "not-appendable"
    default_hint = "append to its parts, or create a new upload"


class AlreadyComplete(ClientError):
    """The upload was declared complete: nothing can follow."""

    code = "already-complete"


class ChecksumUnsupported(ClientError):
    """A checksum of an algorithm that this server does not compute."""

    code = "checksum-unsupported"


# --- the peer must ask again ----------------------------------------------------------------
class Conflict(UploadError):
    """True a moment ago, not now: ask for the state and go on from there."""

    code = "conflict"


class OffsetMismatch(Conflict):
    """A chunk that does not begin where the last one ended."""

    code = "offset-mismatch"
    complete = False
    """Whether nothing is missing: the upload is complete."""


class ChecksumMismatch(Conflict):
    """A chunk that was damaged on its way; nothing of it was stored."""

    code = "checksum-mismatch"


class Incomplete(Conflict):
    """Finishing was asked for, and bytes are missing."""

    code = "incomplete"


class KeyConflict(Conflict):
    """The idempotency key belongs to an upload with another name or length."""

    code = "key-conflict"


class TakenOver(Conflict):
    """A newer claim has taken the upload."""

    code = "taken-over"


class HolderStuck(Conflict):
    """The old holder is stuck in the disk and cannot be let go of yet."""

    code = "holder-stuck"


# --- we failed --------------------------------------------------------------------------------
class StoreError(UploadError):
    """The medium failed; what was acknowledged is still held."""

    code = "store-failed"


class NoSpace(StoreError):
    """The disk, quota or file size limit is exhausted; the upload goes on when there is room."""

    code = "no-space"
    default_hint = "free space and resume: nothing that was acknowledged is lost"


class NotWritable(StoreError):
    """The medium does not take writes: read-only, removed, or not ours."""

    code = "store-not-writable"


class ServerBug(StoreError):
    """An error of ours that nobody foresaw; the log has it under the session's id."""

    code = "internal"


class Draining(UploadError):
    """The daemon is about to stop or restart; come back."""

    code = "draining"
