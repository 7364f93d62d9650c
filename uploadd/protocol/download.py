"""The answer to GET and HEAD of a published file: status, fields, and which of its bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from uploadd.errors import PreconditionFailed, RangeNotSatisfiable, UploadError
from uploadd.protocol import conditional, content, ranges
from uploadd.protocol.conditional import Outcome
from uploadd.protocol.dates import format_date
from uploadd.protocol.fields import Field, Received, single
from uploadd.protocol.ranges import Span


class Published(NamedTuple):
    """What must be known of a file to serve it."""

    id: str
    name: str | None
    """As the client called it."""
    media_type: str | None
    """As the client declared it."""
    length: int
    """Bytes."""
    modified: int
    """When it was published, epoch seconds."""


class Plan(NamedTuple):
    """How a request for a file is to be answered."""

    status: int
    headers: list[Field]
    body: tuple[bytes | Span, ...]
    """What to send, in order: bytes as they are, or the bytes of the file that a span names."""
    error: UploadError | None = None
    """The refusal, if it is one; *headers* then go with it."""


def plan(
    method: str, received: Received, published: Published, *, boundary: Callable[[], str], now: int
) -> Plan:
    """The answer to *method*, GET or HEAD, with the fields *received*, at *now* epoch seconds.

    The body is what a GET gets; to HEAD the same is said and nothing of it is sent.  *boundary*
    gives something random, for a body of several ranges.
    """
    received = list(received)
    etag = conditional.entity_tag(published.id)
    outcome = conditional.evaluate(received, etag=etag, modified=published.modified, now=now)
    if outcome is Outcome.FAILED:
        return Plan(412, [], (), PreconditionFailed("the file is not the one that was meant"))
    validators = _validators(etag, published, now)
    if outcome is Outcome.NOT_MODIFIED:
        return Plan(304, validators, ())
    # Only GET has ranges (RFC 9110 14.2).
    by_range = method == "GET" and outcome is Outcome.PROCEED
    selection = ranges.select(single(received, b"range") if by_range else None, published.length)
    if selection.status == 416:
        length = published.length
        return Plan(
            416,
            [("Content-Range", ranges.content_range(None, length))],
            (),
            RangeNotSatisfiable(f"no range asked for lies inside the {length} bytes"),
        )
    described = [*content.headers(published.name, published.media_type), *validators]
    if len(selection.spans) > 1:
        return _several(described, selection.spans, published.length, boundary())
    return _one(selection.status, described, selection.spans[0], published.length)


def _validators(etag: str, published: Published, now: int) -> list[Field]:
    return [
        ("ETag", etag),
        # Never later than the Date beside it (RFC 9110 8.8.2.1).
        ("Last-Modified", format_date(min(published.modified, now))),
        # May be kept, and is asked for again each time: it may be deleted or forbidden meanwhile.
        ("Cache-Control", "private, no-cache"),
        ("Accept-Ranges", "bytes"),
    ]


def _one(status: int, described: list[Field], span: Span, length: int) -> Plan:
    """The whole file, or one range of it."""
    headers = [*described, ("Content-Length", str(span.end - span.start))]
    if status == 206:
        headers.append(("Content-Range", ranges.content_range(span, length)))
    return Plan(status, headers, (span,) if span.start < span.end else ())


def _several(described: list[Field], spans: tuple[Span, ...], length: int, boundary: str) -> Plan:
    """Several ranges, each a part that says which it is."""
    fields = dict(described)
    framing = ranges.frame(boundary, fields["Content-Type"], spans, length)
    body: list[bytes | Span] = []
    for prefix, span in zip(framing.prefixes, spans, strict=True):
        body += [prefix, span]
    fields["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    fields["Content-Length"] = str(framing.content_length)
    headers = list(fields.items())
    return Plan(206, headers, (*body, framing.closing))
