"""What a client asks of an upload over HTTP, in the words of uploads: the same for every dialect.

``tus.py``, ``ietf.py`` and ``put.py`` read it off a request head and say the answer in their own
fields; ``serve/`` carries it out and knows no dialect.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from uploadd.errors import (
    BadRequest,
    HostNotAllowed,
    NotFound,
    NotImplementedHere,
    OriginNotAllowed,
    UnsupportedMediaType,
)
from uploadd.protocol.checksums import Announced, Checksum
from uploadd.protocol.fields import Field
from uploadd.protocol.heads import Head
from uploadd.protocol.names import RELATIVE_PATH
from uploadd.protocol.origins import check_host, check_origin

FILES: Final = "/files/"
"""Where uploads are created; each has its own path below."""
UPLOAD_ID: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
_URL: Final = re.compile(r"(?i:(https?)://([^/?#]*))?(.*)")
OVERRIDES: Final = ("HEAD", "PATCH", "PUT", "DELETE", "POST")


@dataclass(frozen=True, slots=True)
class Concat:
    """How an upload is put together with others."""

    parts: tuple[str, ...] = ()
    """The ids that it is made of, in order, one perhaps several times; empty: it is a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new upload; the body, if it has one and *carries*, is its first bytes."""

    name: str | None = None
    length: int | None = None
    """Of the upload, in bytes; None while it is not known."""
    media_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    echo: Mapping[str, str] = field(default_factory=dict)
    """What must be said again as it was said, by field name."""
    digest: bytes | None = None
    """The SHA-256 that the whole must have."""
    carries: bool = False
    """Whether the body belongs to the upload."""
    completes: bool | None = None
    """Whether the upload is whole after this body; None: when it has its length."""
    checksum: Checksum | Announced | None = None
    """What the body must have, or nothing of it counts."""
    resumable: bool = True
    """Whether the client can come back: if not, a body that breaks off is thrown away."""
    wants_digest: bool = False
    """Whether the answer, once it is complete, should tell the SHA-256 of the whole."""
    concat: Concat | None = None

    def at(self, path: str) -> Create:
        """The same, named and placed by *path*, unless it says so itself or *path* is empty."""
        if not path or self.name is not None:
            return self
        folder, _, name = path.rpartition("/")
        metadata = {**self.metadata, RELATIVE_PATH: path} if folder else self.metadata
        return replace(self, name=name, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """The body goes on at *offset*."""

    offset: int
    length: int | None = None
    """Declares the length of the upload, when it was not known; the same again is no conflict."""
    completes: bool | None = None
    strict: bool = False
    """Whether more than the known length ends the upload for good."""
    checksum: Checksum | Announced | None = None
    wants_digest: bool = False


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Where may I go on?  *ends* a running append in any case, else only one that is silent."""

    ends: bool
    completes: bool = False
    """Whether an offset at the end will be taken for complete: then it must be."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The upload is not wanted any more."""


PARTS: Final = "parts"
"""Beside what must be said again: the ids that an upload is put together from."""


def is_part(echo: Mapping[str, str]) -> bool:
    """Whether an upload is one of those that others are put together from: it is never whole."""
    return echo.get("Upload-Concat") == "partial"


def parts_of(echo: Mapping[str, str]) -> tuple[str, ...]:
    """The ids that an upload is put together from, in order; empty for any other."""
    return tuple(echo.get(PARTS, "").split())


Asked: TypeAlias = Create | Append | Retrieve | Cancel
Reply: TypeAlias = tuple[int, list[Field]]
"""Status and fields of an answer without a body of its own."""
Refusal: TypeAlias = tuple[int, list[Field], bytes]
"""Status, fields and body of an answer that says no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an upload stands when a client is told of it."""

    id: str
    offset: int | None
    """Durable bytes; None while it is still being put together from others."""
    length: int | None = None
    complete: bool = False
    """Whether it was declared whole and is: then it can be had."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    echo: Mapping[str, str] = field(default_factory=dict)
    """As in `Create`."""
    expires: int | None = None
    """When it ends if it is not finished, in epoch seconds; None when it does not."""
    max_age: int | None = None
    """Seconds from now until then."""
    max_length: int | None = None
    """Bytes of the largest upload that is taken."""
    digest: bytes | None = None
    """SHA-256 of the whole, if it is known."""

    @property
    def path(self) -> str:
        """Where it is created, continued and looked at."""
        return f"{FILES}{self.id}"


def upload_of(url: str, authority: str, names: Collection[str] = ()) -> str:
    """The id in the URL of an upload, absolute, or relative to FILES.

    *authority* is whom the client talks to, *names* are the host names of this server, as for
    `check_host`.  Raises BadRequest for somebody else's URL, NotFound for no upload's.
    """
    found = _URL.fullmatch(url)
    if found is None or (found[1] and not _is_ours(found[1], found[2], authority, names)):
        raise BadRequest(f"{url[:80]!r} is not a URL of this server")
    path = found[3]
    id = path.removeprefix(FILES if path.startswith("/") else "./")
    if not UPLOAD_ID.fullmatch(id):
        raise NotFound(f"there is no upload {url[:80]!r}")
    return id


def _is_ours(scheme: str, host: str, authority: str, names: Collection[str]) -> bool:
    """Whether *host* is whom the client talks to, or goes by one of our names."""
    with suppress(OriginNotAllowed, UnicodeEncodeError):
        check_origin([f"{scheme}://{host}".encode("ascii")], authority, ())
        return True
    with suppress(HostNotAllowed):
        check_host(host, names)
        return True
    return False


def effective_method(head: Head) -> str:
    """The method that is meant: of a POST, the one that it says it stands for.

    For clients that can only GET and POST.  Routing, rights and the checks of foreign pages
    must go by it.  Raises NotImplementedHere for a method that a POST cannot stand for.
    """
    said = head.get(b"x-http-method-override") if head.method == "POST" else None
    if said is None:
        return head.method
    method = said.decode("latin-1")
    if method not in OVERRIDES:
        raise NotImplementedHere(
            f"a POST cannot stand for {method[:20]!r}; it can for {', '.join(OVERRIDES)}"
        )
    return method


def body_length(head: Head) -> int | None:
    """Bytes of the body; None when only its end will tell."""
    return None if head.chunked else (head.length or 0)


def has_body(head: Head) -> bool:
    """Whether a body follows; one that may turn out to be empty is one."""
    return head.chunked or bool(head.length)


def check_coding(head: Head) -> None:
    """Refuse a coded body: it would be kept as it is, and be another file when it is had."""
    codings = [item.lower() for item in head.items(b"content-encoding")]
    if any(coding != b"identity" for coding in codings):
        raise UnsupportedMediaType(
            "a body with a Content-Encoding: uploads are kept byte by byte as they come",
            hint="send the file as it is; to store a .gz, leave Content-Encoding out",
        )


def essence(media_type: bytes | None) -> str:
    """``type/subtype`` in lower case, without parameters; empty for none."""
    return (media_type or b"").partition(b";")[0].strip(b" \t").lower().decode("latin-1")


def text(head: Head, name: bytes) -> str | None:
    """The value of a field that may come once, as text; raises BadRequest if it comes twice."""
    value = head.get(name)
    return None if value is None else value.decode("latin-1")


def together(head: Head, name: bytes) -> str | None:
    """The value of a structured field, its lines joined (RFC 9651 section 4.2); None without."""
    values = head.values(name)
    return b", ".join(values).decode("latin-1") if values else None
