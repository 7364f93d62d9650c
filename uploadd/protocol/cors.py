"""What lets the pages of other origins use this server (the CORS protocol of the Fetch standard).

Only those of the list, each by its very name; without a list nobody's.  A page of our own needs
none of it.  That a foreign page may not act is for ``origins.check_foreign`` to say: a browser
asks for these fields only to let the page see the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from uploadd.protocol.fields import Field
from uploadd.protocol.heads import Head
from uploadd.protocol.origins import Origin, parse_origin

MAX_AGE: Final = 7200
"""Seconds for which a browser may remember a preflight; chromium's longest."""
REQUEST_FIELDS: Final = (
    *("Authorization", "Content-Type", "Upload-Length", "Upload-Offset", "Upload-Metadata"),
    *("Upload-Defer-Length", "Upload-Concat", "Upload-Checksum", "Tus-Resumable"),
    *("X-HTTP-Method-Override", "X-Requested-With", "X-Request-ID", "Upload-Complete"),
    *("Upload-Incomplete", "Upload-Draft-Interop-Version", "Content-Disposition"),
    *("Repr-Digest", "Content-Digest", "Want-Repr-Digest"),
    *("Range", "If-Range", "If-Match", "If-None-Match", "Last-Event-ID"),
    *("X-Client-Id", "X-Upload-Id", "X-Socket-Id", "X-Image-Filesize", "X-Docs-Filesize"),
)
"""What a page may send."""
ANSWER_FIELDS: Final = (
    *("Location", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires"),
    *("Upload-Concat", "Upload-Defer-Length", "Tus-Version", "Tus-Resumable", "Tus-Max-Size"),
    *("Tus-Extension", "Tus-Checksum-Algorithm", "Upload-Complete", "Upload-Incomplete"),
    *("Upload-Limit", "Upload-Draft-Interop-Version", "Repr-Digest", "ETag", "Content-Range"),
    *("Accept-Ranges", "Content-Disposition", "Retry-After", "X-Request-ID"),
)
"""What a page may read, beside what every page may."""


def fields(head: Head, allowed: Collection[Origin]) -> list[Field]:
    """What goes with every answer to *head*, also with those that refuse.

    Without them a page sees no status, takes it for a broken network, and tries for ever.
    """
    if not allowed:
        return []
    vary = [("Vary", "Origin")]  # also for those who are not on the list: caches must know
    return [*_grant(head, allowed), *vary] if _origin(head, allowed) else vary


def preflight(head: Head, methods: Sequence[str], allowed: Collection[Origin]) -> list[Field]:
    """What goes with the answer to OPTIONS: as `fields`, and what *methods* a page may use.

    Access to private networks is never granted: a page that is not on the list learns nothing,
    and one that is need not come from outside.
    """
    given = fields(head, allowed)
    asks = head.method == "OPTIONS" and head.values(b"access-control-request-method")
    if not (asks and _origin(head, allowed)):
        return given
    return [
        *(field for field in given if field[0] != "Access-Control-Expose-Headers"),
        ("Access-Control-Allow-Methods", ", ".join(methods)),
        ("Access-Control-Allow-Headers", ", ".join(REQUEST_FIELDS)),
        ("Access-Control-Max-Age", str(MAX_AGE)),
    ]


def _grant(head: Head, allowed: Collection[Origin]) -> list[Field]:
    return [
        ("Access-Control-Allow-Origin", _origin(head, allowed) or ""),
        # Never with *, which the list cannot hold: cookies and tokens go to whom it names.
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", ", ".join(ANSWER_FIELDS)),
    ]


def _origin(head: Head, allowed: Collection[Origin]) -> str | None:
    """The origin of the page that asks, as it was said, if it is on the list."""
    said = head.values(b"origin")
    if len(said) != 1:
        return None
    text = said[0].decode("latin-1")
    origin = parse_origin(text)
    return text if origin is not None and origin in allowed else None
