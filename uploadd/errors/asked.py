"""The peer must change something: asking again for the same changes nothing."""

from __future__ import annotations

from uploadd.errors.base import ClientError, GoneReason


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
        "proxy_set_header Connection $connection_upgrade; (its map is in conf/nginx.conf)"
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


class TokenExpired(Unauthorised):
    """The token was good once; what was begun with it goes on, nothing new begins."""

    code = "token-expired"
    default_hint = "get a new token; what you have begun goes on with it where it is"


class Forbidden(ClientError):
    """Known who asks, and it is not for them (``auth.may`` has said so)."""

    code = "forbidden"


class Refused(ClientError):
    """A hook of the operator's has refused it; what it said is told."""

    code = "refused"
    status: int | None = None
    """The HTTP status that it wants; None: ours."""
    body: str | None = None
    """What it wants to be answered over HTTP, word for word; None: a document of ours."""
    fields: tuple[tuple[str, str], ...] = ()
    """Fields that go with it."""


class TooSlow(ClientError):
    """A deadline passed: head, handshake, hello, or a message that did not end."""

    code = "too-slow"


class TooMany(ClientError):
    """A limit on the number of uploads, frames or sessions."""

    code = "too-many"


class TooOften(ClientError):
    """More requests in a second than one address may make."""

    code = "too-often"
    default_hint = "wait a moment, then the same again (limits.requests_each)"


class OverQuota(ClientError):
    """What one owner may have here is used up."""

    code = "over-quota"
    default_hint = "delete something first, or ask whoever runs the server (limits.max_total)"


class TypeNotAllowed(ClientError):
    """A kind of file that this server does not take, by its name or by what is in it."""

    code = "type-not-allowed"


class TooLarge(ClientError):
    """The declared length is over the limit of this server."""

    code = "too-large"
    default_hint = "split it, or ask whoever runs the server for more (limits.max_length)"


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
