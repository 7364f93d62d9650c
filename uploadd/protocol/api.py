"""The plain JSON of ``/api``: the documents.

They are structs, so that ``openapi.py`` describes exactly what is sent.  Members that are not
known are left out.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Meta, Struct

from uploadd.errors import BadRequest
from uploadd.protocol.fields import Field
from uploadd.protocol.seen import Glance, progress
from uploadd.protocol.upload import Upload
from uploadd.protocol.wsmessages import Notice

T = TypeVar("T", bound=Struct)
Word: TypeAlias = Literal[
    "queued",
    "receiving",
    "storing",
    "verifying",
    "published",
    "cancelled",
    "expired",
    "deleted",
    "failed",
]
"""The values of `Seen`."""
Count: TypeAlias = Annotated[int, Meta(ge=0)]


class Shown(Struct, omit_defaults=True, kw_only=True):
    """How an upload stands."""

    upload: Annotated[str, Meta(description="its id, for every other path")]
    state: Word
    offset: Annotated[Count, Meta(description="durable bytes from the start, without a gap")]
    held: Annotated[Count, Meta(description="all durable bytes: what a bar shows")]
    received: Annotated[Count, Meta(description="bytes that have come; the last may get lost")]
    created: Annotated[float, Meta(description="seconds since 1970")]
    modified: Annotated[float, Meta(description="seconds since 1970")]
    name: str | None = None
    length: Annotated[Count, Meta(description="bytes in all")] | None = None
    expected: Annotated[Count, Meta(description="a guess of the length")] | None = None
    rate: Annotated[float, Meta(description="durable bytes a second")] | None = None
    part: (
        Annotated[int, Meta(ge=1, description="what is being stored, where it is in parts")] | None
    ) = None
    media_type: str | None = None
    url: Annotated[str, Meta(description="where the file is, once published")] | None = None
    mine: Annotated[bool, Meta(description="whether who asks has begun it")] = False


class Listed(Struct, omit_defaults=True):
    """One page of uploads, newest first."""

    uploads: list[Shown]
    next: Annotated[str, Meta(description="the cursor of the next page")] | None = None


class Noticed(Struct, omit_defaults=True, kw_only=True):
    """How an upload ended."""

    notice: str
    upload: str
    state: Literal["published", "failed", "expired"]
    at: Annotated[float, Meta(description="seconds since 1970")]
    read: bool
    name: str | None = None
    length: Count | None = None
    url: str | None = None


class Notices(Struct):
    """Newest first."""

    notices: list[Noticed]
    unread: Count


class Read(Struct):
    """What need not be told again."""

    notices: list[Annotated[str, Meta(min_length=1, max_length=255)]] | Literal["all"]


Path: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128)]
_LIFE: Final = "seconds for which it is good; the answer says when it ends, which may be earlier"


class Linking(Struct, omit_defaults=True, kw_only=True):
    """A link that is wanted: to have an ``upload``, or without one to send something."""

    upload: Annotated[Path, Meta(description="to have this one; else to send one")] | None = None
    expires_in: Annotated[float, Meta(gt=0, description=_LIFE)] | None = None
    max_length: Annotated[Count, Meta(description="bytes that may be sent with it")] | None = None


class Link(Struct):
    """A link.  Whoever has it may do what it is for."""

    url: Annotated[str, Meta(description="relative to the server; for people")]
    token: Annotated[str, Meta(description="what it carries; used as a token by programs")]
    expires: Annotated[float, Meta(description="seconds since 1970")]


FIELDS: Final[tuple[Field, ...]] = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Of every document."""
COME_BACK: Final[Field] = ("Retry-After", "1")
"""What goes with an answer that came before its time because the daemon stops."""
MAX_BODY: Final = 64 * 1024
"""Bytes of a body that is no file."""


# --- what is told -------------------------------------------------------------------------------


def shown(upload: Upload, glance: Glance, rate: float, *, mine: bool) -> Shown:
    """How *upload* stands."""
    now = progress(upload, glance, rate)
    return Shown(
        upload=now.upload,
        state=cast("Word", str(now.state)),
        offset=now.offset,
        held=now.held,
        received=max(glance.received, now.held),
        created=upload.created,
        modified=upload.modified,
        name=now.name,
        length=now.length,
        expected=now.expected,
        rate=now.rate,
        part=now.part,
        media_type=upload.media_type,
        url=now.url,
        mine=mine,
    )


def noticed(notice: Notice, *, read: bool) -> Noticed:
    """*notice*, and whether it was *read*."""
    return Noticed(**msgspec.structs.asdict(notice), read=read)


def told(document: Any, status: int = 200) -> tuple[int, list[Field], bytes]:
    """Status, fields and body of *document*."""
    return status, [*FIELDS], msgspec.json.encode(document) + b"\n"


def done() -> tuple[int, list[Field], bytes]:
    """The answer that says nothing but that it is so."""
    return 204, [("Cache-Control", "no-store")], b""


def read(body: bytes) -> Read:
    """The notices that were read.  Raises BadRequest."""
    return _document(body, Read)


def linking(body: bytes) -> Linking:
    """The link that is wanted.  Raises BadRequest."""
    return _document(body, Linking)


def _number(text: str) -> int | float:
    """What JSON calls an integer however it is written: 2.0 is 2."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return int(value) if value.is_integer() else value


_decoder: Final = msgspec.json.Decoder(float_hook=_number)


def _document(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert(_decoder.decode(body), type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body cannot be read: {error}"[:200]) from None
