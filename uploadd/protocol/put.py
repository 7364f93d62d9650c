"""Raw PUT: one body, one file.  ``curl -T FILE http://host/`` prints where it is."""

from __future__ import annotations

from uploadd.errors import BadRequest
from uploadd.protocol import pages
from uploadd.protocol.fields import Field
from uploadd.protocol.heads import Head
from uploadd.protocol.requests import Create, check_coding
from uploadd.protocol.routes import Route
from uploadd.protocol.upload import Upload


def asked(head: Head, to: Route) -> Create:
    """What *head*, which was routed *to* here, asks for.  Raises BadRequest (RFC 9110 9.3.4)."""
    if head.values(b"content-range"):
        raise BadRequest(
            "a PUT of a part of a file",
            hint="uploadd put goes on where it was, and so does tus",
        )
    check_coding(head)
    kind = head.get(b"content-type")
    return Create(
        length=head.length if not head.chunked else None,
        media_type=kind.decode("ascii") if kind else None,
        carries=True,
        completes=True,
        resumable=False,
    ).at(to.path)


def created(head: Head, upload: Upload) -> tuple[int, list[Field], bytes]:
    """Status, fields and body that say where the file is now.

    A whole URL in the body.
    """
    path = pages.file_path(upload.id, upload.name)
    fields = [
        ("Location", path),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return 201, fields, f"{pages.base_url(head)}{path}\n".encode("ascii")
