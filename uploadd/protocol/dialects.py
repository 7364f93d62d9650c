"""Which dialect a request speaks: tus, the IETF's, a form, or plain bytes; and who speaks it.

Every module that is a `Speaker` has the same functions, so that ``serve/`` carries out what was
asked and knows no dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from typing import Final, NamedTuple, Protocol

from uploadd.errors import UploadError, VersionMismatch
from uploadd.protocol import ietf, interop, tus
from uploadd.protocol.checksums import Checksum
from uploadd.protocol.fields import Field, problem_document
from uploadd.protocol.form import MEDIA_TYPE
from uploadd.protocol.heads import Head
from uploadd.protocol.requests import (
    FILES,
    Asked,
    Refusal,
    Reply,
    Standing,
    effective_method,
    essence,
    has_body,
)


class Dialect(Enum):
    """What a request is to be read as."""

    TUS = "tus 1.0.0"
    IETF = "the IETF's resumable uploads"
    FORM = "a form: any number of files in one body"
    RAW = "the body is the file"

    @property
    def wire(self) -> str:
        """Its name beside "ws", where uploads are counted."""
        return _WIRES[self]


_WIRES: Final[Mapping[Dialect, str]] = {
    Dialect.TUS: "tus",
    Dialect.IETF: "ietf",
    Dialect.FORM: "form",
    Dialect.RAW: "put",
}


class _Row(NamedTuple):
    """The first row that fits decides."""

    anywhere: bool
    """Or only where uploads have their paths, below FILES."""
    methods: str
    """Empty for any."""
    says: Callable[[Head], bool]
    dialect: Dialect


def _type(media_type: str) -> Callable[[Head], bool]:
    return lambda head: essence((head.values(b"content-type") or [b""])[0]) == media_type


def _is_whole_form(head: Head) -> bool:
    """Whether the body is a form from its beginning to its end."""
    return _type(MEDIA_TYPE)(head) and interop.completes(head) is not False


_ROWS: Final = (
    #    anywhere methods          what the head says                          dialect
    _Row(False, "",                lambda head: bool(head.values(b"tus-resumable")), Dialect.TUS),
    # Apple's upload tasks say it on ordinary uploads, whatever the body is and wherever it goes.
    _Row(True,  "POST",            _is_whole_form,                             Dialect.FORM),
    _Row(True,  "",                interop.speaks,                             Dialect.IETF),
    _Row(False, "PATCH",           _type(ietf.PARTIAL_TYPE),                   Dialect.IETF),
    _Row(False, "POST PATCH",      _type(tus.CHUNK_TYPE),                      Dialect.TUS),
    _Row(False, "PATCH HEAD",      lambda head: True,                          Dialect.TUS),
    # Once it is a standard nobody will mark a cancellation; a tus client must mark its own.
    _Row(False, "DELETE",          lambda head: True,                          Dialect.IETF),
    _Row(True,  "",                lambda head: True,                          Dialect.RAW),
)  # fmt: skip


def spoken(head: Head) -> Dialect:
    """The dialect of a request that would create, continue, look at or cancel an upload."""
    path = head.target.partition("?")[0]
    below = path.startswith(FILES) or path == FILES.rstrip("/")
    method = effective_method(head)
    return next(
        row.dialect
        for row in _ROWS
        if (row.anywhere or below)
        and (not row.methods or method in row.methods.split())
        and row.says(head)
    )


def check_plain(head: Head) -> None:
    """Refuse plain bytes where uploads are created, if they look like another dialect's.

    Raises VersionMismatch: a proxy may have removed what marks it.
    """
    marks = (b"upload-length", b"upload-metadata", b"upload-defer-length", b"upload-concat")
    if not has_body(head) or any(head.values(mark) for mark in marks):
        raise VersionMismatch(
            "a creation without Tus-Resumable or Upload-Complete",
            hint=f"send Tus-Resumable: {tus.VERSION}; if you do, a proxy removes it",
        )


class Speaker(Protocol):
    """A dialect: reads what is asked, says what is answered.  *head* is that of the request."""

    def asked(self, head: Head, upload_id: str | None, *, names: Collection[str] = ()) -> Asked: ...
    def trailer(self, received: Iterable[tuple[bytes, bytes]], /) -> Checksum | None: ...
    def offered(self, standing: Standing, head: Head) -> list[Field] | None: ...
    def created(self, standing: Standing, head: Head) -> Reply: ...
    def appended(self, standing: Standing, head: Head) -> Reply: ...
    def status(self, standing: Standing, head: Head) -> Reply: ...
    def terminated(self, head: Head) -> Reply: ...
    def refused(
        self,
        error: UploadError,
        request_id: str,
        head: Head | None,
        *,
        max_length: int | None = None,
    ) -> Refusal: ...


SPEAKERS: Final[Mapping[Dialect, Speaker]] = {Dialect.TUS: tus, Dialect.IETF: ietf}


def refused(
    error: UploadError, request_id: str, head: Head, *, max_length: int | None = None
) -> Refusal:
    """*error* as a problem document, said in the dialect of *head*."""
    speaker = SPEAKERS.get(_spoken_or_plain(head))
    if speaker is None:
        return problem_document(error, request_id)
    return speaker.refused(error, request_id, head, max_length=max_length)


def _spoken_or_plain(head: Head) -> Dialect:
    """Also for a head that is refused because of the method it stands for."""
    try:
        return spoken(head)
    except UploadError:
        return Dialect.TUS if head.values(b"tus-resumable") else Dialect.RAW


def options(max_length: int | None = None) -> list[Field]:
    """What OPTIONS tells where uploads can be created: of every dialect; *max_length* in bytes."""
    return [*tus.options(max_length), *ietf.options(max_length)]
