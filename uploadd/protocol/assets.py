"""The files of the page and of those who embed it: what they are served with."""

from __future__ import annotations

import gzip
import hashlib
import re
from typing import Final, NamedTuple

from uploadd.protocol import conditional
from uploadd.protocol.conditional import Outcome
from uploadd.protocol.fields import Field, Received, joined

_KINDS: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "ts": "text/plain; charset=utf-8",
    "py": "text/x-python; charset=utf-8",
}
"""By suffix; a file of another kind is not served."""

_COMMENT: Final = re.compile(rb"^[ \t]*(?:/\*\*.*?\*/|//[^\n]*)[ \t]*$", re.DOTALL | re.MULTILINE)
"""On lines of its own: a sixth of the page, for who reads the source, not for who opens it.  The
lines stay, so that an error tells where it is.
"""

# The page loads nothing but its own files, and shows previews of what it uploaded.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' blob: data:; media-src 'self' blob:; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)


class Asset(NamedTuple):
    """One file, ready to be served: as it is, and packed."""

    plain: Form
    packed: Form


class Form(NamedTuple):
    """One representation of a file; each has an entity tag of its own (RFC 9110 8.8.3)."""

    content: bytes
    etag: str
    headers: tuple[Field, ...]


def asset(name: str, content: bytes) -> Asset | None:
    """The file *name*; None for a kind that is not served."""
    kind = _KINDS.get(name.rpartition(".")[2])
    if kind is None:
        return None
    if kind.startswith("text/javascript"):
        content = _COMMENT.sub(lambda comment: b"\n" * comment[0].count(b"\n"), content)
    packed = gzip.compress(content, mtime=0)  # the same bytes give the same tag everywhere
    return Asset(_form(kind, content), _form(kind, packed, ("Content-Encoding", "gzip")))


def _form(kind: str, content: bytes, *more: Field) -> Form:
    etag = conditional.entity_tag(hashlib.sha256(content).hexdigest()[:32])
    page = kind.startswith("text/html")
    headers = [
        ("Content-Type", kind),
        ("ETag", etag),
        ("Cache-Control", "no-cache"),  # after an upgrade nobody has half of the old page
        ("X-Content-Type-Options", "nosniff"),
        ("Vary", "Accept, Accept-Encoding" if page else "Accept-Encoding"),
        *more,
    ]
    if page:
        headers += [("Content-Security-Policy", _POLICY), ("Referrer-Policy", "no-referrer")]
    return Form(content, etag, tuple(headers))


def answer(received: Received, found: Asset) -> tuple[int, list[Field], bytes]:
    """Status, fields and body for a GET with the fields *received*."""
    received = list(received)
    form = found.packed if _takes_gzip(received) else found.plain
    outcome = conditional.evaluate(received, etag=form.etag, modified=0, now=0)
    if outcome is Outcome.NOT_MODIFIED:
        return 304, list(form.headers), b""
    return 200, list(form.headers), form.content


def _takes_gzip(received: Received) -> bool:
    """Whether gzip is named, and not with a weight of nothing (RFC 9110 12.5.3)."""
    for item in (joined(received, b"accept-encoding") or "").lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";")
        if coding == "gzip":
            return not re.fullmatch(r"q=0(\.0{0,3})?", weight)
    return False


def wants_page(received: Received) -> bool:
    """Whether a person is to look at the answer: browsers name HTML, tools do not."""
    return "text/html" in (joined(received, b"accept") or "")
